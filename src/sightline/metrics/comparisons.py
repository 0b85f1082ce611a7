"""Two cells on the same samples: attack and no attack or a control, defense and no defense, two judges."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from sightline.metrics._columns import Columns, asked
from sightline.metrics.agreement import BothRead, JudgeCard, judge_card
from sightline.metrics.cells import CellId, is_control_of, means_of
from sightline.metrics.contrast import Contrast, Kind, heading
from sightline.metrics.intervals import bh, holm
from sightline.metrics.paired_cells import Ask, Pairs
from sightline.metrics.rates import MEASURES, Measure

_OVER_CONTROLS = frozenset({"asr", "disclosure", "utility", "attacker_goal"})
_OVER_UNAWARE = frozenset({"asr", "disclosure", "attacker_goal"})
_ONLY = {"control": _OVER_CONTROLS, "unaware": _OVER_UNAWARE}
_LOWERED = frozenset({"utility", "accuracy"})
_Rule = Literal["all", "marked", "strongest"]
"""Which of some contrasts are told: all, all with the strongest marked, the strongest alone."""


def contrasts(columns: Columns, ids: Sequence[CellId], undefended: frozenset[str]) -> list[Contrast]:
    """All contrasts of a table, cell by cell, with p-values adjusted within their families."""
    plain = {(cell.setting, cell.seen): n for n, cell in enumerate(ids) if cell.role == "plain"}
    bare = {_undefended(cell): n for n, cell in enumerate(ids) if cell.defense in undefended}
    controls: dict[tuple[str, ...], list[int]] = {}
    order = sorted(range(len(ids)), key=lambda n: ids[n].place)
    unaware = _unaware(ids, order, undefended)
    for number in order:
        if ids[number].role == "control":
            controls.setdefault(ids[number].setting, []).append(number)
    pairs = Pairs(columns, ids)

    def asked_of(kind: Kind, number: int, bases: Iterable[int | None]) -> list[Ask]:
        only = _ONLY.get(kind)
        names = [name for name in pairs.measures(number) if only is None or name in only]
        return [Ask(kind, name, number, base) for base in bases if base is not None for name in names]

    asks: list[tuple[_Rule, list[Ask]]] = []
    for number in order:
        cell = ids[number]
        if cell.role != "plain":
            # of a defense that learned, plain requests too are training or held-out cases
            own = plain.get((cell.setting, cell.seen))
            base = plain.get((cell.setting, "")) if own is None else own
            asks.append(("all", asked_of("attack", number, [base])))
        if cell.role == "attack":
            over = [
                control
                for control in controls.get(cell.setting, ())
                if is_control_of(ids[control].attack_params, cell.attack_params)
            ]
            asks.append(("marked", asked_of("control", number, over)))
        asks.append(("strongest", asked_of("unaware", number, unaware.get(number, ()))))
        if cell.defense not in undefended:
            own = bare.get(_undefended(cell))
            base = bare.get(_undefended(replace(cell, seen=""))) if own is None else own
            asks.append(("all", asked_of("defense", number, [base])))
    made = iter(pairs.compared([ask for _, each in asks for ask in each]))
    found: list[tuple[int, Contrast]] = []
    for rule, each in asks:
        told = [(ask.number, one) for ask, one in zip(each, made, strict=False) if one is not None]
        marked = set() if rule == "all" else _strongest([one for _, one in told])
        found += [
            (number, one._replace(strongest=True) if place in marked else one)
            for place, (number, one) in enumerate(told)
            if rule != "strongest" or place in marked
        ]
    headings = [heading("control", cell) for cell in ids]
    families = [
        (one.kind, one.strongest, one.measure, *headings[number][: -1 if one.kind == "defense" else None])
        for number, one in found
    ]
    return _with_p([one for _, one in found], families)


def _undefended(cell: CellId) -> tuple[object, ...]:
    """What a cell has in common with the same one behind another defense."""
    rest = (cell.attack, cell.attack_params, cell.crafted_on, cell.oracle, cell.series, cell.budget)
    return (
        cell.benchmark,
        cell.release,
        cell.target,
        cell.judge,
        *rest,
        cell.seen,
        cell.scores,
        cell.made_on_target,
    )


def _unaware(ids: Sequence[CellId], order: Sequence[int], undefended: frozenset[str]) -> dict[int, list[int]]:
    """For each attack that knew its defense, those behind it that did not and change the same."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for number in order:
        cell = ids[number]
        if cell.role == "attack" and cell.defense not in undefended:
            means = means_of(cell.attack_params)
            alike.setdefault((*cell.setting, cell.scores, cell.seen == "seen", means), []).append(number)
    return {
        number: [other for other in together if not ids[other].knew_defense]
        for together in alike.values()
        for number in together
        if ids[number].knew_defense
    }


