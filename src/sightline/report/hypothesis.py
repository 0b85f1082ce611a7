"""Whether a study's hypothesis held: as expected, opposite, or not decided, with what it could have shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.cases import Expected
from sightline.counting import plural
from sightline.metrics.intervals import ALPHA, paired_difference
from sightline.metrics.power import USUAL, minimal_difference
from sightline.metrics.rates import MEASURES
from sightline.report.cells import Board, Role
from sightline.report.results import Results, entries
from sightline.report.text import label, points


def verdict(lock: Mapping[str, Any], board: Board, results: Results) -> str:
    """A sentence on the hypothesis of the lock; '' if the study has none."""
    said = lock.get("hypothesis")
    if not isinstance(said, Mapping):
        return ""
    first, second = (str(name) for name in said["contrast"])
    expect, mde = str(said["expect"]), float(said["mde"])
    measure = MEASURES[str(said["primary"])]
    kinds = [measure.expected.value] if measure.expected is not None else [each.value for each in Expected]
    benchmark = str(said.get("benchmark") or "") or _first(kinds, board, results)
    where = f" on {label(benchmark)}"
    if said["kind"] != "target":
        where += f", {label(str(said.get('target') or '') or _first_target(lock))}"
    sides = f"{label(said['primary'])} of {label(first)} is {expect} than that of {label(second)}"
    attack = str(said.get("attack") or "")
    if said["kind"] != "attack":
        sides += f" under {label(attack)}" if attack else " without an attack"
    start = f"Hypothesis: {sides}{where}: "
    rows = _pairs(said, kinds, benchmark, lock, board, results)
    if not rows:
        return f"{start}not decided, no pair of samples was scored. Planned for {100 * mde:.0f} points."
    a, b, n = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    found = paired_difference(a, b, n)
    sign = (found.low > 0) - (found.high < 0)
    wanted = 1 if expect == "greater" else -1
    decided = sign and found.p < ALPHA  # fewer than six groups cannot
    result = "not decided" if not decided else "as expected" if sign == wanted else "opposite"
    usual = minimal_difference(len(rows))
    could = "no group tells the two apart"
    if found.discordant:
        least = minimal_difference(len(rows), found.discordant / len(rows))
        could = f"with the {found.discordant} that did differ, from {100 * least:.0f} points"
    p = "<0.001" if found.p < 0.001 else f"= {found.p:.3f}"
    return (
        f"{start}{result}, {points(found.point)} points [{points(found.low)}, {points(found.high)}], p {p}. "
        f"Planned for {100 * mde:.0f} points; {plural(len(rows), 'group', 'show')} differences from "
        f"{100 * usual:.0f} points if {USUAL:.0%} of them differ, as the plan assumes; {could}."
    )


def _pairs(
    said: Mapping[str, Any],
    kinds: Sequence[str],
    benchmark: str,
    lock: Mapping[str, Any],
    board: Board,
    results: Results,
) -> list[tuple[float, float, float]]:
    """By group: successes of the first side, of the second, and pairs; by the primary judge."""
    measure = MEASURES[str(said["primary"])]
    sides = [_side(str(name), said, lock, board) for name in said["contrast"]]
    chosen = (
        'select case_id, benchmark, epoch, "group" as grouped,'
        " (outcome in (select unnest(?::varchar[])))::int as hit from results"
        " where judge = ? and expected in (select unnest(?::varchar[])) and benchmark = ?"
        " and outcome in (select unnest(?::varchar[])) and seen is distinct from true"
        " and target in (select unnest(?::varchar[])) and defense in (select unnest(?::varchar[]))"
        " and (attack in (select unnest(?::varchar[])) or series in (select unnest(?::varchar[])))"
    )
    values: list[Any] = []
    for side in sides:
        values += [
            sorted(outcome.value for outcome in measure.counted),
            board.primary,
            kinds,
            benchmark,
            sorted(outcome.value for outcome in measure.of),
            side["target"],
            side["defense"],
            side["attack"],
            side["attack"],
        ]
    found = results.rows(
        f"with one as ({chosen}), other as ({chosen})"  # noqa: S608
        " select sum(one.hit), sum(other.hit), count(*) from one join other"
        " using (case_id, benchmark, epoch) group by one.grouped order by one.grouped",
        values,
    )
    return [(float(a), float(b), float(n)) for a, b, n in found]


def _first(expected: Sequence[str], board: Board, results: Results) -> str:
    """The first benchmark with cases of these kinds, in the order of the cells."""
    asked = "select distinct benchmark from results where expected in (select unnest(?::varchar[]))"
    rows = results.rows(asked, [list(expected)])
    names = {name for (name,) in rows}
    return next((c.condition.benchmark for c in board.cells if c.condition.benchmark in names), "")


def _side(name: str, said: Mapping[str, Any], lock: Mapping[str, Any], board: Board) -> dict[str, list[str]]:
    """Targets, attacks and defenses of a side: its own name for what is compared, else the plain cell's.

    Of two defenses or targets the attack may be another that the hypothesis names.
    """
    kind = str(said["kind"])
    target = name if kind == "target" else str(said.get("target") or "") or _first_target(lock)
    trained = [str(run["target"]) for run in entries(lock, "trained") if run.get("label") == target]
    named = str(said.get("attack") or "")
    plain = sorted({cell.summary.id.attack for cell in board.cells if cell.role is Role.plain})
    return {
        "target": trained or [target],
        "attack": [name] if kind == "attack" else [named] if named else plain,
        "defense": [name] if kind == "defense" else sorted({c.defense for c in board.cells if c.bare}),
    }


def _first_target(lock: Mapping[str, Any]) -> str:
    return next((str(each.get("target")) for each in entries(lock, "targets")), "")
