"""What `sightline verify` found, for terminal and page: damaged files, and success form by form.

The page holds no reply, no request and no picture: only names, counts, rates and paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from markupsafe import Markup

from sightline import __version__
from sightline.cards import Role
from sightline.counting import plural, verb
from sightline.metrics.intervals import FEW_GROUPS, Difference
from sightline.metrics.survival import OF_KIND, Column, Survival, survival
from sightline.report.figures import POINT, RULE, SERIES, SHAPES, Plain, by_series, percent_axis, render
from sightline.report.page import render as render_page
from sightline.report.provenance import read_lock
from sightline.report.results import judge_names
from sightline.report.shown_names import ShownNames
from sightline.report.tables import EXACT_FROM
from sightline.report.text import EXPECTATIONS, as_percent, bracket, label, points
from sightline.sealed import check_table, damage_reported
from sightline.store import write_atomically
from sightline.study.verify.integrity import AttackFiles, Inspected
from sightline.study.verify.table import VERIFY_AGAIN
from sightline.study.verify.verification import Verified

PAGE = "verify.html"
MOST_DAMAGES = 200
MOST_PLOTS = 6
MOST_SERIES = 6
_BANDS: dict[Role, str] = {"attack": "attacks", "plain": "plain request", "control": "controls"}
_WIDTH, _HEIGHT = 760, 240


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A file with a fault, and how many artifacts have it; `example` is one of them."""

    fault: str
    file: str
    what: str
    cure: str
    artifacts: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A cell as it is printed; `change` and `over` are '' where there is nothing to compare with."""

    text: str
    count: str
    interval: str
    change: str
    over: str
    unscored: int
    bounds: str


@dataclass(frozen=True, slots=True)
class Line:
    """A column of the grid in all of its forms."""

    name: str
    role: Role
    shown: tuple[tuple[str, Shown], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One table: all of it shares target, defense, benchmark, kind of request (in `measure`) and judge."""

    target: str
    defense: str
    benchmark: str
    measure: str
    judge: str
    lines: tuple[Line, ...]
    few_groups: bool
    figure: Markup | None = None
    key: tuple[tuple[str, str], ...] = ()
    undrawn: int = 0

    @property
    def bands(self) -> list[tuple[str, list[Line]]]:
        """The lines under their roles, as the metrics order them."""
        return [
            (_BANDS[role], list(lines)) for role, lines in groupby(self.lines, key=lambda line: line.role)
        ]

    @property
    def title(self) -> str:
        """Target, defense and benchmark in one line."""
        defense = f", defense {self.defense}" if self.defense != "none" else ""
        return f"{self.target}{defense} on {self.benchmark}"


def damages(inspected: Inspected) -> list[Damage]:
    """The findings by file and fault, in the order in which they were met."""
    met: dict[tuple[str, str, str], list[str]] = {}
    cures: dict[tuple[str, str, str], str] = {}
    for finding in inspected.findings:
        key = (finding.fault.value, finding.file, finding.what)
        met.setdefault(key, []).append(f"{finding.claim.attack}, case {finding.claim.case['id']}")
        cures[key] = finding.cure
    return [
        Damage(
            fault=fault,
            file=file,
            what=what,
            cure=cures[fault, file, what],
            artifacts=len(who),
            example=who[0],
        )
        for (fault, file, what), who in met.items()
    ]


def files_told(inspected: Inspected) -> str:
    """One sentence on the state of the run's files."""
    total = sum(each.artifacts for each in inspected.attacks.values())
    bad = sum(each.faults for each in inspected.attacks.values())
    if bad:
        those = f"{bad:,} of {plural(total, 'artifact')}"
        return f"{those} {verb(bad, 'differ')} from what the run recorded."
    measured = sum(each.measured for each in inspected.attacks.values())
    norms = f"; norms of {measured:,} were measured again and match" if measured else ""
    everything = "The one artifact" if total == 1 else f"All {total:,} artifacts"
    return f"{everything} {verb(total, 'match')} what the run recorded{norms}."


