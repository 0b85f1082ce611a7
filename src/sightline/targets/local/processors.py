"""Prompt and pictures -> tensors of one request, each distinct picture preprocessed once.

Three routes, all on Pillow (never torchvision): the model's own processor with its picture processor
wrapped in a cache; for Qwen2-VL and Qwen2.5-VL, whose combined processor needs torchvision for
videos, the picture processor and the tokenizer by hand: a placeholder becomes
`grid_t * grid_h * grid_w / merge_size**2` tokens, and `mm_token_type_ids` marks them; and one for
Idefics-1 (`_idefics`).
"""

from __future__ import annotations

import copy
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import torch
import transformers
from PIL import Image as PilImage
from transformers import AutoProcessor, AutoTokenizer, BatchFeature
from transformers.models.auto.image_processing_auto import AutoImageProcessor  # 5.17 exports a stub
from transformers.utils import logging as transformers_logging

from sightline.errors import UsageError
from sightline.store import MAX_PIXELS, decode_picture
from sightline.targets.local.families import facts_of
from sightline.targets.local.limits import ForeignText
from sightline.targets.local.prompt import Prompt, Prompter, prompter_of

Fields = dict[str, Any]
ReadBlob = Callable[[str], bytes]

MOST_SIDE = 8192
"""Pixels of a side that a processor may ask for; no model reads larger pictures."""
_BRACKETED = re.compile(r"[<\[{|].*[>\]}|]", re.DOTALL)


class ImageTensors:
    """Preprocessed pictures by hash; the least recently used go first when `limit_bytes` is exceeded.

    `calls` counts pictures that were preprocessed: with enough room it is the number of distinct ones.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._known: OrderedDict[str, Fields] = OrderedDict()
        self._bytes = 0
        self._lock = threading.RLock()
        self.calls = 0

    def get(self, sha256: str, make: Callable[[], Fields]) -> Fields:
        """The tensors of a picture, made by `make` if they are not cached."""
        with self._lock:
            if sha256 in self._known:
                self._known.move_to_end(sha256)
                return self._known[sha256]
            fields = make()
            self.calls += 1
            self._known[sha256] = fields
            self._bytes += _bytes(fields)
            while self._bytes > self._limit and len(self._known) > 1:
                _, old = self._known.popitem(last=False)
                self._bytes -= _bytes(old)
            return fields

    def clear(self) -> None:
        """Forget all pictures; `calls` goes on counting."""
        with self._lock:
            self._known.clear()
            self._bytes = 0

    def drop(self, hashes: Iterable[str]) -> None:
        """Forget pictures that were only shown for a check; they do not count as preprocessed."""
        with self._lock:
            for sha256 in hashes:
                if sha256 in self._known:
                    self._bytes -= _bytes(self._known.pop(sha256))
                    self.calls -= 1


def _bytes(fields: Fields) -> int:
    return sum(value.nbytes for value in fields.values() if isinstance(value, torch.Tensor))


def decoded(sha256: str, read: ReadBlob) -> PilImage.Image:
    """A stored picture, as the families' processors take it."""
    return PilImage.fromarray(decode_picture(read(sha256)), "RGB")


def merged(parts: Sequence[Fields], *, dim: int) -> Fields:
    """Fields of several pictures as one: tensors joined along `dim`, smaller ones padded with zeros."""
    if len(parts) == 1:
        return dict(parts[0])
    found: Fields = {}
    for key in parts[0]:
        values = [part[key] for part in parts]
        if isinstance(values[0], torch.Tensor):
            found[key] = torch.cat(padded(values, dim=dim), dim=dim)
        elif dim == 0:
            found[key] = [entry for value in values for entry in value]
        else:
            found[key] = [[entry for value in values for entry in value[0]]]
    return found


def padded(values: Sequence[torch.Tensor], *, dim: int) -> list[torch.Tensor]:
    """The tensors, zero-padded at the end so that they agree in every dimension but `dim`."""
    shapes = [value.shape for value in values]
    if all(shape == shapes[0] for shape in shapes):
        return list(values)
    size = [max(shape[axis] for shape in shapes) for axis in range(len(shapes[0]))]
    found = []
    for value in values:
        goal = [value.shape[axis] if axis == dim else size[axis] for axis in range(value.dim())]
        grown = value.new_zeros(goal)
        grown[tuple(slice(0, length) for length in value.shape)] = value
        found.append(grown)
    return found


