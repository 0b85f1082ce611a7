"""What is known of families of models, by the configuration's `model_type`: one row for each.

A family that is not listed answers by the library's own processor and `generate`, without what makes it
faster, and cannot be attacked through its gradients. `whitebox/families` holds the passes with gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

#: picture processors that resize, crop and normalize, and no more
PLAIN_PROCESSORS = frozenset(
    f"{name}ImageProcessor" for name in ("CLIP", "Siglip", "ViT", "Blip", "DeiT", "Bit")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFamily:
    """One family.

    Attributes:
        adapter: class of `whitebox.families` that opens it for gradients; '' for none.
        processors: classes of picture processors, without `Pil` or `Fast`, that are done in the graph.
        route: by the library's combined processor; by its parts, where the combined one needs torchvision;
            by hand; or, for language models that see no pictures, by the tokenizer alone (`text`).
        nested: picture tensors are (request, picture, ...) instead of (picture, ...).
        picture_first: its processor puts the one picture before the text by itself; the prompt does not
            show it.
        picture_optional: of `picture_first` ones, whether a model with a chat template was trained as a
            dialogue model and is also asked without picture.
        picture_needed: it answers only requests that show a picture.
        plain_form: of a prompt without a chat template; see `prompt`.
        growing_cache: keys and values of its text layers are appended to plain layers of the library.
        features_by_picture: its vision features are a list, one entry per picture, and depend on it only.
        continued: causal, with positions that follow from the attention mask alone, so that a request can
            continue on keys and values of an earlier one.
        trainers: whether TRL's trainers were tried with its inputs.
        tower: where it keeps its vision tower, if its class token stands first among the patches.
        tower_layer: the setting that says which layer of the tower is read; '' for the last one.
    """

    adapter: str = ""
    processors: frozenset[str] = frozenset()
    route: Literal["processor", "parts", "by_hand", "text"] = "processor"
    nested: bool = False
    picture_first: bool = False
    picture_optional: bool = False
    picture_needed: bool = False
    plain_form: Literal["vicuna", "question", "instruction", "dialogue"] = "vicuna"
    growing_cache: bool = False
    features_by_picture: bool = False
    continued: bool = False
    trainers: bool = False
    tower: str = ""
    tower_layer: str = ""

    @property
    def text_only(self) -> bool:
        """Whether it is a language model that sees no pictures."""
        return self.route == "text"


def _of(*names: str) -> frozenset[str]:
    return frozenset(f"{name}ImageProcessor" for name in names)


_QWEN = ModelFamily(
    adapter="Qwen",
    processors=_of("Qwen2VL"),
    route="parts",
    growing_cache=True,
    features_by_picture=True,
)
FAMILIES: Mapping[str, ModelFamily] = {
    "blip-2": ModelFamily(
        adapter="QFormer",
        processors=PLAIN_PROCESSORS,
        picture_first=True,
        picture_optional=True,
        plain_form="question",
        growing_cache=True,
        trainers=True,
        tower="vision_model",
    ),
    "idefics": ModelFamily(
        adapter="Idefics",
        processors=_of("Idefics"),
        route="by_hand",
        plain_form="dialogue",
        growing_cache=True,
        tower="vision_model",
    ),
    "idefics2": ModelFamily(adapter="Padded", processors=_of("Idefics2"), nested=True, growing_cache=True),
    "idefics3": ModelFamily(adapter="Padded", processors=_of("Idefics3"), nested=True, growing_cache=True),
    "instructblip": ModelFamily(
        adapter="InstructedQFormer",
        processors=PLAIN_PROCESSORS,
        picture_first=True,
        plain_form="instruction",
        tower="vision_model",
    ),
    "llama": ModelFamily(adapter="TextOnly", route="text", growing_cache=True),
    "llava": ModelFamily(
        adapter="Llava",
        processors=PLAIN_PROCESSORS | _of("Llava"),
        growing_cache=True,
        features_by_picture=True,
        continued=True,
        trainers=True,
        tower="vision_tower",
        tower_layer="vision_feature_layer",
    ),
    "llava_next": ModelFamily(
        adapter="Llava",
        processors=_of("LlavaNext"),
        growing_cache=True,
        tower="vision_tower",
        tower_layer="vision_feature_layer",
    ),
    "mllama": ModelFamily(adapter="Mllama", processors=_of("Mllama"), nested=True),
    "paligemma": ModelFamily(
        processors=PLAIN_PROCESSORS, picture_needed=True, plain_form="instruction", growing_cache=True
    ),
    "qwen2_5_vl": _QWEN,
    "qwen2_vl": _QWEN,
    "smolvlm": ModelFamily(
        adapter="Padded", processors=_of("SmolVLM", "Idefics3"), nested=True, growing_cache=True
    ),
}
_UNKNOWN = ModelFamily()


def facts_of(model_type: str) -> ModelFamily:
    """What is known of the family of a configuration's `model_type`; of an unlisted one, nothing special."""
    return FAMILIES.get(model_type, _UNKNOWN)