def attack_lines(inspected: Inspected) -> list[tuple[str, ...]]:
    """One line per attack: name, artifacts, with pictures, largest l_inf, eps promised, failed, faults."""

    def line(each: AttackFiles) -> tuple[str, ...]:
        linf = "" if each.linf is None else f"{each.linf:g}"
        if each.unmeasured:
            linf = f"{linf}{' ' if linf else ''}({each.unmeasured:,} not measured)"
        eps = "" if each.eps is None else f"{each.eps.raw:g}"
        counts = (f"{each.artifacts:,}", f"{each.pictures:,}")
        return (each.attack, *counts, linf, eps, f"{each.failed:,}", f"{each.faults:,}")

    return [line(each) for each in inspected.attacks.values()]


def boards(verified: Verified, *, drawn: bool = False) -> list[Board]:
    """The tables of `verify.parquet`, those of its first judge first; with figures if `drawn`.

    Targets that the run trained have the names of its report.
    """
    names = ShownNames.of(read_lock(verified.folder))
    cells = survival(_rows(verified.table))
    found: list[Board] = []
    for place, members in groupby(cells, key=lambda cell: cell.column.place):
        found.append(_board(place, list(members), names, drawn=drawn and len(found) < MOST_PLOTS))
    judges = list(dict.fromkeys(board.judge for board in found))
    return sorted(found, key=lambda board: judges.index(board.judge))


def _rows(table: Path) -> Iterator[dict[str, Any]]:
    names = (
        "judge", "benchmark", "expected", "target", "defense", "role", "series", "crafted_on",
        "made_on_target", "seen", "case_id", "epoch", "craft_seed", "form", "group", "outcome", "scores",
    )  # fmt: skip
    check_table(table, VERIFY_AGAIN)
    with damage_reported(table, VERIFY_AGAIN), pq.ParquetFile(table) as file:
        there = [name for name in names if name in file.schema_arrow.names]  # `scores` came later
        for batch in file.iter_batches(columns=there):
            yield from batch.to_pylist()


def _board(place: tuple[str, ...], cells: Sequence[Survival], shown: ShownNames, *, drawn: bool) -> Board:
    judge, benchmark, expected, string, defense = place
    target = shown.within(string)
    forms = tuple(dict.fromkeys(cell.form for cell in cells))
    by_column: dict[Column, dict[str, Survival]] = {}
    for cell in cells:
        by_column.setdefault(cell.column, {})[cell.form] = cell
    lines = tuple(
        Line(_name(column), column.role, tuple((form, _shown(cell)) for form, cell in _telling(found)))
        for column, found in by_column.items()
    )
    meaning = cells[0].column.measure.meaning
    if expected and expected not in OF_KIND:
        meaning = f"{EXPECTATIONS[expected]}s complied with"
    names = [_name(column) for column in list(by_column)[:MOST_SERIES]]
    return Board(
        target=target,
        defense=defense,
        benchmark=benchmark,
        measure=meaning,
        judge=judge,
        lines=lines,
        few_groups=any(cell.rate.few_groups for cell in cells),
        figure=_drawing(cells, forms, label(f"Success by form, {target} on {benchmark}", 160))
        if drawn
        else None,
        key=tuple(zip(map(label, names), SERIES, strict=False)),
        undrawn=len(by_column) - len(names),
    )


def _telling(found: Mapping[str, Survival]) -> list[tuple[str, Survival]]:
    """The forms of a column; only the first where nothing of it was scored: then there is none to lose."""
    forms = list(found.items())
    return forms if any(cell.rate.n for cell in found.values()) else forms[:1]


def _name(column: Column) -> str:
    """The attack with what is to be known of it: which model it was made on, and whether it saw the cases."""
    notes = []
    if column.own is not None:
        notes.append("crafted on the target" if column.own else "transfer")
    if column.seen is not None:
        notes.append("training cases" if column.seen else "held-out cases")
    return f"{column.attack} ({', '.join(notes)})" if notes else column.attack


