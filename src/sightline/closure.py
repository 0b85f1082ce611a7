"""The code that decides a result: a module, every module that it imports, and their data files, by digest.

Found in the text of the files, so that nothing heavy is loaded: imports at the top and inside functions, and
`import_module` with a literal name. A package's `__init__` belongs to it only where something is taken from
the package itself. `PLUMBING` is left out; third parties' packages are followed if the method lives in them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from sightline.digests import digest, sha256_file
from sightline.errors import ContractError
from sightline.sources import Import, ModuleSource, read_source

OURS = "sightline"
MARK = "~"
"""Stands before the digest of code in the id of a target."""
_MARKED = re.compile(f"{MARK}[0-9a-f]{{8}}$")
PLUMBING: Mapping[str, str] = {
    "sightline.callables": "how methods are called in Python; what they run is followed itself",
    "sightline": "exports names of other modules, which are followed themselves",
    "sightline.closure": "makes keys and decides nothing else",
    "sightline.cards": "facts about methods; what of them decides results is in the keys",
    "sightline.contracts": "types; what of them has a value (decoding, seed, budget) is in the keys",
    "sightline.craft": "hands attacks their tools, whose code is in the key of every attack",
    "sightline.digests": "makes keys: whatever changes there changes them by itself",
    "sightline.errors": "how an error is worded decides no outcome",
    "sightline.keys": "makes keys and decides nothing else",
    "sightline.registry": "looks methods up; their names, settings and versions are in the keys",
    "sightline.sealed": "tells damage: what passes it is what was written",
    "sightline.sources": "makes keys and decides nothing else",
    "sightline.targets": "opens a target by name; the target's own code is in its id",
    "sightline.whitebox.through": "hands defenses an attacker's tools; their code is in ids of surrogates",
    "sightline.testbed.weights": "unpacks weights; the digest of what it wrote is in the target's id",
    "sightline.testbed.smol.places": "finds weights or merges them; their digest is in the target's id",
}
"""Modules of ours whose code is in no key, and why it need not be."""


class SourceTree:
    """Packages as they lie on disk, each file read once.

    `moved` names folders that stand in for those of installed top-level packages.
    """

    def __init__(self, moved: Mapping[str, Path] | None = None) -> None:
        self._places: dict[str, tuple[Path, ...]] = {name: (to,) for name, to in (moved or {}).items()}
        self._paths: dict[str, Path | None] = {}
        self._sources: dict[Path, ModuleSource] = {}

    def closure(self, *modules: str) -> dict[str, str]:
        """Digests of the modules and of all that they import, by name; of data files by `MODULE:PATTERN`.

        Raises:
            ContractError: for a declared data file that is not there.
        """
        followed = {OURS, *(module.partition(".")[0] for module in modules)}
        found: dict[str, str] = {}
        todo = list(modules)
        while todo:
            module = todo.pop()
            path = self.path(module)
            if module in found or module in PLUMBING or path is None:
                continue
            source = self.source(path)
            found[module] = source.digest
            for pattern in source.data:
                found[f"{module}:{pattern}"] = _data_digest(path.parent, pattern, module)
            todo += (
                name
                for each in source.imports
                for name in self._named(each, module, path)
                if name.partition(".")[0] in followed
            )
        return dict(sorted(found.items()))

    def source(self, path: Path) -> ModuleSource:
        """What a file says. Raises ContractError if it is no Python."""
        if path not in self._sources:
            try:
                self._sources[path] = read_source(path.read_bytes())
            except (OSError, SyntaxError, ValueError) as broken:
                raise ContractError(f"{path}: its code cannot be read for keys ({broken})") from None
        return self._sources[path]

    def path(self, module: str) -> Path | None:
        """The file of a module; None if there is none to read (compiled, built in, no such module)."""
        if module not in self._paths:
            self._paths[module] = self._find(module)
        return self._paths[module]

    def _find(self, module: str) -> Path | None:
        top, *rest = module.split(".")
        for place in self._of_top(top):
            if place.is_file():
                return None if rest else place
            below = place.joinpath(*rest)
            for path in (below / "__init__.py", below.with_suffix(".py") if rest else below):
                if path.is_file():
                    return path
        return None

    def _of_top(self, top: str) -> tuple[Path, ...]:
        if top not in self._places:
            self._places[top] = _installed(top)
        return self._places[top]

    def _named(self, found: Import, module: str, path: Path) -> Iterator[str]:
        """Names of the modules that an import statement of `module` reads."""
        base = found.module
        if found.level:
            parts = module.split(".")
            drop = found.level - (path.name == "__init__.py")
            base = ".".join([*parts[: len(parts) - drop], *([found.module] if found.module else [])])
        if not found.name:
            yield base
        elif found.name == "*":
            yield base
            yield from self._inside(base)
        elif self.path(f"{base}.{found.name}") is not None:
            yield f"{base}.{found.name}"
        else:
            yield base

    def _inside(self, package: str) -> Iterator[str]:
        path = self.path(package)
        if path is not None and path.name == "__init__.py":
            names = (each.stem for each in sorted(path.parent.glob("*.py")))
            yield from (f"{package}.{name}" for name in names if name != "__init__")


def _installed(top: str) -> tuple[Path, ...]:
    """Folders of a top-level package, or the file of a top-level module."""
    if top == OURS:
        return (Path(__file__).parent,)
    loaded = getattr(sys.modules.get(top), "__file__", None)
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:  # a script: it has a file and no spec
        return (Path(loaded),) if loaded else ()
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(Path(place) for place in spec.submodule_search_locations)
    return (Path(spec.origin),) if spec.origin and spec.origin.endswith(".py") else ()


def _data_digest(folder: Path, pattern: str, module: str) -> str:
    """Digest of the names and contents of the files that a pattern names; modules count as such."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file())
    if not paths:
        raise ContractError(f"{module} declares the data file {pattern!r}, and {folder} has none such")
    return digest([(path.name, sha256_file(path)) for path in paths])


_installed_tree = SourceTree()


@cache
def closure(*modules: str) -> Mapping[str, str]:
    """Digests of all that decides what the modules do, as installed; see `SourceTree.closure`."""
    return _installed_tree.closure(*modules)


@cache
def code_of(*modules: str) -> str:
    """Digest of a closure; '' if the modules have no source file (code typed at a prompt)."""
    found = closure(*modules)
    return digest(found) if found else ""


def with_code(identity: str, *modules: str, packages: tuple[str, ...] = ()) -> str:
    """An id of a model, marked with the code that prepares for it and decodes: `vlm/x#weights@dtype~code`.

    `packages` are distributions of third parties that do a part of it; their versions count.
    """
    versions = {name: _version(name) for name in packages}
    return f"{identity}{MARK}{digest(code_of(*modules), versions)[:8]}"


def without_code(identity: str) -> str:
    """The id of a model by weights and settings alone, as `with_code` took it."""
    return _MARKED.sub("", identity)


@cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
