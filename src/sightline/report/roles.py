"""What part a method plays in a table: the plain request, a control, an attack; defended or not."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum
from typing import Any

from sightline import registry
from sightline.errors import UsageError
from sightline.metrics import cells
from sightline.metrics.cells import PLAIN, CellId, method_of
from sightline.report.words import ACCESS


class Role(IntEnum):
    """In the order in which a table shows them."""

    attack = 0
    plain = 1
    control = 2


def role_of(spec: str) -> Role:
    """The role of an attack, as the metrics see it."""
    return Role[cells.role_of(spec)]


def is_typed_twin(control: CellId, attack: CellId) -> bool:
    """Whether a control types the words that the attack draws: it is that attack's own, and named for it."""
    return method_of(control.attack_params) == twin_of(attack.attack_params)


def twin_of(spec: str) -> str:
    """The name that the typed twin of an attack has, if there is one."""
    return f"{method_of(spec)}_typed"


def lacks_twin(spec: str, specs: Collection[str]) -> bool:
    """Whether an attack has a typed twin, and none of `specs` is one with its settings."""
    twin = twin_of(spec)
    typed = [other for other in specs if method_of(other) == twin]
    return twin in registry.names("attack") and not any(cells.is_control_of(one, spec) for one in typed)


def access_of(spec: str) -> str:
    """What an attack sees of a model: `white box`, `grey box`, `black box`; '' if it is not installed."""
    try:
        threat = registry.card("attack", method_of(spec)).threat
    except UsageError:
        return ""
    return ACCESS[threat.access] if threat is not None else ""


def edits_image(spec: str) -> bool:
    """Whether an attack changes or adds a picture; one that is not installed may."""
    try:
        threat = registry.card("attack", method_of(spec)).threat
    except UsageError:
        return True
    return threat is None or "image" in threat.may_edit


def access_text(cell: CellId) -> str:
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
