"""The five registering decorators, and look-up by name without loading what is not asked for.

A method lives in the module of its name, in the folder of its kind or a sub-folder of it
(`sightline.attacks.typographic.figstep`); third parties register through the entry-point groups
`sightline.attacks`, `sightline.defenses`, `sightline.judges`, `sightline.benchmarks`, `sightline.recipes`.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, Unpack, cast

from pydantic import PydanticUserError, TypeAdapter, ValidationError

from sightline import callables, cards, contracts, plugins, tuning
from sightline.cards import AttackFacts, BenchmarkFacts, Card, Facts, Kind, OwnRole, Presets, Role, unchanged
from sightline.cases import Eps
from sightline.errors import AbsentExtraError, UsageError, nearest
from sightline.identities import code as code
from sightline.identities import identity as identity
from sightline.identities import parts as parts
from sightline.identities import resolved as resolved
from sightline.namespaces import described

CONTRACTS: Mapping[Kind, Any] = {
    "attack": contracts.Attack,
    "benchmark": contracts.Benchmark,
    "defense": contracts.Defense,
    "judge": contracts.Judge,
    "recipe": tuning.Recipe,
}
T = TypeVar("T")
M = TypeVar("M")
_UNREADABLE = (SyntaxError, ValueError, TypeError, MemoryError, RecursionError)
"""What `ast` raises for text that is no literal."""
_cards: dict[tuple[Kind, str], Card] = {}
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
"""What checks the settings of a method's class; made once, as that takes longer than to use it."""


@cache
def _testbed_presets() -> Mapping[str, Presets]:
    """Presets of attacks for the testbed's models, by attack."""
    found: Mapping[str, Presets] = importlib.import_module("sightline.testbed.presets").PRESETS
    return found


def _registering(kind: Kind, name: str, facts: Mapping[str, Any]) -> Callable[[type[T]], type[T]]:
    for fact in facts:
        if fact not in cards.FACTS[kind].__annotations__:
            raise UsageError(
                f"{kind} {name!r}: {nearest(fact, cards.FACTS[kind].__annotations__, f'fact of @{kind}')}"
            )
    if kind == "attack" and "threat" not in facts:
        raise UsageError(f"attack {name!r}: say who attacks and what is edited: threat=ThreatModel(...)")

    def register(cls: type[T]) -> type[T]:
        _refuse_taken(kind, name, cls)
        module = sys.modules[cls.__module__]
        doc = inspect.getdoc(module) or inspect.getdoc(cls) or ""
        summary = doc.splitlines()[0] if doc else ""
        presets = {
            **facts.get("presets", {}),
            **(_testbed_presets().get(name, {}) if kind == "attack" else {}),
        }
        told = {**facts, "presets": presets}
        card = Card(kind=kind, name=name, summary=summary, doc=doc, factory=cls, **told)
        cls.card = card  # type: ignore[attr-defined]
        cls.__doc__ = described(card, inspect.getdoc(cls) or "")
        calls = {"__call__": CONTRACTS[kind].__call__, "preset": vars(callables.Method)["preset"]}
        for attribute, shared in calls.items():
            if not any(attribute in vars(each) for each in cls.__mro__):
                setattr(cls, attribute, shared)
        _cards[kind, name] = card
        return cls

    return register


def _refuse_taken(kind: Kind, name: str, cls: type[Any]) -> None:
    """Make sure that nobody else has the name; a notebook cell may register its class again.

    Raises:
        UsageError: naming the owner.
    """
    before = _cards.get((kind, name))
    if before is not None:
        owner = plugins.module_of(before.factory)
        if (owner, before.factory.__qualname__) != (plugins.module_of(cls), cls.__qualname__):
            raise plugins.taken(kind, name, owner, before.factory.__qualname__)
        return
    module = _modules(kind).get(name)
    if module is not None and not plugins.may_register(module, cls):
        raise plugins.taken(kind, name, module)


def attack(name: str, **facts: Unpack[AttackFacts]) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass with `craft` or `converse`, which get a context that knows its name."""
    register = _registering("attack", name, facts)

    def registered(cls: type[T]) -> type[T]:
        for method in ("craft", "converse"):
            if hasattr(cls, method):
                setattr(cls, method, _knowing(name, getattr(cls, method)))
        return register(cls)

    return registered


def _knowing(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    """A method of an attack, with a context that knows the attack's name."""

    @functools.wraps(inner)
    def called(self: Any, cases: Any, ctx: Any) -> Any:
        return inner(self, cases, dataclasses.replace(ctx, attack=name))

    return called


def benchmark(name: str, **facts: Unpack[BenchmarkFacts]) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass with `cases` as the benchmark `name`. `judge`: its default one."""
    return _registering("benchmark", name, facts)


def recipe(name: str, **facts: Unpack[cards.RecipeFacts]) -> Callable[[type[T]], type[T]]:
    """Register a frozen dataclass with `wants_own` and `plan` as the recipe `name`."""
    return _registering("recipe", name, facts)


class _Decorator:
    """The registering decorator of a kind of method that has no facts of its own."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def __call__(self, name: str, **facts: Unpack[Facts]) -> Callable[[type[T]], type[T]]:
        """Register a frozen dataclass under `name`."""
        return _registering(self.kind, name, facts)


