"""A checked study as values: its benchmarks, attacks and defenses under the names that tables show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Literal

from sightline import registry
from sightline.budget import UNLIMITED, Budget
from sightline.cases import Oracle
from sightline.contracts import Attack, Benchmark, Decoding, Defense, Judge
from sightline.defending import NeedsHelpers
from sightline.responses.table import ResponseTable
from sightline.tuning import Backend, Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A benchmark of the study with the folder of its release."""

    label: str
    benchmark: Benchmark
    root: Path | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAttack:
    """A column of the study: an attack, and what it is crafted with.

    Attributes:
        label: the name that tables show.
        attack: the method.
        surrogates: target strings of the models that it is crafted on.
        series: the label of the study's entry, which may have several columns.
        budget: what one artifact may spend.
        seed_index: which of the series' seeds this is, from 0.
        oracle: whether the attack talks to a target while it is crafted, and to what.
        talks_to: target string of that target; '' for none.
        roles: target strings of the other models that it asks, by role.
        answered_by: the target and the defense that are shown what it makes: those whose recorded responses
            they are, or that it talked to (a defense of None is any); None for every target.
        applies_to: of recorded responses, the expectations of their cases; None for what the attack says.
    """

    label: str
    attack: Attack
    surrogates: tuple[str, ...] = ()
    series: str
    budget: Budget = UNLIMITED
    seed_index: int = 0
    oracle: Oracle = "none"
    talks_to: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)
    answered_by: tuple[str, str | None] | None = None
    applies_to: frozenset[str] | None = None

    @property
    def expectations(self) -> frozenset[str]:
        """Expectations of the cases that it is run on."""
        found: frozenset[str] = self.attack.card.applies_to if self.applies_to is None else self.applies_to
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDefense:
    """A defense of the study, or several around each other, outermost first; none: the undefended target."""

    label: str
    stack: tuple[Defense, ...] = ()

    @property
    def bare(self) -> bool:
        """Whether this is the undefended target."""
        return not self.stack

    @property
    def calls(self) -> int:
        """Target calls per answer, at most."""
        return prod(each.calls for each in self.stack)

    @property
    def helper_calls(self) -> int:
        """Calls to helpers of its defenses per answer, at most; outer ones may ask inner ones often."""
        found, asked = 0, 1
        for each in self.stack:
            found += asked * (each.helper_calls if isinstance(each, NeedsHelpers) else 0)
            asked *= each.calls
        return found

    def around(self, target: str) -> str:
        """The name of `target` behind this defense."""
        for each in reversed(self.stack):
            target = f"defended/{registry.spec(each)}:{target}"
        return target


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedTraining:
    """A training of the study; see `schema.TrainEntry`.

    `place` is where it stands in the file, `factors` are its values in the entry's grid, as labels show them.
    """

    label: str
    recipe: Recipe
    base: str
    on: tuple[Source, ...]
    seeds: int = 1
    checkpoints: bool = False
    leakage: Literal["refuse", "allow"] = "refuse"
    backend: Backend = "loop"
    place: str = ""
    factors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedRun:
    """One training that was carried out: a seed of a `NamedTraining` on one base.

    Attributes:
        label: of the training.
        role: `defense` or `attack`.
        base: target string of what was trained.
        seed: of the order of rows.
        target: target string of what came out.
        steps: updates.
        checkpoints: (step, target string) of those that are targets of the study, the last left out.
        rows: rows seen, repeats included.
        taught: different rows.
        cpu_seconds, tokens, flops: spent in training, FLOPs of updates alone.
        factors: its values in the grid of its entry.
    """

    label: str
    role: str
    base: str
    seed: int
    target: str
    steps: int
    checkpoints: tuple[tuple[int, str], ...]
    rows: int
    taught: int
    cpu_seconds: float
    tokens: int
    flops: float
    factors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypothesis:
    """What a study is to show; see `study.hypothesis`.

    Attributes:
        primary: the measure, one of `metrics.rates.MEASURES`.
        kind: `attack`, `defense` or `target`: what the two names of the contrast are.
        contrast: the first of these, minus the second.
        expect: `greater` or `less`.
        mde: the smallest difference that matters, a share.
        benchmark: '' for the first with cases of the measure's kind.
        target: of attacks and defenses; '' for the first.
        attack: of defenses and targets, under which they are compared; '' for none.
    """

    primary: str
    kind: str
    contrast: tuple[str, str]
    expect: str
    mde: float
    benchmark: str = ""
    target: str = ""
    attack: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A checked study: methods are constructed, names are known, labels are unique.

    `text`, `folder` and `limit` (the override) are what it was parsed from, so that a run folder can
    be resumed without the file; `places` says where each target stands in it. `timeout` is the
    number of seconds after which a request to a provider is given up. `recorded` are responses that exist
    already: then benchmarks, attacks, targets and defenses are what their table holds.
    `trainings` make further targets, `trained` says which, once they are made. `quick`: its quick form.
    """

    name: str
    seed: int = 0
    sources: tuple[Source, ...]
    attacks: tuple[NamedAttack, ...]
    targets: tuple[str, ...] = ()
    defenses: tuple[NamedDefense, ...] = ()
    judges: tuple[Judge, ...] = ()
    decoding: Decoding = field(default_factory=Decoding)
    epochs: int = 1
    concurrency: int = 64
    retries: int = 5
    timeout: int | None = None
    text: str = field(default="", repr=False)
    folder: Path = Path()
    limit: int | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    recorded: ResponseTable | None = field(default=None, repr=False, compare=False)
    trainings: tuple[NamedTraining, ...] = ()
    trained: tuple[TrainedRun, ...] = ()
    quick: bool = False
    hypothesis: Hypothesis | None = None
