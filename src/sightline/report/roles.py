"""What part a method plays in a table: the plain request, a control, an attack; defended or not."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from sightline.metrics import cells
from sightline.metrics.cells import PLAIN


class Role(IntEnum):
    """In the order in which a table shows them."""

    attack = 0
    plain = 1
    control = 2


def method_name(spec: str) -> str:
    """`figstep` of `figstep(font_px=40)`."""
    return spec.partition("(")[0].strip()


def role_of(spec: str) -> Role:
    """The role of an attack, as the metrics see it."""
    return Role[cells.role_of(spec)]


def undefended_labels(lock: Mapping[str, Any]) -> frozenset[str]:
    """The labels under which a study lists the bare target ('none' if the lock does not say)."""
    entries = [entry for entry in lock.get("defenses", ()) if isinstance(entry, Mapping)]
    bare = {str(entry["label"]) for entry in entries if "spec" not in entry and "label" in entry}
    return frozenset(bare or {PLAIN})
