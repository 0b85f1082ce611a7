"""The plan of an annotation: items drawn from a run, the chance of each, and the order for each rater.

A plan is one file of sealed lines: a `Header` for each phase, followed by the `Planned` items of it. A later
phase adds items with chances of their own; nothing is drawn again. Raters are never shown the file: it tells
strata, groups and truths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import orjson

from sightline.errors import DamageError, UsageError
from sightline.sealed import checked_line, damage_reported, sealed_line
from sightline.store import write_atomically

FOLDER = "annotation"
PLAN = "plan.jsonl"
FORMAT = "sightline annotation plan 1"
AGAIN = (
    "restore the file from a copy, or delete the folder `annotation` and draw again (answers would be lost)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a phase was drawn with.

    Attributes:
        phase: from 1.
        run: digest of the run's lock as it was then.
        drawn_from: digest of what could be drawn, with strata and groups; '' in earlier versions.
        seed: of all draws.
        n: items asked for.
        strata: names of the columns that make a stratum.
        raters: names, in the order of their assignment.
        guideline: digest of `guideline.md`; questions: digest of `questions.yaml`.
        round: a changed guideline starts a new one.
        population: items that could have been drawn, by stratum id; rows: samples behind them.
        names: what a stratum id stands for, for the coordinator: `attack=typographic, verdict=unsafe`.
        unread: samples that could not be drawn, since there is no reply to read.
    """

    phase: int
    run: str
    seed: int
    n: int
    strata: tuple[str, ...]
    raters: tuple[str, ...]
    guideline: str
    questions: str
    round: int = 1
    population: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    unread: int = 0
    drawn_from: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One item of the plan.

    Attributes:
        item: its id, which reveals nothing.
        kind: `sample` of the run, or `gold`: an item with known truth, for attention.
        prob: the chance with which it was drawn, in (0, 1]; 0 for gold, which stands for nothing else.
        before: what `prob` was after each earlier draw, from its own on.
        stratum: id of its stratum; `group`: id of its cluster.
        samples: keys of all samples of the run with this very request and reply; the first is shown.
        benchmark: label of the case's benchmark; `case`: its id there.
        content: digest of request and reply as they were drawn; '' in plans of earlier versions.
        order: place in each rater's list, from 0; who is not in it is not asked.
        repeats: place at which the same rater sees it a second time.
        truth: outcome of a gold item, '' else.
        hazard: hazard code, for opting out; '' if unknown.
        looks_unsafe: whether a judge called the reply unsafe (for limits of exposure).
        phase: of the header under which it stands.
    """

    item: str
    kind: Literal["sample", "gold"] = "sample"
    prob: float = 0.0
    before: tuple[float, ...] = ()
    stratum: str = ""
    group: str = ""
    samples: tuple[str, ...] = ()
    benchmark: str = ""
    case: str = ""
    content: str = ""
    order: Mapping[str, int] = field(default_factory=dict)
    repeats: Mapping[str, int] = field(default_factory=dict)
    truth: str = ""
    hazard: str = ""
    looks_unsafe: bool = False
    phase: int = 1


class Place(NamedTuple):
    """A place in a rater's list: an item, and whether it is shown for the second time."""

    item: str
    repeat: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """All phases of a plan; `items` by id."""

    headers: tuple[Header, ...]
    items: Mapping[str, Planned]

    @property
    def header(self) -> Header:
        """Of the last phase."""
        return self.headers[-1]

    @property
    def raters(self) -> tuple[str, ...]:
        """All raters, first phase first."""
        return tuple(dict.fromkeys(name for header in self.headers for name in header.raters))

    def count(self, rater: str) -> int:
        """How many places a rater's list has."""
        every = self.items.values()
        return sum(rater in each.order for each in every) + sum(rater in each.repeats for each in every)

    def places(self, rater: str) -> list[Place]:
        """A rater's list in order.

        Raises:
            UsageError: for a rater whom the plan does not know.
        """
        if rater not in self.raters:
            raise UsageError(f"the plan has no rater {rater!r}; it has {', '.join(self.raters)}")
        found = [(each.order[rater], each.item, False) for each in self.items.values() if rater in each.order]
        found += [
            (each.repeats[rater], each.item, True) for each in self.items.values() if rater in each.repeats
        ]
        return [Place(item, repeat) for _, item, repeat in sorted(found)]


def write_plan(folder: Path, plan: Plan) -> None:
    """Write `plan.jsonl` of an annotation folder, whole or not at all, readable by its owner alone."""
    lines: list[Any] = []
    for header in plan.headers:
        lines.append({"format": FORMAT, **asdict(header)})
        lines += [each for each in plan.items.values() if each.phase == header.phase]
    write_atomically(folder / PLAN, b"".join(map(sealed_line, lines)), private=True)


def read_plan(folder: Path) -> Plan:
    """Read `plan.jsonl` of an annotation folder.

    Raises:
        UsageError: if there is none.
        DamageError: if it is damaged, naming the line.
    """
    path = folder / PLAN
    if not path.is_file():
        raise UsageError(f"{path} is missing: draw a sample first, with `sightline annotate RUN sample`")
    headers: list[Header] = []
    items: dict[str, Planned] = {}
    with damage_reported(path, AGAIN), path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            row = _row(path, number, line)
            if row.pop("format", None) == FORMAT:
                names = {name: tuple(row[name]) for name in ("strata", "raters")}
                headers.append(Header(**{**row, **names}))
            elif headers:
                items[row["item"]] = Planned(
                    **{**row, "samples": tuple(row["samples"]), "before": tuple(row.get("before", ()))}
                )
            else:
                raise DamageError(path, "its first line is no header", AGAIN)
    if not headers:
        raise DamageError(path, "is empty", AGAIN)
    return Plan(tuple(headers), items)


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return dict(orjson.loads(checked_line(line)))
    except ValueError as broken:
        raise DamageError(path, f"line {number} is damaged ({broken})", AGAIN) from None


def planned(items: Iterable[Planned]) -> dict[str, Planned]:
    """Items by id."""
    return {each.item: each for each in items}
