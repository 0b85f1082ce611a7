"""Is a benchmark itself good? Items of finished runs: size, discrimination, near-duplicates, leaks.

The systems are the cells of the runs (target, attack, defense) as the first judge read them; an item is a
case, right if the measure counts it so. Nothing is asked anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sightline.cases import Case
from sightline.data_check.likeness import near_cases
from sightline.data_check.pictures import look_at
from sightline.errors import UsageError, nearest
from sightline.metrics._columns import CELL, Columns, asked, read_columns
from sightline.metrics.agreement import Share, share
from sightline.metrics.cells import CellId
from sightline.metrics.items import (
    FEWEST_SYSTEMS,
    Floats,
    SizeCurve,
    TwoPL,
    item_rest,
    size_for_ranking,
    two_pl,
)
from sightline.metrics.rates import MEASURES, OUTCOMES
from sightline.plain import case_of
from sightline.report.results import RELEASE_SHOWN, Results, entries, recorded_cases
from sightline.report.text import few
from sightline.run_folder import finished_lock
from sightline.store import Blobs

RIGHT = {"asr": False, "over_refusal": False, "utility": True, "accuracy": True, "abstention": True}
"""Measures whose items are looked at, and whether what the measure counts is right."""
WITHOUT_PICTURE = ("question_only", "text_only")
"""Controls that ask without the picture: questions, and requests."""
LOW = 0.3
"""A discrimination below this tells systems hardly apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A case: share of systems that get it right, item-rest correlation, parameters of the model if fitted.

    `near` are the cases of other groups that are nearly the same. What is undefined is None.
    """

    case: str
    group: str
    category: str
    right: float
    item_rest: float | None
    discrimination: float | None = None
    difficulty: float | None = None
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """Items with pictures that a target gets right without any, by category ('' for all)."""

    target: str
    category: str
    items: int
    right: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What runs say about one benchmark by one measure.

    Attributes:
        systems: name and share right of each, the best first.
        size: how many groups it takes to rank them.
        near, near_across: pairs of near-duplicates, and those between two groups; None if not looked for.
        notes: what cannot be estimated, and what was left out.
    """

    benchmark: str
    release: str
    measure: str
    judge: str
    systems: tuple[tuple[str, float], ...]
    groups: int
    items: tuple[Item, ...]
    size: SizeCurve
    near: int | None
    near_across: int | None
    leaks: tuple[Leak, ...]
    notes: tuple[str, ...]

    @property
    def reversed(self) -> tuple[Item, ...]:
        """Items on which strong and weak systems reverse: what people should read for wrong labels."""
        found = [each for each in self.items if each.item_rest is not None and each.item_rest < 0]
        return tuple(sorted(found, key=lambda each: each.item_rest or 0.0))


@dataclass(slots=True)
class _Matrix:
    """Scores by system and case of one benchmark, as they are read from runs."""

    judge: str
    folder: Path
    scores: dict[str, dict[str, float]]
    facts: dict[str, tuple[str, str]]
    bare: dict[str, tuple[str, str]]
    notes: list[str]
    twice: set[str]


def quality(
    folders: Sequence[Path],
    *,
    measure: str = "asr",
    benchmarks: Collection[str] = (),
    attacks: Collection[str] = (),
) -> tuple[Quality, ...]:
    """What finished runs say about benchmarks; one value for each with two systems or more.

    Args:
        folders: of the runs.
        measure: `asr`, `over_refusal`, `utility`, `accuracy` or `abstention`.
        benchmarks: labels; by default all.
        attacks: of which cells are used; by default all, controls included.

    Raises:
        UsageError: for an unknown measure, or if no benchmark has two systems with such cases.
    """
    if measure not in RIGHT:
        raise UsageError(nearest(measure, RIGHT, "measure of items"))
    found: dict[tuple[str, str], _Matrix] = {}
    for folder in folders:
        _read(folder, measure, attacks, found)
    chosen = {key: each for key, each in found.items() if not benchmarks or key[0] in benchmarks}
    made = [_quality(key, each, measure) for key, each in chosen.items() if len(each.scores) > 1]
    if not made:
        had = few(sorted({f"{name} ({len(each.scores)})" for (name, _), each in found.items()})) or "none"
        raise UsageError(
            f"no benchmark has two systems with cases of {measure!r}; benchmarks with such cases (systems): "
            f"{had}. Name more runs, or another --measure"
        )
    return tuple(made)


