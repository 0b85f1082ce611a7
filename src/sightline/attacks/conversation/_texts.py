"""Wordings of the attacks here: YAML files beside the modules; slots by `templates.filled`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.attacks.text_files import document
from sightline.errors import UsageError, nearest


def texts(name: str) -> Mapping[str, Any]:
    """All that `texts/NAME.yaml` says."""
    return document("sightline.attacks.conversation", name)


def chosen(known: Mapping[str, Any], choice: str, what: str) -> Any:
    """One entry of many; `what` names the setting in the complaint.

    Raises:
        UsageError: for an unknown entry; the nearest names are offered.
    """
    if choice not in known:
        raise UsageError(nearest(choice, known, what))
    return known[choice]
