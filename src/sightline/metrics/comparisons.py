"""Two cells on the same samples: attack and no attack or a control, defense and no defense, two judges."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from sightline.metrics._columns import Columns, asked
from sightline.metrics.agreement import BothRead, JudgeCard, judge_card
from sightline.metrics.cells import CellId, is_control_of, means_of
from sightline.metrics.intervals import ALPHA, bh, holm, smallest_p
from sightline.metrics.paired_cells import Ask, Compared, Kind, Pairs
from sightline.metrics.rates import MEASURES, Measure, Rate

_OVER_CONTROLS = frozenset({"asr", "disclosure", "utility", "attacker_goal"})
_OVER_UNAWARE = frozenset({"asr", "disclosure", "attacker_goal"})
_ONLY = {"control": _OVER_CONTROLS, "unaware": _OVER_UNAWARE}
_LOWERED = frozenset({"utility", "accuracy"})
_Rule = Literal["all", "marked", "strongest"]
"""Which of some contrasts are told: all, all with the strongest marked, the strongest alone."""


class Contrast(NamedTuple):
    """A cell minus its base on the same samples; from `point` to `flip_rate` as `Compared` says it.

    `attack` is an attack or a control against none, `control` an attack against each of its controls in the
    same setting (success, utility), `unaware` an attack that knew the defense against the one that reached
    most there of those that did not and change the same (words, a drawn picture, pixels), `defense` against
    none, `run` against the same cell of another run. Of an attack's contrasts with controls, `strongest` is
    the one with the control that reaches most on these samples: most successes, or fewest right answers.

    `pairs` were scored in both cells, `unscored_pairs` were not; `cell_share` and `base_share` are of the
    former. `p` is clustered (sign flips of the `discordant` clusters, those that differ), `p_holm` adjusted
    over the `comparisons` of its `family`, `q` the same by Benjamini and Hochberg (for exploration, at .10);
    `p_mcnemar` takes samples as independent and is a check only. `flip_rate` (attack; ASR, disclosure): of
    the requests withheld in the base cell, the share obeyed in this one; of the protected questions that the
    base cell abstained from, the share answered.
    """

    kind: Kind
    measure: str
    cell: CellId
    base: CellId
    point: float
    low: float
    high: float
    method: str
    cell_share: float
    base_share: float
    pairs: int
    unscored_pairs: int
    groups: int
    discordant: int
    only_cell: int
    only_base: int
    p: float
    p_mcnemar: float
    flip_rate: Rate | None = None
    p_holm: float = 1.0
    q: float = 1.0
    comparisons: int = 1
    strongest: bool = False

    @property
    def family(self) -> tuple[object, ...]:
        """What stands under one heading: the same comparison of all attacks, or defenses, on one target."""
        return (self.kind, self.strongest, self.measure, *_heading(self.kind, self.cell))

    @property
    def is_clear(self) -> bool:
        """Whether the 95 % interval leaves out zero."""
        return bool(self.pairs) and (self.low > 0 or self.high < 0)

    @property
    def too_few_groups(self) -> bool:
        """Whether no result of so few discordant clusters could have had an adjusted p below .05."""
        return self.comparisons * smallest_p(self.discordant) > ALPHA


def _heading(kind: Kind, cell: CellId) -> tuple[object, ...]:
    """What the cells of one family have in common."""
    place = (cell.judge, cell.benchmark, cell.release, cell.target)
    return (cell.role, cell.seen == "seen", *place, *(() if kind == "defense" else (cell.defense,)))


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
    found: list[tuple[Ask, Compared, bool]] = []
    for rule, each in asks:
        told = [(ask, one) for ask, one in zip(each, made, strict=False) if one is not None]
        marked = set() if rule == "all" else _strongest(ids, told)
        found += [
            (ask, one, place in marked)
            for place, (ask, one) in enumerate(told)
            if rule != "strongest" or place in marked
        ]
    headings = [_heading("control", cell) for cell in ids]
    families = [
        (ask.kind, strongest, ask.measure, *headings[ask.number][: -1 if ask.kind == "defense" else None])
        for ask, _, strongest in found
    ]
    p_values = _adjusted([one.p for _, one, _ in found], families)
    return [
        Contrast(ask.kind, ask.measure, ids[ask.number], ids[ask.base], *one, *p, strongest)
        for (ask, one, strongest), p in zip(found, p_values, strict=True)
    ]


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
    made = zip(asks, pairs.compared(asks), strict=True)
    return [
        Contrast(ask.kind, ask.measure, ids[ask.number], ids[ask.base], *found)
        for ask, found in made
        if found is not None
    ]


def _strongest(ids: Sequence[CellId], told: Sequence[tuple[Ask, Compared]]) -> set[int]:
    """Of an attack's differences to its controls, the places of that to the strongest, by measure.

    Of controls that reach as much, one that belongs to this attack alone goes before those of every attack.
    """
    best: dict[str, tuple[tuple[float, bool], int]] = {}
    for place, (ask, found) in enumerate(told):
        reached = -found.base_share if ask.measure in _LOWERED else found.base_share
        own = not is_control_of(ids[ask.base].attack_params, "")
        if found.pairs and (ask.measure not in best or (reached, own) > best[ask.measure][0]):
            best[ask.measure] = ((reached, own), place)
    return {place for _, place in best.values()}


class _Adjusted(NamedTuple):
    """A p-value adjusted over the `comparisons` of its family: Holm's, and Benjamini and Hochberg's."""

    p_holm: float
    q: float
    comparisons: int


def _adjusted(p_values: Sequence[float], families: Sequence[Hashable]) -> list[_Adjusted]:
    """P-values adjusted within their families, in the order given."""
    members: dict[Hashable, list[int]] = {}
    for place, family in enumerate(families):
        members.setdefault(family, []).append(place)
    found: dict[int, _Adjusted] = {}
    for places in members.values():
        plain = [p_values[place] for place in places]
        for place, p, q in zip(places, holm(plain), bh(plain), strict=True):
            found[place] = _Adjusted(p, q, len(places))
    return [found[place] for place in range(len(p_values))]


def adjusted(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """The contrasts with p-values adjusted within their families."""
    found = _adjusted([each.p for each in contrasts], [each.family for each in contrasts])
    return [each._replace(**p._asdict()) for each, p in zip(contrasts, found, strict=True)]


def judge_cards(columns: Columns, ids: Sequence[CellId], truth: str) -> Iterator[JudgeCard]:
    """Every other judge against the judge `truth`: over all attacks together, then attack by attack.

    Judges that score the attacker's goal answer another question and have no card.
    """
    judges = list(dict.fromkeys(cell.judge for cell in ids if cell.scores == "case"))
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
