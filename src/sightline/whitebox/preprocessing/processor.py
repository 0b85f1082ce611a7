"""Preprocessing inside the graph: pictures in [0, 1] become the fields that a model's processor makes.

The official processor (Pillow route) reads a `uint8` file and rounds to 8 bits after each pass of a
resize; here nothing is rounded, so that the loss is smooth in every pixel of the file. Without a resize
both agree to float precision; with one, they differ by that rounding (`benchmarks/preprocessing.py` measures
it), and `Preprocess.rounded` does without. The gradient at clipped values is explained in `resize`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sightline.errors import UsageError, nearest
from sightline.targets.local.families import FAMILIES, PLAIN_PROCESSORS
from sightline.whitebox.preprocessing import pipelines
from sightline.whitebox.preprocessing.pipelines import Fields, Recipe, Settings, class_name, settings_of
from sightline.whitebox.preprocessing.resize import LEVELS, onto

ToFields = Callable[[Tensor], Fields]
"""Pictures (n, 3, h, w) in [0, 1] -> what a model's processor makes of such files, with a gradient."""

_RECIPES: dict[str, Recipe] = {
    **dict.fromkeys(PLAIN_PROCESSORS, pipelines.plain),
    "DetrImageProcessor": pipelines.detection,
    "ConditionalDetrImageProcessor": pipelines.detection,
    "YolosImageProcessor": pipelines.yolos,
    "LlavaImageProcessor": pipelines.square,
    "LlavaNextImageProcessor": pipelines.anyres,
    "IdeficsImageProcessor": pipelines.nested,
    "Idefics2ImageProcessor": pipelines.idefics2,
    "Idefics3ImageProcessor": pipelines.idefics3,
    "SmolVLMImageProcessor": pipelines.idefics3,
    "MllamaImageProcessor": pipelines.mllama,
    "Qwen2VLImageProcessor": pipelines.qwen,
}
_DETR = frozenset({"DetrImageProcessor", "ConditionalDetrImageProcessor"})
#: which processors a model of a type may come with
_PROCESSORS: dict[str, frozenset[str]] = {
    **{kind: facts.processors for kind, facts in FAMILIES.items() if not facts.text_only},
    **dict.fromkeys(("clip", "clip_vision_model", "siglip", "siglip_vision_model"), PLAIN_PROCESSORS),
    **dict.fromkeys(("deit", "dinov2", "swin", "swinv2", "vit"), PLAIN_PROCESSORS),
    **dict.fromkeys(("conditional_detr", "detr"), _DETR),
    "yolos": frozenset({"YolosImageProcessor"}),
}


@dataclass(frozen=True, slots=True)
class Preprocess:
    """A model's preprocessing, differentiable; made by `preprocessor`.

    Attributes:
        model_type: of the model's configuration.
        settings: what its picture processor does.
        recipe: how.
    """

    model_type: str
    settings: Settings
    recipe: Recipe

    def __call__(self, x: Tensor) -> Fields:
        """The fields that the model takes for n requests with one picture each.

        `pixel_values` has `x`'s dtype and device. Its shape, and the other fields (int64), are those of
        the official processor; Idefics-1 gets (n, 1, 3, h, w), as its model takes it. What that processor
        hands to the text only (Mllama's `num_tiles`: the sum of `aspect_ratio_mask`) is left out.

        Args:
            x: pictures in [0, 1] at the size of their files, float32 or float64, (n, 3, h, w).

        Raises:
            UsageError: for another shape or dtype, or a size that this processor cannot take.
        """
        if x.dim() != 4 or x.shape[1] != 3 or not len(x) or x.dtype not in (torch.float32, torch.float64):
            raise UsageError(
                f"pictures of shape {tuple(x.shape)} and {x.dtype}: expected (n, 3, height, width) in "
                "[0, 1], float32; divide uint8 pixels by 255 and put the channels first"
            )
        if self.settings.rounded:
            x = onto(x, (x * LEVELS).round().clamp(0, LEVELS))
        return self.recipe(x, self.settings)

    def rounded(self) -> Preprocess:
        """The same for the file that a picture would be written to, rounding all that is rounded then.

        The values are the official processor's, so that a loss can be measured as the file will have it
        without leaving the device; the gradient is passed straight through.
        """
        return replace(self, settings=replace(self.settings, rounded=True))

    def unnormalized(self) -> Preprocess:
        """The same steps without mean and deviation: values are a file's, 0 to 1."""
        return replace(self, settings=replace(self.settings, scale=1.0, do_normalize=False))

    def in_levels(self) -> Preprocess:
        """The same steps without normalization: values are the file's, 0 to 255."""
        return replace(self, settings=replace(self.settings, scale=float(LEVELS), do_normalize=False))


def preprocessor(model_type: str, image_processor: Any) -> Preprocess:
    """What `image_processor` does to a picture, inside the graph.

    Args:
        model_type: of the model's configuration, for example "llava".
        image_processor: of `transformers`; its own flags and sizes are followed. Later changes to it are not.

    Raises:
        UsageError: for a model type, a processor or an option that is not supported, naming it.
    """
    if model_type not in _PROCESSORS:
        raise UsageError(
            f"pictures cannot be optimized for this model: {nearest(model_type, _PROCESSORS, 'model type')} "
            "Choose a model of one of these as the surrogate"
        )
    name = class_name(image_processor)
    if name not in _PROCESSORS[model_type]:
        raise UsageError(
            f"pictures cannot be optimized for this {model_type} model: "
            + nearest(name, _PROCESSORS[model_type], f"{model_type} picture processor")
        )
    return Preprocess(model_type, settings_of(image_processor), _RECIPES[name])
