"""Counts in sentences: a number with its noun, and the verb that agrees with it."""

from __future__ import annotations

_OF_ONE = {"are": "is", "were": "was", "have": "has", "match": "matches"}


def verb(count: int, many: str) -> str:
    """A verb, given as of several, as it goes with a count: `are` or `is`, `show` or `shows`."""
    return many if count != 1 else _OF_ONE.get(many, f"{many}s")


def plural(count: int, what: str, does: str = "") -> str:
    """`1 case`, `1,240 cases`; with a verb as of several, `1 case is`, `2 cases are`."""
    said = f"{count:,} {what}" + "s" * (count != 1)
    return f"{said} {verb(count, does)}" if does else said
