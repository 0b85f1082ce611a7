"""States of examples, and how well a score of each block tells harmful from benign ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import numpy as np

from sightline.cases import Conversation
from sightline.defending import Floats
from sightline.errors import UsageError
from sightline.fitting import Example, auc


async def states_of(examples: Sequence[Example], look: Callable[[Conversation], Awaitable[Floats]]) -> Floats:
    """What leaves each block at the last prompt token: examples x blocks x width.

    Raises:
        UsageError: naming the first case whose states are not finite.
    """
    found = []
    for each in examples:
        states = await look(each.shown)
        if not np.isfinite(states).all():
            raise UsageError(f"case {each.case.id}: the model's states are not finite; run it in float32")
        found.append(states)
    stacked: Floats = np.stack(found)
    return stacked


def coin_caution(value: float, harmful: int, benign: int, form: str) -> list[str]:
    """A line of caution for an AUC that a coin could have had; none for a better one.

    The bound is the upper 5 % of the AUC of a score that says nothing, by its normal approximation (Mann and
    Whitney 1947): standard error sqrt((m + n + 1) / 12 m n).
    """
    chance = 0.5 + 1.645 * math.sqrt((harmful + benign + 1) / (12 * harmful * benign))
    if value > chance:
        return []
    if value < 1 - chance:
        what = "it stops benign cases rather than harmful ones"
    else:
        what = f"a score that says nothing reaches up to {min(chance, 1):.2f} on so few"
    return [
        f"CAUTION: AUC {value:.2f} on {harmful} harmful and {benign} benign cases ({form}): {what}; do not "
        "rely on this defense there: fit it on more cases, on cases of another kind, or take another one"
    ]


def coin_cautions(aucs: Mapping[str, Sequence[float]], examples: Sequence[Example]) -> list[str]:
    """`coin_caution` of the best score of each form."""
    lines = []
    for form, values in aucs.items():
        count = Counter(each.harmful for each in examples if each.form == form)
        lines += coin_caution(max(values), count[True], count[False], form) if values else []
    return lines


def told_aucs(
    scores: Floats, examples: Sequence[Example], what: str
) -> tuple[dict[str, list[float]], list[str]]:
    """AUC of each column of scores on examples, by form, and lines that say it."""
    found: dict[str, list[float]] = {}
    lines: list[str] = []
    for form in ("text", "picture"):
        rows = [(row, each.harmful) for row, each in zip(scores, examples, strict=True) if each.form == form]
        one = [row for row, harmful in rows if harmful]
        other = [row for row, harmful in rows if not harmful]
        if not one or not other:
            continue
        found[form] = [
            round(auc([row[column] for row in one], [row[column] for row in other]), 6)
            for column in range(scores.shape[1])
        ]
        lines.append(
            f"{what} AUC by block on {len(one)} harmful and {len(other)} benign held-out cases ({form}): "
            + " ".join(f"{value:.2f}" for value in found[form])
        )
    return found, lines
