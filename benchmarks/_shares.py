"""Shares of replies with their intervals, as the benchmarks of `testbed/smol` print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sightline.metrics.intervals import cluster_sums, ratio_interval


def share(hits: Sequence[bool], groups: Sequence[object]) -> dict[str, Any]:
    """So many of how many, and the 95 % interval over groups."""
    low, high, _ = ratio_interval(*cluster_sums(groups, hits, np.ones(len(hits))))
    return {"k": sum(hits), "n": len(hits), "rate": round(sum(hits) / len(hits), 3),
            "low": round(low, 3), "high": round(high, 3)}  # fmt: skip
