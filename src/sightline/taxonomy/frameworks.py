"""Items of public frameworks and what of a run is evidence for them; the data are in `frameworks.yaml`.

A crosswalk of ours: it says which items a run has measured anything about, and never that one is fulfilled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from sightline import taxonomy
from sightline.errors import UsageError, nearest

DATA = ("frameworks.yaml",)
VERSION = 1
"""Of the mappings; raised whenever one changes."""
HAZARDS = "ailuminate_1_0"
"""The framework whose items are the codes of the taxonomy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An item of a framework.

    Attributes:
        id: as the framework numbers it.
        evidence: what a run may hold that says something about it; nothing for what is not measured.
        certainty: of the mapping; '' without evidence.
        limits: what the evidence does not show, or why there is none.
    """

    id: str
    title: str
    evidence: tuple[str, ...] = ()
    certainty: str = ""
    limits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A framework, `seen` where its items were read (see `taxonomy.NativeList`)."""

    name: str
    about: str
    seen: taxonomy.Seen
    items: tuple[Item, ...]


@cache
def frameworks() -> Mapping[str, Framework]:
    """All of them, the hazards first."""
    text = (resources.files(__package__) / DATA[0]).read_text("utf-8")
    listed: Mapping[str, Any] = yaml.safe_load(text)["frameworks"]
    own = tuple(
        Item(id=code, title=each.name, evidence=(f"hazard:{code}",), certainty="exact")
        for code, each in taxonomy.hazards().items()
        if each.group in ("physical", "non-physical", "contextual") and not each.parent
    )
    found = {
        HAZARDS: Framework(name=HAZARDS, about="MLCommons AILuminate 1.0, hazards", seen="authors", items=own)
    }
    for name, facts in listed.items():
        items = tuple(_item(str(id), entry) for id, entry in facts["items"].items())
        found[name] = Framework(name=name, about=facts["about"], seen=facts["seen"], items=items)
    return found


def _item(id: str, entry: Mapping[str, Any]) -> Item:
    return Item(id=id, **{**entry, "evidence": tuple(entry.get("evidence", ()))})


def framework(name: str) -> Framework:
    """A framework by name.

    Raises:
        UsageError: for an unknown one; the nearest names are offered.
    """
    if name not in frameworks():
        raise UsageError(nearest(name, frameworks(), "framework"))
    return frameworks()[name]
