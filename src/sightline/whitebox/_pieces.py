"""A victim's rows for more pairs than fit into memory: some at a time, and again for the gradient."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sightline.whitebox.victim import Pair, Rows, Victim, joined


def rows_of(
    victim: Victim, x: Tensor, pairs: Sequence[Pair], nudges: Sequence[Tensor | None], at_once: int | None
) -> Rows:
    """What `victim.rows` gives, at most `at_once` pairs at a time (None: all).

    Of the pieces only the predictions are kept. The backward pass runs each of them forward once more, so a
    piece's activations are all that has to fit, and the loss may be any function of all predictions.
    """
    if at_once is None or len(pairs) <= at_once:
        return victim.rows(x, pairs, nudges=nudges)
    parts = [
        _again(victim, x, pairs[first : first + at_once], nudges[first : first + at_once])
        for first in range(0, len(pairs), at_once)
    ]
    return joined(parts, [len(pairs[first : first + at_once]) for first in range(0, len(pairs), at_once)])


def _again(victim: Victim, x: Tensor, pairs: Sequence[Pair], nudges: Sequence[Tensor | None]) -> Rows:
    """Rows whose activations are computed again when the gradient is asked for."""
    told: list[tuple[Tensor, Tensor]] = []

    def logits(x: Tensor) -> Tensor:
        rows = victim.rows(x, pairs, nudges=nudges)
        told.append((rows.ids, rows.pair))
        return rows.logits

    found: Tensor = checkpoint(logits, x, use_reentrant=False, preserve_rng_state=False)
    return Rows(found, *told[0])
