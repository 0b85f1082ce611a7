"""Pillow's resampling as two constant matrices, in the graph.

`PIL.Image.resize` (Pillow 11 to 13, src/libImaging/Resample.c and Geometry.c) is a weighted sum along one
axis, rounded to 8 bits, then one along the other, rounded again; an axis whose length stays is skipped.
Here are the same weights; the rounding is left out unless it is asked for, and then has no gradient of its
own (straight through). The weights form a band around the diagonal: it is cut into blocks of 64 rows, so
that each product only meets the columns that count (backwards its transpose likewise). The width comes
first; since Pillow 13 the height does where it loses more than twice as many pixels.

Clipping. A filter that overshoots (bicubic, Lanczos) leaves [0, 255] beside sharp edges; Pillow clips
there after either pass. So do we, half a level further out, where Pillow's rounding would begin to lose:
a value clipped here gets no gradient, because its file would not change; a plain white area, which
rounding errors put a hair above 1, keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import PIL
import torch
from PIL.Image import Resampling
from torch import Tensor

from sightline.errors import UsageError, nearest

Floats = npt.NDArray[np.float64]

LEVELS = 255
HALF_LEVEL = 0.5 / LEVELS
FIXED = 2.0**22  # Pillow's weights are whole multiples of 1 / FIXED
BLOCK = 64
HEIGHT_MAY_BE_FIRST = int(PIL.__version__.split(".")[0]) >= 13


def _box(at: Floats) -> Floats:
    return ((at > -0.5) & (at <= 0.5)).astype(np.float64)


def _bilinear(at: Floats) -> Floats:
    found: Floats = np.maximum(1 - np.abs(at), 0)
    return found


def _hamming(at: Floats) -> Floats:
    """A cosine on a pedestal times sinc; Pillow writes its two constants in single precision."""
    pedestal, height = float(np.float32(0.54)), float(np.float32(0.46))
    return np.where(np.abs(at) < 1, np.sinc(at) * (pedestal + height * np.cos(np.pi * at)), 0)


def _bicubic(at: Floats) -> Floats:
    """Keys' cubic convolution with a = -1/2."""
    far = np.abs(at)
    inner = (1.5 * far - 2.5) * far**2 + 1
    outer = ((far - 5) * far + 8) * far - 4
    return np.where(far < 1, inner, np.where(far < 2, -0.5 * outer, 0))


def _lanczos(at: Floats) -> Floats:
    return np.where((at >= -3) & (at < 3), np.sinc(at) * np.sinc(at / 3), 0)


class _Kernel(NamedTuple):
    reach: float  # in pixels of the smaller picture
    weight: Callable[[Floats], Floats]


_KERNELS = {
    Resampling.BOX: _Kernel(0.5, _box),
    Resampling.BILINEAR: _Kernel(1.0, _bilinear),
    Resampling.HAMMING: _Kernel(1.0, _hamming),
    Resampling.BICUBIC: _Kernel(2.0, _bicubic),
    Resampling.LANCZOS: _Kernel(3.0, _lanczos),
}


