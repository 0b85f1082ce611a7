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
    """of a method; or its text form with settings, `pair(streams=2)`"""
    preset: str | None = None
    """named settings of the method; `sightline show NAME` lists them"""
    label: str | None = None
    """what tables call it; by default its name"""


Entry = Annotated[MethodEntry, BeforeValidator(_entry)]
Count = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(gt=0)]
Levels = Annotated[list[Any], Field(min_length=1)]


class BudgetEntry(BaseModel):
    """What one artifact may spend; a list of levels makes one column of each."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    forwards: Count | tuple[Count, ...] | None = None
    """forward passes"""
    backwards: Count | tuple[Count, ...] | None = None
    """backward passes"""
    flops: Amount | tuple[Amount, ...] | None = None
    """floating-point operations"""
    calls: Count | tuple[Count, ...] | None = None
    """questions to target and helpers together"""
    target_calls: Count | tuple[Count, ...] | None = None
    """questions to the target"""
    aux_calls: Count | tuple[Count, ...] | None = None
    """questions to helpers and the image source"""
    judge_calls: Count | tuple[Count, ...] | None = None
    """questions to the in-loop judge"""
    tokens: Count | tuple[Count, ...] | None = None
    """read and written by all of them"""
    seconds: Amount | tuple[Amount, ...] | None = None
    """on the clock"""

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
    """local models on whose gradients it is crafted, or the label of a training"""
    oracle: Literal["none", "undefended", "defended"] | None = None
    """which target an attack that asks one talks to: the bare one, or the defended one of each cell"""
    defenses: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """of the study, by label: the only ones that it adapts to"""
    talks_to: str | None = None
    """the one target that it talks to; the others are shown the same script"""
    then: Annotated[tuple[Entry, ...], BeforeValidator(_several)] = ()
    """attacks that go on with what it made, in order"""
    grid: dict[str, Levels] = {}
    """values of settings: a column for every combination"""
    budget: BudgetEntry | None = None
    """what one artifact may spend"""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """artifacts of each case, crafted from different seeds"""


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
    """of a defense; `none` is the bare target"""
    stack: Annotated[tuple[Entry, ...], Field(min_length=1, max_length=8)] | None = None
    """defenses around each other, outermost first, in place of `name`"""

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
    """folder, zip or table of the release, from the study's folder"""
    limit: Annotated[int, Field(ge=1)] | None = None
    """at most so many cases, of every category; in place of the study's"""


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
    """tables, files of other harnesses, patterns or folders"""
    label: str = ""
    """what tables call the source"""
    format: str = ""
    """`table`, `inspect`, `jailbreakbench`, `harmbench`, `pyrit`, `omnisafebench`; by default found out"""
    columns: dict[str, str | None] = {}
    """meanings to names of columns, where they are not guessed; null for none"""
    labels: Annotated[dict[str, Expected], BeforeValidator(_labels)] = {}
    """what the values of `expected` mean"""
    model: str = ""
    """for all rows that name none"""
    attack: str = ""
    """for all rows that name none"""
    defense: str = ""
    """for all rows that name none"""
    expected: Expected | None = None
    """of all rows that do not say it"""
    plain: Listed = ()
    """names of attacks that stand for none"""
    controls: Listed = ()
    """names of attacks that are controls"""
    error_markers: Listed = ()
    """texts that stand for no response"""
    behaviors: str = ""
    """HarmBench's table of behaviors"""
    images: str = ""
    """folder of the pictures that rows name"""
    encoding: str = ""
    """of text files that are not Unicode"""
    on_bad_rows: Literal["error", "keep"] = "error"
    """list them and stop, or keep each as an `error`"""
    limit: Annotated[int, Field(ge=1)] | None = None
    """at most so many cases"""


