"""Sentences of attacks, kept as data beside the code: a natural wording and one in the testbed's language."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Literal

import yaml

Wording = Literal["natural", "testbed"]


@cache
def instruction(method: str, wording: Wording) -> str:
    """The sentence that the user says beside the picture of `method`, from `texts/METHOD.yaml`."""
    file = resources.files("sightline.attacks") / "texts" / f"{method}.yaml"
    return str(yaml.safe_load(file.read_text(encoding="utf-8"))["instruction"][wording])