def _read(
    folder: Path, measure: str, attacks: Collection[str], found: dict[tuple[str, str], _Matrix]
) -> None:
    lock = finished_lock(folder)
    columns = read_columns(folder)
    judge = str(next((entry.get("id") for entry in entries(lock, "judges")), ""))
    for number, cell in enumerate(CellId(**dict(zip(CELL, each, strict=True))) for each in columns.cells):
        if cell.judge != judge or cell.scores != "case" or (attacks and cell.attack not in attacks):
            continue
        rows = _items(columns, number, measure)
        if not rows:
            continue
        key = (cell.benchmark, cell.release)
        matrix = found.setdefault(key, _Matrix(judge, folder, {}, {}, {}, [], set()))
        name = _system(cell)
        if matrix.judge != judge:
            matrix.notes.append(f"{folder}: left out, its first judge is another one")
        elif name in matrix.scores:
            matrix.twice.add(name)
        else:
            matrix.scores[name] = {case: score for case, _, _, score in rows}
            matrix.facts.update({case: (group, category) for case, group, category, _ in rows})
            if cell.defense == "none":
                matrix.bare[name] = (cell.target, cell.attack)


def _system(cell: CellId) -> str:
    """What stands for a cell: target, attack, defense and whatever else tells it from others."""
    parts = [cell.target, cell.attack, cell.defense]
    rest = (cell.crafted_on, cell.oracle, cell.budget, cell.seen, cell.made_on_target)
    return " | ".join([*parts, *(str(each) for each in rest if each)])


def _items(columns: Columns, number: int, measure: str) -> list[tuple[str, str, str, float]]:
    """(case, group, category, score) of a cell: the mean over tries and seeds, of scored rows."""
    asked_for = MEASURES[measure]
    rows = columns.rows(number)
    counted = np.array([outcome in asked_for.counted for outcome in OUTCOMES])
    of = np.array([outcome in asked_for.of for outcome in OUTCOMES])
    outcome = columns.outcome[rows]
    kept = asked(asked_for, columns.expected[rows]) & of[outcome]
    right = counted[outcome[kept]] == RIGHT[measure]
    cases, inverse = np.unique(columns.case.codes[rows][kept], return_inverse=True)
    totals = np.bincount(inverse, weights=right.astype(float), minlength=len(cases)) / np.bincount(inverse)
    first = np.unique(inverse, return_index=True)[1]
    groups, categories = columns.group.codes[rows][kept][first], columns.category.codes[rows][kept][first]
    return [
        (columns.case.texts[case], columns.group.texts[group], columns.category.texts[category], float(score))
        for case, group, category, score in zip(cases, groups, categories, totals, strict=True)
    ]


def _quality(key: tuple[str, str], matrix: _Matrix, measure: str) -> Quality:
    cases = sorted(matrix.facts)
    scores = np.array([[row.get(case, np.nan) for case in cases] for row in matrix.scores.values()])
    names, groups = np.unique([matrix.facts[case][0] for case in cases], return_inverse=True)
    notes = list(dict.fromkeys(matrix.notes))
    if matrix.twice:
        what = f"{len(matrix.twice)} systems are" if len(matrix.twice) > 1 else "one system is"
        notes.append(f"{what} in several runs, of which the first counts: {few(sorted(matrix.twice))}")
    fitted, told = _fitted(scores)
    notes += told
    known = _recorded(key, matrix, cases)
    near, told = _near(known, matrix.folder, cases)
    notes += told
    leaks, told = _leaks(known, matrix)
    notes += told
    with np.errstate(invalid="ignore"):
        shares = np.nanmean(scores, axis=1)
    across = [(one, other) for one, other in near or () if groups[one] != groups[other]]
    return Quality(
        benchmark=key[0],
        release=key[1],
        measure=measure,
        judge=matrix.judge,
        systems=tuple(sorted(zip(matrix.scores, shares.tolist(), strict=True), key=lambda each: -each[1])),
        groups=len(names),
        items=tuple(_of_items(cases, matrix, scores, fitted, across)),
        size=size_for_ranking(scores, groups),
        near=None if near is None else len(near),
        near_across=None if near is None else len(across),
        leaks=leaks,
        notes=tuple(notes),
    )


