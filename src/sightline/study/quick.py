"""The quick form of a study: keys of `quick:` stand in place of the study's own, and its name ends in -quick.

A quick form answers whether a study works and which way it points, in minutes; the study itself stays as it
is, and the two have run folders of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticCustomError

KEY, ENDING = "quick", "-quick"
KEPT = ("study", KEY, "responses")
"""What no quick form says."""


def checked_block(value: Any) -> Any:
    """A block of `quick:` as it may stand in a file."""
    if not isinstance(value, dict) or not value:
        raise PydanticCustomError("quick", "`quick:` holds the keys that stand in place of the study's own")
    strangers = [name for name in KEPT if name in value]
    if strangers:
        what = f"a quick form keeps the study's own {strangers[0]!r}; leave it out"
        raise PydanticCustomError("quick", what)
    return value


def quick_form(plain: Mapping[str, Any]) -> dict[str, Any]:
    """A study file with its block's keys in place of its own; a key without a value is left out."""
    both = {**plain, **plain[KEY], "study": f"{plain.get('study', '')}{ENDING}"}
    return {name: value for name, value in both.items() if name != KEY and value is not None}
