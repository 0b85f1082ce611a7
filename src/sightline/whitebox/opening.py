"""Open a victim: the model behind a target string, or in a folder, loaded for gradients.

The target itself runs the same weights for inference only (on AMD processors repacked, without a gradient);
what is opened here has modules of its own around them.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from sightline.cases import Image
from sightline.contracts import Target
from sightline.errors import ContractError, UsageError
from sightline.records import Pixels
from sightline.targets import LocalSettings, open_target
from sightline.targets.local.model import SMALL_PARAMETERS
from sightline.targets.local.processors import quiet
from sightline.targets.local.source import ModelSource
from sightline.targets.vlm import VlmTarget, from_memory
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
    target: str | VlmTarget, *, local: LocalSettings | None = None, checkpointing: bool = False
) -> MultimodalVictim:
    """Open the model of a target for gradients; its weights are loaded only if no target has them in memory.

    Args:
        target: a local target, or its name: `vlm/...` or `testbed/...`, or a model folder.
        local: device and number format for a name; by default from the environment.
        checkpointing: keep one activation per layer and compute the others again in the backward pass: a
            third more work, several times less memory.

    Raises:
        UsageError: for a target without gradients, a folder that cannot be loaded, a family without adapter.
        AbsentExtraError: if torch or transformers is not installed.
    """
    found: Target = _opened(target, local) if isinstance(target, str) else target
    if not isinstance(found, VlmTarget):
        raise UsageError(
            f"target {target!r} has no gradients: white-box attacks need a local model, "
            "vlm/FOLDER or testbed/NAME"
        )
    return _victim(found.source, found.id, checkpointing=checkpointing)


def from_pretrained(
    model: Any, processor: Any, *, name: str = "", checkpointing: bool = False
) -> MultimodalVictim:
    """Open a model that is in memory for gradients; nothing is loaded, and neither argument is changed.

    Args:
        model: an image-text-to-text model of `transformers`, on its device and in its number format.
        processor: as `AutoProcessor.from_pretrained` loads it.
        name: of the model; by default that of its configuration.
        checkpointing: see `open_victim`.

    Raises:
        UsageError: for a family without adapter, or a processor that lacks a part or is not supported.
    """
    target = from_memory(model, processor, _NoPictures(), name=name)
    return open_victim(target, checkpointing=checkpointing)


def _opened(name: str, local: LocalSettings | None) -> Target:
    settings = local or LocalSettings.from_environment()
    known = name.partition("/")[0] in _WHITE or not Path(name).is_dir()
    return open_target(name if known else f"vlm/{name}", _NoPictures(), local=settings)


def _victim(source: ModelSource, name: str, *, checkpointing: bool) -> MultimodalVictim:
    config = source.config()
    check_known(str(config.model_type))
    route, pictures = source.route(config, 1), source.image_processor()
    model = source.model(config)
    if model.device.type == "cpu" and model.num_parameters() < SMALL_PARAMETERS:
        with quiet():
            model.set_attn_implementation("eager")  # less to call; no difference in the numbers
    if model.num_parameters() < QUICKENED_PARAMETERS:
        quicken(model)
    if checkpointing:
        checkpointed(model)
    prompts = Prompts(route, name, _ends(model, route.tokenizer))
    preprocess = preprocessor(str(model.config.model_type), pictures)
    return MultimodalVictim(model, prompts, preprocess, name, hold=not checkpointing)


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
