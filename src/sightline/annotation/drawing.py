"""Draw the plan of an annotation from a run: which items, with which chance, for whom, in which order.

What is drawn follows from the run, the settings and the seed alone; only the ids of items also need the
secret of the annotation, so that a rater who has the run cannot tell which sample an item is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, TypedDict

from sightline.annotation.events import checked_name
from sightline.annotation.items import DEFAULT_STRATA, TRUTH_JUDGE, Candidate, population
from sightline.annotation.places import with_places
from sightline.annotation.plan import Header, Plan, Planned, planned
from sightline.digests import digest
from sightline.errors import UsageError, require
from sightline.metrics.sample_design import FLOOR, Drawn, by_card, draw, expected_spread, extend
from sightline.rng import numpy_rng
from sightline.run_folder import LOCK, WRITE_AGAIN, lock_digest, read_lock
from sightline.sealed import damage_reported

KEY = "annotation"
GOOD_JUDGE = 0.9
"""Sensitivity and specificity that are supposed of the judge, to share out items; no estimate rests on it."""
SHORT_ID = 12
Name = Callable[..., str]
"""Makes an id of a purpose and parts that nobody without the secret can compute; see `secret.Secret.name`."""


class Design(TypedDict):
    """What `draw` and `extend` are told alike."""

    spreads: Mapping[object, float]
    per_group: int
    floor: int
    seed: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to draw.

    Attributes:
        n: items to draw.
        strata: columns that make a stratum (`items.STRATA`).
        raters: names.
        seed: of all draws; None takes the study's.
        per_group: most items of one group.
        repeats: share of a rater's items that come a second time.
        gold: items with known truth, as a share of n.
    """

    n: int = 400
    strata: tuple[str, ...] = DEFAULT_STRATA
    raters: tuple[str, ...] = ("r1", "r2")
    seed: int | None = None
    per_group: int = 2
    repeats: float = 0.05
    gold: float = 0.05

    def __post_init__(self) -> None:
        require(self.n >= 1, "n", self.n, "1 or more")
        require(self.per_group >= 1, "per_group", self.per_group, "1 or more")
        require(0 <= self.repeats <= 0.5, "repeats", self.repeats, "a share in 0..0.5")
        require(0 <= self.gold <= 0.5, "gold", self.gold, "a share in 0..0.5")
        if not self.raters or len(set(self.raters)) < len(self.raters):
            raise UsageError(
                f"raters {', '.join(self.raters) or '(none)'}: give different names, at least one"
            )


def rater_names(text: str) -> tuple[str, ...]:
    """Raters as written: their names joined by commas, or how many there are (`r1`, `r2`, ...).

    Raises:
        UsageError: for a name that is no plain one, or no raters.
    """
    number = text.strip()
    if number.isascii() and number.isdigit():
        require(1 <= int(number) <= 100, "raters", int(number), "1 to 100")
        return tuple(f"r{each}" for each in range(1, int(number) + 1))
    return tuple(checked_name(name.strip()) for name in text.split(",") if name.strip())


class Drawing(NamedTuple):
    """A plan, and what the coordinator should know of it."""

    plan: Plan
    notes: tuple[str, ...]


class Asked(NamedTuple):
    """Digests of what raters are asked, and the round."""

    guideline: str
    questions: str
    round: int = 1


def draw_plan(run: Path, wanted: Wanted, asked: Asked, name: Name) -> Drawing:
    """The first phase of a plan.

    Raises:
        UsageError: if the run is not finished, has nothing to read, or n does not reach every stratum.
    """
    found = _Found(run, wanted.strata, wanted.seed, name)
    drawn = draw(found.groups, found.strata, wanted.n, **found.design(wanted))
    gold = _gold(found, {each.row for each in drawn}, wanted, 1)
    return _phase(found, Plan((), {}), drawn, gold, wanted, asked)


def extend_plan(run: Path, plan: Plan, wanted: Wanted, name: Name) -> Drawing:
    """A plan with another phase of `wanted.n` items; earlier items stay, with new chances.

    Strata and seed are those of the first phase, the round is that of the last.

    Raises:
        UsageError: as `draw_plan`; if the run no longer has the replies that were drawn from, or strata have
            changed. Judges that were added to the run change nothing.
    """
    first, last = plan.headers[0], plan.header
    found = _Found(run, first.strata, first.seed, name)
    places = {each.samples[0]: row for row, each in enumerate(found.population.items)}
    if not found.is_of(plan, places):
        raise UsageError(
            f"{run}: its replies, or their strata ({', '.join(first.strata)}), have changed since the plan "
            "was drawn, and chances no longer hold: move the folder `annotation` elsewhere, and draw anew"
        )
    rows = {places[each.samples[0]] for each in plan.items.values()}
    earlier = [
        Drawn(places[each.samples[0]], each.prob, each.phase)
        for each in plan.items.values()
        if each.kind == "sample"
    ]
    drawn = extend(earlier, found.groups, found.strata, wanted.n, **found.design(wanted))
    gold = _gold(found, {*rows, *(each.row for each in drawn)}, wanted, len(plan.headers) + 1)
    asked = Asked(last.guideline, last.questions, last.round)
    return _phase(found, plan, drawn, gold, wanted, asked)


