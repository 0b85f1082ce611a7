"""Encoders against the library's own outputs for the official processor's pixels."""

from __future__ import annotations

import numpy as np
import pytest
import tiny_models as tiny
import torch
from PIL import Image as PilImage
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.whitebox.encoders import open_encoder, tower_of
from sightline.whitebox.guards import check_gradient
from sightline.whitebox.opening import open_victim

CPU = LocalSettings(device="cpu")


def clip(folder, *, plain=False):
    vision = tiny._vision()
    torch.manual_seed(0)
    if plain:
        model = CLIPVisionModel(CLIPVisionConfig(**vision))
    else:
        text = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        text |= {"num_attention_heads": 2}
        model = CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=12))
    model.save_pretrained(folder)
    tiny._clip_pictures().save_pretrained(folder)
    return model.eval()


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)


def floats(pictures):
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def official(folder, pictures):
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor([PilImage.fromarray(each) for each in pictures], return_tensors="pt")["pixel_values"]


def test_a_clip_folder_gives_all_three_kinds(tmp_path, pictures):
    model = clip(tmp_path)
    encoder = open_encoder(str(tmp_path), local=CPU)
    pixels = official(tmp_path, pictures)
    with torch.no_grad():
        seen = model.vision_model(pixel_values=pixels)
        wanted = {
            "pooled": seen.pooler_output,
            "projected": model.visual_projection(seen.pooler_output),
            "patches": seen.last_hidden_state[:, 1:],
        }
        for kind, features in wanted.items():
            assert torch.allclose(encoder.features(floats(pictures), kind), features, atol=1e-5)
    for kind in wanted:
        check_gradient(
            lambda x, kind=kind: encoder.features(x, kind).flatten(1)[:, :5].sum(1), floats(pictures), "CLIP"
        )
    assert encoder.id.startswith(f"{tmp_path}#")


def test_a_tower_without_projection_says_so(tmp_path, pictures):
    model = clip(tmp_path, plain=True)
    encoder = open_encoder(str(tmp_path), local=CPU)
    wanted = model(pixel_values=official(tmp_path, pictures)).pooler_output
    assert torch.allclose(encoder.features(floats(pictures)), wanted, atol=1e-5)
    with pytest.raises(UsageError, match="has no projection: ask for 'pooled' or 'patches'"):
        encoder.features(floats(pictures), "projected")


@pytest.mark.parametrize("layer", [-1, -2])
def test_the_tower_of_a_victim_gives_the_patches_that_its_language_model_reads(layer, tmp_path, pictures):
    folder = tiny.tiny_llava(tmp_path / "m")
    config = folder / "config.json"
    text = config.read_text()
    assert '"vision_feature_layer": -1' in text
    config.write_text(text.replace('"vision_feature_layer": -1', f'"vision_feature_layer": {layer}'))
    victim = open_victim(f"vlm/{folder}", local=CPU)
    encoder, x = tower_of(victim), floats(pictures)
    with torch.no_grad():
        read = victim.model.base_model.multi_modal_projector(encoder.features(x, "patches"))
        assert torch.allclose(read, victim.family.features(victim.pixels(x), 2), atol=1e-5)
    assert encoder.features(x).shape == (2, 32)


@pytest.mark.parametrize("model", ["linear", "queries", "cross_attention"])
def test_testbed_towers(model):
    encoder = tower_of(open_victim(f"testbed/{model}", local=CPU))
    x = torch.rand(2, 3, 64, 64)
    assert encoder.features(x, "patches").shape == (2, 64, 192)
    way = torch.randn(192, generator=torch.Generator().manual_seed(0))  # a normed vector's length is constant
    check_gradient(lambda p: encoder.features(p) @ way, x, encoder.id)


def test_what_is_no_encoder_is_refused(tmp_path):
    folder = tiny.tiny_qwen2_vl(tmp_path / "q")
    with pytest.raises(UsageError, match="a qwen2_vl model is no CLIP"):
        open_encoder(str(folder), local=CPU)
    with pytest.raises(UsageError, match="tower of a qwen2_vl model cannot be used alone"):
        tower_of(open_victim(f"vlm/{folder}", local=CPU))
