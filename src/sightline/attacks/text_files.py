"""Wordings of attacks as data: YAML files in `texts/` beside their modules; see `templates` for slots."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from sightline.documents import read_yaml


@cache
def document(package: str, name: str) -> Mapping[str, Any]:
    """All that `texts/NAME.yaml` beside the modules of a package says."""
    file = resources.files(package) / "texts" / f"{name}.yaml"
    found: Mapping[str, Any] = read_yaml(file.read_text("utf-8"), file.name)
    return found


@cache
def texts(package: str, name: str) -> Mapping[str, str]:
    """The same where it is one text a key; ends cut off."""
    return {key: str(text).strip() for key, text in document(package, name).items()}