def next_round(plan: Plan, asked: Asked) -> Plan:
    """A plan whose items are all asked again, under another guideline or other questions.

    Raises:
        UsageError: if the round is not the next one, or nothing has changed.
    """
    last = plan.header
    if asked.round != last.round + 1:
        raise UsageError(
            f"--round {asked.round}: the plan is in round {last.round}; the next is {last.round + 1}"
        )
    if (asked.guideline, asked.questions) == (last.guideline, last.questions):
        raise UsageError(
            f"round {last.round} has this very guideline and these questions: change guideline.md in the "
            "folder `annotation`, or --questions, before you ask everything again"
        )
    fresh = replace(last, phase=last.phase + 1, n=0, **asked._asdict())
    return replace(plan, headers=(*plan.headers, fresh))


class _Found:
    """The population of a run in columns, with ids of its strata and groups."""

    def __init__(self, run: Path, strata: Sequence[str], seed: int | None, name: Name) -> None:
        locked = read_lock(run)
        self.population = population(run, locked, strata)
        if not self.population.items:
            raise UsageError(f"{run}: there is no reply to read: {self.population.unread:,} samples failed")
        with damage_reported(run / LOCK, WRITE_AGAIN):
            self.run = lock_digest(locked)
        self.name, self.columns = name, tuple(strata)
        self.seed = int(locked.get("seed") or 0) if seed is None else seed
        self.groups = [each.cluster for each in self.population.items]
        self.strata = [each.stratum for each in self.population.items]
        self.ids = {each: name("stratum", *each)[:SHORT_ID] for each in dict.fromkeys(self.strata)}
        self.sizes = dict(Counter(self.ids[each] for each in self.strata))

    @property
    def digest(self) -> str:
        """Of all that chances rest on: items, their strata and groups."""
        items = self.population.items
        return digest([(each.samples, each.digest, each.stratum, each.cluster) for each in items])

    def is_of(self, plan: Plan, places: Mapping[str, int]) -> bool:
        """Whether a plan was drawn from this; `places`: rows by their first sample."""
        first = plan.headers[0]
        if first.drawn_from:
            return first.drawn_from == self.digest
        return self.sizes == first.population and all(  # a plan of an earlier version
            each.samples[0] in places and each.stratum in ("", self.ids[self.strata[places[each.samples[0]]]])
            for each in plan.items.values()
        )

    @property
    def rows(self) -> dict[str, int]:
        """Samples by stratum id."""
        found: Counter[str] = Counter()
        for each in self.population.items:
            found[self.ids[each.stratum]] += len(each.samples)
        return dict(found)

    @property
    def names(self) -> dict[str, str]:
        """What a stratum id stands for."""
        return {
            key: ", ".join(
                f"{column}={value or '-'}" for column, value in zip(self.columns, each, strict=True)
            )
            for each, key in self.ids.items()
        }

    @property
    def spreads(self) -> dict[object, float]:
        """Expected standard deviation of labels by stratum, from the verdicts of its items."""
        verdicts = Counter(each.verdict for each in self.population.items)
        by_verdict = expected_spread(_prevalence(verdicts))
        sums = dict.fromkeys(self.ids, 0.0)
        for each in self.population.items:
            sums[each.stratum] += by_verdict[each.verdict]
        return {stratum: total / self.sizes[self.ids[stratum]] for stratum, total in sums.items()}

    def design(self, wanted: Wanted) -> Design:
        """How rows are drawn."""
        return {
            "spreads": self.spreads,
            "per_group": wanted.per_group,
            "floor": self.floor(wanted),
            "seed": self.seed,
            "key": KEY,
        }

    def floor(self, wanted: Wanted) -> int:
        """Least number of a stratum: less than usual where strata are many, but one."""
        return max(1, min(FLOOR, wanted.n // len(self.sizes)))

    def planned(
        self, each: Candidate, phase: int, *, prob: float = 0.0, truth: str = "", again: bool = False
    ) -> Planned:
        """An item of the plan; with a truth, one for attention; `again`: the plan has it for that already."""
        purpose = "item again" if again else "item"
        return Planned(
            item=self.name(purpose, str(self.seed), each.content, each.shown, each.benchmark, each.case),
            kind="gold" if truth else "sample",
            prob=prob,
            stratum="" if truth else self.ids[each.stratum],
            group=self.name("group", *each.cluster)[:SHORT_ID],
            samples=each.samples,
            benchmark=each.benchmark,
            case=each.case,
            content=each.digest,
            truth=truth,
            hazard=each.hazard,
            looks_unsafe=each.looks_unsafe,
            phase=phase,
        )


def _prevalence(verdicts: Mapping[str, int]) -> dict[object, float | None]:
    """The share that people would label as the verdict's positives, by verdict, for a judge as supposed."""
    found: dict[object, float | None] = {"unscored": None}
    for positive, negatives in (("unsafe", "safe"), ("refused", "safe")):
        number = verdicts.get(positive, 0)
        seen = number / max(1, number + verdicts.get(negatives, 0))
        truly = min(0.99, max(0.01, (seen + GOOD_JUDGE - 1) / (2 * GOOD_JUDGE - 1)))
        shares = by_card(truly, GOOD_JUDGE, GOOD_JUDGE)
        found[positive] = shares[True]
        found.setdefault("safe", shares[False])
    return found


def _phase(
    found: _Found, plan: Plan, drawn: Sequence[Drawn], gold: Sequence[int], wanted: Wanted, asked: Asked
) -> Drawing:
    """The plan with a phase more: of the drawn rows those that it lacks, and rows of known truth.

    A row that was asked for attention can be drawn: it becomes another item, which is asked once more.
    """
    number = len(plan.headers) + 1
    items, taken = found.population.items, {each.samples[0]: each.kind for each in plan.items.values()}
    taken |= {each.samples[0]: each.kind for each in plan.items.values() if each.kind == "sample"}
    chances = {items[each.row].samples[0]: each.prob for each in drawn}
    kept = [
        replace(each, prob=chances[each.samples[0]], before=(*each.before, each.prob))
        if each.kind == "sample"
        else each
        for each in plan.items.values()
    ]
    fresh = [
        found.planned(items[each.row], number, prob=each.prob, again=items[each.row].samples[0] in taken)
        for each in drawn
        if taken.get(items[each.row].samples[0]) != "sample"
    ]
    known = [found.planned(items[row], number, truth=items[row].truth) for row in gold]
    placed = with_places([*fresh, *known], plan, wanted.raters, wanted.repeats, seed=found.seed)
    header = Header(
        phase=number,
        run=found.run,
        seed=found.seed,
        n=wanted.n,
        strata=found.columns,
        raters=wanted.raters,
        guideline=asked.guideline,
        questions=asked.questions,
        round=asked.round,
        population=found.sizes,
        rows=found.rows,
        names=found.names,
        unread=found.population.unread,
        drawn_from=found.digest,
    )
    notes = [
        *_new_raters(plan, wanted),
        *_short(found, fresh, wanted),
        *_about_gold(found, known, wanted),
        *placed.notes,
        *_unread(found),
    ]
    return Drawing(Plan((*plan.headers, header), planned([*kept, *placed.items])), tuple(notes))


def _gold(found: _Found, taken: Container[int], wanted: Wanted, phase: int) -> list[int]:
    """Rows of known truth that are not drawn, each truth in turn, one of a group where that suffices."""
    number = round(wanted.gold * wanted.n)
    rows: dict[str, list[int]] = {}
    for row, each in enumerate(found.population.items):
        if each.truth and row not in taken:
            rows.setdefault(each.truth, []).append(row)
    rng = numpy_rng("annotation gold", found.seed, phase)
    lists = [[own[at] for at in rng.permutation(len(own))] for _, own in sorted(rows.items())]
    turns = [row for together in zip_longest(*lists) for row in together if row is not None]
    first: dict[tuple[str, str], int] = {}
    for row in turns:
        first.setdefault(found.groups[row], row)
    apart = set(first.values())
    return [*(row for row in turns if row in apart), *(row for row in turns if row not in apart)][:number]


def _new_raters(plan: Plan, wanted: Wanted) -> Iterator[str]:
    if not plan.headers:
        return
    for name in wanted.raters:
        if name not in plan.raters:
            known = ", ".join(plan.raters)
            yield f"{name} is a new rater, who gets items of this phase alone; the plan had {known}"
    if left := [name for name in plan.raters if name not in wanted.raters]:
        yield f"no items of this phase go to {', '.join(left)}"


def _short(found: _Found, fresh: Sequence[Planned], wanted: Wanted) -> Iterator[str]:
    if found.floor(wanted) < FLOOR:
        yield (
            f"strata get {found.floor(wanted)} items at least, not {FLOOR}: {len(found.sizes):,} strata are "
            f"many for {wanted.n:,} items; draw more, or name fewer columns with --strata"
        )
    if len(fresh) < wanted.n:
        yield (
            f"{len(fresh):,} items drawn, not {wanted.n:,}: there are no more different replies with at most "
            f"{wanted.per_group} of a group (--per-group)"
        )


def _about_gold(found: _Found, known: Sequence[Planned], wanted: Wanted) -> Iterator[str]:
    number = round(wanted.gold * wanted.n)
    if number and not found.population.exact:
        yield (
            "no items with known truth: only the testbed has it, where the study's judges include "
            f"{TRUTH_JUDGE}; attention is not checked"
        )
    elif len(known) < number:
        yield f"{len(known):,} items with known truth, not {number:,}: the others are drawn, or less sure"


def _unread(found: _Found) -> Iterator[str]:
    if found.population.unread:
        yield f"{found.population.unread:,} samples have no reply to read: their calls failed"
