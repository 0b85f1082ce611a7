"""What a picture processor is set to do, and from pictures to a model's fields: one function per kind.

`x` is in [0, 1], (n, 3, h, w): n requests with one picture each. Black is 0 before `Settings.finished`;
what is padded after it is 0 there, as in the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from PIL.Image import Resampling
from torch import Tensor
from torch.nn.functional import pad

from sightline.errors import UsageError
from sightline.whitebox.preprocessing import geometry
from sightline.whitebox.preprocessing.geometry import Rule, Size
from sightline.whitebox.preprocessing.resize import LEVELS, filter_of, resize

Fields = dict[str, Tensor]

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


Recipe = Callable[[Tensor, Settings], Fields]


def _size(x: Tensor) -> Size:
    return Size(x.shape[-2], x.shape[-1])


def _to(x: Tensor, goal: Size, settings: Settings) -> Tensor:
    return resize(x, goal.height, goal.width, settings.resample, rounded=settings.rounded)


def _framed(x: Tensor, settings: Settings) -> Tensor:
    """Resized and cropped, as far as the processor says."""
    if settings.do_resize:
        x = _to(x, geometry.resized(_size(x), settings.size), settings)
    if settings.do_center_crop:
        x = _cropped(x, geometry.stated(settings.crop))
    return x


def _cropped(x: Tensor, goal: Size) -> Tensor:
    """The middle; black around a picture that is smaller."""
    missing = [max(0, wanted - has) for wanted, has in zip(goal, _size(x), strict=True)]
    if any(missing):
        top, left = (math.ceil(gap / 2) for gap in missing)
        x = pad(x, (left, missing[1] - left, top, missing[0] - top))
    top, left = ((has - wanted) // 2 for wanted, has in zip(goal, _size(x), strict=True))
    return x[..., top : top + goal.height, left : left + goal.width]


def _filled(x: Tensor, goal: Size) -> Tensor:
    """With zeros below and to the right."""
    size = _size(x)
    if goal.height < size.height or goal.width < size.width:
        raise UsageError(f"a picture of {size} pixels cannot be padded to {goal}; use a smaller one")
    return pad(x, (0, goal.width - size.width, 0, goal.height - size.height)) if size != goal else x


def _stacked(views: Sequence[Tensor], x: Tensor) -> Tensor:
    """Views of a picture as one tensor, (n, views, 3, h, w)."""
    sizes = {_size(view) for view in views}
    if len(sizes) > 1:
        raise UsageError(
            f"a picture of {_size(x)} pixels would become parts of {len(sizes)} sizes "
            f"({', '.join(map(str, sorted(sizes)))}), which this processor cannot put into one tensor; set "
            "do_resize or do_pad in preprocessor_config.json, or change the picture's size"
        )
    return torch.stack(list(views), dim=1)


def _repeated(x: Tensor, *values: int) -> Tensor:
    """The same whole numbers for each picture, int64 (n, k)."""
    return constant(values, x.device, torch.int64).repeat(len(x), 1)


def plain(x: Tensor, settings: Settings) -> Fields:
    """CLIP, SigLIP, ViT, BLIP: resize, crop, normalize, pad."""
    pixels = settings.finished(_framed(x, settings))
    if settings.do_pad and settings.pad:
        pixels = _filled(pixels, geometry.stated(settings.pad))
    return {"pixel_values": pixels}


def detection(x: Tensor, settings: Settings) -> Fields:
    """DETR and its kin: as `plain`; if it pads, with a mask of what is picture, (n, h, w)."""
    found = plain(x, settings)
    if not settings.do_pad:
        return found
    seen = geometry.resized(_size(x), settings.size) if settings.do_resize else _size(x)
    return _masked(found["pixel_values"], seen)


def yolos(x: Tensor, settings: Settings) -> Fields:
    """YOLOS: as `detection`, with a size rule of its own."""
    if settings.do_resize:
        x = _to(x, geometry.yolos(_size(x), settings.size), settings)
    return detection(x, replace(settings, do_resize=False))


def _masked(pixels: Tensor, seen: Size) -> Fields:
    mask = torch.zeros((len(pixels), *pixels.shape[-2:]), dtype=torch.int64, device=pixels.device)
    mask[:, : seen.height, : seen.width] = 1
    return {"pixel_values": pixels, "pixel_mask": mask}


def square(x: Tensor, settings: Settings) -> Fields:
    """LLaVA's own: first padded to a square in the mean's color, if it says so."""
    height, width = _size(x)
    if settings.do_pad and height != width:
        side = max(height, width)
        color = tuple(int(value * LEVELS) / LEVELS for value in settings.mean or (0, 0, 0))
        ground = constant(color, x.device, x.dtype)[:, None, None].expand(len(x), -1, side, side).clone()
        top, left = (side - height) // 2, (side - width) // 2
        ground[..., top : top + height, left : left + width] = x
        x = ground
    return {"pixel_values": settings.finished(_framed(x, settings))}


def nested(x: Tensor, settings: Settings) -> Fields:
    """Idefics: as `plain`; its model takes (request, picture, 3, h, w)."""
    return {name: value.unsqueeze(1) for name, value in plain(x, settings).items()}


def anyres(x: Tensor, settings: Settings) -> Fields:
    """LLaVA-NeXT: the whole picture, then the tiles of the best of some canvases, row by row."""
    if not settings.canvases:
        raise UsageError("image_grid_pinpoints is empty: LLaVA-NeXT needs some resolutions to choose from")
    size, edge = _size(x), settings.size.get("shortest_edge", 0)
    whole = Size(settings.size.get("height", edge), settings.size.get("width", edge))
    tile = settings.crop.get("height") or whole.height
    canvas = geometry.best_resolution(size, settings.canvases)
    fitting = geometry.inside(size, canvas)
    down, across = canvas.height - fitting.height, canvas.width - fitting.width
    large = pad(_to(x, fitting, settings), (across // 2, across - across // 2, down // 2, down - down // 2))
    tiles = [
        large[..., top : top + tile, left : left + tile]
        for top in range(0, canvas.height, tile)
        for left in range(0, canvas.width, tile)
    ]
    views = [_framed(view, settings) for view in (_to(x, whole, settings), *tiles)]
    return {"pixel_values": settings.finished(_stacked(views, x)), "image_sizes": _repeated(x, *size)}


def _with_mask(views: Sequence[Tensor], x: Tensor, settings: Settings) -> Fields:
    """Idefics2 and 3: padded to the largest view, with a mask of what is picture, (n, views, h, w)."""
    views = [settings.finished(view) for view in views]
    if not settings.do_pad:
        return {"pixel_values": _stacked(views, x)}
    goal = Size(max(_size(view).height for view in views), max(_size(view).width for view in views))
    mask = torch.zeros((len(x), len(views), *goal), dtype=torch.int64, device=x.device)
    for number, view in enumerate(views):
        mask[:, number, : view.shape[-2], : view.shape[-1]] = 1
    pixels = _stacked([_filled(view, goal) for view in views], x)
    return {"pixel_values": pixels, "pixel_attention_mask": mask}


def idefics2(x: Tensor, settings: Settings) -> Fields:
    """Idefics2: resized within limits; if it splits, the four quarters come first, each resized itself."""
    size, views = _size(x), [x]
    if settings.do_image_splitting:
        if min(size) < 2:
            raise UsageError(f"a picture of {size} pixels cannot be split into quarters; use a larger one")
        top, left = size.height // 2, size.width // 2
        upper, lower = x[..., :top, :], x[..., top:, :]
        views = [upper[..., :left], upper[..., left:], lower[..., :left], lower[..., left:], x]
    if settings.do_resize:
        views = [_to(view, geometry.idefics2(_size(view), settings.size), settings) for view in views]
    return _with_mask(views, x, settings)


def idefics3(x: Tensor, settings: Settings) -> Fields:
    """Idefics3: to the longest edge, then whole tiles, then the tiles and the whole picture as one tile."""
    tile, large = Size(settings.tile, settings.tile), x
    if settings.do_resize:
        large = _to(large, geometry.idefics3(_size(large), settings.size), settings)
    if not settings.do_image_splitting:
        return _with_mask([_to(large, tile, settings)], x, settings)
    large = _to(large, geometry.idefics3_tiled(_size(large), settings.tile), settings)
    if _size(large) == tile:
        return _with_mask([large], x, settings)
    tiles = [
        large[..., top : top + tile.height, left : left + tile.width]
        for top in range(0, large.shape[-2], tile.height)
        for left in range(0, large.shape[-1], tile.width)
    ]
    return _with_mask([*tiles, _to(large, tile, settings)], x, settings)


def mllama(x: Tensor, settings: Settings) -> Fields:
    """Mllama: fitted into the best grid of tiles, black below and to the right; absent tiles are 0."""
    if not (settings.do_resize and settings.do_pad):
        raise UsageError("Mllama's pictures are always resized and padded; set do_resize and do_pad to true")
    side, size = geometry.stated(settings.size), _size(x)
    grid = geometry.mllama_grid(size, settings.tiles, side.height)
    fitted = _to(x, geometry.mllama_inside(size, grid, side.height), settings)
    canvas = settings.finished(_filled(fitted, Size(grid.height * side.height, grid.width * side.width)))
    tiles = canvas.unflatten(-2, (grid.height, side.height)).unflatten(-1, (grid.width, side.width))
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    count = tiles.shape[1]
    pixels = pad(tiles, (0, 0, 0, 0, 0, 0, 0, settings.tiles - count))
    mask = (1,) * count + (0,) * (settings.tiles - count)
    return {
        "pixel_values": pixels.unsqueeze(1),
        "aspect_ratio_ids": _repeated(x, geometry.arrangements(settings.tiles).index(grid) + 1),
        "aspect_ratio_mask": _repeated(x, *mask).unsqueeze(1),
    }


def qwen(x: Tensor, settings: Settings) -> Fields:
    """Qwen2-VL and 2.5-VL: rows of patches, those of one token beside each other; every frame the same.

    A row holds (channel, frame, y, x) of a patch; the pictures' rows follow each other.
    """
    side = settings.patch * settings.merge
    if settings.do_resize:
        if not {"shortest_edge", "longest_edge"} <= settings.size.keys():
            raise UsageError("Qwen2-VL's size needs shortest_edge and longest_edge, in pixels of area")
        least, most = settings.size["shortest_edge"], settings.size["longest_edge"]
        x = _to(x, geometry.qwen(_size(x), side, least, most), settings)
    size = _size(x)
    if size.height % side or size.width % side or not min(size):
        raise UsageError(
            f"a picture of {size} pixels does not divide into squares of {side} pixels, and this processor "
            f"does not resize; use edges that are multiples of {side}"
        )
    down, across = size.height // settings.patch, size.width // settings.patch
    blocks = settings.finished(x)
    blocks = blocks.unflatten(-1, (across // settings.merge, settings.merge, settings.patch))
    blocks = blocks.unflatten(-4, (down // settings.merge, settings.merge, settings.patch))
    # n, channel, gy, my, y, gx, mx, x  ->  n, gy, gx, my, mx, channel, frame, y, x
    blocks = blocks.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)
    blocks = blocks.expand(*(-1,) * 6, settings.frames, -1, -1)
    rows = blocks.reshape(len(x) * down * across, -1)
    return {"pixel_values": rows, "image_grid_thw": _repeated(x, 1, down, across)}
