"""Which encoder is in a folder, by its configuration; loads no torch.

A surrogate string `encoder/FOLDER` (or a hub id in the local cache) names one. What it is follows from the
folder's `architectures`:

    tower       CLIP, SigLIP, ViT, DINOv2; CLIP and SigLIP with their text tower, if the folder has it
    classifier  ...ForImageClassification
    detector    ...ForObjectDetection

`encoder/FOLDER@-2` takes a tower's patch vectors from its last layer but one, which LLaVA reads; layers are
counted as Hugging Face counts hidden states, and the last one is the default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

from sightline.errors import UsageError, nearest
from sightline.targets import LocalSettings
from sightline.targets._names import ENCODER
from sightline.targets.local.files import model_folder, need_local, weights_digest

Part = Literal["tower", "classifier", "detector"]

#: model types that are supported, by what they are used as
KNOWN: dict[Part, frozenset[str]] = {
    "tower": frozenset({"clip", "clip_vision_model", "dinov2", "siglip", "siglip_vision_model", "vit"}),
    "classifier": frozenset({"clip", "deit", "dinov2", "siglip", "swin", "swinv2", "vit"}),
    "detector": frozenset({"conditional_detr", "detr", "yolos"}),
}
#: detectors whose boxes are proposed, then refined, with no gradient from one to the other: at random weights
#: the scores of an RT-DETR fall 500 times as fast along other ways as along the gradient that it gives
_CUT = frozenset({"d_fine", "deformable_detr", "rt_detr", "rt_detr_v2"})
_HEADS: dict[str, Part] = {"ForImageClassification": "classifier", "ForObjectDetection": "detector"}
_LAYER = re.compile(r"(.+)@(-?\d+)")


@dataclass(frozen=True, slots=True)
class EncoderFolder:
    """An encoder that can be opened.

    Attributes:
        id: as named, with the digest of the weights and the number format.
        folder: where the model is.
        part: what it is used as.
        model_type: of its configuration.
        architecture: the class that was saved, such as CLIPModel.
        layer: of a tower's patch vectors.
    """

    id: str
    folder: Path
    part: Part
    model_type: str
    architecture: str
    layer: int = -1


def encoder_folder(name: str, settings: LocalSettings | None = None) -> EncoderFolder:
    """Recognize the encoder in a folder.

    Args:
        name: `encoder/FOLDER`, `encoder/FOLDER@LAYER`, or the same without `encoder/`.
        settings: number format and whether a hub model may be fetched; by default from the environment.

    Raises:
        UsageError: for a folder that holds no model, only pickled weights, or a model that is no encoder.
        AbsentExtraError: if torch or transformers is not installed.
    """
    need_local(f"encoder {name!r}")
    settings = settings or LocalSettings.from_environment()
    rest, layer = name.removeprefix(f"{ENCODER}/"), -1
    if (numbered := _LAYER.fullmatch(rest)) is not None:
        rest, layer = numbered[1], int(numbered[2])
    folder = model_folder(rest, allow_download=settings.allow_download)
    config = _config(folder)
    model_type = str(config.get("model_type", ""))
    architecture = str(next(iter(config.get("architectures") or ()), ""))
    headed = [part for end, part in _HEADS.items() if architecture.endswith(end)]
    part: Part = headed[0] if headed else "tower"
    if part == "detector" and model_type in _CUT:
        raise UsageError(
            f"{folder}: a {model_type} model proposes boxes and refines them with no gradient in between, so "
            f"attacks on it would be blind; detectors that work: {', '.join(sorted(KNOWN[part]))}"
        )
    if model_type not in KNOWN[part]:
        raise UsageError(
            f"{folder} holds {architecture or 'a model without a name'} and cannot be opened as an encoder: "
            f"{nearest(model_type, KNOWN[part], f'type of {part}')} A multimodal model is named "
            "vlm/FOLDER: its own vision tower is used"
        )
    if layer != -1 and part != "tower":
        raise UsageError(f"{name}: a {part} has no patch vectors of a layer; leave @{layer} out")
    identity = f"{name}#{weights_digest(folder)[:16]}@{settings.resolved_dtype()}"
    return EncoderFolder(identity, folder, part, model_type, architecture, layer)


def _config(folder: Path) -> dict[str, Any]:
    try:
        found = orjson.loads((folder / "config.json").read_bytes())
    except (OSError, orjson.JSONDecodeError) as broken:
        raise UsageError(f"{folder / 'config.json'}: cannot be read: {broken}") from None
    if not isinstance(found, dict):
        raise UsageError(f"{folder / 'config.json'}: holds no mapping, so it describes no model")
    return found