def weights(length: int, goal: int, resample: Resampling) -> Floats:
    """What each of `length` pixels contributes to each of `goal` pixels, (goal, length); rows sum to 1."""
    scale = length / goal
    found = np.zeros((goal, length))
    rows = np.arange(goal)
    if resample == Resampling.NEAREST:
        steps = np.full(goal, scale)
        steps[0] = scale / 2
        taken = np.cumsum(steps).astype(np.int64)  # Pillow adds up likewise, rounding errors and all
        found[rows, taken.clip(max=length - 1)] = 1
        return found
    stretch = max(scale, 1.0)
    reach = _KERNELS[resample].reach * stretch
    centers = (rows + 0.5) * scale
    first = np.trunc(centers - reach + 0.5).clip(min=0).astype(np.int64)
    last = np.trunc(centers + reach + 0.5).clip(max=length).astype(np.int64)
    columns = first[:, None] + np.arange(math.ceil(reach) * 2 + 1)
    values = _KERNELS[resample].weight((columns - centers[:, None] + 0.5) / stretch)
    values[columns >= last[:, None]] = 0
    values /= values.sum(axis=1, keepdims=True)
    np.add.at(found, (rows[:, None], columns.clip(max=length - 1)), values)
    return found


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows `start` to `stop` of a band matrix, cut to the columns `first` to `last` where they are not 0."""

    start: int
    stop: int
    first: int
    last: int
    part: Tensor


@dataclass(frozen=True, slots=True)
class _Band:
    """A constant matrix, (rows, columns), and how its transpose is cut."""

    rows: int
    blocks: tuple[_Block, ...]
    columns: int
    transposed: tuple[_Block, ...]

    @property
    def back(self) -> _Band:
        return _Band(self.columns, self.transposed, self.rows, self.blocks)


def _blocks(matrix: Floats, device: torch.device, dtype: torch.dtype) -> tuple[_Block, ...]:
    found = []
    for start in range(0, len(matrix), BLOCK):
        rows = matrix[start : start + BLOCK]
        used = np.flatnonzero(rows.any(axis=0))
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        part = torch.as_tensor(np.ascontiguousarray(rows[:, first:last]), dtype=dtype, device=device)
        found.append(_Block(start, start + len(rows), first, last, part))
    return tuple(found)


@lru_cache(maxsize=128)
def _band(
    length: int, goal: int, resample: Resampling, device: torch.device, dtype: torch.dtype, *, fixed: bool
) -> _Band:
    matrix = weights(length, goal, resample)
    if fixed:
        matrix = np.trunc(matrix * FIXED + np.copysign(0.5, matrix)) / FIXED
    with torch.inference_mode(False):
        ahead, back = _blocks(matrix, device, dtype), _blocks(matrix.T, device, dtype)
    return _Band(goal, ahead, length, back)


def _full_precision(device_type: str) -> AbstractContextManager[object]:
    """Not in the half precision that a model may be run in: its seven bits are coarser than a level."""
    if torch.amp.is_autocast_available(device_type):
        found: AbstractContextManager[object] = torch.autocast(device_type, enabled=False)
        return found
    return nullcontext()


class _Product(torch.autograd.Function):
    """A band matrix times one axis (-1 or -2) of a tensor; in the tensor's own precision."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, band: _Band, axis: int) -> Tensor:
        ctx.band, ctx.axis = band, axis
        shape = list(x.shape)
        shape[axis] = band.rows
        found = x.new_empty(shape)
        with _full_precision(x.device.type):
            for block in band.blocks:
                taken = x.narrow(axis, block.first, block.last - block.first)
                product = taken @ block.part.T if axis == -1 else block.part @ taken
                found.narrow(axis, block.start, block.stop - block.start).copy_(product)
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return _product(grad, ctx.band.back, ctx.axis), None, None


_product: Callable[[Tensor, _Band, int], Tensor] = _Product.apply


def filter_of(resample: object) -> Resampling:
    """Pillow's filter by its number or member; bilinear for None, as in the library's processors.

    Raises:
        UsageError: for anything else.
    """
    if resample is None:
        return Resampling.BILINEAR
    known = (Resampling.NEAREST, *_KERNELS)
    if isinstance(resample, int) and resample in known:
        return Resampling(resample)
    names = [f"{member.value} ({member.name.lower()})" for member in known]
    raise UsageError(nearest(str(resample), names, "resampling filter"))


def resize(x: Tensor, height: int, width: int, resample: Resampling, *, rounded: bool = False) -> Tensor:
    """The picture as `PIL.Image.resize` makes it; `x` itself if the size stays.

    Args:
        x: pictures in [0, 1], (..., h, w), float32 or float64.
        height: of the result.
        width: of the result.
        resample: Pillow's filter.
        rounded: whether to give Pillow's very levels, for a picture that has levels itself (its values
            are rounded to some); the gradient is the one without.

    Returns:
        (..., height, width), in [-.5/255, 1 + .5/255]; see the module's text for the gradient.

    Raises:
        UsageError: for a picture or a result without pixels.
    """
    old = x.shape[-2:]
    if min(height, width, *old) < 1:
        raise UsageError(
            f"a picture of {old[1]}x{old[0]} pixels cannot be resized to {width}x{height}: it is too small "
            "or too narrow for this model; use a larger one, or one whose sides are less unequal"
        )
    passes = ((-1, width), (-2, height))
    if HEIGHT_MAY_BE_FIRST and old[0] - height > max(0, 2 * (old[1] - width)):
        passes = passes[::-1]
    for axis, goal in passes:
        if x.shape[axis] != goal:
            band = _band(x.shape[axis], goal, resample, x.device, x.dtype, fixed=False)
            smooth = _product(x, band, axis).clamp(-HALF_LEVEL, 1 + HALF_LEVEL)
            x = onto(smooth, _levels(x, goal, resample, axis)) if rounded else smooth
    return x


@torch.no_grad()
def _levels(x: Tensor, goal: int, resample: Resampling, axis: int) -> Tensor:
    """One pass as Pillow's whole numbers make it: of levels and to levels; float64 holds them exactly."""
    band = _band(x.shape[axis], goal, resample, x.device, torch.float64, fixed=True)
    found = _product((x.double() * LEVELS).round(), band, axis)
    return (found + 0.5).floor().clamp(0, LEVELS)


def onto(x: Tensor, levels: Tensor) -> Tensor:
    """`levels`, 0 to 255, in [0, 1], with the gradient of `x`."""
    return x + ((levels / LEVELS).to(x.dtype) - x).detach()
