"""The vision tower of `testbed/smol_eyes`: a page of a few words to a fixed number of vectors.

A model of transformers (`sightline_reader`), so that LLaVA's own class holds it. Lines are found (`lines`),
read by a frozen text recognizer (`recognizer`), spelled softly (`spelling`), and every piece becomes the
tokens that the language model would read, or mixtures of them (`vocabulary`). They stand in reading order
from the first place on; what is left of the places is filled with `blank`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from sightline.testbed.smol.eyes import lines, spelling
from sightline.testbed.smol.eyes.recognizer import Recognizer
from sightline.testbed.smol.eyes.vocabulary import Vocabulary

TOKENS, SIDE = 32, 448
"""Vectors of a page, and pixels of its sides."""


class ReaderConfig(PreTrainedConfig):  # type: ignore[misc]
    """What LLaVA asks a vision tower's configuration for; its width is the language model's."""

    model_type = "sightline_reader"
    hidden_size: int = 576
    vocab_size: int = 49152
    image_size: int = SIDE
    patch_size: int = SIDE
    num_hidden_layers: int = 1


class ReaderTower(PreTrainedModel):  # type: ignore[misc]
    """Pages (n, 3, SIDE, SIDE) in [0, 1] to vectors (n, TOKENS, hidden_size)."""

    config_class = ReaderConfig
    base_model_prefix = "reader"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    blank: Tensor

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__(config)
        self.recognizer = Recognizer()
        self.vocabulary = Vocabulary(config.vocab_size, config.hidden_size)
        self.register_buffer("blank", torch.zeros(config.hidden_size))
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Weights are always loaded; random ones are left as they are."""

    def read(self, page: Tensor) -> list[spelling.Piece]:
        """The pieces on a page (3, h, w), in reading order."""
        found: list[spelling.Piece] = []
        for box in lines.find(page)[:TOKENS]:  # specks of noise are lines, too: no more than there are places
            scores = self.recognizer(lines.cut(page, box))[0]
            found += spelling.pieces(spelling.spelled(scores), first=not found)
            if len(found) >= TOKENS:
                break
        return found[:TOKENS]

    def vectors(self, page: Tensor) -> Tensor:
        """What stands for a page: (TOKENS, hidden_size)."""
        found = [self.vocabulary(piece.signs, piece.text, spaced=piece.spaced) for piece in self.read(page)]
        rest = self.blank.expand(TOKENS, -1) + 0 * page.sum()  # an empty page has a gradient too: none
        return torch.cat([*found, rest])[:TOKENS]

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutputWithPooling:
        """One page after the other, so that none depends on its neighbors."""
        dtype = self.recognizer.head.weight.dtype
        found = torch.stack([self.vectors(page) for page in pixel_values.to(dtype)])
        return BaseModelOutputWithPooling(last_hidden_state=found, hidden_states=(found, found))


def register() -> None:
    """Let transformers build the tower where a configuration names it; harmless to repeat."""
    AutoConfig.register(ReaderConfig.model_type, ReaderConfig, exist_ok=True)
    AutoModel.register(ReaderConfig, ReaderTower, exist_ok=True)


register()
