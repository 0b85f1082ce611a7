"""The testbed's architecture: a small, genuine `LlavaForConditionalGeneration`, and what trains its parts.

Llama (width 192, 4 layers, 4 heads) reads 64 image tokens from a CLIP vision transformer (64 px, patch 8)
through the usual two-layer projector. The dense heads exist only during training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from sightline.testbed.pictures import CHARACTERS
from sightline.testbed.render import SIZE
from sightline.testbed.tokenizer import BOS, EOS, IMAGE, IMAGE_TOKENS, PAD, vocabulary
from sightline.testbed.world import COLORS, SHAPES

if TYPE_CHECKING:
    from transformers import LlavaProcessor

WIDTH, LAYERS, HEADS = 192, 4, 4
VISION_FFN, TEXT_FFN = 512, 496
PATCH = 8
PIXEL_MEAN, PIXEL_STD = 0.5, 0.25


def config() -> LlavaConfig:
    """Return the configuration that all linear-projection variants share."""
    ids = vocabulary()
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=VISION_FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        image_size=SIZE,
        patch_size=PATCH,
        projection_dim=WIDTH,
    )
    text = LlamaConfig(
        vocab_size=len(ids),
        hidden_size=WIDTH,
        intermediate_size=TEXT_FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=ids[IMAGE],
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        projector_hidden_act="gelu",
        tie_word_embeddings=True,
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
    )


def new_model(seed: int) -> LlavaForConditionalGeneration:
    """Return a model with random weights that follow from `seed`."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlavaForConditionalGeneration(config())


def processor() -> LlavaProcessor:
    """Return the processor: scales other sizes to 64 x 64, normalizes by fixed constants."""
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from sightline.testbed.tokenizer import CHAT_TEMPLATE, tokenizer

    images = CLIPImageProcessorPil(
        do_resize=True,
        do_center_crop=False,
        do_rescale=True,
        do_normalize=True,
        image_mean=[PIXEL_MEAN] * 3,
        image_std=[PIXEL_STD] * 3,
        size={"height": SIZE, "width": SIZE},
        crop_size={"height": SIZE, "width": SIZE},
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        chat_template=CHAT_TEMPLATE,
        image_token=IMAGE,
        num_additional_image_tokens=1,
    )


def normalize(pixels: Tensor) -> Tensor:
    """Turn `uint8` (n, h, w, 3) into the vision tower's `float32` (n, 3, h, w)."""
    return ((pixels.to(torch.float32) / 255 - PIXEL_MEAN) / PIXEL_STD).permute(0, 3, 1, 2).contiguous()


def patch_features(model: LlavaForConditionalGeneration, pixels: Tensor) -> Tensor:
    """Return the vision tower's features of the 64 patches, (n, 64, width)."""
    hidden: Tensor = model.model.vision_tower(pixel_values=normalize(pixels)).last_hidden_state
    return hidden[:, 1:]


class DenseHeads(nn.Module):  # type: ignore[misc]  # torch is untyped here
    """Linear read-outs of what each patch shows: characters, word pieces, shape, color."""

    def __init__(self) -> None:
        """Create one head per label column of `dense_labels`."""
        super().__init__()
        self.sizes = (
            len(CHARACTERS) + 1,
            len(CHARACTERS) + 1,
            len(vocabulary()),
            len(vocabulary()),
            len(SHAPES) + 1,
            len(COLORS) + 1,
        )
        self.read = nn.Linear(WIDTH, sum(self.sizes))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return logits per label column, each (n, 64, classes)."""
        logits: Tensor = self.read(features)
        return tuple(logits.split(self.sizes, dim=-1))

    def loss(self, features: Tensor, labels: Tensor, background: float = 0.25) -> Tensor:
        """Return the mean cross-entropy of the six columns; the background has a weight of its own."""
        total = features.new_zeros(())
        for column, logits in enumerate(self(features)):
            weight = torch.ones(logits.shape[-1])
            weight[0] = background
            total = total + nn.functional.cross_entropy(
                logits.float().flatten(0, 1), labels[..., column].flatten(), weight=weight
            )
        return total / len(self.sizes)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def accuracy(self, features: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the share of right labels among patches that show something."""
        hits = [
            (logits.argmax(-1) == labels[..., column])[labels[..., column] > 0].float()
            for column, logits in enumerate(self(features))
        ]
        names = {"character": (0, 1), "piece": (2, 3), "shape": (4,), "color": (5,)}
        return {name: torch.cat([hits[c] for c in columns]).mean().item() for name, columns in names.items()}


def alignment_loss(
    model: LlavaForConditionalGeneration, projected: Tensor, labels: Tensor, scale: float = 15.0
) -> Tensor:
    """Pull each projected text patch toward the word embedding of the piece it shows.

    Args:
        model: its (detached) embedding table is the target.
        projected: (n, 64, width), after the projector.
        labels: (n, 64, 6) of `dense_labels`; column 3 is the piece under the right half of the patch.
        scale: of the cosine logits.
    """
    wanted = labels[..., 3].flatten()
    shown = wanted > 0
    table = nn.functional.normalize(model.get_input_embeddings().weight.detach(), dim=-1)
    cosine = nn.functional.normalize(projected.flatten(0, 1)[shown].float(), dim=-1) @ table.float().T
    return nn.functional.cross_entropy(scale * cosine, wanted[shown])
