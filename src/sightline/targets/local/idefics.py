"""Prompt and pictures -> tensors for Idefics-1, by hand.

`IdeficsProcessor` takes texts and pictures in one list, and a text that is an address it downloads: what a
benchmark puts into its prompts must never do that. Written here are the same tensors: pictures nested
(request, picture, ...), `<fake_token_around_image><image><fake_token_around_image>` where one stands (two
pictures in a row share the token between them), and `image_attention_mask` (request, token, picture). A
token attends to the last picture before it, unless an end-of-sequence token lies between. A request
without picture has a single feature of zeros that nothing attends to (the library encodes a picture of
zeros, which nothing attends to either).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from sightline.targets.local.limits import ForeignText
from sightline.targets.local.processors import (
    Fields,
    ImageTensors,
    ReadBlob,
    control_tokens,
    decoded,
    merged,
    template_of,
)
from sightline.targets.local.prompt import Prompt, prompter_of

IMAGE, FAKE, END = "<image>", "<fake_token_around_image>", "<end_of_utterance>"


class IdeficsRoute:
    """Idefics-1; see `_processors.Route`. `width` is that of a picture's features."""

    def __init__(
        self, processor: Any, family: str, width: int, tensors: ImageTensors, foreign: ForeignText
    ) -> None:
        self._foreign = foreign
        self.tokenizer = processor.tokenizer
        self.tensors = tensors
        self._pictures = processor.image_processor
        self._image_id = int(self.tokenizer.convert_tokens_to_ids(IMAGE))
        self._blank = torch.zeros(1, 1, 1, width)
        template = template_of(processor)
        controls = (END, *control_tokens(self.tokenizer))
        apply = partial(foreign.render, template, tokens=self.tokenizer.special_tokens_map)
        self.prompter = prompter_of(family, IMAGE, template, apply, (FAKE,), controls)

    def fields(self, prompt: Prompt, read: ReadBlob) -> Fields:
        """See `_processors.Route.fields`."""
        self._foreign.check_text(prompt.text)
        start = self.tokenizer.bos_token or ""
        text = start + spelled(prompt.text.removeprefix(start))
        found: Fields = dict(self.tokenizer(text, add_special_tokens=False, return_tensors="pt"))
        found.pop("token_type_ids", None)
        found["image_attention_mask"] = attention(
            found["input_ids"][0], self._image_id, self.tokenizer.eos_token_id
        ).unsqueeze(0)
        parts = [
            self.tensors.get(image.sha256, partial(self._make, image.sha256, read)) for image in prompt.images
        ]
        return found | (merged(parts, dim=1) if parts else {"image_hidden_states": self._blank})

    def _make(self, sha256: str, read: ReadBlob) -> Fields:
        return {"pixel_values": self._pictures([decoded(sha256, read)], return_tensors="pt").unsqueeze(0)}


def spelled(text: str) -> str:
    """The prompt with every `<image>` between fake tokens; pictures in a row share the one between them."""
    first, *rest = (piece.strip(" ") for piece in text.split(IMAGE))
    found, after_picture = first, False
    for piece in rest:
        found += ("" if after_picture else FAKE) + IMAGE + FAKE + piece
        after_picture = not piece
    return found


def attention(ids: torch.Tensor, image_id: int, end_id: int) -> torch.Tensor:
    """Which token (t) attends to which picture (k): 0 or 1, (t, k); (t, 1) zeros without pictures.

    Args:
        ids: (t,), one request.
        image_id: of the token that stands for a picture.
        end_id: of the end-of-sequence token.
    """
    starts, ends = ids == image_id, ids == end_id
    places = starts.nonzero()[:, 0]
    if not len(places):
        return torch.zeros(len(ids), 1, dtype=torch.long)
    latest = starts.cumsum(0) - 1
    closed = ends.cumsum(0) - ends.long()
    same_picture = latest[:, None] == torch.arange(len(places))
    return (same_picture & (closed[:, None] == closed[places])).long()
