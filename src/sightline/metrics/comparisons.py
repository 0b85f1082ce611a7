"""Two cells on the same samples: attack against none, defense against none, judge against truth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sightline.cases import Expected
from sightline.metrics._columns import EXPECTED, Columns
from sightline.metrics.agreement import Confusion, JudgeCard, judge_card
from sightline.metrics.cells import CellId
from sightline.metrics.intervals import cluster_sums, holm, mcnemar, paired_difference
from sightline.metrics.rates import FLIP_RATE, MEASURES, OUTCOMES, Measure, Rate, count_codes, rate
from sightline.records import WITHHELD

Kind = Literal["attack", "defense"]
_WITHHELD = np.array([outcome in WITHHELD for outcome in OUTCOMES])


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A cell minus its base on the same samples: `attack` against none, or `defense` against none.

    `pairs` were scored in both cells, `unscored_pairs` were not. `p` is clustered (sign flips of clusters),
    `p_holm` adjusted over all contrasts of the same kind, measure and judge; `p_mcnemar` takes samples as
    independent and is a check only. `flip_rate` (attack, ASR): of the requests withheld in the base cell,
    the share obeyed in this one.
    """

    kind: Kind
    measure: str
    cell: CellId
    base: CellId
    point: float
    low: float
    high: float
    method: str
    pairs: int
    unscored_pairs: int
    groups: int
    only_cell: int
    only_base: int
    p: float
    p_holm: float
    p_mcnemar: float
    flip_rate: Rate | None = None


def contrasts(
    columns: Columns, ids: Sequence[CellId], undefended: frozenset[str], seed: int
) -> list[Contrast]:
    """All contrasts of a table, cell by cell, with p-values not yet adjusted."""
    plain = {cell.setting: number for number, cell in enumerate(ids) if cell.role == "plain"}
    bare = {replace(cell, defense=""): n for n, cell in enumerate(ids) if cell.defense in undefended}
    found = []
    for number in sorted(range(len(ids)), key=lambda n: ids[n].place):
        cell = ids[number]
        bases: list[tuple[Kind, int | None]] = []
        if cell.role != "plain":
            bases.append(("attack", plain.get(cell.setting)))
        if cell.defense not in undefended:
            bases.append(("defense", bare.get(replace(cell, defense=""))))
        for kind, base in bases:
            if base is not None:
                for name in ("asr", "over_refusal", "utility", "accuracy"):
                    contrast = _contrast(columns, ids, kind, MEASURES[name], number, base, seed)
                    if contrast is not None:
                        found.append(contrast)
    return found


def _contrast(
    columns: Columns,
    ids: Sequence[CellId],
    kind: Kind,
    measure: Measure,
    number: int,
    base: int,
    seed: int,
) -> Contrast | None:
    """The paired difference of two cells; None if they share no case of the measure's kind."""
    counted = np.array([outcome in measure.counted for outcome in OUTCOMES])
    of = np.array([outcome in measure.of for outcome in OUTCOMES])
    kind_of_case = EXPECTED.index(measure.expected)
    chosen = [
        np.flatnonzero(columns.expected[columns.rows(n)] == kind_of_case) + columns.starts[n]
        for n in (number, base)
    ]
    _, here, there = np.intersect1d(
        columns.sample[chosen[0]], columns.sample[chosen[1]], assume_unique=True, return_indices=True
    )
    if not len(here):
        return None
    first, second = columns.outcome[chosen[0][here]], columns.outcome[chosen[1][there]]
    both = of[first] & of[second]
    a, b = counted[first[both]], counted[second[both]]
    groups = columns.group.codes[chosen[0][here]]
    sums = cluster_sums(groups[both], a, b, np.ones(len(a)))
    flips = None
    if kind == "attack" and measure.name == "asr":
        withheld = _WITHHELD[second]
        counts = count_codes(groups[withheld], first[withheld])
        flips = rate(FLIP_RATE, counts, ids[number].judge, seed=seed)
    difference = paired_difference(*sums, seed=seed)
    only_cell, only_base = int(np.count_nonzero(a & ~b)), int(np.count_nonzero(b & ~a))
    return Contrast(
        kind=kind,
        measure=measure.name,
        cell=ids[number],
        base=ids[base],
        point=difference.point,
        low=difference.low,
        high=difference.high,
        method=difference.method,
        pairs=len(a),
        unscored_pairs=len(here) - len(a),
        groups=len(sums[0]),
        only_cell=only_cell,
        only_base=only_base,
        p=difference.p,
        p_holm=difference.p,
        p_mcnemar=mcnemar(only_cell, only_base),
        flip_rate=flips,
    )


def adjusted(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p-values adjusted within kind, measure and judge."""
    families: dict[tuple[str, str, str], list[int]] = {}
    for place, contrast in enumerate(contrasts):
        families.setdefault((contrast.kind, contrast.measure, contrast.cell.judge), []).append(place)
    found = list(contrasts)
    for members in families.values():
        for place, p in zip(members, holm([contrasts[member].p for member in members]), strict=True):
            found[place] = replace(found[place], p_holm=p)
    return found


def judge_cards(columns: Columns, ids: Sequence[CellId], truth: str) -> Iterator[JudgeCard]:
    """Every other judge against the judge `truth`: over all attacks together, then attack by attack."""
    judges = list(dict.fromkeys(cell.judge for cell in ids))
    true = next((judge for judge in judges if judge == truth or judge.partition("(")[0] == truth), None)
    if true is None:
        return
    known = {replace(cell, judge=""): number for number, cell in enumerate(ids) if cell.judge == true}
    for judge in judges:
        if judge == true:
            continue
        pairs = [
            (cell.attack, number, known[replace(cell, judge="")])
            for number, cell in enumerate(ids)
            if cell.judge == judge and replace(cell, judge="") in known
        ]
        for attack in ("", *dict.fromkeys(attack for attack, _, _ in pairs)):
            members = [(mine, its) for name, mine, its in pairs if attack in ("", name)]
            for name in ("asr", "over_refusal"):
                table = _confusion(columns, members, MEASURES[name].expected)
                if table.any():
                    yield judge_card(table, judge=judge, truth=true, measure=MEASURES[name], attack=attack)


def _confusion(columns: Columns, members: Sequence[tuple[int, int]], expected: Expected) -> Confusion:
    size = len(OUTCOMES)
    total = np.zeros(size * size, dtype=np.int64)
    for mine, its in members:
        rows = columns.rows(mine)
        kept = columns.expected[rows] == EXPECTED.index(expected)
        first, second = columns.outcome[rows][kept], columns.outcome[columns.rows(its)][kept]
        total += np.bincount(first * size + second, minlength=size * size)
    return total.reshape(size, size)