def _shown(cell: Survival) -> Shown:
    rate, exact = cell.rate, cell.rate.n >= EXACT_FROM
    unscored = rate.unscored
    return Shown(
        text="none scored" if rate.point is None else as_percent(rate.point, exact=exact),
        count=f"{rate.k:,.0f}/{rate.n:,}",
        interval="" if rate.point is None else bracket(rate.low, rate.high, exact=exact),
        change=_told(cell.change, cell.pairs, exact),
        over=f"{_told(cell.over, cell.over_pairs, exact)} ({cell.control})" if cell.over_pairs else "",
        unscored=unscored,
        bounds=f"{as_percent(rate.lower_bound)} to {as_percent(rate.upper_bound)}" if unscored else "",
    )


def _told(difference: Difference | None, pairs: int, exact: bool) -> str:
    """A difference in percentage points with its interval; '' if nothing could be paired."""
    if difference is None or not pairs:
        return ""
    low, high = points(difference.low, exact=exact), points(difference.high, exact=exact)
    return f"{points(difference.point, exact=exact)} [{low}, {high}]"


def _drawing(cells: Sequence[Survival], forms: Sequence[str], description: str) -> Markup:
    """Success (y) with 95 % intervals by form (x), attacks and controls side by side."""
    columns = list(dict.fromkeys(cell.column for cell in cells))[:MOST_SERIES]
    names = [label(_name(column)) for column in columns]
    values = [
        {
            "form": label(cell.form),
            "series": label(_name(cell.column)),
            "at": 100 * cell.rate.point,
            "low": 100 * cell.rate.low,
            "high": 100 * cell.rate.high,
        }
        for cell in cells
        if cell.column in columns and cell.rate.point is not None
    ]
    x: Plain = {
        "field": "form",
        "type": "nominal",
        "title": None,
        "sort": list(map(label, forms)),
        "scale": {"domain": list(map(label, forms)), "paddingInner": 0.3},
        "axis": {"labelAngle": 0},
    }
    apart: Plain = {"field": "series", "type": "nominal", "sort": names, "scale": {"domain": names}}
    y = percent_axis("at", "success, %")
    shared = {"x": x, "xOffset": apart, "y": y, "color": by_series(names, SERIES)}
    ends = {"y": {**y, "field": "low"}, "y2": {"field": "high"}}
    layers = [
        {"mark": RULE, "encoding": {**shared, **ends}},
        {"mark": {**POINT, "size": 60}, "encoding": {**shared, "shape": by_series(names, SHAPES)}},
    ]
    return render(
        {"width": _WIDTH, "height": _HEIGHT, "data": {"values": values}, "layer": layers}, description
    )


def write(verified: Verified, *, folder: Path | None = None) -> Path:
    """Write `verify.html` into the run's folder (or `folder`) and return its path."""
    shown = boards(verified, drawn=True)
    found = damages(verified.inspected)
    judges = list(dict.fromkeys(board.judge for board in shown))
    values = {
        "title": verified.study,
        "version": __version__,
        "files_told": files_told(verified.inspected),
        "damages": found[:MOST_DAMAGES],
        "damages_left": max(0, len(found) - MOST_DAMAGES),
        "attacks": attack_lines(verified.inspected),
        "notes": [*verified.notes, *_cautions(shown)],
        "boards": shown,
        "judges": judges,
        "judge_names": judge_names(judges, {}),
    }
    path = (folder or verified.folder) / PAGE
    write_atomically(path, render_page(values, "verify.html.j2").encode("utf-8", "replace"))
    return path


def _cautions(shown: Sequence[Board]) -> list[str]:
    found = []
    if any(board.few_groups for board in shown):
        found.append(
            f"fewer than {FEW_GROUPS} groups: intervals are wide and may not generalize to other groups"
        )
    if not any(line.role == "control" for board in shown for line in board.lines):
        found.append("no control with a picture: what remains cannot be attributed to an attack")
    return found
