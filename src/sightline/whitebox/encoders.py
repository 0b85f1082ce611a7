"""Vision towers as encoders: of a CLIP folder, or the one inside a multimodal victim.

kind        what                                                              of a CLIP    of a victim
pooled      the tower's pooled vector                                         yes          yes
projected   the same behind CLIP's projection, as compared with text          yes          no
patches     a vector per patch, of the layer that the language model reads    last layer   yes
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, CLIPModel, CLIPVisionModel, CLIPVisionModelWithProjection
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # 5.17 exports a stub

from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.targets._files import model_folder, need_local, weights_digest
from sightline.targets._processors import first_line, quiet
from sightline.whitebox.mllm import MultimodalVictim, ToFields
from sightline.whitebox.preprocess import preprocessor
from sightline.whitebox.victim import Kind

_CLIP = {"clip": CLIPModel, "clip_vision_model": CLIPVisionModelWithProjection}
#: where a family keeps its tower, and the class token stands first among its patches
_TOWERS = {
    "blip-2": "vision_model",
    "idefics": "vision_model",
    "instructblip": "vision_model",
    "llava": "vision_tower",
    "llava_next": "vision_tower",
}


class VisionEncoder:
    """A frozen vision tower; satisfies `Encoder`. `open_encoder` and `tower_of` make one.

    Args:
        tower: takes pixels, gives hidden states and a pooled vector; a class token stands first.
        preprocess: its picture processor, in the graph.
        name: its identity.
        projection: from the pooled vector to the space shared with text, if there is one.
        layer: whose patch vectors are given, counted as Hugging Face counts hidden states.
    """

    def __init__(
        self, tower: Any, preprocess: ToFields, name: str, *, projection: Any = None, layer: int = -1
    ) -> None:
        self.tower = tower.eval().requires_grad_(False)
        self.id = name
        self._preprocess = preprocess
        self._projection = projection
        self._layer = layer
        weight = next(tower.parameters())
        self.device: torch.device = weight.device
        self._dtype = weight.dtype

    def __repr__(self) -> str:
        return f"VisionEncoder({self.id!r})"

    def features(self, x: Tensor, kind: Kind = "pooled") -> Tensor:
        """See `Encoder.features`; float32.

        Raises:
            UsageError: for a projected vector of a tower without projection.
        """
        if kind == "projected" and self._projection is None:
            raise UsageError(
                f"{self.id} has no projection: ask for 'pooled' or 'patches', or name a CLIP folder"
            )
        pixels = self._preprocess(x)["pixel_values"].to(self._dtype)
        if pixels.dim() == 5:  # pictures, tiles: the first is the whole picture
            pixels = pixels[:, 0]
        inner = kind == "patches" and self._layer != -1
        made = self.tower(pixel_values=pixels, output_hidden_states=inner, return_dict=True)
        if kind == "patches":
            found: Tensor = (made.hidden_states[self._layer] if inner else made.last_hidden_state)[:, 1:]
        else:
            found = made.pooler_output if kind == "pooled" else self._projection(made.pooler_output)
        return found.float()


def open_encoder(name: str, *, local: LocalSettings | None = None) -> VisionEncoder:
    """Open the vision tower of a CLIP folder (or hub id in the local cache).

    Raises:
        UsageError: if the folder cannot be loaded or holds another kind of model.
        AbsentExtraError: if torch or transformers is not installed.
    """
    need_local(f"encoder {name!r}")
    settings = local or LocalSettings.from_environment()
    folder = model_folder(name, allow_download=settings.allow_download)
    dtype = settings.resolved_dtype()
    known: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, **known)
            if config.model_type not in _CLIP:
                raise UsageError(
                    f"{folder}: a {config.model_type} model is no CLIP; open a multimodal model with "
                    "`open_victim` and take its tower with `tower_of`"
                )
            plain = "CLIPVisionModel" in (config.architectures or ())
            kind = CLIPVisionModel if plain else _CLIP[config.model_type]
            model = kind.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True, **known)
            pictures = AutoImageProcessor.from_pretrained(folder, backend="pil", **known)
    except (OSError, ValueError, KeyError, ImportError) as broken:
        raise UsageError(f"{folder}: cannot be loaded as a CLIP: {first_line(broken)}") from broken
    model = model.to(settings.resolved_device()).eval().requires_grad_(False)
    digest = weights_digest(Path(folder))
    return VisionEncoder(
        model if plain else model.vision_model,
        preprocessor("clip", pictures),
        f"{name}#{digest[:16]}@{dtype}",
        projection=None if plain else model.visual_projection,
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
    layer = config.vision_feature_layer if config.model_type.startswith("llava") else -1
    if not isinstance(layer, int):
        raise UsageError(f"{victim.id} reads several layers of its tower: a patch has no single vector")
    return VisionEncoder(tower, victim.pixels, f"tower of {victim.id}", layer=layer)
