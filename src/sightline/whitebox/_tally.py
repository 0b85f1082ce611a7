"""FLOPs of passes whose shapes change from step to step, counted for the first few and then computed.

What a pass of a transformer costs is linear in a few terms (1, tokens, tokens times what they look at, rows
of logits). Once more shapes were counted than there are terms, and a linear form fits all of them, a further
shape that these span is computed by it; running PyTorch's counter costs more than a small model's pass.
"""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

Terms = tuple[float, ...]

#: relative error up to which a form counts as fitting
_EXACT = 1e-9
#: counted shapes beyond the number of terms
_SPARE = 2


class Tally:
    """Counts by kind of pass."""

    def __init__(self) -> None:
        self._counted: dict[Hashable, dict[Terms, float]] = {}
        self._loose: set[Hashable] = set()

    def known(self, kind: Hashable, terms: Terms) -> float | None:
        """The FLOPs of a pass; None if it has to be counted."""
        counted = self._counted.get(kind, {})
        if terms in counted:
            return counted[terms]
        if kind in self._loose or len(counted) < len(terms) + _SPARE:
            return None
        rows, flops = np.array(list(counted)), np.array(list(counted.values()))
        scale = np.abs(rows).max(0)
        scale[scale == 0] = 1
        form, _, rank, _ = np.linalg.lstsq(rows / scale, flops, rcond=1e-10)
        if np.abs(rows / scale @ form - flops).max() > _EXACT * flops.max():
            self._loose.add(kind)
            return None
        asked = np.array(terms) / scale
        if np.linalg.matrix_rank(np.vstack([rows / scale, asked]), tol=1e-7) > rank:
            return None
        return float(round(float(asked @ form)))

    def learn(self, kind: Hashable, terms: Terms, flops: float) -> None:
        """Note what a pass was counted to cost."""
        self._counted.setdefault(kind, {})[terms] = flops
