"""Pictures as levels (uint8, of a file) and as float32 in [0, 1], and where an attacked one starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from sightline.errors import UsageError, nearest
from sightline.records import Pixels
from sightline.whitebox.compute import RngStream
from sightline.whitebox.shapes import Images, Levels

Init = Literal["clean", "ball", "uniform", "white", "normal"]
"""Where theta starts: the clean picture; uniform in the ball; uniform in [0, 1]; ones; clean + N(0, 1).

Whatever it is, it is projected.
"""


def from_pixels(pictures: Sequence[Pixels], device: Any = "cpu") -> Levels:
    """Pictures of one size as the values of their files.

    Raises:
        UsageError: for no picture, or pictures of different sizes.
    """
    sizes = sorted({picture.shape for picture in pictures})
    if len(sizes) != 1:
        raise UsageError(f"one batch holds pictures of one size, got {sizes or 'none'}: group them by size")
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().to(device)


def as_pixels(levels: Levels) -> list[Pixels]:
    """Levels as pictures (h, w, 3)."""
    return list(levels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


def unit(levels: Levels) -> Images:
    """Levels 0..255 as pictures in [0, 1]."""
    return levels.float() / 255


def rounded(x: Tensor) -> Tensor:
    """Pictures in [0, 1] at the nearest level, float32 whole numbers 0..255."""
    return (x.detach() * 255).round().clamp(0, 255)


def known_init(init: str, allowed: Sequence[str] = get_args(Init)) -> None:
    """Check the name of a start.

    Raises:
        UsageError: for another name than `allowed`, offering the nearest.
    """
    if init not in allowed:
        raise UsageError(nearest(init, allowed, "init"))


def known_clean(clean: Tensor) -> None:
    """Check that clean pictures are exact levels.

    Raises:
        UsageError: for another shape or number format.
    """
    if clean.dtype != torch.uint8 or clean.dim() != 4 or clean.shape[1] != 3:
        raise UsageError(
            f"clean pictures are {clean.dtype} {tuple(clean.shape)}: expected torch.uint8 "
            "(n, 3, height, width), the exact levels of the files (constraint.from_pixels makes them)"
        )


def first_theta(init: str, clean: Tensor, rng: RngStream, ball: Callable[[RngStream], Tensor]) -> Tensor:
    """The theta of a start before projection, of the shape of `clean` (float32 in [0, 1])."""
    shape = clean.shape[1:]
    starts: dict[str, Callable[[], Tensor]] = {
        "clean": clean.clone,
        "uniform": lambda: rng.uniform(shape),
        "white": lambda: torch.ones_like(clean),
        "normal": lambda: clean + rng.normal(shape),
        "ball": lambda: ball(rng),
    }
    return starts[init]()


def lengths(values: Tensor) -> Tensor:
    """Euclidean norm of each artifact's values, shaped to be broadcast, (n, 1, ..., 1)."""
    norms: Tensor = torch.linalg.vector_norm(values.flatten(1), dim=1)
    return norms.reshape(-1, *[1] * (values.dim() - 1))
