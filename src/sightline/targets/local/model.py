"""A loaded model and one batch through it: requests in, replies out, nothing about queues.

Decoding is greedy search over scores that `RowSampler` may have replaced by its own draw. A model's
stored sampling settings (top_k, repetition penalty, ...) are not applied: `Decoding` says everything.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from transformers import GenerationConfig

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.errors import SightlineError
from sightline.rng import seed_of
from sightline.targets._asked import UnfitError
from sightline.targets.local.families import facts_of
from sightline.targets.local.linear import repack, worthwhile
from sightline.targets.local.memory import SeenPictures, encodes_apart, roomy_cache
from sightline.targets.local.prefix_cache import Prefixes
from sightline.targets.local.processors import Fields, ReadBlob, Route, first_line, padded, quiet
from sightline.targets.local.sampling import RowSampler
from sightline.targets.local.settings import check_present
from sightline.targets.local.source import ModelSource
from sightline.untrusted import begins_thoughts, is_mark

_TOKENWISE = frozenset(
    {
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "mm_token_type_ids",
        "cross_attention_mask",
        "image_attention_mask",
    }
)
_QFORMER = "qformer_"
_THREADS = torch.get_num_threads()
SMALL_PARAMETERS = 50_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One request as tensors. Rows may share a batch if their `bucket` is equal.

    `thinking` says that the chat template ended the prompt within thoughts.
    """

    tokens: Fields
    pictures: Fields
    hashes: tuple[str, ...]
    flags: tuple[str, ...]
    decoding: Decoding
    seed: int
    new_tokens: int
    head: str = ""
    thinking: bool = False

    @property
    def length(self) -> int:
        """Prompt length in tokens, pictures included."""
        return int(self.tokens["input_ids"].shape[1])

    @property
    def bucket(self) -> tuple[object, ...]:
        """Picture count, shapes of picture tensors beyond the first dimension, decoding settings."""
        shapes = tuple((key, tuple(value.shape[1:])) for key, value in sorted(self.pictures.items()))
        return (
            len(self.hashes),
            shapes,
            self.new_tokens,
            self.decoding.sampling_temperature,
            self.decoding.top_p,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the model wrote for one row.

    `finished` is whether it stopped by itself, `finite` whether every token was chosen by real scores.
    """

    ids: tuple[int, ...]
    text: str
    finished: bool
    finite: bool = True
    scores: Any = field(default=None, compare=False, repr=False)


class Changed(NamedTuple):
    """What is different in the model while one batch runs.

    `hooks` is entered while no other batch runs; `processors` see the scores before the sampler does.
    """

    hooks: Callable[[], AbstractContextManager[None]] = nullcontext
    processors: Sequence[Any] = ()


class LoadedModel:
    """Weights, tokenizer and picture processor of one source, on one device.

    Raises:
        UsageError: if the source cannot be loaded as an image-text-to-text model.
    """

    def __init__(self, source: ModelSource, *, cache_bytes: int) -> None:
        self.where, self.device, self.dtype = source.where, source.device, source.dtype
        check_present(self.device)
        self.ending = threading.Event()  # set when Python exits: replies end at their next token
        self._running = threading.Lock()
        self._preparing = threading.Lock()
        config = source.config()
        self.route: Route = source.route(config, cache_bytes)
        self.model = source.model(config)
        config = self.model.config
        self.parameters = sum(weight.numel() for weight in self.model.parameters())
        self._fit_to_cpu()
        if worthwhile():
            repack(self.model)
        self.family = str(config.model_type)
        self._facts = facts_of(self.family)
        self._talks = self._facts.picture_optional and self.route.prompter.apply is not None
        self._talks = self._talks and bool(config.use_decoder_only_language_model)
        apart = encodes_apart(self.model, self.family)
        self.seen = SeenPictures(self.model, cache_bytes) if apart else None
        self.prefixes = self._prefixes(cache_bytes)
        text = config.get_text_config()
        self.context = int(getattr(text, "max_position_embeddings", 0) or 0)
        self._unsaid = _unsaid(self.route.tokenizer)
        self.pad_id, self.eos_ids = _stop_tokens(self.model, self.route.tokenizer, text)
        plain = GenerationConfig(
            eos_token_id=list(self.eos_ids),
            pad_token_id=self.pad_id,
            bos_token_id=getattr(text, "bos_token_id", None),
            decoder_start_token_id=getattr(text, "decoder_start_token_id", None),
        )
        for module in self.model.modules():
            if hasattr(module, "generation_config"):
                module.generation_config = plain

    def _fit_to_cpu(self) -> None:
        """Small matrices on a CPU: one thread (a second one mostly spins), attention without its wrapper.

        The model loaded last decides for the process; `OMP_NUM_THREADS` decides for the user.
        """
        small = self.device == "cpu" and self.parameters < SMALL_PARAMETERS
        if small:
            with quiet():
                self.model.set_attn_implementation("eager")
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(1 if small else _THREADS)

    def _prefixes(self, limit_bytes: int) -> Prefixes | None:
        config = self.model.config
        if not self._facts.continued or roomy_cache(config.model_type, config, 1) is None:
            return None
        return Prefixes(limit_bytes, int(config.image_token_id))

    def prepare(self, conversation: Conversation, decoding: Decoding, read: ReadBlob) -> Prepared:
        """Tensors of one request (on the CPU).

        Raises:
            UnfitError: if the request does not fit the model: too long, or pictures that it cannot take.
            UsageError: if a picture's file is absent or damaged.
        """
        with self._preparing:
            return self._prepared(conversation, decoding, read)

    def _prepared(self, conversation: Conversation, decoding: Decoding, read: ReadBlob) -> Prepared:
        self._check_count(sum(1 for _ in conversation.images))
        prompt = self.route.prompter(conversation)
        try:
            found = self.route.fields(prompt, read)
        except SightlineError:
            raise
        except Exception as broken:  # settings of a foreign folder make the library raise almost anything
            what = f"the processor of this {self.family} model fails on the request"
            raise UnfitError(f"{what} ({type(broken).__name__}: {first_line(broken)})") from broken
        tokens = {key: value for key, value in found.items() if key in _TOKENWISE or key.startswith(_QFORMER)}
        pictures = {key: value for key, value in found.items() if key not in tokens}
        length = int(tokens["input_ids"].shape[1])
        if self.context and length >= self.context:
            raise UnfitError(f"the prompt has {length} tokens, the model's context {self.context}")
        room = self.context - length if self.context else decoding.max_new_tokens
        hashes = tuple(image.sha256 for image in prompt.images)
        key = (decoding.seed, tokens["input_ids"][0].tolist(), hashes)
        return Prepared(
            tokens=tokens,
            pictures=pictures,
            hashes=hashes,
            flags=prompt.flags,
            decoding=decoding,
            seed=seed_of("vlm", *key) if decoding.sampling_temperature > 0 else 0,
            new_tokens=min(decoding.max_new_tokens, room),
            head=self.prefixes.head(tokens["input_ids"][0], hashes) if self.prefixes is not None else "",
            thinking=begins_thoughts(prompt.text) and not begins_thoughts(conversation.last_user_text()),
        )

    def _check_count(self, pictures: int) -> None:
        """Some families take one picture, some none; a dialogue model is asked without, others never are."""
        if self._facts.text_only and pictures:
            raise UnfitError(
                f"a {self.family} model reads text and sees no pictures; this request shows {pictures}: "
                "ask it in words alone, or name a model with eyes"
            )
        if self._facts.picture_first and pictures != 1:
            if pictures or not self._talks:
                wanted = "at most" if self._talks else "exactly"
                raise UnfitError(f"a {self.family} model takes {wanted} one picture, not {pictures}")
        elif self._facts.picture_needed and not pictures:
            raise UnfitError(f"a {self.family} model answers only requests that show a picture")

    def generate(
        self,
        rows: Sequence[Prepared],
        *,
        new_tokens: int | None = None,
        scores: bool = False,
        changed: Changed | None = None,
    ) -> list[Reply]:
        """Replies to `rows`, which share a bucket; `scores` keeps every step's raw scores (for checks).

        What is `changed` for these rows alone neither uses nor leaves anything in caches of keys and values.
        """
        steps = rows[0].new_tokens if new_tokens is None else new_tokens
        sampler = RowSampler(rows[0].decoding, [row.seed for row in rows], keep=scores, ending=self.ending)
        settings = GenerationConfig(
            max_new_tokens=steps,
            do_sample=False,
            use_cache=True,
            eos_token_id=list(self.eos_ids),
            pad_token_id=self.pad_id,
        )
        within = nullcontext() if changed is None else changed.hooks()
        processors = [sampler] if changed is None else [*changed.processors, sampler]
        with self._running, torch.inference_mode(), within:
            continued = self._continued(rows, steps) if changed is None else None
            batch = continued or self._batch(rows, steps)
            speaker = self.model
            if self._facts.picture_first and not rows[0].hashes:
                speaker = self.model.language_model  # the whole model's `generate` demands pixels
            found = speaker.generate(**batch, generation_config=settings, logits_processor=processors)
            fresh = found[:, found.shape[1] - sampler.steps :].tolist()
            replies = [self._reply(ids, sampler, row) for row, ids in enumerate(fresh)]
            if changed is None:
                self._remember(rows, replies, batch)
        return replies

    def cached_tokens(self, row: Prepared) -> int:
        """How many of a request's tokens need not be run, because an earlier one began the same way."""
        if self.prefixes is None or not row.head:
            return 0
        return self.prefixes.length(row.head, row.tokens["input_ids"][0])

    def forget(self) -> None:
        """Empty all caches: pictures, their features, and earlier requests."""
        self.route.tensors.clear()
        for cache in (self.seen, self.prefixes):
            if cache is not None:
                cache.clear()

    def _continued(self, rows: Sequence[Prepared], steps: int) -> Fields | None:
        """The batch on top of cached keys and values; None if a row has none, or the family cannot."""
        if self.prefixes is None:
            return None
        found = self.prefixes.continued([(row.head, row.tokens["input_ids"][0]) for row in rows], self.pad_id)
        if found is None:
            return None
        cache = roomy_cache(self.family, self.model.config, steps + found.ids.shape[1] - found.past)
        for layer, keys, values in zip(cache.layers, found.keys, found.values, strict=True):
            layer.start(keys, values)
        return {
            "input_ids": found.ids.to(self.device),
            "attention_mask": found.mask.to(self.device),
            "past_key_values": cache,
        }

    def _remember(self, rows: Sequence[Prepared], replies: Sequence[Reply], batch: Fields) -> None:
        """Keep each row's keys and values: its prompt and all of its reply but the last token."""
        if self.prefixes is None or "past_key_values" not in batch:
            return
        width = batch["attention_mask"].shape[1]
        for number, (row, reply) in enumerate(zip(rows, replies, strict=True)):
            if row.head and reply.finite:
                prompt = batch["attention_mask"][number].nonzero()[:, 0]
                written = torch.arange(width, width + len(reply.ids) - 1, device=prompt.device)
                ids = torch.cat([row.tokens["input_ids"][0], torch.tensor(reply.ids[:-1], dtype=torch.long)])
                places = torch.cat([prompt, written])
                self.prefixes.keep(row.head, ids, places, batch["past_key_values"].layers, number)

    def _reply(self, ids: list[int], sampler: RowSampler, row: int) -> Reply:
        end = next((place for place, token in enumerate(ids) if token in self.eos_ids), None)
        finished = end is not None
        ids = ids[: end + 1] if end is not None else ids
        told = [token for token in ids if token not in self._unsaid]
        text = self.route.tokenizer.decode(told, skip_special_tokens=not self._unsaid).strip()
        return Reply(
            ids=tuple(ids),
            text=text,
            finished=finished,
            finite=sampler.finite(row, len(ids)),
            scores=sampler.kept(row),
        )

    def _batch(self, rows: Sequence[Prepared], steps: int) -> Fields:
        """One batch: token fields padded on the left, Q-Former fields on the right, pictures joined."""
        found: Fields = {}
        for key in rows[0].tokens:
            values = [row.tokens[key] for row in rows]
            if key.startswith(_QFORMER):
                found[key] = torch.cat(padded(values, dim=0))
            else:
                fill = self.pad_id if key == "input_ids" else 0
                found[key] = _left_padded(values, fill)
        pictures = {}
        for key in rows[0].pictures:
            value = torch.cat([row.pictures[key] for row in rows])
            pictures[key] = value.to(getattr(torch, self.dtype)) if value.is_floating_point() else value
        found = {key: value.to(self.device) for key, value in found.items()}
        pictures = {key: value.to(self.device) for key, value in pictures.items()}
        if pictures and self.seen is not None:
            hashes = [sha256 for row in rows for sha256 in row.hashes]
            found["mm_encoder_outputs"] = {"image": self.seen.outputs(hashes, pictures)}
            del pictures["pixel_values"]
        cache = roomy_cache(self.family, self.model.config, steps)
        if cache is not None:
            found["past_key_values"] = cache
        return found | pictures


def _left_padded(values: Sequence[Any], fill: int) -> Any:
    """Stack (1, length, ...) tensors, filling shorter ones on the left."""
    longest = max(value.shape[1] for value in values)
    if all(value.shape[1] == longest for value in values):
        return torch.cat(list(values))
    found = values[0].new_full((len(values), longest, *values[0].shape[2:]), fill)
    for row, value in enumerate(values):
        found[row, longest - value.shape[1] :] = value[0]
    return found


def _unsaid(tokenizer: Any) -> frozenset[int]:
    """Where marks of thoughts are special tokens, the other special tokens: the marks must be read."""
    special = {
        number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    unsaid = frozenset(number for number, token in special.items() if not is_mark(token))
    return unsaid if len(unsaid) < len(special) else frozenset()


def _stop_tokens(model: Any, tokenizer: Any, text_config: Any) -> tuple[int, tuple[int, ...]]:
    """Padding id and the ids that end a reply: the folder's generation settings, else the tokenizer's."""
    stored = getattr(model.generation_config, "eos_token_id", None)
    found = stored if stored is not None else getattr(text_config, "eos_token_id", None)
    ids = set(found if isinstance(found, list | tuple) else [found])
    ids.add(tokenizer.eos_token_id)
    eos = tuple(sorted(token for token in ids if token is not None))
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = eos[0] if eos else 0
    return int(pad), eos