def _fitted(scores: Floats) -> tuple[dict[int, tuple[float, float]], list[str]]:
    """Discrimination and difficulty of each item that the model can be fitted to, by its place."""
    right = np.nansum(scores >= 0.5, axis=0)
    known = (~np.isnan(scores)).sum(axis=0)
    apart = np.flatnonzero((right > 0) & (right < known))
    items = scores.shape[1]
    alike = []
    if len(apart) < items:
        alike.append(f"{items - len(apart)} of {items} items: all systems get them alike")
    if len(scores) < FEWEST_SYSTEMS:
        what = f"{len(scores)} systems: no item parameters (the two-parameter model takes {FEWEST_SYSTEMS})"
        return {}, [*alike, what]
    if len(apart) < 2:
        return {}, [*alike, "no item parameters: fewer than two items tell systems apart"]
    found: TwoPL = two_pl(scores[:, apart])
    pairs = zip(found.discrimination.tolist(), found.difficulty.tolist(), strict=True)
    return dict(zip(apart.tolist(), pairs, strict=True)), alike


def _of_items(
    cases: Sequence[str],
    matrix: _Matrix,
    scores: Floats,
    fitted: dict[int, tuple[float, float]],
    near: Sequence[tuple[int, int]],
) -> list[Item]:
    beside: dict[int, set[str]] = defaultdict(set)
    for one, other in near:
        beside[one].add(cases[other])
        beside[other].add(cases[one])
    rest = item_rest(scores)
    return [
        Item(
            case=case,
            group=matrix.facts[case][0],
            category=matrix.facts[case][1],
            right=float(np.nanmean(scores[:, place])),
            item_rest=None if np.isnan(rest[place]) else float(rest[place]),
            discrimination=fitted[place][0] if place in fitted else None,
            difficulty=fitted[place][1] if place in fitted else None,
            near=tuple(sorted(beside[place])),
        )
        for place, case in enumerate(cases)
    ]


def _recorded(key: tuple[str, str], matrix: _Matrix, cases: Sequence[str]) -> dict[str, Case]:
    """Cases by id, from the case table of the first run that has the benchmark."""
    samples: list[dict[str, Any]] = [
        {"benchmark": key[0], "release": key[1][:RELEASE_SHOWN], "case_id": case} for case in cases
    ]
    with Results(matrix.folder) as results:
        found = recorded_cases(results, finished_lock(matrix.folder), samples)
    return {case: case_of(row) for (_, case), row in found.items()}


def _near(
    known: Mapping[str, Case], folder: Path, cases: Sequence[str]
) -> tuple[list[tuple[int, int]] | None, list[str]]:
    if any(case not in known for case in cases):
        return None, [f"near-duplicates: {folder} no longer holds all case records"]
    chosen = [known[case] for case in cases]
    blobs = Blobs(folder / "blobs")
    looks = {}
    for image in (image for case in chosen for image in case.conversation.images):
        if image.sha256 not in looks:
            looks[image.sha256] = look_at(blobs.read(image.sha256))
    return near_cases(chosen, looks), []


def _leaks(known: Mapping[str, Case], matrix: _Matrix) -> tuple[tuple[Leak, ...], list[str]]:
    """Of items with pictures, those that are right without any."""
    alone = {target: name for name, (target, attack) in matrix.bare.items() if attack in WITHOUT_PICTURE}
    shown = {case for case, each in known.items() if any(True for _ in each.conversation.images)}
    if not shown:
        return (), ["leak through text: no item has a picture of its own"]
    if not alone:
        return (), [f"leak through text: no run has a control without pictures ({few(WITHOUT_PICTURE)})"]
    found = []
    for target, name in alone.items():
        scores = {case: score for case, score in matrix.scores[name].items() if case in shown}
        categories = sorted({matrix.facts[case][1] for case in scores})
        for category in ["", *(categories if len(categories) > 1 else [])]:
            kept = [case for case in scores if category in ("", matrix.facts[case][1])]
            _, codes = np.unique([matrix.facts[case][0] for case in kept], return_inverse=True)
            right = np.array([scores[case] >= 0.5 for case in kept])
            found.append(
                Leak(
                    target=target,
                    category=category,
                    items=len(kept),
                    right=share(codes, right, np.ones(len(kept))),
                )
            )
    return tuple(found), []
