"""Open a victim: the model behind a target string, or in a folder, loaded for gradients.

The target itself runs the same files for inference only (on AMD processors with repacked weights that have
no gradient), so the model is loaded a second time, with frozen weights.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers import AutoModelForImageTextToText
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # 5.17 exports a stub

from sightline.cases import Image
from sightline.errors import ContractError, UsageError
from sightline.records import Pixels
from sightline.targets import LocalSettings, open_target
from sightline.targets.local.loading import LOCAL, load_config, load_weights, one_sentence
from sightline.targets.local.model import KIND, SMALL_PARAMETERS
from sightline.targets.local.processors import quiet, route_for
from sightline.targets.vlm import VlmTarget
from sightline.whitebox.families import check_known
from sightline.whitebox.frozen import quicken
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.preprocessing.processor import preprocessor
from sightline.whitebox.prompts import Prompts

#: kinds of targets that are models with weights at hand
_WHITE = ("vlm", "testbed")
#: a larger model's weights are not kept three times
QUICKENED_PARAMETERS = 1_000_000_000


class _NoPictures:
    """A target is only asked for its folder and identity: it reads no picture."""

    def read(self, sha256: str) -> bytes:
        raise ContractError(f"picture {sha256}: a target that is opened as a victim answers nothing")

    def pixels(self, image: Image) -> Pixels:
        raise ContractError(f"picture {image.sha256}: a target that is opened as a victim answers nothing")

    def put(self, data: bytes) -> Image:
        raise ContractError(f"{len(data)} bytes: a target that is opened as a victim keeps nothing")


def open_victim(
    name: str, *, local: LocalSettings | None = None, checkpointing: bool = False
) -> MultimodalVictim:
    """Open the model of a target for gradients.

    Args:
        name: a target string `vlm/...` or `testbed/...`, or a model folder.
        local: device and number format; by default from the environment.
        checkpointing: keep one activation per layer and compute the others again in the backward pass: a
            third more work, several times less memory.

    Raises:
        UsageError: for a target without gradients, a folder that cannot be loaded, a family without adapter.
        AbsentExtraError: if torch or transformers is not installed.
    """
    settings = local or LocalSettings.from_environment()
    kind = name.partition("/")[0]
    target = open_target(
        f"vlm/{name}" if kind not in _WHITE and Path(name).is_dir() else name, _NoPictures(), local=settings
    )
    if not isinstance(target, VlmTarget):
        raise UsageError(
            f"target {name!r} has no gradients: white-box attacks need a local model, "
            "vlm/FOLDER or testbed/NAME"
        )
    model, prompts, pictures = _loaded(target, settings)
    if model.num_parameters() < QUICKENED_PARAMETERS:
        quicken(model.requires_grad_(False))
    if checkpointing:
        checkpointed(model)
    preprocess = preprocessor(str(model.config.model_type), pictures)
    return MultimodalVictim(model, prompts, preprocess, target.id, hold=not checkpointing)


def _loaded(target: VlmTarget, settings: LocalSettings) -> tuple[Any, Prompts, Any]:
    """Model, prompts and picture processor of a target's folder."""
    folder = target.folder
    config = load_config(folder)
    check_known(str(config.model_type))
    route = route_for(folder, config, 1)
    with one_sentence(folder, f"cannot be loaded as {KIND}"):
        pictures = AutoImageProcessor.from_pretrained(folder, backend="pil", **LOCAL)
    model = load_weights(
        AutoModelForImageTextToText,
        folder,
        KIND,
        dtype=settings.resolved_dtype(),
        device=settings.present_device(),
        config=config,
    )
    if model.device.type == "cpu" and model.num_parameters() < SMALL_PARAMETERS:
        with quiet():
            model.set_attn_implementation("eager")  # less to call; no difference in the numbers
    return model, Prompts(route, target.id, _ends(model, route.tokenizer)), pictures


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer: the tokenizer's own first, then those of the folder's settings."""
    stored = model.generation_config.eos_token_id
    if stored is None:
        stored = getattr(model.config.get_text_config(), "eos_token_id", None)
    others = stored if isinstance(stored, list | tuple) else [stored]
    return tuple(dict.fromkeys(int(t) for t in (tokenizer.eos_token_id, *others) if t is not None))


def checkpointed(model: Any) -> int:
    """Let every layer forget its activations and compute them again backwards; returns how many do.

    The library's own switch works in training mode only, which would turn dropout on.
    """
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
    return len(layers)
