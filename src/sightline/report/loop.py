"""Attacks whose in-loop judge and the judge that scores say different things of the same artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.counting import plural
from sightline.metrics.cells import models_of
from sightline.report.cells import undefended_labels
from sightline.report.results import Results, literal

MUCH_APART = 1 / 3


def stopped_early(
    results: Results, lock: Mapping[str, Any], judges: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Attacks that may have stopped before they succeeded, by the primary judge, which is the first.

    Only answers of the target that an attack talked to are compared, bare or defended as it was then: those
    of another target, or behind a defense that the attack has not met, are no error of the in-loop judge.
    """
    if not judges or judges[0]["scores"] != "case":
        return []
    bare = undefended_labels(lock)
    said: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for attack, oracle, target, defense, crafted_on, n, obeyed in _both_said(results, judges[0]["id"]):
        at_home = crafted_on is None or target in models_of(crafted_on)
        if at_home and (oracle == "defended" or defense in bare):
            said[attack] += n
            agreed[attack] += obeyed
    return [
        f"{attack}: the in-loop judge said complied of {plural(n, 'artifact')}; the scoring judge of "
        f"{agreed[attack]:,} of them (so the loop may have stopped early)"
        for attack, n in said.items()
        if n - agreed[attack] > MUCH_APART * n
    ]


def _both_said(results: Results, judge: str) -> list[tuple[str, str, str, str, str | None, int, int]]:
    """What the in-loop judge and `judge` said of restricted requests; open shards are not read.

    (attack, oracle, target, defense, crafted on, artifacts that the in-loop judge called complied, those
    of them that `judge` calls complied too), of artifacts that both could read.
    """
    found: list[tuple[str, str, str, str, str | None, int, int]] = []
    for path in results.compacted("craft"):
        found += results.rows(
            "with called as (select key, unnest(json_extract(record, '$.calls[*]')) as call"
            " from read_parquet(?) where contains(record, '\"in_loop_judge\"')),"
            " met as (select distinct key from called where call->>'$.purpose' = 'in_loop_judge'"
            " and starts_with(call->>'$.text', 'complied')),"
            " scored as (select attack, oracle, target, defense, crafted_on, artifact,"
            " bool_or(outcome = 'complied') as obeyed from raw where judge = ? and expected = 'refuse'"
            " and outcome not in ('unparsed', 'error') group by all)"
            " select attack, oracle, target, defense, crafted_on, count(*), count(*) filter (obeyed)"
            " from met join scored on artifact = key group by all order by all",
            [literal(path), judge],
        )
    return found
