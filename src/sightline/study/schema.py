"""The schema of a study file: what may stand in it, and in which ranges."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from sightline.budget import Budget
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.gating.limits import Limits
from sightline.study.quick import checked_block
from sightline.tuning import Backend

STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a study, and so the folder of its runs, may be called."""


def _entry(value: Any) -> Any:
    """A bare string stands for `{name: string}`."""
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    """A bare string stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def _several(value: Any) -> Any:
    """One entry stands for a list of one."""
    found = (value,) if isinstance(value, str | dict) else value
    if isinstance(found, list | tuple) and any(isinstance(each, dict) and "then" in each for each in found):
        raise PydanticCustomError("nested", "attacks that follow stand in one list: `then: [a, b]`")
    return found


def _role(value: Any) -> Any:
    """The model of a role, which is one text."""
    if not isinstance(value, str):
        what = (
            "a role is one text: a target such as openai/gpt-4o-mini or, as in_loop_judge, a judge too, such "
            "as \"model_graded(grader='openai/gpt-4o-mini')\""
        )
        raise PydanticCustomError("role", what)
    return value


class MethodEntry(BaseModel):
    """A method as written in a study: name, optional preset and label; other keys are its settings."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    preset: str | None = None
    label: str | None = None


Entry = Annotated[MethodEntry, BeforeValidator(_entry)]
Count = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(gt=0)]
Levels = Annotated[list[Any], Field(min_length=1)]


class BudgetEntry(BaseModel):
    """What one artifact may spend; a list of levels makes one column of each."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    forwards: Count | tuple[Count, ...] | None = None
    backwards: Count | tuple[Count, ...] | None = None
    flops: Amount | tuple[Amount, ...] | None = None
    calls: Count | tuple[Count, ...] | None = None
    target_calls: Count | tuple[Count, ...] | None = None
    aux_calls: Count | tuple[Count, ...] | None = None
    judge_calls: Count | tuple[Count, ...] | None = None
    tokens: Count | tuple[Count, ...] | None = None
    seconds: Amount | tuple[Amount, ...] | None = None

    def budgets(self) -> list[Budget]:
        """One budget for each level, or the only one.

        Raises:
            UsageError: for levels of two quantities, or a level that stands twice.
        """
        given = {name: value for name, value in self if value is not None}
        listed = [name for name, value in given.items() if isinstance(value, tuple)]
        if not listed:
            return [Budget(**given)]
        if len(listed) > 1:
            raise UsageError(f"levels of {listed[0]} and of {listed[1]}: list the levels of one quantity")
        levels = given[listed[0]]
        if not levels or len(set(levels)) < len(levels):
            raise UsageError(f"{listed[0]}: {list(levels)} are no levels: give different ones, at least one")
        return [Budget(**{**given, listed[0]: level}) for level in sorted(levels)]


class AttackEntry(MethodEntry):
    """An attack as written in a study: what it is crafted on and talks to, its budgets and its seeds.

    `then` are attacks that go on with what it made; `grid` makes a column of every combination of settings.
    `oracle` says whether an attack that asks the target talks to the bare one or to the defended one of each
    cell; `talks_to` names one target for all, whose script the others are shown. An attack on gradients with
    `oracle: defended` is crafted on the defended target of each cell; `defenses` limits that to some of the
    study's, by their labels. `surrogate` may be the label of a training: then the attack is crafted on each
    target that it makes, and shown to that one alone.
    """

    surrogate: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    oracle: Literal["none", "undefended", "defended"] | None = None
    defenses: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    talks_to: str | None = None
    then: Annotated[tuple[Entry, ...], BeforeValidator(_several)] = ()
    grid: dict[str, Levels] = {}
    budget: BudgetEntry | None = None
    seeds: Annotated[int, Field(ge=1, le=100)] = 1


def _stacked(value: Any) -> Any:
    """A list stands for defenses around each other, outermost first."""
    listed = value if isinstance(value, list | tuple) else None
    inner = value.get("stack") if isinstance(value, dict) else listed
    if isinstance(inner, list | tuple):
        if not inner:
            raise PydanticCustomError("stack", "a stack has at least one defense; the bare target is `none`")
        if any(isinstance(each, list | tuple) for each in inner):
            raise PydanticCustomError("stack", "a stack is one list: write the inner one's defenses into it")
    return {"name": "", "stack": value} if listed is not None else _entry(value)


class DefenseEntry(MethodEntry):
    """A defense as written in a study, or several around each other: `[outer, inner]` or `stack: [...]`."""

    name: str = ""
    stack: Annotated[tuple[Entry, ...], Field(min_length=1, max_length=8)] | None = None

    @model_validator(mode="after")
    def _one_way(self) -> DefenseEntry:
        """A name, or a stack, which has no settings of its own."""
        if self.stack is None and not self.name:
            raise PydanticCustomError("defense", "a defense has a `name:`, or `stack:` with several")
        if self.stack is not None and (self.name or self.preset or self.model_extra):
            raise PydanticCustomError("stack", "settings stand with the members of `stack:`, not beside it")
        return self

    @property
    def shown(self) -> str:
        """Its name in tables where it has no label."""
        return self.name if self.stack is None else " + ".join(each.name for each in self.stack)


class BenchmarkEntry(MethodEntry):
    """A benchmark as written in a study, with the folder or zip of its release."""

    root: Path | None = None
    limit: Annotated[int, Field(ge=1)] | None = None


def shown_name(entry: MethodEntry) -> str:
    """The name of an entry in tables where it has no label."""
    return entry.shown if isinstance(entry, DefenseEntry) else entry.name


def _files(value: Any) -> Any:
    """A path, or a list of paths, stands for `{files: ...}`."""
    return {"files": value} if isinstance(value, str | list) else value


def _labels(value: Any) -> Any:
    """Labels as they are compared: a number or a truth value of YAML is a text."""
    return {str(k).strip().casefold(): v for k, v in value.items()} if isinstance(value, dict) else value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class ResponsesEntry(BaseModel):
    """Responses that exist already, as written in a study; see docs/responses.md."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    files: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
    label: str = ""
    format: str = ""
    columns: dict[str, str | None] = {}
    labels: Annotated[dict[str, Expected], BeforeValidator(_labels)] = {}
    model: str = ""
    attack: str = ""
    defense: str = ""
    expected: Expected | None = None
    plain: Listed = ()
    controls: Listed = ()
    error_markers: Listed = ()
    behaviors: str = ""
    images: str = ""
    encoding: str = ""
    on_bad_rows: Literal["error", "keep"] = "error"
    limit: Annotated[int, Field(ge=1)] | None = None


