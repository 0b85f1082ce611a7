"""Wordings of attacks as data: YAML files beside the modules, read once; slots are filled, never evaluated.

Slots are `{name}`, lower-case letters and underscores; a text's other braces, and those of what is filled in,
stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from sightline.errors import UsageError, nearest

_SLOT = re.compile(r"\{([a-z_]+)\}")


@cache
def texts(name: str) -> Mapping[str, Any]:
    """All that `texts/NAME.yaml` says."""
    found: Any = yaml.safe_load((resources.files(__package__) / "texts" / f"{name}.yaml").read_text("utf-8"))
    return dict(found)


def chosen(name: str, choice: str, what: str) -> Any:
    """One entry of `texts/NAME.yaml`; `what` names the setting in the complaint.

    Raises:
        UsageError: for an unknown entry; the nearest names are offered.
    """
    known = texts(name)
    if choice not in known:
        raise UsageError(nearest(choice, known, what))
    return known[choice]


def filled(form: str, **slots: str) -> str:
    """A form with its slots filled in; slots without a value stay as they are."""
    return _SLOT.sub(lambda slot: slots.get(slot[1], slot[0]), form)
