"""Cards: what is known of a method without running it, and what its decorator may say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Required, TypedDict, runtime_checkable

from sightline.cases import ThreatModel
from sightline.closure import closure, code_of
from sightline.errors import ContractError

Kind = Literal["attack", "defense", "judge", "benchmark", "recipe"]
Role = Literal["attack", "control", "plain", "defense"]
Scope = Literal["per_case", "batched", "universal"]
REQUESTS = frozenset({"refuse", "comply"})
ANY_ATTACK = "any attack"
KINDS: tuple[Kind, ...] = ("benchmark", "attack", "defense", "judge", "recipe")
TOOLS = ("sightline.attacks.toolkit", "sightline.attacks.gradients")
"""What `Craft` offers every attack, and those that are crafted on models."""
Presets = Mapping[str, Mapping[str, Any]]


@runtime_checkable
class OwnRole(Protocol):
    """A method that runs others and is a control where they make it one."""

    @property
    def own_role(self) -> Role:
        """Its role with these settings."""
        ...

    def controls(self, other: Any) -> bool:
        """Whether it is the control of another attack with its settings."""
        ...


def unchanged(value: Any) -> Any:
    """The value, as it is."""
    return value


@dataclass(frozen=True, slots=True)
class Renamed:
    """What became of a setting of another name: who still uses it is told, and a study's seeds stay.

    Attributes:
        to: its name now.
        was: how a value was written then; None if the setting is not in the seed of a study.
    """

    to: str
    was: Callable[[Any], Any] | None = unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What is known of a method without running it.

    Attributes:
        summary: first line of the module's docstring.
        paper: where it was published ('' for our own controls).
        source: official repository and path, or our own.
        version: raised by hand when the meaning of its results changes.
        presets: named settings; 'paper' (or 'default') is the class's defaults. Those of attacks for the
            testbed's models lie in `sightline.testbed.presets`.
        threat: for attacks.
        role: for attacks, whether it attacks, is a control that attacks are compared with, or leaves cases as
            they are (`plain`). See `role_of`: settings can turn an attack into a control of itself.
            For recipes, whether training defends (`defense`) or attacks.
        control_of: for controls, the attack that they control for, or `ANY_ATTACK`.
        control_when: settings, and their values that turn an attack into a control of itself.
        plain_when: settings, and their values with which an attack leaves cases as they are.
        alike: for controls of one attack, the settings that both must have alike.
        surrogate: for attacks, whether it is crafted on models that the study names.
        scope: for attacks, the cases of one call: one (`per_case`); as many as its setting `batch` says, none
            depending on another (`batched`); or all of a benchmark, for what is the same for all of them
            (`universal`).
        applies_to: for attacks, the expectations of the cases that a study runs it on: requests and their
            benign twins, unless it is about answers.
        renamed: settings by the names that they had before.
        extra: pip extra that it needs ('' = none).
        judge: for benchmarks, the judge that knows their truth ('' = none of its own).
        release: for benchmarks, what is known of their official release.
        data: the data files beside its module that it declares.
        elsewhere: whether it names what another harness did, and comes with recorded responses alone.
    """

    kind: Kind
    name: str
    summary: str
    doc: str
    factory: type[Any]
    paper: str = ""
    source: str = ""
    version: int = 1
    presets: Presets = field(default_factory=dict)
    threat: ThreatModel | None = None
    role: Role = "attack"
    control_of: str = ""
    control_when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    plain_when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    alike: tuple[str, ...] = ()
    surrogate: bool = False
    scope: Scope = "per_case"
    applies_to: frozenset[str] = REQUESTS
    renamed: Mapping[str, Renamed] = field(default_factory=dict)
    extra: str = ""
    judge: str = ""
    release: ReleaseFacts | None = None
    data: tuple[str, ...] = ()
    elsewhere: bool = False

    def __post_init__(self) -> None:
        if (self.role == "control") != bool(self.control_of):
            raise ContractError(f"attack {self.name!r}: a control has role='control' and says control_of=...")

    @property
    def parts(self) -> Mapping[str, str]:
        """Digests of what decides its results: modules by name, data files by `MODULE:PATTERN`.

        Raises:
            ContractError: for data that is not declared as literal text, so that no reader of it could tell.
        """
        module = self.factory.__module__
        found = closure(module, *self._tools) if closure(module) else {}
        for name in self.data:
            if found and f"{module}:{name}" not in found:
                raise ContractError(f"{module}: write data=({name!r}, ...) as literal text")
        return found

    @property
    def code(self) -> str:
        """Digest of `parts`, in the key of its rows; '' for code typed at a prompt."""
        return code_of(self.factory.__module__, *self._tools) if self.parts else ""

    @property
    def _tools(self) -> tuple[str, ...]:
        """Modules of the tools that an attack gets by its context, whether or not it imports them."""
        if self.kind != "attack":
            return ()
        return TOOLS if self.surrogate else TOOLS[:1]


Access = Literal["open", "click-through", "form", "by request", "not published", "yours"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFacts:
    """What is known of the official release of a benchmark: for tables, checks and documents alike.

    Attributes:
        home: where its authors publish it (`owner/name`, `HF: owner/name`, a page).
        licence: of its rows; 'not stated' where its authors say nothing.
        access: how one gets it. Sightline never downloads.
        folders: names of its folder or archive below `$SIGHTLINE_DATA`, besides the benchmark's own name.
        counts: cases by part of the release (a split or subset, '' if it has one) and by category (only '' if
            no more than their number is known).
        counted: how these counts are known: in the released files, as its authors say, or from memory.
        scoring: the official scoring rule, in one sentence.
        shares: other sets whose pictures or rows it holds: do not train on one and test on the other.
        known: SHA-256 of files of known releases, with their names there and what they are.
    """

    home: str
    licence: str = "not stated"
    access: Access = "open"
    folders: tuple[str, ...] = ()
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    counted: Literal["measured", "stated", "from memory"] = "measured"
    scoring: str = ""
    shares: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)

    def total(self, part: str) -> int:
        """Cases of a part; 0 if it is not known."""
        return sum(self.counts.get(part, {}).values())


class Facts(TypedDict, total=False):
    """What a decorator may say of any method; see `Card`. `data`: files beside the module that it reads."""

    paper: str
    source: str
    version: int
    presets: Presets
    extra: str
    data: tuple[str, ...]
    elsewhere: bool


class BenchmarkFacts(Facts, total=False):
    """What the decorator of a benchmark may say; see `Card`."""

    judge: str
    release: ReleaseFacts


class AttackFacts(Facts, total=False):
    """What the decorator of an attack may say; see `Card`."""

    threat: Required[ThreatModel]
    role: Role
    control_of: str
    control_when: Mapping[str, tuple[Any, ...]]
    plain_when: Mapping[str, tuple[Any, ...]]
    alike: tuple[str, ...]
    surrogate: bool
    scope: Scope
    applies_to: frozenset[str]
    renamed: Mapping[str, Renamed]


class RecipeFacts(Facts, total=False):
    """What the decorator of a recipe may say; see `Card`."""

    role: Required[Literal["attack", "defense"]]


FACTS: Mapping[Kind, Any] = {
    "attack": AttackFacts,
    "benchmark": BenchmarkFacts,
    "defense": Facts,
    "judge": Facts,
    "recipe": RecipeFacts,
}
