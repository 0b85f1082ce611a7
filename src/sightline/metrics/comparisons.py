"""Two cells on the same samples: an attack beside none or a control, a defense beside none, judges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from sightline.metrics._columns import Columns, Ints, asked
from sightline.metrics.agreement import Confusion, JudgeCard, judge_card
from sightline.metrics.cells import CellId
from sightline.metrics.intervals import cluster_sums, holm, mcnemar, paired_difference
from sightline.metrics.rates import FLIP_RATE, MEASURES, OUTCOMES, Measure, Rate, count_codes, rate
from sightline.records import WITHHELD

Kind = Literal["attack", "control", "defense"]
_BY_CASE, _BY_ATTACKER = ("asr", "over_refusal", "utility", "accuracy"), ("steered",)
_OVER_CONTROLS = frozenset({"utility", "steered"})
_WITHHELD = np.array([outcome in WITHHELD for outcome in OUTCOMES])


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A cell minus its base on the same samples.

    `attack` is against none, `control` an attack against a control of the same setting (utility and steered
    replies), `defense` against none.

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
    controls: dict[tuple[str, ...], list[int]] = {}
    found = []
    order = sorted(range(len(ids)), key=lambda n: ids[n].place)
    for number in order:
        if ids[number].role == "control":
            controls.setdefault(ids[number].setting, []).append(number)
    for number in order:
        cell = ids[number]
        bases: list[tuple[Kind, int | None]] = []
        if cell.role != "plain":
            bases.append(("attack", plain.get(cell.setting)))
        if cell.role == "attack":
            bases += [("control", control) for control in controls.get(cell.setting, ())]
        if cell.defense not in undefended:
            bases.append(("defense", bare.get(replace(cell, defense=""))))
        for kind, base in bases:
            for name in _BY_ATTACKER if cell.reads == "attacker" else _BY_CASE:
                if base is None or (kind == "control" and name not in _OVER_CONTROLS):
                    continue
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
    chosen = [
        np.flatnonzero(asked(measure, columns.expected[columns.rows(n)])) + columns.starts[n]
        for n in (number, base)
    ]
    here, there = _paired(columns, *chosen)
    if not len(here):
        return None
    first, second = columns.outcome[here], columns.outcome[there]
    both = of[first] & of[second]
    a, b = counted[first[both]], counted[second[both]]
    groups = columns.group.codes[here]
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


def _paired(columns: Columns, rows: Ints, base: Ints) -> tuple[Ints, Ints]:
    """Rows with the row of the base on the same sample; of the same seed where the base has several."""
    samples, others = columns.sample[rows], columns.sample[base]
    if len(np.unique(columns.seed.codes[base])) > 1:
        width = len(columns.seed.texts)
        samples = samples * width + columns.seed.codes[rows]
        others = others * width + columns.seed.codes[base]
    order = np.argsort(others)
    if not len(order):
        return rows[:0], base
    place = np.minimum(np.searchsorted(others[order], samples), len(order) - 1)
    found = others[order][place] == samples
    return rows[found], base[order[place[found]]]


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
    """Every other judge against the judge `truth`: over all attacks together, then attack by attack.

    Judges that read an attacker's wish answer another question and have no card.
    """
    judges = list(dict.fromkeys(cell.judge for cell in ids if cell.reads == "case"))
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
                table = _confusion(columns, members, MEASURES[name])
                if table.any():
                    yield judge_card(table, judge=judge, truth=true, measure=MEASURES[name], attack=attack)


def _confusion(columns: Columns, members: Sequence[tuple[int, int]], measure: Measure) -> Confusion:
    size = len(OUTCOMES)
    total = np.zeros(size * size, dtype=np.int64)
    for mine, its in members:
        rows = columns.rows(mine)
        kept = asked(measure, columns.expected[rows])
        first, second = columns.outcome[rows][kept], columns.outcome[columns.rows(its)][kept]
        total += np.bincount(first * size + second, minlength=size * size)
    return total.reshape(size, size)
