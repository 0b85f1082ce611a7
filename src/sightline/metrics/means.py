"""Means that say how many values they are of, and how many had none."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sized
from typing import NamedTuple

from sightline.errors import UsageError


class Mean(NamedTuple):
    """The mean of `n` values, None if there are none; `left_out` had no value and are in no share."""

    value: float | None
    n: int
    left_out: int = 0


def mean(values: Iterable[float | None]) -> Mean:
    """The mean of the values that are not None; flags count as 0 and 1.

    Raises:
        UsageError: for a value that is not finite; it names the row, from 0.
    """
    kept, left_out = [], 0
    for row, value in enumerate(values):
        if value is None:
            left_out += 1
        elif not math.isfinite(value):
            raise UsageError(f"row {row}: {value} is no number; give None where there is no value")
        else:
            kept.append(float(value))
    return Mean(math.fsum(kept) / len(kept) if kept else None, len(kept), left_out)


def same_length(what: str, first: Sized, second: Sized) -> None:
    """Check that two columns are of the same rows.

    Raises:
        UsageError: if they differ in length.
    """
    if len(first) != len(second):
        raise UsageError(f"{what}: {len(first)} and {len(second)} rows; they must be of the same items")
