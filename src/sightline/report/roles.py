"""What part a method plays in a table: the plain request, a control, an attack; defended or not."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from sightline import registry
from sightline.errors import UsageError
from sightline.metrics import cells
from sightline.metrics.cells import PLAIN
from sightline.report.words import ACCESS


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


def access_of(spec: str) -> str:
    """What an attack sees of a model: `white box`, `grey box`, `black box`; '' if it is not installed."""
    try:
        threat = registry.card("attack", method_name(spec)).threat
    except UsageError:
        return ""
    return ACCESS[threat.access] if threat is not None else ""


def edits_image(spec: str) -> bool:
    """Whether an attack changes or adds a picture; one that is not installed may."""
    try:
        threat = registry.card("attack", method_name(spec)).threat
    except UsageError:
        return True
    return threat is None or "image" in threat.may_edit


def access_text(cell: cells.CellId) -> str:
    """What the attack of a cell saw of which model: `white box: gradients of testbed/linear`."""
    access = access_of(cell.attack_params)
    if not cell.crafted_on:
        return access
    models = " + ".join(cells.models_of(cell.crafted_on))
    what = "features" if access == ACCESS["grey"] else "gradients"
    return f"{access or 'crafted'}: {what} of {models}"


def undefended_labels(lock: Mapping[str, Any]) -> frozenset[str]:
    """The labels under which a study lists the bare target ('none' if the lock does not say)."""
    entries = [entry for entry in lock.get("defenses", ()) if isinstance(entry, Mapping)]
    bare = {str(entry["label"]) for entry in entries if "spec" not in entry and "label" in entry}
    return frozenset(bare or {PLAIN})