def paired(columns: Columns, ids: Sequence[CellId], places: Sequence[tuple[int, int]]) -> list[Contrast]:
    """Contrasts of given pairs of cells, such as those of two runs, with p-values not yet adjusted."""
    pairs = Pairs(columns, ids)
    asks = [Ask("run", name, number, base) for number, base in places for name in pairs.measures(number)]
    return [one for one in pairs.compared(asks) if one is not None]


def _strongest(told: Sequence[Contrast]) -> set[int]:
    """Of an attack's differences to its controls, the places of that to the strongest, by measure.

    Of controls that reach as much, one that belongs to this attack alone goes before those of every attack.
    """
    best: dict[str, tuple[tuple[float, bool], int]] = {}
    for place, one in enumerate(told):
        reached = -one.base_share if one.measure in _LOWERED else one.base_share
        own = not is_control_of(one.base.attack_params, "")
        if one.pairs and (one.measure not in best or (reached, own) > best[one.measure][0]):
            best[one.measure] = ((reached, own), place)
    return {place for _, place in best.values()}


def _with_p(contrasts: Sequence[Contrast], families: Sequence[Hashable]) -> list[Contrast]:
    """The contrasts with p-values adjusted within their families, in the order given."""
    members: dict[Hashable, list[int]] = {}
    for place, family in enumerate(families):
        members.setdefault(family, []).append(place)
    found = list(contrasts)
    for places in members.values():
        plain = [found[place].p for place in places]
        for place, p, q in zip(places, holm(plain), bh(plain), strict=True):
            found[place] = found[place]._replace(p_holm=p, q=q, comparisons=len(places))
    return found


def adjusted(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p-values adjusted within their families."""
    return _with_p(contrasts, [each.family for each in contrasts])


def judge_cards(columns: Columns, ids: Sequence[CellId], truth: str) -> Iterator[JudgeCard]:
    """Every other judge against the judge `truth`: over all attacks together, then attack by attack.

    Judges that score the attacker's goal answer another question and have no card.
    """
    judges = list(dict.fromkeys(cell.judge for cell in ids if cell.scores == "case"))
    true = next((judge for judge in judges if judge == truth or judge.partition("(")[0] == truth), None)
    if true is None:
        return
    known = {cell.condition: number for number, cell in enumerate(ids) if cell.judge == true}
    for judge in judges:
        if judge == true:
            continue
        pairs = [
            (cell.attack, number, known[cell.condition])
            for number, cell in enumerate(ids)
            if cell.judge == judge and cell.condition in known
        ]
        for attack in ("", *dict.fromkeys(attack for attack, _, _ in pairs)) if pairs else ():
            members = [(mine, its) for name, mine, its in pairs if attack in ("", name)]
            for name in ("asr", "over_refusal"):
                both = _both(columns, ids, members, MEASURES[name])
                if len(both.groups):
                    yield judge_card(both, judge=judge, truth=true, measure=MEASURES[name], attack=attack)


def _both(
    columns: Columns, ids: Sequence[CellId], members: Sequence[tuple[int, int]], measure: Measure
) -> BothRead:
    """The samples of the measure's kind that both judges read, in pairs of cells, clustered by group."""
    benchmarks = sorted({ids[mine].benchmark for mine, _ in members})
    parts = []
    for mine, its in members:
        rows = columns.rows(mine)
        kept = asked(measure, columns.expected[rows])
        apart = benchmarks.index(ids[mine].benchmark) * len(columns.group.texts)
        parts.append(
            (
                columns.outcome[rows][kept],
                columns.outcome[columns.rows(its)][kept],
                columns.group.codes[rows][kept] + apart,
            )
        )
    return BothRead(*(np.concatenate(each) for each in zip(*parts, strict=True)))
