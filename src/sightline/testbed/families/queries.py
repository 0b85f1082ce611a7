"""Learnable queries: a Q-Former asks the picture and hands on 32 tokens (BLIP-2).

Li et al., ICML 2023, section 3; the model is the genuine `Blip2ForConditionalGeneration` with a Llama. A
vision transformer of CLIP's shape (without CLIP's layer norm before the first layer, with one behind the
last) is read by 32 learned queries through a Q-Former (3 layers, cross-attention in each). Deviations from
the published model: no dropout, queries drawn at random (the library's zeros are all alike, and what is
alike stays alike: the Q-Former has no positions).

`Blip2Processor` writes the picture's tokens before everything else, also before `<s>`. Therefore the chat
template shows nothing where a picture stands, and everybody asks in the same way: apply the template, then
`processor(text=..., images=...)`. Two things are left to the caller. The library's processor does not keep
a chat template, its tokenizer does (`processor.tokenizer.apply_chat_template`); and the library's
`generate` demands pixels, so a request without picture goes to `model.language_model.generate`. A picture
may only be shown once per conversation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, Blip2VisionConfig

from sightline.testbed.families import Size
from sightline.testbed.families._pieces import (
    PATCH,
    PIXEL_MEAN,
    PIXEL_STD,
    VISION_ACT,
    VISION_EPS,
    language_part,
    picture_settings,
    read_on,
    seeded,
    text_config,
    tokenizer_with,
)
from sightline.testbed.render import SIZE
from sightline.testbed.tokenizer import CHAT_TEMPLATE, IMAGE, vocabulary

if TYPE_CHECKING:
    from transformers import Blip2Processor

QUERIES = 32
QFORMER_LAYERS = 3
#: deviation of the queries' first values; a layer norm follows, so that it only sets how fast they move
QUERY_STD = 0.3
TEMPLATE = CHAT_TEMPLATE.replace("' <image>'", "''")


class Queries:
    """See `families.Family`."""

    name = "queries"
    aid: Literal["patches", "queries", "none"] = "queries"
    picture_first = True

    def __init__(self, size: Size) -> None:
        """Take the size of vision transformer and language model; the Q-Former is as wide."""
        self.size = size

    def config(self) -> Blip2Config:
        """The configuration all variants share."""
        vision = Blip2VisionConfig(
            hidden_size=self.size.width,
            intermediate_size=self.size.vision_ffn,
            num_hidden_layers=self.size.layers,
            num_attention_heads=self.size.heads,
            image_size=SIZE,
            patch_size=PATCH,
            hidden_act=VISION_ACT,
            layer_norm_eps=VISION_EPS,
            initializer_range=0.02,
        )
        qformer = Blip2QFormerConfig(
            hidden_size=self.size.width,
            intermediate_size=self.size.vision_ffn,
            num_hidden_layers=QFORMER_LAYERS,
            num_attention_heads=self.size.heads,
            cross_attention_frequency=1,
            encoder_hidden_size=self.size.width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
        text = text_config(self.size)
        return Blip2Config(
            vision_config=vision,
            qformer_config=qformer,
            text_config=text,
            num_query_tokens=QUERIES,
            image_token_index=vocabulary()[IMAGE],
            tie_word_embeddings=True,
            bos_token_id=text.bos_token_id,
            eos_token_id=text.eos_token_id,
            pad_token_id=text.pad_token_id,
        )

    def new_model(self, seed: int) -> Blip2ForConditionalGeneration:
        """A model with random weights that follow from `seed`."""

        def make_model() -> Blip2ForConditionalGeneration:
            model = Blip2ForConditionalGeneration(self.config())
            nn.init.normal_(model.query_tokens, std=QUERY_STD)
            return model

        return seeded(seed, make_model)

    def processor(self) -> Blip2Processor:
        """The processor; a picture's 32 tokens come first."""
        from transformers import Blip2Processor
        from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

        return Blip2Processor(
            image_processor=BlipImageProcessorPil(**picture_settings()),
            tokenizer=tokenizer_with(TEMPLATE),
            num_query_tokens=QUERIES,
        )

    def picture_tokens(self) -> list[int]:
        """32 times `<image>`."""
        return [vocabulary()[IMAGE]] * QUERIES

    def parts(self, model: Any) -> Mapping[str, nn.Module]:
        """See `families.Family.parts`; the bridge is the queries, the Q-Former and its projection."""
        bridge = nn.ModuleDict({"qformer": model.qformer, "projection": model.language_projection})
        bridge.register_parameter("query_tokens", model.query_tokens)
        return {
            "tower": model.vision_model,
            "bridge": bridge,
            "language": language_part(model.language_model.model),
        }

    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """See `families.Family.features`."""
        found: Tensor = model.vision_model(pixel_values=pixels).last_hidden_state
        return found

    def projected(self, model: Any, features: Tensor) -> Tensor:
        """The tokens (m, 32, width) that stand for pictures with these features (m, 65, width)."""
        asked = model.qformer(
            query_embeds=model.query_tokens.expand(len(features), -1, -1), encoder_hidden_states=features
        ).last_hidden_state
        found: Tensor = model.language_projection(asked.to(features.dtype))
        return found

    def joined(self, model: Any, ids: Tensor, shown: Tensor | None) -> Tensor:
        """See `families.Family.joined`."""
        return read_on(model.language_model.model, ids, shown)


