"""Wordings of attacks as data: YAML files beside their modules, one text a key; see `templates` for slots."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from sightline.documents import read_yaml


@cache
def texts(package: str, name: str) -> Mapping[str, str]:
    """The texts of `texts/NAME.yaml` beside the modules of a package; ends cut off."""
    file = resources.files(package) / "texts" / f"{name}.yaml"
    return {key: str(text).strip() for key, text in read_yaml(file.read_text("utf-8"), file.name).items()}
