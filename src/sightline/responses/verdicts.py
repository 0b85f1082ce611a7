"""Verdicts that a file already holds, as flags of a response: the judge `recorded` reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FLAG = "recorded_verdict:"
"""Begins a flag `recorded_verdict:NAME=JSON`."""


def flags_of(verdicts: Mapping[str, Any]) -> tuple[str, ...]:
    """One flag for each verdict that the file gives; none for null."""
    return tuple(
        f"{FLAG}{' '.join(name.split())[:60]}={json.dumps(value, default=str)[:200]}"
        for name, value in verdicts.items()
        if value is not None and isinstance(value, str | int | float | bool)
    )
