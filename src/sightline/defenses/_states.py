"""States of examples, and how well a score of each block tells harmful from benign ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

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
