"""A multimodal model opened for gradients: pixels in, predictions at target tokens out.

`open_victim` opens a target by its name, `from_pretrained` a model that is in memory. Every call packs its
pairs into a tree (`packing`), or several where that costs less (`compute`), encodes each picture once, and
asks for logits at target rows only. n pictures are n rows of the same tree. Weights are frozen, and shared
with targets of the same weights; `x` and the loss are float32, whatever the model computes in.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Sequence
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PilImage
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer

from sightline.cases import Conversation, Image
from sightline.contracts import Target
from sightline.errors import ContractError, UsageError
from sightline.records import Pixels
from sightline.targets import LocalSettings, open_target
from sightline.targets.local.families import facts_of
from sightline.targets.local.model import SMALL_PARAMETERS
from sightline.targets.local.processors import Fields, quiet
from sightline.targets.local.source import ModelSource
from sightline.targets.vlm import VlmTarget, from_memory
from sightline.whitebox.compute import PassCost, packs
from sightline.whitebox.families import ForwardInputs, check_known, family_of
from sightline.whitebox.families.text import no_pictures
from sightline.whitebox.frozen import quicken
from sightline.whitebox.packing import PackedPrompts, pack_prompts
from sightline.whitebox.prefix_cache import PrefixCache, text_prefix
from sightline.whitebox.preprocessing.processor import ToFields, preprocessor
from sightline.whitebox.prompts import Prompts, PromptTokens, Size, check_pictures
from sightline.whitebox.shapes import Images
from sightline.whitebox.through import WITH_WEIGHTS
from sightline.whitebox.victim import Pair, Rows, joined
from sightline.whitebox.within import Nodes, OpenWithin, at_blocks

#: packs of tokens that are remembered
LIMIT = 256
#: constant texts whose keys and values are remembered, and the fewest tokens that are worth it
CONSTANT_TEXTS, FEWEST = 16, 8
#: a larger model's weights are not kept three times
QUICKENED_PARAMETERS = 1_000_000_000
#: prompts that `check_tokens` compares
_CHECKED = 4


class MultimodalVictim:
    """A multimodal model of one of `families.KNOWN`; satisfies `Victim`. `open_victim` makes one.

    Args:
        model: with a language-model head; its weights are frozen here.
        prompts: its tokens.
        preprocess: its picture processor, in the graph.
        name: its identity: target string, digest of the weights, number format.
        cache_text: whether constant text before the picture is run once only.

    Raises:
        UsageError: if its family has no adapter.
    """

    def __init__(
        self, model: Any, prompts: Prompts, preprocess: ToFields, name: str, *, cache_text: bool = True
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.prompts = prompts
        self.id = name
        self.family = family_of(model)
        self.dtype: torch.dtype = model.dtype
        self._preprocess = preprocess
        self._cache_text = cache_text
        self.embedding = model.get_input_embeddings()
        self._patch = (
            1
            if facts_of(str(model.config.model_type)).text_only
            else int(model.config.vision_config.patch_size)
        )
        text = model.config.get_text_config()
        self._context = int(getattr(text, "max_position_embeddings", 0) or 0)
        self._window = int(getattr(text, "sliding_window", 0) or 0)
        self._cost = PassCost.of(model)
        self._opened: OpenWithin | None = None
        self._prefixes = PrefixCache(CONSTANT_TEXTS)
        outside = torch.inference_mode(False)  # a later pass may want a gradient
        self._remembered = lru_cache(maxsize=LIMIT)(outside(self._packs))

    def __repr__(self) -> str:
        return f"MultimodalVictim({self.id!r})"

    @property
    def device(self) -> torch.device:
        """Where pictures and thetas have to be."""
        device: torch.device = self.model.device
        return device

    def rows(self, x: Tensor, pairs: Sequence[Pair], *, perturbations: Sequence[Tensor | None] = ()) -> Rows:
        """See `Victim.rows`. A perturbation may also differ by picture, (n, tokens, width).

        Raises:
            UsageError: for a picture smaller than a patch, a prompt or target that does not fit the model, or
                a perturbation of another shape than `prompt_width` says.
        """
        size = self._size(x)
        given = list(perturbations) or [None] * len(pairs)
        numbers = {id(perturbation): perturbation for perturbation in given if perturbation is not None}
        distinct, places = list(numbers.values()), list(numbers)
        marks = tuple(
            None if perturbation is None else places.index(id(perturbation)) for perturbation in given
        )
        encoded = self.family.encode(self.pixels(x), len(x))
        parts, counts = list[Rows](), list[int]()
        for count, packed in self._remembered(tuple(pairs), marks, size):
            embeds = self._embedded(packed, len(x), distinct)
            parts.append(self._predicted(encoded, packed, embeds))
            counts.append(count)
        return joined(parts, counts)

    def acting(self, name: str, opened: OpenWithin) -> MultimodalVictim:
        """The same model, with what `opened` makes acting at its blocks in every pass; see `within`."""
        found = copy.copy(self)
        found.id, found._opened, found._cache_text = name, opened, False
        return found

    def _predicted(self, encoded: Any, packed: PackedPrompts, embeds: Tensor) -> Rows:
        """The rows of a pack, and the penalty of what acts at the blocks."""
        if self._opened is None:
            return Rows(self._logits(encoded, packed, embeds), packed.targets, packed.pair)
        within = self._opened(Nodes.of(packed), self.model)
        with at_blocks(self.model, self.id, within):
            logits = self._logits(encoded, packed, embeds)
        return Rows(logits, packed.targets, packed.pair, penalty=within.penalty())

    def _logits(self, encoded: Any, packed: PackedPrompts, embeds: Tensor) -> Tensor:
        """Predictions of a pack whose embeddings are (n, nodes, width), (n, t, vocabulary)."""
        family, start, cache = self.family, 0, None
        if len(packed.places):
            embeds = packed.with_features(embeds, family.features(encoded, packed.readings))
        if self._cache_text and len(packed.constant) >= FEWEST:
            ids, start = packed.constant, len(packed.constant)
            prefix = self._prefixes.get(ids, lambda: text_prefix(family, self.embedding, ids))
            cache = prefix.expanded(len(embeds))
        inputs = ForwardInputs(
            embeds=embeds[:, start:],
            mask=packed.mask(embeds.dtype)[:, :, start:],
            positions=packed.positions[:, start:],
            picture_mask=packed.picture_mask,
            read=packed.read - start,
            picture=encoded,
            cache=cache,
            cached=start,
        )
        return family.forward(inputs)

    def pixels(self, x: Images) -> Fields:
        """What the model's processor makes of pictures, in the model's number format."""
        found = self._preprocess(x)
        return {
            key: value.to(self.dtype) if value.is_floating_point() else value for key, value in found.items()
        }

    def prompt_width(self, prompt: Conversation) -> tuple[int, int]:
        """See `Victim.prompt_width`."""
        picture = next(iter(prompt.images), None)
        side = self._patch if picture is None else 0
        size = (side, side) if picture is None else (picture.height, picture.width)
        width = int(self.embedding.weight.shape[-1])
        return len(self._prompt(prompt, size).turn), width

    def tokens(self, pair: Pair, size: Size) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of a pair's prompt and target for a picture of a height and width."""
        return self._prompt(pair.prompt, size).ids, self.prompts.target(pair, size)

    def _prompt(self, prompt: Conversation, size: Size) -> PromptTokens:
        check_pictures(prompt)
        return self.prompts.prompt(prompt, size)

    def _size(self, x: Tensor) -> Size:
        """Height and width of the pictures, checked."""
        if x.dim() != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ContractError(
                f"pictures are floats (n, 3, h, w) in [0, 1]; these are {tuple(x.shape)} {x.dtype}"
            )
        height, width = int(x.shape[2]), int(x.shape[3])
        if min(height, width) < self._patch:
            raise UsageError(
                f"a picture of {width} x {height} pixels is smaller than a patch of {self.id} "
                f"({self._patch} x {self._patch}): enlarge it before it is attacked"
            )
        return height, width

    def _embedded(self, packed: PackedPrompts, count: int, perturbations: Sequence[Tensor]) -> Tensor:
        """Embeddings of a pack's tokens, perturbed, (count, nodes, width)."""
        embeds: Tensor = self.embedding(packed.ids)[None].expand(count, -1, -1)
        for mark, nodes in packed.marked:
            perturbation = perturbations[mark]
            if perturbation.shape[-2:] != (len(nodes), embeds.shape[-1]):
                raise UsageError(
                    f"a perturbation has the shape {tuple(perturbation.shape)}, but the last turn of its "
                    f"prompt has {len(nodes)} tokens of width {embeds.shape[-1]}"
                )
            embeds = embeds.index_add(1, nodes, perturbation.to(embeds.dtype).expand(count, -1, -1))
        return embeds

    def _packs(
        self, pairs: tuple[Pair, ...], marks: tuple[int | None, ...], size: Size
    ) -> tuple[tuple[int, PackedPrompts], ...]:
        """The tokens of pairs, in order, as one tree or as several that cost less; pairs of each."""
        whole = self._packed(pairs, marks, size)
        count = packs(whole, len(pairs), self._cost)
        if count == 1:
            return ((len(pairs), whole),)
        ends = [len(pairs) * number // count for number in range(count + 1)]
        return tuple(
            (last - first, self._packed(pairs[first:last], marks[first:last], size))
            for first, last in pairwise(ends)
        )

    def _packed(self, pairs: tuple[Pair, ...], marks: tuple[int | None, ...], size: Size) -> PackedPrompts:
        """The tokens of pairs as one tree; `marks` says which perturbation moves a pair's turn, if any."""
        prompts = [self._prompt(pair.prompt, size).with_turn_as_text() for pair in pairs]
        targets = [self.prompts.target(pair, size) for pair in pairs]
        self.check_length(pairs, prompts, targets)
        return pack_prompts(self.family, prompts, targets, marks, self.device)

    def check_length(
        self, pairs: Sequence[Pair], prompts: Sequence[PromptTokens], targets: Sequence[tuple[int, ...]]
    ) -> None:
        """Check that prompts and targets fit the model.

        Raises:
            UsageError: naming the first pair that does not.
        """
        most = min((limit for limit in (self._context, self._window) if limit), default=0)
        for pair, prompt, target in zip(pairs, prompts, targets, strict=True):
            if most and len(prompt.ids) + len(target) - 1 > most:
                raise UsageError(
                    f"{self.id}: prompt and target have {len(prompt.ids)} + {len(target)} tokens, and a "
                    f"token can look at no more than {most}: shorten {pair.target[:60]!r} or its prompt"
                )


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
    known = name.partition("/")[0] in WITH_WEIGHTS or not Path(name).is_dir()
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
    kind = str(model.config.model_type)
    preprocess = no_pictures if pictures is None else preprocessor(kind, pictures)
    return MultimodalVictim(model, prompts, preprocess, name, cache_text=not checkpointing)


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


def check_tokens(victim: MultimodalVictim, x: Tensor, pairs: Sequence[Pair]) -> None:
    """Check that prompts have the tokens that generation reads when it is shown the file.

    Qi et al.'s MiniGPT-4 path, as released, has two <s> in one and one in the other. The search makes sure of
    the rest itself: that the loss depends on the picture and has a gradient (Tu et al.'s SIN has none).

    Args:
        victim: the model.
        x: pictures as the attack starts, (n, 3, h, w) in [0, 1]; the first one is written and read.
        pairs: prompts and targets; at most four prompts are checked.

    Raises:
        ContractError: naming the first prompt that has others.
        UsageError: for a target that is no answer of the model.
    """
    height, width = int(x.shape[2]), int(x.shape[3])
    pixels = (x[0].detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    PilImage.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    for pair in list({pair.prompt: pair for pair in pairs}.values())[:_CHECKED]:
        ids, _ = victim.tokens(pair, (height, width))
        if victim.prompts.read(pair.prompt, (height, width), file.getvalue()) != ids:
            raise ContractError(
                f"{victim.id}: the loss and generation tokenize the prompt "
                f"{pair.prompt.last_user_text()[:80]!r} differently"
            )
