"""How far preprocessing in the graph is from the official one on Pillow, family by family.

    python benchmarks/preprocessing.py [--quick]

A white-box attack descends on what the model's processor would make of the picture, with nothing rounded;
the target later reads the PNG through the official processor, which rounds after each pass of a resize. The
table gives the largest and the mean difference of both, in levels of 255, over drawings (smooth color, a
hard edge, noise) of several sizes, and of the rounded form with which the engine judges its pictures. The
processors are the library's own with the settings shown. Nothing is timed: the figures are exact.

The last line is one JSON object: FAMILY_max_levels, FAMILY_mean_levels, FAMILY_rounded_max_levels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from _preprocessing import difference
from sightline.whitebox.preprocessing.processor import Preprocess, preprocessor

SIZES = ((336, 336), (224, 224), (480, 640), (1024, 768), (97, 211))
QUICK = SIZES[:3]


@dataclass(frozen=True, slots=True)
class Family:
    """A model type with its processor: module, class and settings."""

    model_type: str
    module: str
    name: str
    settings: dict[str, Any]

    def processor(self) -> Any:
        """The official processor on Pillow."""
        module = import_module(f"transformers.models.{self.module}.image_processing_pil_{self.module}")
        return getattr(module, f"{self.name}ImageProcessorPil")(**self.settings)


def square(side: int) -> dict[str, int]:
    """A size of equal sides."""
    return {"height": side, "width": side}


FAMILIES = {
    "llava": Family("llava", "clip", "CLIP", {"size": {"shortest_edge": 336}, "crop_size": square(336)}),
    "llava_next": Family(
        "llava_next",
        "llava_next",
        "LlavaNext",
        {"size": {"shortest_edge": 336}, "crop_size": square(336)},
    ),
    "blip-2": Family("blip-2", "blip", "Blip", {"size": square(224)}),
    "instructblip": Family("instructblip", "blip", "Blip", {"size": square(224)}),
    "idefics": Family("idefics", "idefics", "Idefics", {}),
    "idefics2": Family("idefics2", "idefics2", "Idefics2", {}),
    "idefics3": Family("idefics3", "idefics3", "Idefics3", {}),
    "smolvlm": Family("smolvlm", "smolvlm", "SmolVLM", {}),
    "mllama": Family("mllama", "mllama", "Mllama", {"size": square(560)}),
    "qwen2_vl": Family("qwen2_vl", "qwen2_vl", "Qwen2VL", {}),
    "qwen2_5_vl": Family("qwen2_5_vl", "qwen2_vl", "Qwen2VL", {}),
    "clip": Family("clip", "clip", "CLIP", {}),
    "siglip": Family("siglip", "siglip", "Siglip", {}),
}


def drawing(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Smooth color, a hard edge and noise."""
    rng = np.random.default_rng([height, width])
    ramp = np.linspace(0, 255, height)[:, None, None] * np.linspace(0, 1, width)[None, :, None]
    picture = np.repeat(ramp, 3, axis=2)
    picture[height // 3 : height // 2 + 1] = (255, 0, 128)
    noisy = rng.random((height, width))[..., None] < 0.3
    return np.where(noisy, rng.integers(0, 256, picture.shape), picture).astype(np.uint8)


def measured(ours: Preprocess, processor: Any, sizes: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """Largest and mean difference over the drawings, in levels."""
    found = [difference(ours, processor, drawing(*size)) for size in sizes]
    return max(each.max_levels for each in found), float(np.mean([each.mean_levels for each in found]))


def main() -> None:
    """Measure, show, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three sizes of pictures instead of five")
    sizes = QUICK if parser.parse_args().quick else SIZES
    figures: dict[str, float] = {}
    table = Table("family", "processor", "largest", "mean", "rounded: largest", box=None)
    for name, family in FAMILIES.items():
        processor = family.processor()
        ours = preprocessor(family.model_type, processor)
        largest, mean = measured(ours, processor, sizes)
        rounded, _ = measured(ours.rounded(), processor, sizes)
        figures |= {
            f"{name}_max_levels": round(largest, 3),
            f"{name}_mean_levels": round(mean, 3),
            f"{name}_rounded_max_levels": round(rounded, 6),
        }
        settings = ", ".join(f"{key} {value}" for key, value in family.settings.items()) or "defaults"
        table.add_row(name, f"{family.name}: {settings}", f"{largest:.2f}", f"{mean:.2f}", f"{rounded:.4f}")
    Console(width=140).print(table)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
