"""Linear projection: every patch becomes a token (LLaVA).

Liu et al., NeurIPS 2023, section 4.1, with the two-layer projector of LLaVA-1.5; the model is the genuine
`LlavaForConditionalGeneration`. A Llama reads the 64 patches of a CLIP vision transformer (64 px, patch 8)
at the place where the conversation shows the picture. The class token is dropped before the projector.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration

from sightline.testbed.families import Size
from sightline.testbed.families._pieces import (
    PATCH,
    language_part,
    picture_settings,
    read_on,
    seeded,
    text_config,
)
from sightline.testbed.render import SIZE
from sightline.testbed.tokenizer import CHAT_TEMPLATE, IMAGE, IMAGE_TOKENS, vocabulary

if TYPE_CHECKING:
    from transformers import LlavaProcessor


class Linear:
    """See `families.Family`."""

    name = "linear"
    aid: Literal["patches", "queries", "none"] = "patches"
    picture_first = False

    def __init__(self, size: Size) -> None:
        """Take the size of vision transformer and language model."""
        self.size = size

    def config(self) -> LlavaConfig:
        """The configuration all variants share."""
        text = text_config(self.size)
        vision = CLIPVisionConfig(
            hidden_size=self.size.width,
            intermediate_size=self.size.vision_ffn,
            num_hidden_layers=self.size.layers,
            num_attention_heads=self.size.heads,
            image_size=SIZE,
            patch_size=PATCH,
            projection_dim=self.size.width,
        )
        return LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=vocabulary()[IMAGE],
            image_seq_length=IMAGE_TOKENS,
            vision_feature_layer=-1,
            vision_feature_select_strategy="default",
            projector_hidden_act="gelu",
            tie_word_embeddings=True,
            bos_token_id=text.bos_token_id,
            eos_token_id=text.eos_token_id,
            pad_token_id=text.pad_token_id,
        )

    def new_model(self, seed: int) -> LlavaForConditionalGeneration:
        """A model with random weights that follow from `seed`."""
        return seeded(seed, lambda: LlavaForConditionalGeneration(self.config()))

    def processor(self) -> LlavaProcessor:
        """The processor; `<image>` in the text becomes 64 tokens."""
        from transformers import LlavaProcessor
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

        from sightline.testbed.tokenizer import tokenizer

        pictures = CLIPImageProcessorPil(
            **picture_settings(), do_center_crop=False, crop_size={"height": SIZE, "width": SIZE}
        )
        return LlavaProcessor(
            image_processor=pictures,
            tokenizer=tokenizer(),
            patch_size=PATCH,
            vision_feature_select_strategy="default",
            chat_template=CHAT_TEMPLATE,
            image_token=IMAGE,
            num_additional_image_tokens=1,
        )

    def picture_tokens(self) -> list[int]:
        """64 times `<image>`."""
        return [vocabulary()[IMAGE]] * IMAGE_TOKENS

    def parts(self, model: Any) -> Mapping[str, nn.Module]:
        """See `families.Family.parts`."""
        return {
            "tower": model.model.vision_tower,
            "bridge": model.model.multi_modal_projector,
            "language": language_part(model.model.language_model),
        }

    def features(self, model: Any, pixels: Tensor) -> Tensor:
        """See `families.Family.features`."""
        found: Tensor = model.model.vision_tower(pixel_values=pixels).last_hidden_state
        return found

    def projected(self, model: Any, features: Tensor) -> Tensor:
        """The tokens (m, 64, width) that stand for pictures with these features (m, 65, width)."""
        found: Tensor = model.model.multi_modal_projector(features[:, 1:])
        return found

    def joined(self, model: Any, ids: Tensor, shown: Tensor | None) -> Tensor:
        """See `families.Family.joined`."""
        return read_on(model.model.language_model, ids, shown)


def make(size: Size) -> Linear:
    """The family at a size."""
    return Linear(size)