class _OncePerPicture:
    """A picture processor that answers from `ImageTensors`; the pictures' hashes are set before a call."""

    def __init__(self, inner: Any, tensors: ImageTensors, *, nested: bool) -> None:
        self._inner = inner
        self._tensors = tensors
        self._nested = nested
        self._read: ReadBlob | None = None
        self._hashes: Sequence[str] = ()

    def expect(self, hashes: Sequence[str], read: ReadBlob) -> None:
        """Say which pictures the next call shows."""
        self._hashes, self._read = hashes, read

    def __call__(self, images: Any, **settings: Any) -> Any:  # noqa: ARG002
        settings["return_tensors"] = "pt"
        parts = [self._tensors.get(sha256, partial(self._make, sha256, settings)) for sha256 in self._hashes]
        return BatchFeature(merged(parts, dim=1 if self._nested else 0))

    def _make(self, sha256: str, settings: Mapping[str, Any]) -> Fields:
        assert self._read is not None
        picture = decoded(sha256, self._read)
        return dict(self._inner([[picture]] if self._nested else [picture], **settings))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Route(Protocol):
    """How a family's requests become tensors."""

    prompter: Prompter
    tokenizer: Any
    tensors: ImageTensors

    def fields(self, prompt: Prompt, read: ReadBlob) -> Fields:
        """Tensors of one request, as the model's `generate` takes them (first dimension 1)."""
        ...


class ProcessorRoute:
    """The model's own processor. Not thread-safe: `LoadedModel` prepares one request at a time."""

    def __init__(self, processor: Any, family: str, tensors: ImageTensors, foreign: ForeignText) -> None:
        self.tokenizer = processor.tokenizer
        self._foreign = foreign
        self.tensors = tensors
        self._pictures = _OncePerPicture(processor.image_processor, tensors, nested=facts_of(family).nested)
        processor.image_processor = self._pictures
        self._processor = processor
        self._stand_in = PilImage.new("RGB", (8, 8))
        template = template_of(processor)
        self.prompter = prompter_of(
            family,
            _token(processor, "image_token") or "<image>",
            template,
            partial(foreign.render, template, tokens=self.tokenizer.special_tokens_map),
            _reserved(processor),
            control_tokens(self.tokenizer),
        )

    def fields(self, prompt: Prompt, read: ReadBlob) -> Fields:
        """See `Route.fields`. The stand-in picture is never looked at: the cache answers by hash."""
        self._foreign.check_text(prompt.text)
        settings: dict[str, Any] = {"return_tensors": "pt"}
        bos = self.tokenizer.bos_token
        if self.prompter.apply is not None and bos and prompt.text.startswith(bos):
            settings["add_special_tokens"] = False
        if not prompt.images:
            return dict(self._processor(text=prompt.text, **settings))
        self._pictures.expect([image.sha256 for image in prompt.images], read)
        found = self._processor(text=prompt.text, images=[self._stand_in] * len(prompt.images), **settings)
        return {key: value for key, value in found.items() if key != "labels"}


