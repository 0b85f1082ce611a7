"""A local model that can be trained: prompts and answers as its target has them, likelihoods of answers.

Prompts go through the model's own chat template and processor (`targets.local`), answers are tokenized as
the white-box engine does (`whitebox.prompts`), so that what is taught is what will be asked and answered.
Weights are float32 and nothing is dropped out at random, so the first loss is the untrained model's own.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig

from sightline.cases import Conversation, Image
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.store import decode_picture
from sightline.targets.local.families import facts_of
from sightline.targets.local.loading import load_weights
from sightline.targets.local.model import SMALL_PARAMETERS
from sightline.targets.local.processors import Fields, ReadBlob, padded, quiet
from sightline.targets.local.sampling import RowSampler
from sightline.targets.local.settings import LocalSettings
from sightline.targets.local.source import FolderSource, kind_of
from sightline.training import lora
from sightline.tuning import PARTS, Lora, Part
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
        self._ends = _ends(self.model, self.route.tokenizer)
        self.prompts = Prompts(self.route, str(folder), self._ends)
        self._facts = facts_of(str(config.model_type))
        text = config.get_text_config()
        self.context = int(getattr(text, "max_position_embeddings", 0) or 0)
        self._pad = int(self.route.tokenizer.pad_token_id or 0)
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._encode)

    def picture(self, image: Image) -> Pixels:
        """The pixels of a picture, uint8 (height, width, 3)."""
        return decode_picture(self._read(image.sha256))

    def linear_layers(self, frozen: Sequence[Part]) -> list[str]:
        """Names of the linear layers that adapters belong to: all of the parts trained, but the words'."""
        return [
            name
            for name, module in self.model.named_modules()
            if isinstance(module, nn.Linear) and part_of(f"{name}.") not in {*frozen, "embeddings"}
        ]

    def adapt(self, frozen: Sequence[Part], adapters: Lora) -> None:
        """Put adapters beside the linear layers of the parts trained; does nothing if they are there.

        Raises:
            UsageError: if there are no such layers.
        """
        if any(isinstance(module, lora.AdaptedLinear) for module in self.model.modules()):
            return
        names = self.linear_layers(frozen)
        if not names:
            raise UsageError(
                f"{self.folder}: with {', '.join(frozen)} frozen no linear layer takes an adapter"
            )
        lora.attach(self.model, names, adapters, seed=0)

    def trained(self, frozen: Sequence[Part], adapters: Lora | None = None) -> dict[str, nn.Parameter]:
        """The weights to train, by name; the others want no gradient from here on.

        Raises:
            UsageError: if the model has no weights outside the frozen parts.
        """
        if adapters is not None:
            self.adapt(frozen, adapters)
        found = {}
        for name, weight in self.model.named_parameters():
            wanted = part_of(name) not in frozen
            if adapters is not None:
                wanted = name.endswith((".a", ".b")) and wanted
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
        return self.encoded_ids(
            conversation, self.prompts.target(Pair(prompt=conversation, target=answer), size)
        )

    def encoded_ids(self, conversation: Conversation, target: Sequence[int]) -> Encoded:
        """A prompt and an answer's tokens after it.

        Raises:
            UsageError: if they do not fit into the model's context, or it cannot take the prompt.
        """
        found = self.route.fields(self.route.prompter(conversation), self._read)
        length = int(found["input_ids"].shape[1])
        if self.context and length + len(target) > self.context:
            raise UsageError(
                f"prompt and answer have {length} + {len(target)} tokens, the model's context "
                f"{self.context}: "
                f"shorten {self.text_of(target)[:60]!r} or leave the row out"
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
        places, sums = list[int](), list[Tensor]()
        for numbers in _alike([row.bucket for row in rows]):
            places += numbers
            sums.append(self._sums([rows[number] for number in numbers]))
        back = torch.tensor([places.index(number) for number in range(len(rows))], device=self.device)
        counts = torch.tensor([row.answer for row in rows], device=self.device)
        return Likelihoods(torch.cat(sums)[back], counts)

    def sampled(
        self, prompts: Sequence[Conversation], seeds: Sequence[int], tokens: int, temperature: float
    ) -> list[tuple[int, ...]]:
        """Tokens of answers drawn from the model, in order, with what ends them; each by its own seed."""
        rows = [self.encoded_ids(each, ()) for each in prompts]
        found: list[tuple[int, ...]] = [()] * len(rows)
        for numbers in _alike([(row.bucket, row.length) for row in rows]):
            some, chances = [rows[number] for number in numbers], [seeds[number] for number in numbers]
            answers = self._drawn(some, chances, Decoding(max_tokens=tokens, temperature=temperature))
            for number, answer in zip(numbers, answers, strict=True):
                found[number] = answer
        return found

    def _drawn(
        self, rows: Sequence[Encoded], seeds: Sequence[int], decoding: Decoding
    ) -> list[tuple[int, ...]]:
        sampler = RowSampler(decoding, seeds, keep=False)
        settings = GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            do_sample=False,
            eos_token_id=list(self._ends),
            pad_token_id=self._pad,
        )
        fields = {key: value.to(self.device) for key, value in self.joined(rows).items()}
        with torch.no_grad():
            found = self._speaker(rows).generate(
                **fields, generation_config=settings, logits_processor=[sampler]
            )
        answers = found[:, found.shape[1] - sampler.steps :].tolist()
        return [tuple(ids[: _length(ids, self._ends)]) for ids in answers]

    def text_of(self, ids: Sequence[int]) -> str:
        """An answer's text."""
        return str(self.route.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def token_likelihoods(self, rows: Sequence[Encoded]) -> list[Tensor]:
        """Log-likelihoods of the answers' tokens, (t,) each, in order."""
        found: list[Tensor] = [torch.empty(0)] * len(rows)
        for numbers in _alike([row.bucket for row in rows]):
            logits = self._logits([rows[number] for number in numbers])
            for place, number in enumerate(numbers):
                row = rows[number]
                read = logits[place, row.length - row.answer - 1 : row.length - 1].float()
                ids = row.tokens["input_ids"][0, row.length - row.answer :].to(self.device)
                found[number] = -nn.functional.cross_entropy(read, ids, reduction="none")
        return found

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

    def joined(self, rows: Sequence[Encoded]) -> Fields:
        """Rows as one batch: tokens padded on the right, and the pictures of those that have any."""
        fields: Fields = {}
        for key in rows[0].tokens:
            fields[key] = torch.cat(padded([row.tokens[key] for row in rows], dim=0))
            if key == "input_ids":
                for number, row in enumerate(rows):
                    fields[key][number, row.length :] = self._pad
        for key in sorted({key for row in rows for key in row.pictures}):
            fields[key] = torch.cat([row.pictures[key] for row in rows if key in row.pictures])
        return fields

    def _logits(self, rows: Sequence[Encoded], first: int = 0) -> Tensor:
        """Predictions of rows of one bucket, from a place on, (n, t, vocabulary)."""
        fields = self.joined(rows)
        if _ENCODED in fields:  # which `forward` calls otherwise than `generate`
            fields["image_encoder_embeddings"] = fields.pop(_ENCODED)
        fields = {key: value.to(self.device) for key, value in fields.items()}
        if first:  # a large vocabulary: what is in no answer is not predicted
            length = fields["input_ids"].shape[1]
            fields["logits_to_keep"] = torch.arange(first, length, device=self.device)
        found: Tensor = self._speaker(rows)(**fields, use_cache=False).logits
        return found

    def _speaker(self, rows: Sequence[Encoded]) -> Any:
        """What answers rows of one bucket."""
        if self._facts.picture_first and not rows[0].pictures:
            return self.model.language_model  # the whole model's `forward` demands pixels
        return self.model


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


def _alike(kinds: Sequence[Hashable]) -> list[list[int]]:
    """Numbers of equal kinds together, in the order in which kinds come first."""
    found: dict[Hashable, list[int]] = {}
    for number, kind in enumerate(kinds):
        found.setdefault(kind, []).append(number)
    return list(found.values())


def _length(ids: Sequence[int], ends: Sequence[int]) -> int:
    """Of an answer, with the first token that ends it."""
    return next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))


def _ends(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Ids that end an answer: the tokenizer's own first, then those of the folder's settings."""

    def listed() -> Iterator[Any]:
        yield tokenizer.eos_token_id
        stored = model.generation_config.eos_token_id
        stored = getattr(model.config.get_text_config(), "eos_token_id", None) if stored is None else stored
        yield from stored if isinstance(stored, list | tuple) else [stored]

    return tuple(dict.fromkeys(int(token) for token in listed() if token is not None))
