"""How far preprocessing in the graph is from the official processor on Pillow, for benchmark and tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor

from sightline.errors import ContractError, UsageError
from sightline.records import Pixels
from sightline.targets.local.families import facts_of
from sightline.whitebox.preprocessing.pipelines import Fields
from sightline.whitebox.preprocessing.processor import Preprocess
from sightline.whitebox.preprocessing.resize import LEVELS

#: fields that the library's combined processor uses up before the model is called
_NOT_FOR_THE_MODEL = frozenset({"num_tiles", "rows", "cols"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How far `pixel_values` in the graph are from the official ones, for one file.

    Attributes:
        max: largest absolute difference of the normalized values.
        mean: mean absolute difference of them.
        max_levels: largest absolute difference in the file's units, 1/255: at most 1.3 after one resize;
            Idefics3 and SmolVLM resize two or three times and reach 2.5.
        mean_levels: mean absolute difference in these units.
    """

    max: float
    mean: float
    max_levels: float
    mean_levels: float


def difference(preprocess: Preprocess, image_processor: Any, pixels: Pixels) -> Difference:
    """Compare with the official processor on a file's pixels.

    Args:
        preprocess: made from `image_processor`.
        image_processor: of `transformers`, on Pillow.
        pixels: `uint8`, (height, width, 3).

    Raises:
        ContractError: if a field is missing, has another shape, or is not a float and not equal.
        UsageError: if the processor is not one on Pillow, or the picture does not suit it.
    """
    x = (torch.from_numpy(np.array(pixels)).permute(2, 0, 1).float() / LEVELS).unsqueeze(0)
    normalized = _gap(preprocess(x), official(preprocess, image_processor, pixels))
    raw = official(preprocess, image_processor, pixels, do_rescale=False, do_normalize=False)
    levels = _gap(preprocess.in_levels()(x), raw)
    return Difference(
        max=float(normalized.max()),
        mean=float(normalized.mean()),
        max_levels=float(levels.max()),
        mean_levels=float(levels.mean()),
    )


def official(preprocess: Preprocess, image_processor: Any, pixels: Pixels, **settings: Any) -> Fields:
    """The official processor's fields for a file's pixels, shaped as `preprocess` gives them.

    Args:
        preprocess: says which of the processor's fields the model takes.
        image_processor: of `transformers`, on Pillow.
        pixels: `uint8`, (height, width, 3).
        settings: for the processor's call.

    Raises:
        UsageError: if the processor is not one on Pillow.
    """
    if not type(image_processor).__name__.endswith("Pil"):
        raise UsageError(
            f"{type(image_processor).__name__} does not work on Pillow; load it with backend='pil' to compare"
        )
    picture = PilImage.fromarray(np.asarray(pixels))
    shown = [[picture]] if facts_of(preprocess.model_type).nested else [picture]
    found = image_processor(shown, return_tensors="pt", **settings)
    if isinstance(found, Tensor):  # Idefics-1
        return {"pixel_values": found.unsqueeze(0)}
    return {name: value for name, value in found.items() if name not in _NOT_FOR_THE_MODEL}


def _gap(ours: Fields, theirs: Fields) -> Tensor:
    """Absolute difference of the pixel values, of which nothing else may differ."""
    if ours.keys() != theirs.keys():
        raise ContractError(f"fields {sorted(ours)} are made where the processor makes {sorted(theirs)}")
    for name, value in theirs.items():
        if ours[name].shape != value.shape:
            raise ContractError(f"{name} has shape {tuple(ours[name].shape)}, not {tuple(value.shape)}")
        if name != "pixel_values" and not (ours[name].dtype == value.dtype and ours[name].equal(value)):
            raise ContractError(f"{name} is {ours[name].tolist()}, not {value.tolist()}")
    return (ours["pixel_values"].double() - theirs["pixel_values"].double()).abs()
