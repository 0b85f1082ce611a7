"""Encoders: pictures in, features or scores out. Of a folder, or the tower inside a multimodal victim.

kind        of a tower (CLIP, SigLIP, ViT, DINOv2)    of a classifier           of a detector
pooled      its pooled vector                         what its last layer reads mean of its boxes' vectors
projected   as compared with texts (CLIP, SigLIP)     -                         -
patches     a vector per patch, of one layer          -                         a vector per box it proposes
scores      -                                         log-odds of each label    log-odds of each label's
                                                                                likeliest box

A victim's tower has `pooled`, and as `patches` the layer that its language model reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    AutoTokenizer,
    CLIPModel,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    Dinov2Model,
    SiglipModel,
    SiglipVisionModel,
    ViTModel,
)
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # 5.17 exports a stub

from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.targets.local.families import FAMILIES
from sightline.targets.local.files import weights_digest
from sightline.targets.local.limits import ForeignText
from sightline.targets.local.loading import LOCAL, load_config, one_sentence, shared_model
from sightline.targets.local.processors import first_line, quiet
from sightline.whitebox.detectors import Classifier, Detector
from sightline.whitebox.encoder_folders import EncoderFolder, encoder_folder
from sightline.whitebox.frozen import FrozenEncoder, quicken
from sightline.whitebox.model import QUICKENED_PARAMETERS, MultimodalVictim
from sightline.whitebox.preprocessing.processor import ToFields, preprocessor
from sightline.whitebox.shapes import Features
from sightline.whitebox.victim import Encoder, Kind

_MODELS: dict[str, Any] = {
    "clip": CLIPModel,
    "clip_vision_model": CLIPVisionModelWithProjection,
    "CLIPVisionModel": CLIPVisionModel,
    "dinov2": Dinov2Model,
    "siglip": SiglipModel,
    "siglip_vision_model": SiglipVisionModel,
    "vit": ViTModel,
}
_HEADED: dict[str, Any] = {
    "classifier": AutoModelForImageClassification,
    "detector": AutoModelForObjectDetection,
}
#: where a family keeps its tower, if it is used alone
_TOWERS = {kind: facts.tower for kind, facts in FAMILIES.items() if facts.tower}
#: end token of old CLIP folders, whose texts end with their largest token instead
OLD_END = 2


@dataclass(frozen=True, slots=True, eq=False)
class TextTower:
    """Reads texts with both towers' model; its tokenizer is loaded when the first one is read.

    Attributes:
        model: a CLIPModel or SiglipModel.
        folder: where the tokenizer is.
    """

    model: Any
    folder: Path

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """See `Encoder.texts`."""
        words = self._tokenizer(texts)
        config = self.model.config.text_config
        limit = int(config.max_position_embeddings)
        siglip = self.model.config.model_type == "siglip"
        lengths = [len(ids) for ids in words(list(texts))["input_ids"]]
        if max(lengths) > limit:
            longest = texts[lengths.index(max(lengths))]
            raise UsageError(f"{self.folder}: its text tower reads {limit} tokens; shorten {longest[:60]!r}")
        padded: dict[str, Any] = {"padding": True}
        if siglip:  # trained on padding up to the whole length
            padded = {"padding": "max_length", "max_length": limit}
        tokens = words(list(texts), return_tensors="pt", **padded).to(self.model.device)
        ids = tokens["input_ids"]
        end = config.eos_token_id
        if not siglip and end != OLD_END and not bool((ids == end).any(1).all()):
            raise UsageError(
                f"{self.folder}: its tokenizer does not end a text with token {end}, whose vector CLIP takes"
            )
        with torch.no_grad():
            if siglip:
                found: Tensor = self.model.text_model(input_ids=ids).pooler_output
            else:
                read = self.model.text_model(input_ids=ids, attention_mask=tokens["attention_mask"])
                found = self.model.text_projection(read.pooler_output)
        return found.float()

    def _tokenizer(self, texts: Sequence[str]) -> Any:
        foreign = ForeignText(self.folder)
        try:
            foreign.check_tokenizer()
            foreign.check_text("\n".join(texts))
            with quiet():
                return AutoTokenizer.from_pretrained(
                    self.folder, local_files_only=True, trust_remote_code=False
                )
        except Exception as broken:  # a damaged tokenizer.json raises a bare Exception
            raise UsageError(
                f"{self.folder}: its text tower's tokenizer cannot be loaded: {first_line(broken)}"
            ) from None


class VisionEncoder(FrozenEncoder):
    """A frozen vision tower; satisfies `Encoder`. `open_encoder` and `tower_of` make one.

    Args:
        tower: takes pixels, gives hidden states and a pooled vector.
        preprocess: its picture processor, in the graph.
        name: its identity.
        projection: from the pooled vector to the space shared with text, if there is one.
        layer: whose patch vectors are given, counted as Hugging Face counts hidden states.
        first: how many tokens precede those of the patches.
        reader: its text tower, if there is one.
    """

    def __init__(
        self,
        tower: Any,
        preprocess: ToFields,
        name: str,
        *,
        projection: Any = None,
        layer: int = -1,
        first: int = 1,
        reader: TextTower | None = None,
    ) -> None:
        super().__init__(tower, preprocess, name)
        self._projection = projection
        self._layer = layer
        self._first = first
        self._reader = reader

    def features(self, x: Tensor, kind: Kind = "pooled") -> Features:
        """See `Encoder.features`.

        Raises:
            UsageError: for a projected vector of a tower without projection, and for scores.
        """
        if kind == "scores" or (kind == "projected" and self._projection is None):
            raise self._lacks(kind, "'pooled' or 'patches', or name a folder that has them")
        pixels = self._fields(x)["pixel_values"]
        if pixels.dim() == 5:  # pictures, tiles: the first is the whole picture
            pixels = pixels[:, 0]
        inner = kind == "patches" and self._layer != -1
        made = self.model(pixel_values=pixels, output_hidden_states=inner, return_dict=True)
        if kind == "patches":
            found: Tensor = made.hidden_states[self._layer] if inner else made.last_hidden_state
            found = found[:, self._first :]
        else:
            found = made.pooler_output if kind == "pooled" else self._projection(made.pooler_output)
        return found.float()

    def texts(self, texts: Sequence[str]) -> Tensor:
        """See `Encoder.texts`."""
        return super().texts(texts) if self._reader is None else self._reader(texts)


def open_encoder(name: str | EncoderFolder, *, local: LocalSettings | None = None) -> Encoder:
    """Open an encoder for gradients.

    Args:
        name: `encoder/FOLDER`, `encoder/FOLDER@LAYER`, a folder, or what `encoder_folder` made of one.
        local: device and number format; by default from the environment.

    Raises:
        UsageError: if the folder holds no encoder, cannot be loaded, or lacks weights that decide.
        AbsentExtraError: if torch or transformers is not installed.
    """
    settings = local or LocalSettings.from_environment()
    found = name if isinstance(name, EncoderFolder) else encoder_folder(name, settings)
    kind = _HEADED.get(found.part) or _MODELS.get(found.architecture) or _MODELS[found.model_type]
    with one_sentence(found.folder, "its picture processor cannot be loaded"):
        pictures = AutoImageProcessor.from_pretrained(found.folder, backend="pil", **LOCAL)
    model = shared_model(
        kind,
        found.folder,
        "an encoder",
        digest=weights_digest(found.folder),
        dtype=settings.resolved_dtype(),
        device=settings.present_device(),
        config=load_config(found.folder, getattr(kind, "config_class", AutoConfig)),
    )
    if found.part != "detector" and model.num_parameters() < QUICKENED_PARAMETERS:
        quicken(model)  # detectors write into what their layers give, which quicker ones forbid
    preprocess = preprocessor(found.model_type, pictures)
    if found.part == "classifier":
        return Classifier(model, preprocess, found.id)
    if found.part == "detector":
        return Detector(model, preprocess, found.id, masked=found.model_type != "yolos")
    return _tower(model, preprocess, found)


def _tower(model: Any, preprocess: ToFields, found: EncoderFolder) -> VisionEncoder:
    """The vision tower of a loaded model, with its projection and text tower."""
    both = isinstance(model, CLIPModel | SiglipModel)
    projected = isinstance(model, CLIPModel | CLIPVisionModelWithProjection)
    config = model.config.vision_config if both else model.config
    layers = int(config.num_hidden_layers)
    if not -layers - 1 <= found.layer <= layers:
        raise UsageError(f"{found.id}: layers go from {-layers - 1} to {layers}; {found.layer} is none")
    siglip = found.model_type.startswith("siglip")
    return VisionEncoder(
        model.vision_model if both or projected else model,
        preprocess,
        found.id,
        projection=torch.nn.Identity() if siglip else (model.visual_projection if projected else None),
        layer=found.layer,
        first=0 if siglip else 1,
        reader=TextTower(model, found.folder) if both else None,
    )


def tower_of(victim: MultimodalVictim) -> VisionEncoder:
    """The vision tower of a multimodal victim; shares its weights.

    Raises:
        UsageError: for a family whose tower sees a picture only in pieces.
    """
    config = victim.model.config
    if config.model_type not in _TOWERS:
        raise UsageError(
            f"the vision tower of a {config.model_type} model cannot be used alone; there is one for "
            f"{', '.join(sorted(_TOWERS))}"
        )
    tower = getattr(victim.model.base_model, _TOWERS[config.model_type])
    setting = FAMILIES[config.model_type].tower_layer
    layer = getattr(config, setting) if setting else -1
    if not isinstance(layer, int):
        raise UsageError(f"{victim.id} reads several layers of its tower: a patch has no single vector")
    return VisionEncoder(tower, victim.pixels, f"tower of {victim.id}", layer=layer)
