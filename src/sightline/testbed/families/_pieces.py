"""What the three families have in common: the language model's shape, picture constants, the tokenizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import LlamaConfig

from sightline.testbed.render import SIZE
from sightline.testbed.tokenizer import BOS, EOS, IMAGE, PAD, UNK, vocabulary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from sightline.testbed.families import Size

PATCH = 8
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25
CONTEXT = 1024
#: of the vision transformers, as CLIP has it
VISION_ACT, VISION_EPS = "quick_gelu", 1e-5

Model = TypeVar("Model")


def text_config(size: Size) -> LlamaConfig:
    """The language model of every family; the output layer is the embedding table."""
    ids = vocabulary()
    return LlamaConfig(
        vocab_size=len(ids),
        hidden_size=size.width,
        intermediate_size=size.text_ffn,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
    )


def picture_settings() -> dict[str, Any]:
    """What every picture processor does: scale to 64 x 64, then to mean .5 and deviation .25 per channel."""
    return {
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [PIXEL_MEAN] * 3,
        "image_std": [PIXEL_STD] * 3,
        "size": {"height": SIZE, "width": SIZE},
    }


def tokenizer_with(template: str) -> PreTrainedTokenizerFast:
    """The testbed's tokenizer with another chat template, and no picture token of its own.

    `Blip2Processor` looks for its picture token among the added ones and fails on a tokenizer that names it.
    """
    from transformers import PreTrainedTokenizerFast

    from sightline.testbed.tokenizer import tokenizer

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer()._tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=UNK,
        chat_template=template,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=CONTEXT,
    )


def seeded(seed: int, make: Callable[[], Model]) -> Model:
    """What `make` returns, its random numbers drawn from `seed`; the global generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def language_part(llama: Any) -> nn.ModuleDict:
    """The trained modules of a Llama (or of what Idefics made of it), by their own names."""
    return nn.ModuleDict({name: getattr(llama, name) for name in ("embed_tokens", "layers", "norm")})


def put_pictures(embedded: Tensor, ids: Tensor, shown: Tensor) -> Tensor:
    """Replace the embeddings of picture tokens by the pictures' own, in order.

    Args:
        embedded: (n, t, width).
        ids: (n, t); as many picture tokens as `shown` has vectors.
        shown: (m, tokens per picture, width).
    """
    place = (ids == vocabulary()[IMAGE]).unsqueeze(-1).expand_as(embedded)
    return embedded.masked_scatter(place, shown.to(embedded.dtype))


def read_on(llama: Any, ids: Tensor, shown: Tensor | None) -> Tensor:
    """Return a Llama's last hidden states (n, t, width) over words and pictures; see `put_pictures`."""
    embedded = llama.embed_tokens(ids)
    if shown is not None:
        embedded = put_pictures(embedded, ids, shown)
    found: Tensor = llama(inputs_embeds=embedded, use_cache=False).last_hidden_state
    return found
