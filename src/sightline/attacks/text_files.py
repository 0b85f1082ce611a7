"""Wordings of attacks as data: YAML files beside their modules; slots are filled without evaluation.

A slot is `{name}`, in small letters and underscores. What fills one is never looked into again, and braces
that name no slot stay as they are, so that a request with braces is sent as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import resources

from sightline.documents import read_yaml

_SLOT = re.compile(r"\{([a-z_]+)\}")


@cache
def texts(package: str, name: str) -> Mapping[str, str]:
    """The texts of `texts/NAME.yaml` beside a module of the package, by their keys; line ends cut off."""
    file = resources.files(package) / "texts" / f"{name}.yaml"
    return {key: str(text).strip() for key, text in read_yaml(file.read_text("utf-8"), file.name).items()}


def filled(form: str, **slots: str) -> str:
    """A form with its slots filled in; those without a value stay as they are."""
    return _SLOT.sub(lambda slot: slots.get(slot[1], slot[0]), form)
