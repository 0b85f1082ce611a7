"""Language models that see no pictures: attacks on their text run on the same engine, others do not."""

from __future__ import annotations

from typing import Any, NoReturn

from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.families.base import Family


class TextOnly(Family):
    """See `Family`; there is no picture to encode."""

    picture_id = None

    def __init__(self, model: Any) -> None:
        self.model = model

    def encode(self, pixels: Fields, count: int) -> NoReturn:  # noqa: ARG002
        """Refused; see `no_pictures`."""
        raise _blind()


def no_pictures(_: Tensor) -> NoReturn:
    """In place of a picture processor.

    Raises:
        UsageError: always: whoever asks would attack a picture that the model does not see.
    """
    raise _blind()


def _blind() -> UsageError:
    return UsageError(
        "this language model sees no pictures: attack its text (`gcg`, `qi_text`), or craft on one with eyes"
    )