@torch.no_grad()
def tower_from_clip(model: Any, clip_state: Mapping[str, Tensor], pixels: Tensor | None = None) -> None:
    """Copy a `CLIPVisionModel`'s weights into the tower of a BLIP-2 model.

    All layers fit once query, key and value are stacked. CLIP's layer norm before them has no counterpart:
    its centering and its weights go into the embeddings exactly, its division by the deviation as one
    number for all patches (the mean over `pixels`); training has to adapt the rest. The norm behind the
    last layer, which CLIP applies to the class token only, starts at its neutral value.

    Args:
        model: a `Blip2ForConditionalGeneration` with a tower of the same shape.
        clip_state: the `state_dict` of the `CLIPVisionModel`.
        pixels: normalized pictures (n, 3, 64, 64) as the model will see them; plain colors if none.
    """
    state = {name.removeprefix("vision_model."): value.float() for name, value in clip_state.items()}
    tower = model.vision_model
    _embeddings_from_clip(tower.embeddings, state, _plain_colors() if pixels is None else pixels)
    for number, layer in enumerate(tower.encoder.layers):
        own = f"encoder.layers.{number}."
        for kind in ("weight", "bias"):
            stacked = [state[f"{own}self_attn.{name}_proj.{kind}"] for name in "qkv"]
            getattr(layer.self_attn.qkv, kind).copy_(torch.cat(stacked))
            getattr(layer.self_attn.projection, kind).copy_(state[f"{own}self_attn.out_proj.{kind}"])
            for name in ("layer_norm1", "layer_norm2"):
                getattr(getattr(layer, name), kind).copy_(state[f"{own}{name}.{kind}"])
            for name in ("fc1", "fc2"):
                getattr(getattr(layer.mlp, name), kind).copy_(state[f"{own}mlp.{name}.{kind}"])
    tower.post_layernorm.weight.fill_(1.0)
    tower.post_layernorm.bias.zero_()


def _plain_colors() -> Tensor:
    """27 plain pictures, (27, 3, 64, 64), over the range of normalized pixels."""
    ends = torch.tensor([-PIXEL_MEAN, 0.0, 1 - PIXEL_MEAN]) / PIXEL_STD
    colors = torch.cartesian_prod(ends, ends, ends)
    return colors[:, :, None, None].expand(-1, -1, SIZE, SIZE)


def _embeddings_from_clip(embeddings: Any, state: Mapping[str, Tensor], pixels: Tensor) -> None:
    """Fold CLIP's first layer norm into patch, class and position embeddings."""
    gain, shift = state["pre_layrnorm.weight"], state["pre_layrnorm.bias"]
    kernel = state["embeddings.patch_embedding.weight"]
    places = state["embeddings.position_embedding.weight"]
    patches = nn.functional.conv2d(pixels.float(), kernel, stride=PATCH).flatten(2).transpose(1, 2)
    deviation = (patches + places[1:]).std(-1, unbiased=False).mean()
    first = state["embeddings.class_embedding"] + places[0]
    embeddings.class_embedding.zero_()
    embeddings.position_embedding[0, 0] = nn.functional.layer_norm(
        first, first.shape, gain, shift, VISION_EPS
    )
    centered = places[1:] - places[1:].mean(-1, keepdim=True)
    embeddings.position_embedding[0, 1:] = centered * gain / deviation + shift
    scaled = (kernel - kernel.mean(0)) * gain[:, None, None, None] / deviation
    embeddings.patch_embedding.weight.copy_(scaled)
    embeddings.patch_embedding.bias.zero_()


def make(size: Size) -> Queries:
    """The family at a size."""
    return Queries(size)
