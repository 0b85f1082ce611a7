"""A local model that can be trained: prompts and answers as its target has them, likelihoods of answers.

Prompts go through the model's own chat template and processor (`targets.local`), answers are tokenized as
the white-box engine does (`whitebox.prompts`), so that what is taught is what will be asked and answered.
Weights are float32 and nothing is dropped out at random, so the first loss is the untrained model's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sightline.cases import Conversation, Image
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.store import decode_picture
from sightline.targets.local.families import facts_of
from sightline.targets.local.loading import load_weights
from sightline.targets.local.model import SMALL_PARAMETERS
from sightline.targets.local.processors import Fields, ReadBlob, padded, quiet
from sightline.targets.local.settings import LocalSettings
from sightline.targets.local.source import FolderSource, kind_of
from sightline.tuning import PARTS, Part
from sightline.whitebox.prompts import Prompts
from sightline.whitebox.victim import Pair

CACHE_BYTES = 500_000_000
REMEMBERED = 1024
"""Tokenized examples, with their pictures."""
_QFORMER = "qformer_"
_ENCODED = "image_hidden_states"
_PLACES: Mapping[Part, re.Pattern[str]] = {
    "embeddings": re.compile(r"(^|\.)(embed_tokens|lm_head|wte)\."),
    "tower": re.compile(r"(^|\.)(vision_tower|vision_model|visual|image_encoder)\."),
    "bridge": re.compile(
        r"(^|\.)(multi_modal_projector|qformer|query_tokens|language_projection|connector|perceiver_resampler|"
        r"gated_cross_attn_layers|image_newline|merger)(\.|$)"
    ),
}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt with its answer as tensors (first dimension 1); the last `answer` tokens are the answer's."""

    tokens: Fields
    pictures: Fields
    answer: int

    @property
    def length(self) -> int:
        """Tokens, pictures included."""
        return int(self.tokens["input_ids"].shape[1])

    @property
    def bucket(self) -> tuple[object, ...]:
        """What rows of one forward pass have in common: shapes of pictures, but for their number."""
        return tuple((key, *value.shape[1:]) for key, value in sorted(self.pictures.items()))


@dataclass(frozen=True, slots=True)
class Likelihoods:
    """Of answers: sums of their tokens' log-likelihoods (n,), and the numbers of tokens (n,)."""

    sums: Tensor
    tokens: Tensor


