"""How a page of words may look: what cameras, files and colors do to it."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image as PilImage
from PIL import ImageFilter, ImageOps


def colored(sheet: PilImage.Image, rng: np.random.Generator) -> PilImage.Image:
    """Dark ink of any color on a light ground of any color."""
    ink, ground = rng.integers(0, 120, 3), rng.integers(170, 256, 3)
    return ImageOps.colorize(sheet.convert("L"), ink.tolist(), ground.tolist())


def noisy(sheet: PilImage.Image, rng: np.random.Generator, levels: float) -> PilImage.Image:
    """Normal noise on every channel, with a standard deviation in levels of 255."""
    found = np.asarray(sheet) + rng.normal(0, levels, (*sheet.size[::-1], 3))
    return PilImage.fromarray(found.clip(0, 255).round().astype(np.uint8))


def squeezed(sheet: PilImage.Image, quality: int) -> PilImage.Image:
    """As a JPEG file of this quality."""
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=quality)
    return PilImage.open(file).convert("RGB")


LOOKS: dict[str, Callable[[PilImage.Image, np.random.Generator], PilImage.Image]] = {
    "as drawn": lambda sheet, _: sheet,
    "white on black": lambda sheet, _: ImageOps.invert(sheet),
    "colors": colored,
    "gray 150 on 200": lambda sheet, _: ImageOps.colorize(sheet.convert("L"), (150,) * 3, (200,) * 3),
    "noise of 16 levels": lambda sheet, rng: noisy(sheet, rng, 16),
    "noise of 32 levels": lambda sheet, rng: noisy(sheet, rng, 32),
    "noise of 64 levels": lambda sheet, rng: noisy(sheet, rng, 64),
    "JPEG 10": lambda sheet, _: squeezed(sheet, 10),
    "blur of 2 pixels": lambda sheet, _: sheet.filter(ImageFilter.GaussianBlur(2)),
    "every second pixel": lambda sheet, _: sheet.resize((sheet.width // 2, sheet.height // 2)).resize(
        sheet.size
    ),
    "tilt of 3 degrees": lambda sheet, _: sheet.rotate(
        3, fillcolor="white", resample=PilImage.Resampling.BICUBIC
    ),
    "tilt of 8 degrees": lambda sheet, _: sheet.rotate(
        8, fillcolor="white", resample=PilImage.Resampling.BICUBIC
    ),
}
"""What is done to a page before it is read."""
MOVED = ("tilt of 3 degrees", "tilt of 8 degrees")
"""Looks in which words stand elsewhere than they were drawn."""