class DecodingEntry(BaseModel):
    """Generation settings; `null` leaves one to the provider, for models that reject it.

    `max_tokens` is 128 by default, 512 if any target is not the testbed's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = 128
    """new tokens of a reply; 512 if any target is not the testbed's; null: left to the provider"""
    temperature: Annotated[float, Field(ge=0, le=10)] | None = 0.0
    """0 is greedy; null: left to the provider, for models that reject it"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """share of the probability that is sampled from; 1 is not sent"""


class TrainEntry(BaseModel):
    """A training as written in a study: a recipe, what it trains, and on which benchmarks.

    `base` is a target or the label of an entry above: then each of its seeds is trained further. What comes
    out are targets of the study; with `checkpoints`, so is every checkpoint. `grid` makes a training of every
    combination of settings, see `study.train_grid`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    recipe: str
    """text form, such as `safety_sft(steps=60)`; `sightline list recipes`"""
    base: str
    """target, or the label of a training above, each of whose seeds is trained further"""
    rows: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """benchmarks in text form, `NAME(setting=value)=FOLDER`"""
    label: str | None = None
    """what tables call it; by default the recipe's name"""
    seeds: Annotated[int, Field(ge=1, le=100)] = 1
    """trainings from different seeds"""
    checkpoints: bool = False
    """whether every checkpoint is a target, too"""
    leakage: Literal["refuse", "allow"] = "refuse"
    """what is done if rows are also measured"""
    backend: Backend = "loop"
    """our own loop, or TRL's trainers"""
    grid: dict[str, Levels | Annotated[dict[str, Any], Field(min_length=1)]] = {}
    """values of settings, `rows` or `base`: a training for every combination"""

    @property
    def shown(self) -> str:
        """Its label, by default the recipe's name."""
        return self.label or self.recipe.partition("(")[0]


class HypothesisEntry(BaseModel):
    """What a study is to show, as written in it; see `study.hypothesis`."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    primary: str
    """measure: `asr`, `over_refusal`, `utility`, ..."""
    contrast: tuple[str, str]
    """names or labels of two attacks, two defenses or two targets: first against second"""
    expect: Literal["greater", "less"]
    """which way the first one differs"""
    mde: Annotated[float, Field(gt=0, le=1)]
    """least difference that matters, as a share"""
    benchmark: str | None = None
    """by label; by default the first"""
    target: str | None = None
    """by default the first"""
    attack: str | None = None
    """of two defenses or targets: under which they are compared; by default none"""


class StudyFile(BaseModel):
    """The study file's schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    study: Annotated[str, Field(pattern=f"^{STUDY_NAME.pattern}$")]
    """name; the run folder is `runs/NAME`"""
    seed: Annotated[int, Field(ge=0, le=2**62)] = 0
    """of whatever is drawn at random"""
    responses: Annotated[ResponsesEntry, BeforeValidator(_files)] | None = None
    """responses that exist already, in place of benchmarks, targets, attacks and defenses"""
    benchmarks: Annotated[list[Annotated[BenchmarkEntry, BeforeValidator(_entry)]], Field(min_length=1)] = []
    """what is asked"""
    targets: Annotated[list[str], Field(min_length=1)] = []
    """who answers: target strings (`scripted/FILE`, `replay/RUN`: beside this file); or `train`"""
    train: list[TrainEntry] = []
    """trainings whose models are targets"""
    attacks: Annotated[list[Annotated[AttackEntry, BeforeValidator(_entry)]], Field(min_length=1)] = [
        AttackEntry(name="none")
    ]
    """how it is asked; `none` is each case as it is"""
    defenses: Annotated[list[Annotated[DefenseEntry, BeforeValidator(_stacked)]], Field(min_length=1)] = [
        DefenseEntry(name="none")
    ]
    """behind what; `none` is the bare target"""
    judges: Annotated[list[Entry], Field(min_length=1)]
    """who decides; the first one's outcomes are the headline"""
    roles: dict[str, Annotated[str, BeforeValidator(_role)]] = {}
    """models that attacks ask, by role: `attacker`, `captioner`, `translator`, `in_loop_judge`, ..."""
    decoding: DecodingEntry = DecodingEntry()
    """how replies are sampled"""
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    """replies to each artifact"""
    limit: Annotated[int, Field(ge=1)] | None = None
    """at most so many cases of each benchmark, of every category"""
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    """requests to a target at once"""
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    """further tries of a request after a failure in passing"""
    timeout: Annotated[int, Field(ge=1, le=600)] | None = None
    """seconds after which one request to a provider is given up; by default 180"""
    gate: Limits | None = None
    """limits that `sightline gate` holds the run to"""
    hypothesis: HypothesisEntry | None = None
    """what the study is to show, held by its lock"""
    quick: Annotated[dict[str, Any] | None, BeforeValidator(checked_block)] = None
    """keys in place of the above for `sightline run --quick`; not `study`, `responses`"""
