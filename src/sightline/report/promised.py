"""The rows that the lock of a run promises, beside those that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline import cards
from sightline.report.cells import Role, role_of
from sightline.report.results import Results, entries

Place = tuple[str, str, str, str, str]
"""Benchmark, target, attack, defense, judge id."""


def shown_cases(benchmark: Mapping[str, Any], attack: Mapping[str, Any]) -> dict[str, int]:
    """Cases of a benchmark that a column of the lock shows, by what is expected of them."""
    plain = role_of(str(attack.get("spec", ""))) is Role.plain
    met = attack.get("applies_to", attack.get("meets", cards.REQUESTS))  # `meets`: former name
    cases = dict(benchmark.get("cases") or {}).items()
    return {name: int(n) for name, n in cases if plain or name in met}


def found_rows(results: Results) -> dict[Place, int]:
    """Rows that are there."""
    query = "select benchmark, target, attack, defense, judge, count(*) from results group by all"
    return {row[:5]: int(row[5]) for row in results.rows(query)}


def expected_rows(lock: Mapping[str, Any]) -> dict[Place, int]:
    """Rows that the lock promises."""
    promised = {}
    for benchmark in entries(lock, "benchmarks"):
        for attack in entries(lock, "attacks"):
            if benchmark["label"] not in attack.get("benchmarks", [benchmark["label"]]):
                continue  # recorded, in a merged run: of another file
            each = sum(shown_cases(benchmark, attack).values())
            only = attack.get("answered_by")
            for target in entries(lock, "targets"):
                if only and (only[0] != target["target"] or only[1] not in (None, target["defense"])):
                    continue
                for judge in entries(lock, "judges"):
                    cell = (
                        benchmark["label"],
                        target["target"],
                        attack["label"],
                        target["defense"],
                        judge["id"],
                    )
                    promised[cell] = each * int(lock.get("epochs", 1))
    return promised
