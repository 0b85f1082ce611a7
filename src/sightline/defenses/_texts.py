"""The texts of defenses: YAML files next to the modules, read once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from sightline.errors import UsageError, nearest

Wordings = Mapping[str, Mapping[str, str]]


@cache
def wordings(name: str) -> Wordings:
    """All wordings of `texts/NAME.yaml`, by name."""
    found: Any = yaml.safe_load((resources.files(__package__) / "texts" / f"{name}.yaml").read_text("utf-8"))
    return {key: dict(value) for key, value in found.items()}


def wording(name: str, choice: str, what: str) -> Mapping[str, str]:
    """One wording of `texts/NAME.yaml`; `what` names the setting in the complaint.

    Raises:
        UsageError: for an unknown wording; the nearest names are offered.
    """
    known = wordings(name)
    if choice not in known:
        raise UsageError(nearest(choice, known, what))
    return known[choice]
