"""Attacks whose in-loop judge and the judge that scores say different things of the same artifacts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sightline.metrics.cells import models_of
from sightline.report.cells import undefended_labels
from sightline.report.results import Results

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
    for attack, oracle, target, defense, crafted_on, n, obeyed in results.loops(judges[0]["id"]):
        at_home = crafted_on is None or target in models_of(crafted_on)
        if at_home and (oracle == "defended" or defense in bare):
            said[attack] += n
            agreed[attack] += obeyed
    return [
        f"{attack}: the in-loop judge said complied of {n:,} artifacts; the scoring judge of "
        f"{agreed[attack]:,} of them (so the loop may have stopped early)"
        for attack, n in said.items()
        if n - agreed[attack] > MUCH_APART * n
    ]