class DecodingEntry(BaseModel):
    """Generation settings; `null` leaves one to the provider, for models that reject it.

    `max_tokens` is 128 by default, 512 if any target is not the testbed's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = 128
    temperature: Annotated[float, Field(ge=0, le=10)] | None = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


class TrainEntry(BaseModel):
    """A training as written in a study: a recipe, what it trains, and on which benchmarks.

    `base` is a target or the label of an entry above: then each of its seeds is trained further. What comes
    out are targets of the study; with `checkpoints`, so is every checkpoint. `grid` makes a training of every
    combination of settings, see `study.train_grid`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipe: str
    base: str
    rows: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    label: str | None = None
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    checkpoints: bool = False
    leakage: Literal["refuse", "allow"] = "refuse"
    backend: Backend = "loop"
    grid: dict[str, Levels | Annotated[dict[str, Any], Field(min_length=1)]] = {}

    @property
    def shown(self) -> str:
        """Its label, by default the recipe's name."""
        return self.label or self.recipe.partition("(")[0]


class HypothesisEntry(BaseModel):
    """What a study is to show, as written in it; see `study.hypothesis`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    primary: str
    contrast: tuple[str, str]
    expect: Literal["greater", "less"]
    mde: Annotated[float, Field(gt=0, le=1)]
    benchmark: str | None = None
    target: str | None = None


class StudyFile(BaseModel):
    """The study file's schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    study: Annotated[str, Field(pattern=f"^{STUDY_NAME.pattern}$")]
    seed: Annotated[int, Field(ge=0, le=2**62)] = 0
    responses: Annotated[ResponsesEntry, BeforeValidator(_files)] | None = None
    benchmarks: Annotated[list[Annotated[BenchmarkEntry, BeforeValidator(_entry)]], Field(min_length=1)] = []
    targets: Annotated[list[str], Field(min_length=1)] = []
    train: list[TrainEntry] = []
    attacks: Annotated[list[Annotated[AttackEntry, BeforeValidator(_entry)]], Field(min_length=1)] = [
        AttackEntry(name="none")
    ]
    defenses: Annotated[list[Annotated[DefenseEntry, BeforeValidator(_stacked)]], Field(min_length=1)] = [
        DefenseEntry(name="none")
    ]
    judges: Annotated[list[Entry], Field(min_length=1)]
    roles: dict[str, Annotated[str, BeforeValidator(_role)]] = {}
    decoding: DecodingEntry = DecodingEntry()
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    limit: Annotated[int, Field(ge=1)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    timeout: Annotated[int, Field(ge=1, le=600)] | None = None
    gate: Limits | None = None
    hypothesis: HypothesisEntry | None = None
    quick: Annotated[dict[str, Any] | None, BeforeValidator(checked_block)] = None
