"""LLaVA models of given shapes with random weights, and prompts of exact lengths: specs/performance.md 1.

On the device `meta` a model has no memory: a pass over it computes nothing and is counted all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from sightline.cases import Conversation, Image
from sightline.whitebox.frozen import quicken
from sightline.whitebox.model import MultimodalVictim
from sightline.whitebox.preprocessing.processor import preprocessor
from sightline.whitebox.prompts import PromptTokens
from sightline.whitebox.victim import Pair

#: tokens that no text holds
PAD, START, IMAGE = 0, 1, 3
FIRST_WORD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A LLaVA model: sizes of its parts, and the lengths of the prompts that it is asked with."""

    name: str
    side: int
    patch: int
    tower: tuple[int, int, int, int]
    """Layers, width, heads, inner width of the vision tower."""
    language: tuple[int, int, int, int]
    """The same of the language model."""
    vocabulary: int
    feature_layer: int
    system: int
    question: int

    @property
    def picture_tokens(self) -> int:
        return (self.side // self.patch) ** 2

    def config(self) -> LlavaConfig:
        layers, width, heads, inner = self.tower
        tower = CLIPVisionConfig(
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            intermediate_size=inner,
            image_size=self.side,
            patch_size=self.patch,
        )
        layers, width, heads, inner = self.language
        language = LlamaConfig(
            num_hidden_layers=layers,
            hidden_size=width,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            intermediate_size=inner,
            vocab_size=self.vocabulary,
            max_position_embeddings=4096,
            pad_token_id=PAD,
        )
        return LlavaConfig(
            vision_config=tower,
            text_config=language,
            image_token_index=IMAGE,
            image_seq_length=self.picture_tokens,
            vision_feature_layer=self.feature_layer,
            vision_feature_select_strategy="default",
        )

    def model(
        self, device: str = "cpu", dtype: torch.dtype = torch.float32, attention: str = "sdpa", seed: int = 0
    ) -> Any:
        """Random weights, made on the device; frozen."""
        config = self.config()
        config._attn_implementation = attention
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device), torch.random.fork_rng(enabled=device == "cpu"):
                if device != "meta":
                    torch.random.manual_seed(seed)
                made = LlavaForConditionalGeneration(config)
        finally:
            torch.set_default_dtype(default)
        return made.eval().requires_grad_(False)

    def victim(self, model: Any, *, cache_text: bool = True, quick: bool = False) -> MultimodalVictim:
        """The engine's view of a model; `quick` as `open_victim` does it on the processor at hand."""
        if quick:
            quicken(model)
        square = {"height": self.side, "width": self.side}
        pictures = CLIPImageProcessorPil(size=square, crop_size=square)
        return MultimodalVictim(
            model, Words(self), preprocessor("llava", pictures), f"random/{self.name}", cache_text=cache_text
        )

    def pair(self, target: int, *, question: int = 0, tokens: int = 16) -> Pair:
        """Question number `question` of the shape's length, and target number `target` of a length."""
        asked = " ".join(str(1000 * question + place) for place in range(self.question))
        told = " ".join(str(place) for place in range(self.system))
        shown = Image("", self.side, self.side)
        said = " ".join(str(100_000 + 1000 * target + place) for place in range(tokens))
        return Pair(prompt=Conversation.user(shown, asked).with_system(told), target=said, closed=False)

    def picture(self, seed: int = 0, count: int = 1, device: str = "cpu") -> torch.Tensor:
        """Uniform noise in [0, 1], (count, 3, side, side)."""
        if device == "meta":
            return torch.empty(count, 3, self.side, self.side, device=device)
        made = torch.Generator().manual_seed(seed)
        return torch.rand(count, 3, self.side, self.side, generator=made).to(device)


@dataclass(frozen=True, slots=True)
class Words:
    """In the place of `Prompts`: every word of a prompt is a number, and a token of its own."""

    shape: Shape
    _asked: dict[Conversation, PromptTokens] = field(default_factory=dict)

    def prompt(self, conversation: Conversation, _size: tuple[int, int]) -> PromptTokens:
        if conversation not in self._asked:
            before = [*self.ids(conversation.turns[0].text)] if len(conversation.turns) > 1 else [START]
            shown = [IMAGE] * self.shape.picture_tokens
            after = self.ids(conversation.last_user_text())
            ids = (*before, *shown, *after)
            self._asked[conversation] = PromptTokens(ids, tuple(range(len(ids) - len(after), len(ids))), {})
        return self._asked[conversation]

    def target(self, pair: Pair, _size: tuple[int, int]) -> tuple[int, ...]:
        return tuple(self.ids(pair.target))

    def read(self, conversation: Conversation, size: tuple[int, int], _file: bytes) -> tuple[int, ...]:
        """What a target would read beside a file: the same, as there is none."""
        return self.prompt(conversation, size).ids

    def ids(self, text: str) -> list[int]:
        """One token per word."""
        return [FIRST_WORD + int(word) * 7919 % (self.shape.vocabulary - FIRST_WORD) for word in text.split()]


def tokens_of(shape: Shape, pairs: Sequence[Pair]) -> list[tuple[list[int], list[int]]]:
    """Prompt and target of each pair as token ids."""
    words, size = Words(shape), (shape.side, shape.side)
    return [(list(words.prompt(pair.prompt, size).ids), list(words.target(pair, size))) for pair in pairs]


TINY = Shape(
    name="tiny",
    side=56,
    patch=14,
    tower=(2, 64, 4, 256),
    language=(4, 128, 4, 384),
    vocabulary=1024,
    feature_layer=-1,
    system=8,
    question=8,
)
MID = Shape(
    name="mid",
    side=224,
    patch=14,
    tower=(6, 384, 6, 1536),
    language=(8, 768, 12, 2048),
    vocabulary=32_000,
    feature_layer=-1,
    system=35,
    question=20,
)
SEVEN = Shape(
    name="7B",
    side=336,
    patch=14,
    tower=(24, 1024, 16, 4096),
    language=(32, 4096, 32, 11_008),
    vocabulary=32_064,
    feature_layer=-2,
    system=35,
    question=20,
)