defense = _Decorator("defense")
judge = _Decorator("judge")


@cache
def _named(kind: Kind) -> plugins.Named:
    """Method name -> module, of our own folders and of third parties' entry points.

    Where a kind's folder has sub-folders, methods are in them, and the modules beside them are shared code.
    """
    package = f"sightline.{kind}s"
    spec = importlib.util.find_spec(package)
    found: dict[str, str] = {}
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        below = [info.name for info in pkgutil.iter_modules([folder]) if info.ispkg]
        for name in below or [""]:
            where = f"{package}.{name}" if name else package
            found |= {
                info.name: f"{where}.{info.name}"
                for info in pkgutil.iter_modules([str(Path(folder, name))])
                if not info.name.startswith("_") and not info.ispkg
            }
    return plugins.with_entry_points(package, found)


def _modules(kind: Kind) -> dict[str, str]:
    """The modules of a kind's methods, by name."""
    return _named(kind).modules


def clashes(kind: Kind) -> tuple[plugins.Clash, ...]:
    """Entry points of a kind whose names have an owner already."""
    return _named(kind).clashes


def names(kind: Kind) -> list[str]:
    """Names of all methods of a kind, sorted; nothing is imported."""
    registered = {name for k, name in _cards if k == kind}
    return sorted(set(_modules(kind)) | registered)


def _import(kind: Kind, name: str, module: str) -> None:
    """Import a method's module; another's that raises, exits or does not parse must not end ours."""
    if not plugins.is_ours(module):
        plugins.import_plugin(kind, name, module)
        return
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as absent:
        if (absent.name or "").startswith("sightline"):
            raise
        raise AbsentExtraError(f"{kind} {name!r}", "local", str(absent.name)) from absent


def card(kind: Kind, name: str) -> Card:
    """The card of a method; its module is imported on first use.

    Raises:
        UsageError: for an unknown name (the nearest names are offered).
        AbsentExtraError: if the module needs a package that is not installed.
        UsageError: for a plug-in that cannot be imported, whatever it does instead.
    """
    if (kind, name) not in _cards:
        module = _modules(kind).get(name)
        if module is None:
            raise UsageError(nearest(name, names(kind), kind))
        for clash in clashes(kind):
            if clash.name == name and not plugins.is_ours(module):
                both = f"{clash.owner} and {clash.module}"
                raise UsageError(
                    f"{kind} {name!r} is the name of two plug-ins, {both}: uninstall one of them"
                )
        _import(kind, name, module)
        if (kind, name) not in _cards:
            there = [n for (k, n), each in _cards.items() if k == kind and each.factory.__module__ == module]
            instead = (
                f": it registers {', '.join(map(repr, there))}; name the entry point so" if there else ""
            )
            a = "an" if kind == "attack" else "a"
            raise UsageError(f"module {module} does not register {a} {kind} called {name!r}{instead}")
    return _cards[kind, name]


def make(kind: Kind, name: str, /, *, preset: str | None = None, **params: Any) -> Any:
    """Construct a method from its name, an optional preset and settings (which override the preset).

    Raises:
        UsageError: unknown name, preset or setting, or a value of the wrong type or range.
    """
    found = card(kind, name)
    settings: dict[str, Any] = {}
    if preset is not None and preset not in ("paper", "default"):
        if not isinstance(preset, str) or preset not in found.presets:
            raise UsageError(nearest(str(preset), {*found.presets, "default"}, f"preset of {kind} {name!r}"))
        settings.update(found.presets[preset])
    settings.update(params)
    known = {f.name for f in dataclasses.fields(found.factory) if f.init}
    for key in settings:
        if key in found.renamed and key not in known:
            now = found.renamed[key].to
            default = next(f.default for f in dataclasses.fields(found.factory) if f.name == now)
            raise UsageError(f"{kind} {name!r}: setting {key!r} is now {now!r} (default {default!r})")
        if key not in known:
            raise UsageError(nearest(key, known, f"setting of {kind} {name!r}"))
    try:
        made = _adapter(found.factory).validate_python(settings)
    except ValidationError as invalid:
        raise _unfit(found, invalid) from None
    promised(made)
    return made


def _unfit(card: Card, invalid: ValidationError, setting: str = "") -> UsageError:
    """The error for a setting's value."""
    first = invalid.errors()[0]
    where = setting or ".".join(str(part) for part in first["loc"])
    return UsageError(f"{card.kind} {card.name!r}, setting {where!r}: {first['msg']}, got {first['input']!r}")


