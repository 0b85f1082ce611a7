"""Cross-attention: the language model looks at the picture between its layers (Idefics-1).

The open Flamingo of Laurençon et al. (OBELICS, NeurIPS 2023, section 4; Alayrac et al., NeurIPS 2022,
section 2.2), as the genuine `IdeficsForVisionText2Text`: before every layer of a Llama stands a gated
cross-attention layer over the 65 features of a CLIP vision transformer, without resampler. Gates are
vectors that start at zero, so that an untrained model answers exactly as its language model; nothing but
the gates has a gradient in the very first step. A gated layer's second half (a feed-forward net) acts on
every token, also on requests without picture.

`IdeficsProcessor` writes `<s>` itself and takes texts and pictures in one list, in reading order. Therefore
the chat template has no `<s>` and says `<image>` where a picture stands; everybody asks in the same way:
apply the template (the library's processor does not keep it, its tokenizer does), cut the text at
`<image>`, put the pictures between the pieces, call ``processor(text=[pieces])``. The processor writes
`<fake_token_around_image><image><fake_token_around_image>` there. A token looks at the picture if it
stands at `<image>` or later, and not behind the next `</s>` (the end of the first answer): later turns know
the picture from earlier tokens only. That is the library's rule, and `hidden` follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from transformers import IdeficsConfig, IdeficsForVisionText2Text
from transformers.masking_utils import create_causal_mask

from sightline.testbed.families import Size
from sightline.testbed.families._pieces import (
    CONTEXT,
    PATCH,
    VISION_ACT,
    VISION_EPS,
    language_part,
    picture_settings,
    seeded,
    text_config,
    tokenizer_with,
)
from sightline.testbed.render import SIZE
from sightline.testbed.tokenizer import CHAT_TEMPLATE, EOS, FAKE, IMAGE, vocabulary

if TYPE_CHECKING:
    from transformers import IdeficsProcessor

TEMPLATE = CHAT_TEMPLATE.removeprefix("{{ '<s>' }}")


class CrossAttention:
    """See `families.Family`."""

    name = "cross_attention"
    aid: Literal["patches", "queries", "none"] = "none"
    picture_first = False

    def __init__(self, size: Size) -> None:
        """Take the size of vision transformer and language model."""
        self.size = size

    def config(self) -> IdeficsConfig:
        """The configuration all variants share."""
        text = text_config(self.size)
        vision = {
            "embed_dim": self.size.width,
            "intermediate_size": self.size.vision_ffn,
            "num_hidden_layers": self.size.layers,
            "num_attention_heads": self.size.heads,
            "image_size": SIZE,
            "patch_size": PATCH,
            "hidden_act": VISION_ACT,
            "layer_norm_eps": VISION_EPS,
        }
        return IdeficsConfig(
            vision_config=vision,
            vocab_size=text.vocab_size,
            additional_vocab_size=0,
            hidden_size=text.hidden_size,
            intermediate_size=text.intermediate_size,
            num_hidden_layers=text.num_hidden_layers,
            num_attention_heads=text.num_attention_heads,
            max_position_embeddings=CONTEXT,
            rms_norm_eps=text.rms_norm_eps,
            cross_layer_interval=1,
            alpha_initializer="zeros",
            alpha_type="vector",
            qk_layer_norms=False,
            use_resampler=False,
            freeze_text_layers=False,
            freeze_vision_layers=False,
            freeze_lm_head=False,
            tie_word_embeddings=True,
            bos_token_id=text.bos_token_id,
            eos_token_id=text.eos_token_id,
            pad_token_id=text.pad_token_id,
        )

    def new_model(self, seed: int) -> IdeficsForVisionText2Text:
        """A model with random weights that follow from `seed`."""
        return seeded(seed, lambda: IdeficsForVisionText2Text(self.config()))

    def processor(self) -> IdeficsProcessor:
        """The processor; see the module's text for how to call it."""
        from transformers import IdeficsProcessor
        from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

        return IdeficsProcessor(
            image_processor=IdeficsImageProcessorPil(**picture_settings()),
            tokenizer=tokenizer_with(TEMPLATE),
            image_size=SIZE,
        )

    def picture_tokens(self) -> list[int]:
        """`<image>` between two fake tokens."""
        ids = vocabulary()
        return [ids[FAKE], ids[IMAGE], ids[FAKE]]

    def parts(self, model: Any) -> Mapping[str, nn.Module]:
        """See `families.Family.parts`; the bridge is the gated layers."""
        return {
            "tower": model.model.vision_model,
            "bridge": model.model.gated_cross_attn_layers,
            "language": language_part(model.model),
        }

    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """See `families.Family.features`."""
        found: Tensor = model.model.vision_model(pixel_values=pixels).last_hidden_state
        return found

    def projected(self, model: Any, features: Tensor) -> Tensor:  # noqa: ARG002
        """See `families.Family.projected`; the features as they are."""
        return features

    def joined(self, model: Any, ids: Tensor, shown: Tensor | None) -> Tensor:
        """See `families.Family.joined`."""
        inner, features = model.model, shown
        states = inner.embed_tokens(ids)
        places = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
        causal = create_causal_mask(
            config=inner.config,
            inputs_embeds=states,
            attention_mask=None,
            past_key_values=None,
            position_ids=places,
        )
        looks = looks_at_picture(ids)
        rows = looks.any(-1).nonzero()[:, 0]
        for gated, layer in zip(inner.gated_cross_attn_layers, inner.layers, strict=True):
            if features is not None:
                states = _looked(gated, states, features, rows, looks)
            thought = gated.mlp(gated.post_attention_layernorm(states))
            states = states + gated.act_dense(gated.alpha_dense) * thought
            states = layer(states, attention_mask=causal, position_ids=places)
        found: Tensor = inner.norm(states)
        return found


def looks_at_picture(ids: Tensor) -> Tensor:
    """Which tokens attend to the picture, (n, t): from `<image>` to the next `</s>`.

    Args:
        ids: (n, t), with at most one picture per row.
    """
    words = vocabulary()
    begun = (ids == words[IMAGE]).cumsum(-1) > 0
    ended = ((ids == words[EOS]) & begun).cumsum(-1)
    return begun & (ended - (ids == words[EOS]).long() <= 0)


def _looked(gated: Any, states: Tensor, features: Tensor, rows: Tensor, looks: Tensor) -> Tensor:
    """The cross-attention of one gated layer, run only for the rows that show a picture.

    Args:
        gated: an `IdeficsGatedCrossAttentionLayer` (its dropout is zero in this family).
        states: (n, t, width).
        features: (m, 65, width).
        rows: (m,), the rows these features belong to.
        looks: (n, t), see `looks_at_picture`.
    """
    every = len(rows) == len(states)
    asking = states if every else states.index_select(0, rows)
    seen, _ = gated.cross_attn(
        hidden_states=gated.input_layernorm(asking), key_value_states=features, is_causal=False
    )
    seen = seen.masked_fill(~looks[rows].unsqueeze(-1), 0.0)
    change = gated.act_cross_attn(gated.alpha_cross_attn) * seen
    return states + change if every else states.index_add(0, rows, change.to(states.dtype))


def make(size: Size) -> CrossAttention:
    """The family at a size."""
    return CrossAttention(size)