class QwenRoute:
    """Qwen2-VL and Qwen2.5-VL without their video processor."""

    def __init__(
        self,
        pictures: Any,
        tokenizer: Any,
        image_token_id: int,
        family: str,
        tensors: ImageTensors,
        foreign: ForeignText,
    ):
        self.tokenizer = tokenizer
        self._foreign = foreign
        self.tensors = tensors
        self._pictures = pictures
        self._image_token_id = image_token_id
        self._image_token = str(tokenizer.convert_ids_to_tokens(image_token_id))
        reserved = ("<|vision_start|>", "<|vision_end|>", "<|video_pad|>")
        template = template_of(tokenizer)
        self.prompter = prompter_of(
            family,
            self._image_token,
            template,
            partial(foreign.render, template, tokens=tokenizer.special_tokens_map),
            reserved,
            control_tokens(tokenizer),
        )

    def fields(self, prompt: Prompt, read: ReadBlob) -> Fields:
        """See `Route.fields`."""
        self._foreign.check_text(prompt.text)
        parts = [
            self.tensors.get(image.sha256, partial(self._make, image.sha256, read)) for image in prompt.images
        ]
        merge = self._pictures.merge_size**2
        pieces = prompt.text.split(self._image_token)
        text = pieces[0]
        for part, piece in zip(parts, pieces[1:], strict=True):
            text += self._image_token * (int(part["image_grid_thw"].prod()) // merge) + piece
        found: Fields = dict(self.tokenizer(text, return_tensors="pt"))
        found.pop("token_type_ids", None)
        found["mm_token_type_ids"] = (found["input_ids"] == self._image_token_id).to(torch.int32)
        return found | merged(parts, dim=0) if parts else found

    def _make(self, sha256: str, read: ReadBlob) -> Fields:
        return dict(self._pictures([decoded(sha256, read)], return_tensors="pt"))


def template_of(owner: Any) -> str:
    """The chat template of a processor or a tokenizer, of several the default one; '' if there is none."""
    inner = getattr(owner, "tokenizer", None)
    found = getattr(owner, "chat_template", None) or getattr(inner, "chat_template", None)
    return str((found.get("default") if isinstance(found, dict) else found) or "")


def _token(owner: Any, name: str) -> str:
    value = getattr(owner, name, None)
    return str(getattr(value, "content", value)) if value is not None else ""


def _reserved(processor: Any) -> list[str]:
    names = ("video_token", "audio_token", "fake_image_token", "global_image_tag")
    return [_token(processor, name) for name in names]


def control_tokens(tokenizer: Any) -> list[str]:
    """Tokens that steer a model: the special ones, and other added ones in brackets (`<tool_call>`)."""
    added = (
        str(token.content)
        for token in tokenizer.added_tokens_decoder.values()
        if token.special or _BRACKETED.fullmatch(str(token.content))
    )
    return [token for token in (*tokenizer.all_special_tokens, *added) if len(token.strip()) > 2]


def first_line(error: Exception) -> str:
    """First line of an error's message, its type if there is none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing progress bars and known warnings to the terminal."""
    verbosity = transformers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()


def route_for(folder: Path, config: Any, cache_bytes: int) -> Route:
    """The route of the model in `folder`.

    Raises:
        UsageError: if its processor cannot be loaded from there without torchvision.
    """
    family = str(config.model_type)
    foreign = ForeignText(folder)
    foreign.check_tokenizer()
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        with quiet():
            if facts_of(family).route == "parts":
                processor: Any = SimpleNamespace(
                    image_processor=AutoImageProcessor.from_pretrained(folder, backend="pil", **local),
                    tokenizer=AutoTokenizer.from_pretrained(folder, **local),
                )
            else:
                processor = AutoProcessor.from_pretrained(folder, backend="pil", **local)
            _check_bounds(processor, family)
            return route_of(processor, config, cache_bytes, foreign)
    except Exception as broken:  # files of a foreign folder make the library raise almost anything
        raise UsageError(
            f"{folder}: the processor of this {family} model cannot be loaded ({first_line(broken)}). "
            "The folder needs preprocessor_config.json and the tokenizer files; families whose processor "
            "needs torchvision are not supported"
        ) from broken


def _check_bounds(processor: Any, family: str) -> None:
    """Make sure that a processor's settings do not ask for pictures that fill the memory.

    Raises:
        UsageError: naming the setting.
    """
    told = processor.image_processor.to_dict()
    counted = facts_of(family).route == "parts"  # there sizes are numbers of pixels
    most = MAX_PIXELS if counted else MOST_SIDE
    sizes = {name: told[name] for name in ("size", "crop_size") if isinstance(told.get(name), dict)}
    bounds = {f"{name}.{edge}": (n, most) for name, size in sizes.items() for edge, n in size.items()}
    for name, bound in (("num_additional_image_tokens", MOST_SIDE), ("patch_size", MOST_SIDE)):
        bounds[name] = (getattr(processor, name, None), bound)
    for name, (number, bound) in bounds.items():
        least = 0 if name == "num_additional_image_tokens" else 1
        if number is not None and not (isinstance(number, int) and least <= number <= bound):
            raise UsageError(f"{name} is {number!r:.40}, expected {least}..{bound}")


def route_of(processor: Any, config: Any, cache_bytes: int, foreign: ForeignText) -> Route:
    """The route of a model with this processor, which is not changed; `foreign` renders its chat template."""
    family, tensors = str(config.model_type), ImageTensors(cache_bytes)
    route = facts_of(family).route
    pictures = on_pillow(processor.image_processor)
    if route == "parts":
        return QwenRoute(pictures, processor.tokenizer, int(config.image_token_id), family, tensors, foreign)
    processor = copy.copy(processor)
    processor.image_processor = pictures
    if route == "by_hand":
        from sightline.targets.local.idefics import IdeficsRoute

        return IdeficsRoute(processor, family, int(config.vision_config.embed_dim), tensors, foreign)
    return ProcessorRoute(processor, family, tensors, foreign)


def on_pillow(image_processor: Any) -> Any:
    """The picture processor, or one with the same settings on Pillow where it works on torchvision.

    Raises:
        UsageError: if the library has none on Pillow.
    """
    name = type(image_processor).__name__
    if name.endswith("Pil"):
        return image_processor
    kind = getattr(transformers, f"{name.removesuffix('Fast')}Pil", None)
    if kind is None:
        raise UsageError(f"the picture processor {name} has no form on Pillow, so it is not supported")
    return kind.from_dict(image_processor.to_dict())


def check_processor(processor: Any) -> None:
    """Check that a processor in memory has both parts.

    Raises:
        UsageError: naming the part that is absent.
    """
    for part in ("tokenizer", "image_processor"):
        if getattr(processor, part, None) is None:
            raise UsageError(
                f"{type(processor).__name__} has no {part}: give the model's whole processor, as "
                "AutoProcessor.from_pretrained loads it"
            )
