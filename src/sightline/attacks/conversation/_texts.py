"""Wordings of attacks, with parts: YAML files beside the modules, read once; slots by `templates.filled`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from sightline.documents import read_yaml
from sightline.errors import UsageError, nearest


@cache
def texts(name: str) -> Mapping[str, Any]:
    """All that `texts/NAME.yaml` says."""
    path = resources.files("sightline.attacks.conversation") / "texts" / f"{name}.yaml"
    found: Mapping[str, Any] = read_yaml(path.read_text("utf-8"), name)
    return found


def chosen(known: Mapping[str, Any], choice: str, what: str) -> Any:
    """One entry of many; `what` names the setting in the complaint.

    Raises:
        UsageError: for an unknown entry; the nearest names are offered.
    """
    if choice not in known:
        raise UsageError(nearest(choice, known, what))
    return known[choice]