def checked(method: M) -> M:
    """A method that was constructed in Python, with its settings as a study file would have them.

    Raises:
        UsageError: for a value of the wrong type or range.
    """
    card: Card = method.card  # type: ignore[attr-defined]
    given = settings(method)
    try:
        fit = _adapter(type(method)).validate_python(given)
    except ValidationError as invalid:
        if invalid.errors()[0]["type"] == "missing":  # a value that is no setting
            return method
        raise _unfit(card, invalid) from None
    except (PydanticUserError, NameError):  # types that no study file can write, or that are not imported
        return method
    promised(method)
    changed = {name: getattr(fit, name) for name, value in given.items() if getattr(fit, name) != value}
    return dataclasses.replace(method, **changed) if changed else method  # type: ignore[type-var]


def promised(method: Any) -> Eps | None:
    """The l_inf radius that an attack promises for every file, from its threat model or its settings.

    A setting `eps` counts unless it is empty, or a setting `bound` says that it is about something else
    than the l_inf ball; of two promises the smaller one. None if there is none.

    Raises:
        UsageError: for a setting `eps` that is no number of levels.
    """
    threat = method.card.threat
    found = [threat.eps] if threat is not None and threat.eps is not None else []
    eps = getattr(method, "eps", None) if method.card.kind == "attack" else None
    if eps and getattr(method, "bound", "linf") == "linf":
        try:
            found.append(eps if isinstance(eps, Eps) else Eps.parse(str(eps)))
        except UsageError as unfit:
            raise UsageError(f"attack {method.card.name!r}, setting 'eps': {unfit}") from None
    return min(found, key=lambda each: each.raw, default=None)


def told(wrong: BaseException, *, anywhere: bool = False) -> str:
    """An exception with its message and its place in a registered plug-in; see `plugins.place`."""
    own = {card.factory.__module__.partition(".")[0] for card in _cards.values()} - {plugins.OURS}
    return f"{type(wrong).__name__}: {wrong}{plugins.place(wrong, own, anywhere=anywhere)}"


def settings(method: Any) -> dict[str, Any]:
    """The settings of a method that differ from its defaults, by name."""
    changed = {}
    for f in dataclasses.fields(method):
        value = getattr(method, f.name)
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        if f.init and f.repr and value != default:
            changed[f.name] = value
    return changed


def spec(method: Any) -> str:
    """One-line form that `parse` reads back: `figstep(font_px=40)`; defaults are left out."""
    inside = ", ".join(f"{key}={value!r}" for key, value in settings(method).items())
    return f"{method.card.name}({inside})" if inside else str(method.card.name)


def role_of(method: Any) -> Role:
    """The role of an attack with its settings: that of its card, or what a setting makes of it."""
    if isinstance(method, OwnRole):
        return method.own_role
    if any(getattr(method, name) in values for name, values in method.card.plain_when.items()):
        return "plain"
    if any(getattr(method, name) in values for name, values in method.card.control_when.items()):
        return "control"
    return cast("Role", method.card.role)


def control_of(method: Any) -> str:
    """The name of the attack that a control controls for, or `ANY_ATTACK`; '' for an attack."""
    if role_of(method) != "control":
        return ""
    return str(method.card.control_of or method.card.name)


def seed_text(method: Any) -> str:
    """`spec` with settings named as before, so that a study's random numbers stay."""
    before = {now.to: (name, now.was) for name, now in method.card.renamed.items() if now.was is not None}
    inside = []
    for key, value in settings(method).items():
        name, was = before.get(key, (key, unchanged))
        inside.append(f"{name}={was(value)!r}")
    return f"{method.card.name}({', '.join(inside)})" if inside else str(method.card.name)


def parse(kind: Kind, text: str) -> Any:
    """Construct a method from `name`, `name(key=literal, ...)` or `name(preset='fit')`.

    Nothing is evaluated: values must be Python literals; a bare word is taken as a string.

    Raises:
        UsageError: if the text is not of that form or names something unknown.
    """
    shape = f"{kind} {text!r}: write name or name(setting=value, ...)"
    if "=" in text:
        shape += "; put quotes around values in lists or with signs such as /: grader='scripted/judge.yaml'"
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except _UNREADABLE:
        raise UsageError(shape) from None
    if isinstance(tree, ast.Name):
        return make(kind, tree.id)
    if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.args:
        raise UsageError(shape)
    params: dict[str, Any] = {}
    for keyword in tree.keywords:
        if keyword.arg is None or keyword.arg in params:
            raise UsageError(shape)
        given = keyword.value
        try:
            params[keyword.arg] = given.id if isinstance(given, ast.Name) else ast.literal_eval(given)
        except _UNREADABLE:
            raise UsageError(shape) from None
    return make(kind, tree.func.id, **params)


def inner_method(kind: Kind, text: str) -> Any:
    """The method that a setting of another one names; who uses this satisfies `contracts.Composed`."""
    return parse(kind, text)


def inner_attack(text: str) -> Any:
    """See `inner_method`."""
    return parse("attack", text)
