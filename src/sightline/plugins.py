"""Methods of third parties: what their entry points name, whose a name is, and where their code failed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sightline.errors import SightlineError, UsageError

OURS = "sightline"
SCRIPTS = frozenset({"__main__", "__mp_main__"})


class Clash(NamedTuple):
    """An entry point whose name has an owner already: the module that it names, and the owner's."""

    name: str
    module: str
    owner: str


class Named(NamedTuple):
    """Modules of a kind's methods by the methods' names, and the entry points that came too late."""

    modules: dict[str, str]
    clashes: tuple[Clash, ...]


def is_ours(module: str) -> bool:
    """Whether a module is Sightline's own."""
    return module.partition(".")[0] == OURS


def with_entry_points(group: str, ours: Mapping[str, str]) -> Named:
    """Our modules and those that entry points name: ours first, then the first of each name."""
    modules, clashes = dict(ours), []
    for point in importlib.metadata.entry_points(group=group):
        module = point.value.partition(":")[0].strip()
        owner = modules.setdefault(point.name, module)
        if owner != module:
            clashes.append(Clash(point.name, module, owner))
    return Named(modules, tuple(clashes))


def module_of(cls: type) -> str:
    """The module of a class; of one in a script run by `python -m`, the name by which it can be imported."""
    if cls.__module__ not in SCRIPTS:
        return cls.__module__
    spec = getattr(sys.modules.get(cls.__module__), "__spec__", None)
    return "__main__" if spec is None else str(spec.name)


def may_register(owner: str, cls: type) -> bool:
    """Whether a class may have the name that an entry point, or our own folder, gives to the module `owner`.

    Of a third party's package any module may, for the entry point may name one that imports it; and the same
    file may, run as a script.
    """
    here = module_of(cls)
    if here == owner or (not is_ours(owner) and here.partition(".")[0] == owner.partition(".")[0]):
        return True
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    with suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(owner)
        return file is not None and spec is not None and spec.origin == str(Path(file).resolve())
    return False


def taken(kind: str, name: str, module: str, cls: str = "") -> UsageError:
    """The error for a name that another module has."""
    where = f"class {cls} of {module}" if cls else f"module {module}"
    whose = "Sightline's" if is_ours(module) else "registered already"
    return UsageError(f"{kind} {name!r} is {whose} ({where}); register yours under another name")


def import_plugin(kind: str, name: str, module: str) -> None:
    """Import a plug-in's module; one that raises, exits or does not parse must not end ours.

    Raises:
        UsageError: naming the plug-in, what it does instead, and the cure.
    """
    plugin = f"plug-in {module} ({kind} {name!r})"
    try:
        importlib.import_module(module)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as absent:
        missing = absent.name or ""
        if module == missing or module.startswith(f"{missing}."):
            package, _, last = missing.rpartition(".")
            what = f"package {package!r} has no module {last!r}" if package else f"no package {missing!r}"
            raise UsageError(f"{plugin}: {what}; check the entry point in its pyproject.toml") from absent
        raise UsageError(f"{plugin} lacks the package {missing!r}") from absent
    except BaseException as broken:  # also SystemExit, and kinds of its own
        packages = {module.partition(".")[0]}
        what = str(broken) if isinstance(broken, SightlineError) else described(broken, packages)
        raise UsageError(f"{plugin} cannot be imported: {what}; mend or uninstall its package") from broken


def described(wrong: BaseException, packages: Iterable[str]) -> str:
    """An exception in one short line, with its place in the code of these packages."""
    return " ".join(f"{type(wrong).__name__}: {wrong}".split())[:300] + place(wrong, packages)


def place(wrong: BaseException, packages: Iterable[str], *, anywhere: bool = False) -> str:
    """Where an exception came from: ` (my_package/attack.py:15)`, the last line of these packages' code.

    '' if it went through none of them; with `anywhere`, the last line of all.
    """
    known = set(packages)
    frames = list(traceback.walk_tb(wrong.__traceback__))
    own = [each for each in frames if str(each[0].f_globals.get("__name__")).partition(".")[0] in known]
    found = own or (frames if anywhere else [])
    return f" ({'/'.join(Path(found[-1][0].f_code.co_filename).parts[-2:])}:{found[-1][1]})" if found else ""
