"""Vectors of pictures and texts by a frozen encoder, as NumPy arrays, for whoever works without torch.

Rows have length 1. An encoder is opened once in a process and asked by one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.targets.vlm import VlmTarget
from sightline.whitebox.encoder_folders import encoder_folder
from sightline.whitebox.encoders import open_encoder, tower_of
from sightline.whitebox.model import open_victim
from sightline.whitebox.pixels import from_pixels, unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sightline.whitebox.victim import Encoder

_asking = Lock()


class Vectors:
    """An encoder's view of pictures and texts."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.id = encoder.id

    def pictures(self, pixels: Sequence[Pixels], kind: Literal["pooled", "projected"]) -> NDArray[np.float32]:
        """A row per picture (uint8 RGB, all of one size).

        Raises:
            UsageError: for an encoder without such vectors, or pictures of several sizes.
        """
        with _asking, torch.inference_mode():
            x = unit(from_pixels(pixels, self._encoder.device))
            return _rows(self._encoder.features(x, kind))

    def texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row per text, in the space of `projected` pictures.

        Raises:
            UsageError: for an encoder without a text tower, or a text that is too long for it.
        """
        with _asking, torch.inference_mode():
            return _rows(self._encoder.texts(texts))


def vectors_of(folder: str) -> Vectors:
    """The encoder in a folder: `encoder/FOLDER` or the folder alone.

    Raises:
        UsageError: for a folder that holds no encoder.
    """
    return _opened(folder, encoder_folder(folder).id)


@lru_cache(maxsize=4)
def _opened(folder: str, identity: str) -> Vectors:
    del identity
    return Vectors(open_encoder(folder))


def vectors_in(target: Any) -> Vectors:
    """The vision tower inside a local target.

    Raises:
        UsageError: for another target, or a family whose tower cannot be used alone.
    """
    if not isinstance(target, VlmTarget):
        raise UsageError(
            "the vision tower of a model that runs here is needed: take vlm/FOLDER or testbed/NAME"
        )
    return _tower(target)


@lru_cache(maxsize=4)
def _tower(target: VlmTarget) -> Vectors:
    return Vectors(tower_of(open_victim(target)))


def _rows(found: torch.Tensor) -> NDArray[np.float32]:
    rows: NDArray[np.float32] = torch.nn.functional.normalize(found.float(), dim=-1).cpu().numpy()
    return rows