class TrainableModel:
    """The model in a folder, with gradients for its weights.

    Raises:
        UsageError: if the folder cannot be loaded as an image-text-to-text or a language model.
    """

    def __init__(self, folder: Path, read: ReadBlob, settings: LocalSettings) -> None:
        source = FolderSource(folder, settings)
        config = source.config()
        self.folder, self.settings, self._read = folder, settings, read
        self.route = source.route(config, CACHE_BYTES)
        device = settings.present_device()
        with torch.inference_mode(False):
            kind, what = kind_of(config)
            self.model: Any = load_weights(
                kind, folder, what, dtype="float32", device=device, config=config
            ).eval()
        if device == "cpu" and self.model.num_parameters() < SMALL_PARAMETERS:
            with quiet():
                self.model.set_attn_implementation("eager")
        self.device = self.model.device
        self.prompts = Prompts(self.route, str(folder), _ends(self.model, self.route.tokenizer))
        self._facts = facts_of(str(config.model_type))
        text = config.get_text_config()
        self.context = int(getattr(text, "max_position_embeddings", 0) or 0)
        self._pad = int(self.route.tokenizer.pad_token_id or 0)
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._encode)

    def picture(self, image: Image) -> Pixels:
        """The pixels of a picture, uint8 (height, width, 3)."""
        return decode_picture(self._read(image.sha256))

    def trained(self, frozen: Sequence[Part]) -> dict[str, nn.Parameter]:
        """The weights to train, by name; the others want no gradient from here on.

        Raises:
            UsageError: if the model has no weights outside the frozen parts.
        """
        found = {}
        for name, weight in self.model.named_parameters():
            wanted = part_of(name) not in frozen
            weight.requires_grad_(wanted)
            if wanted:
                found[name] = weight
        if not found:
            raise UsageError(
                f"{self.folder}: with {', '.join(frozen)} frozen this model has no weights to train"
            )
        return found

    def encoded(self, prompt: Conversation, answer: str) -> Encoded:
        """A prompt and the answer after it.

        Raises:
            UsageError: for an answer that the model cannot write, or a prompt that it cannot take.
        """
        found: Encoded = self._remembered(prompt, answer)
        return found

    def _encode(self, conversation: Conversation, answer: str) -> Encoded:
        image = next(iter(conversation.images), None)
        size = (image.height, image.width) if image is not None else (8, 8)
        target = self.prompts.target(Pair(prompt=conversation, target=answer), size)
        found = self.route.fields(self.route.prompter(conversation), self._read)
        length = int(found["input_ids"].shape[1])
        if self.context and length + len(target) > self.context:
            raise UsageError(
                f"prompt and answer have {length} + {len(target)} tokens, the model's context "
                f"{self.context}: "
                f"shorten {answer[:60]!r} or leave the row out"
            )
        tokens, pictures = {}, {}
        for key, value in found.items():
            if tuple(value.shape[:2]) == (1, length) or key.startswith(_QFORMER):
                tokens[key] = _longer(key, value, target)
            else:
                pictures[key] = value
        return Encoded(tokens, pictures, len(target))

    def likelihoods(self, pairs: Sequence[tuple[Conversation, str]]) -> Likelihoods:
        """Log-likelihoods of answers, in order; rows with pictures and without run apart."""
        rows = [self.encoded(*pair) for pair in pairs]
        order = sorted(range(len(rows)), key=lambda number: str(rows[number].bucket))
        places, sums = list[int](), list[Tensor]()
        for _, group in groupby(order, key=lambda number: str(rows[number].bucket)):
            numbers = list(group)
            places += numbers
            sums.append(self._sums([rows[number] for number in numbers]))
        back = torch.tensor([places.index(number) for number in range(len(rows))], device=self.device)
        counts = torch.tensor([row.answer for row in rows], device=self.device)
        return Likelihoods(torch.cat(sums)[back], counts)

    def _sums(self, rows: Sequence[Encoded]) -> Tensor:
        first = min(row.length - row.answer - 1 for row in rows) if self._facts.text_only else 0
        logits = self._logits(rows, first)
        numbers, places, ids = list[int](), list[int](), list[Tensor]()
        for number, row in enumerate(rows):
            numbers += [number] * row.answer
            places += range(row.length - row.answer - 1 - first, row.length - 1 - first)
            ids.append(row.tokens["input_ids"][0, row.length - row.answer :])
        at = torch.tensor(numbers, device=self.device)
        read = logits[at, torch.tensor(places, device=self.device)].float()
        nll = nn.functional.cross_entropy(read, torch.cat(ids).to(self.device), reduction="none")
        return -torch.zeros(len(rows), device=self.device).index_add(0, at, nll)

    def _logits(self, rows: Sequence[Encoded], first: int) -> Tensor:
        """Predictions of rows of one bucket, padded on the right, from a place on, (n, t, vocabulary)."""
        fields: Fields = {}
        for key in rows[0].tokens:
            values = [row.tokens[key] for row in rows]
            fields[key] = torch.cat(padded(values, dim=0))
            if key == "input_ids":
                for number, row in enumerate(rows):
                    fields[key][number, row.length :] = self._pad
        for key in rows[0].pictures:
            fields[key] = torch.cat([row.pictures[key] for row in rows])
        if _ENCODED in fields:  # which `forward` calls otherwise than `generate`
            fields["image_encoder_embeddings"] = fields.pop(_ENCODED)
        fields = {key: value.to(self.device) for key, value in fields.items()}
        speaker = self.model
        if self._facts.picture_first and not rows[0].pictures:
            speaker = self.model.language_model  # the whole model's `forward` demands pixels
        if first:  # a large vocabulary: what is in no answer is not predicted
            length = fields["input_ids"].shape[1]
            fields["logits_to_keep"] = torch.arange(first, length, device=self.device)
        found: Tensor = speaker(**fields, use_cache=False).logits
        return found


def part_of(name: str) -> Part:
    """The part of a model that a weight belongs to, from its name."""
    return next((part for part, names in _PLACES.items() if names.search(name)), "language")


def by_part(weights: Mapping[str, nn.Parameter]) -> dict[str, int]:
    """Numbers of weights by part."""
    found: dict[str, int] = dict.fromkeys(PARTS, 0)
    for name, weight in weights.items():
        found[part_of(name)] += weight.numel()
    return found


def _longer(key: str, value: Tensor, target: Sequence[int]) -> Tensor:
    """Fields of a prompt, with those of the answer behind it."""
    if key.startswith(_QFORMER):
        return value
    if key == "input_ids":
        return torch.cat([value, torch.tensor([list(target)], dtype=value.dtype)], dim=1)
    last = torch.zeros_like(value[:, -1:]) if key.endswith("type_ids") else value[:, -1:]
    return torch.cat([value, last.expand(-1, len(target), *value.shape[2:])], dim=1)


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer: the tokenizer's own first, then those of the folder's settings."""

    def listed() -> Iterator[Any]:
        yield tokenizer.eos_token_id
        stored = model.generation_config.eos_token_id
        stored = getattr(model.config.get_text_config(), "eos_token_id", None) if stored is None else stored
        yield from stored if isinstance(stored, list | tuple) else [stored]

    return tuple(dict.fromkeys(int(token) for token in listed() if token is not None))
