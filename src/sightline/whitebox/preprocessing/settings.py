"""What an instance of a picture processor says it does, read once; its last step, the normalization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from PIL.Image import Resampling
from torch import Tensor

from sightline.errors import UsageError
from sightline.whitebox.preprocessing.geometry import Rule, Size
from sightline.whitebox.preprocessing.resize import LEVELS, filter_of

_EDGES = ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width")
_FLAGS = frozenset(
    {
        "do_resize",
        "do_center_crop",
        "do_rescale",
        "do_normalize",
        "do_pad",
        "do_image_splitting",
        "do_convert_rgb",  # our pictures are RGB
        "do_convert_annotations",  # they have none
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of one picture processor. Lengths are in pixels; an absent rule is empty.

    Attributes:
        name: of its class, without the ending that tells the back end.
        scale: what a picture in [0, 1] is multiplied by before it is normalized.
        mean: per channel, after scaling; empty if there is none.
        std: likewise.
        canvases: LLaVA-NeXT's resolutions.
        tile: Idefics3's longest edge of a tile.
        tiles: Mllama's largest number of them.
        patch: Qwen2-VL's, along both edges.
        merge: how many patches of Qwen2-VL become one token, along each edge.
        frames: how often a picture is repeated for Qwen2-VL.
        rounded: whether a resize rounds to 8 bits as for a file; no setting of the processor.
    """

    name: str
    do_resize: bool
    do_center_crop: bool
    do_normalize: bool
    do_pad: bool
    do_image_splitting: bool
    size: Rule
    crop: Rule
    pad: Rule
    resample: Resampling
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    canvases: tuple[Size, ...]
    tile: int
    tiles: int
    patch: int
    merge: int
    frames: int
    rounded: bool = False

    def finished(self, x: Tensor) -> Tensor:
        """Rescaled and normalized, in the library's order. `x`: in [0, 1], (..., 3, h, w)."""
        if self.scale != 1:
            x = x * self.scale
        if not self.do_normalize:
            return x
        mean, std = (constant(values, x.device, x.dtype)[:, None, None] for values in (self.mean, self.std))
        return (x - mean) / std


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Some numbers as a tensor (k,), sent to the device once. Not to be written to."""
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def class_name(image_processor: Any) -> str:
    """The processor's class, without `Pil` or `Fast`."""
    return type(image_processor).__name__.removesuffix("Pil").removesuffix("Fast")


def settings_of(image_processor: Any) -> Settings:
    """Read a processor of `transformers`.

    Raises:
        UsageError: for a step or a value that cannot be done in the graph.
    """
    name = class_name(image_processor)

    def read(attribute: str, otherwise: Any = None) -> Any:
        value = getattr(image_processor, attribute, None)
        return otherwise if value is None else value

    unknown = {
        key for key, value in vars(image_processor).items() if key.startswith("do_") and value
    } - _FLAGS
    if unknown:
        raise UsageError(
            f"the picture processor {name} asks for {', '.join(sorted(unknown))}, which is not done inside "
            "the graph; set it to false in preprocessor_config.json if the model was not trained with it"
        )
    mean, std = (_per_channel(read(key), name, key) for key in ("image_mean", "image_std"))
    if read("do_normalize") and not (mean and std):
        raise UsageError(f"the picture processor {name} normalizes, but image_mean or image_std is absent")
    scale = LEVELS * float(read("rescale_factor", 1 / LEVELS)) if read("do_rescale") else float(LEVELS)
    return Settings(
        name=name,
        do_resize=bool(read("do_resize")),
        do_center_crop=bool(read("do_center_crop")),
        do_normalize=bool(read("do_normalize")),
        do_pad=bool(read("do_pad")),
        do_image_splitting=bool(read("do_image_splitting")),
        size=_rule(read("size")),
        crop=_rule(read("crop_size")),
        pad=_rule(read("pad_size")),
        resample=filter_of(read("resample")),
        scale=1.0 if math.isclose(scale, 1) else scale,
        mean=mean,
        std=std,
        canvases=tuple(Size(*map(int, point)) for point in read("image_grid_pinpoints", ())),
        tile=_rule(read("max_image_size")).get("longest_edge", 0),
        tiles=int(read("max_image_tiles", 0)),
        patch=int(read("patch_size", 0)),
        merge=int(read("merge_size", 0)),
        frames=int(read("temporal_patch_size", 0)),
    )


def _rule(size: Any) -> Rule:
    """The set entries of a `SizeDict`, or of a mapping."""
    if size is None:
        return {}
    values = {key: size.get(key) if isinstance(size, Mapping) else getattr(size, key, None) for key in _EDGES}
    return {key: int(value) for key, value in values.items() if value}


def _per_channel(values: Any, name: str, attribute: str) -> tuple[float, ...]:
    found = (float(values),) * 3 if isinstance(values, int | float) else tuple(map(float, values or ()))
    if len(found) not in (0, 3):
        raise UsageError(
            f"the picture processor {name} has {attribute}={values!r}; pictures here have three channels"
        )
    return found
