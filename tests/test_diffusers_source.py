"""Image source `diffusers/FOLDER`: the call to a stub of the library, and to the real one where it is."""

from __future__ import annotations

import asyncio
import importlib.machinery
import importlib.util
import json
import sys
import threading
import types

import numpy as np
import pytest
from pages import case

from sightline.errors import AbsentExtraError, UsageError
from sightline.image_sources import open_image_source
from sightline.store import Blobs
from sightline.targets.local.settings import LocalSettings

torch = pytest.importorskip("torch")
CPU = LocalSettings(device="cpu", dtype="float32")
INSTALLED = importlib.util.find_spec("diffusers") is not None
INDEX = {
    "_class_name": "StubPipeline",
    "_diffusers_version": "0.42.1",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "safety_checker": [None, None],
    "requires_safety_checker": False,
}


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "pipe", INDEX)


def written(folder, index):
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "config.json").write_text("{}")
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"weights")
    return folder


class Made:
    def __init__(self, picture, withheld=None):
        self.images, self.nsfw_content_detected = [picture], withheld


class Stub:
    """What `DiffusionPipeline.from_pretrained` gives: it draws the noise of its generator."""

    level, withheld, asked, loaded, threads = 1, None, [], [], []

    @classmethod
    def from_pretrained(cls, folder, **how):
        cls.loaded.append((folder, how))
        return cls()

    def set_progress_bar_config(self, *, disable):
        assert disable

    def to(self, device):
        assert device == "cpu"
        return self

    def __call__(self, *, prompt, generator, output_type, width=16, height=16, **settings):
        from PIL import Image

        assert output_type == "pil"
        assert generator.device.type == "cpu"
        Stub.threads.append(threading.current_thread())
        self.asked.append((prompt, settings))
        noise = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8).numpy()
        return Made(Image.fromarray(noise * np.uint8(self.level), "RGB"), self.withheld)


@pytest.fixture(autouse=True)
def library(monkeypatch, request):
    if request.function is test_a_tiny_pipeline_of_the_real_library:
        return
    module = types.ModuleType("diffusers")
    module.__spec__ = importlib.machinery.ModuleSpec("diffusers", None)
    module.DiffusionPipeline = Stub
    module.pipelines = types.SimpleNamespace(stable_diffusion=None)
    monkeypatch.setitem(sys.modules, "diffusers", module)
    for name, value in {"level": 1, "withheld": None, "asked": [], "loaded": [], "threads": []}.items():
        monkeypatch.setattr(Stub, name, value)


def source(folder, tail="", tmp=None):
    return open_image_source(f"diffusers/{folder}{tail}", Blobs((tmp or folder) / "blobs"), local=CPU)


def draw(source, prompt="a glimber", seed=3):
    return asyncio.run(source.picture(case("polish a glimber"), prompt, seed=seed))


def test_a_picture_follows_from_prompt_seed_and_settings(folder):
    one = source(folder, "?steps=4&guidance=2.5&size=72x64")
    first = draw(one)
    assert first.shape == (64, 72, 3)
    assert first.dtype == np.uint8
    assert Stub.asked == [("a glimber", {"num_inference_steps": 4, "guidance_scale": 2.5})]
    assert (draw(one) == first).all()
    assert (draw(one, "a frell") != first).any()
    assert (draw(one, seed=4) != first).any()


def test_settings_that_are_not_named_are_left_to_the_pipeline(folder):
    draw(source(folder))
    assert Stub.asked == [("a glimber", {})]


def test_it_is_loaded_once_offline_from_safetensors_and_drawn_beside_the_event_loop(folder):
    one = source(folder)
    assert Stub.loaded == []
    draw(one)
    draw(one, "a frell")
    ((where, how),) = Stub.loaded
    assert where == str(folder)
    assert how == {
        "dtype": torch.float32,
        "use_safetensors": True,
        "local_files_only": True,
        "variant": None,
    }
    assert threading.main_thread() not in Stub.threads


def test_weights_of_variant_fp16_are_found(folder):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    draw(source(folder))
    assert Stub.loaded[0][1]["variant"] == "fp16"


def test_the_id_names_weights_number_format_and_settings(folder):
    plain, few = source(folder).id, source(folder, "?steps=4").id
    assert plain.startswith("diffusers/pipe#")
    assert "@float32" in plain
    assert " num_inference_steps=4~" in few
    assert plain != few
    assert source(folder, "?size=64").id != source(folder, "?size=128").id
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"other")
    assert source(folder).id != plain


def test_what_the_safety_checker_withheld_is_an_error_and_no_black_picture(folder, monkeypatch):
    monkeypatch.setattr(Stub, "withheld", [True])
    with pytest.raises(UsageError, match=r"case b/1: .*safety checker withheld the picture of 'a glimber'"):
        draw(source(folder))
    monkeypatch.setattr(Stub, "withheld", [False])
    draw(source(folder))


def test_a_black_picture_is_an_error(folder, monkeypatch):
    monkeypatch.setattr(Stub, "level", 0)
    with pytest.raises(UsageError, match="is all black: in float32 its numbers have likely overflowed"):
        draw(source(folder))


def test_a_setting_that_the_pipeline_does_not_take_is_told(folder, monkeypatch):
    def strict(self, *, prompt, generator, output_type):
        del prompt, generator, output_type

    monkeypatch.setattr(Stub, "__call__", strict)
    with pytest.raises(
        UsageError, match=r"cannot draw 'a glimber' with \{'num_inference_steps': 2\}: .*num_infer"
    ):
        draw(source(folder, "?steps=2"))


@pytest.mark.parametrize(
    ("tail", "message"),
    [
        ("?step=3", r"unknown setting 'step'\. Did you mean 'steps'"),
        ("?steps=3&steps=4", "steps is set twice"),
        ("?steps=0", r"steps='0' is out of range"),
        ("?steps=many", r"steps='many' is out of range"),
        ("?guidance=-1", r"guidance='-1' is out of range"),
        ("?guidance=nan", r"guidance='nan' is out of range"),
        ("?size=1001", r"size='1001' is out of range"),
        ("?size=64x0", r"size='64x0' is out of range"),
    ],
)
def test_bad_settings_are_told(folder, tail, message):
    with pytest.raises(UsageError, match=message):
        source(folder, tail)


def test_a_folder_that_is_no_pipeline_is_refused(tmp_path):
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        source(tmp_path / "nowhere", tmp=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty: no model_index\.json there"):
        source(tmp_path / "empty")


def test_code_pickles_and_pointers_of_a_folder_are_refused(folder):
    (folder / "unet" / "own.py").write_text("raise SystemExit")
    with pytest.raises(UsageError, match=r"own\.py: the pipeline brings code of its own"):
        source(folder)
    (folder / "unet" / "own.py").unlink()
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UsageError, match=r"diffusion_pytorch_model\.bin: a pickle"):
        source(folder)
    weights.with_suffix(".bin").unlink()
    with pytest.raises(UsageError, match=r"no \*\.safetensors file there"):
        source(folder)
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UsageError, match="is a Git-LFS pointer"):
        source(folder)


@pytest.mark.parametrize(
    ("part", "message"),
    [(["os", "path"], "part 'unet' comes from 'os'"), (["../x", "y"], "not \\[library, class\\]")],
)
def test_parts_from_elsewhere_are_refused(tmp_path, part, message):
    with pytest.raises(UsageError, match=message):
        draw(source(written(tmp_path / "odd", {**INDEX, "unet": part})))
    with pytest.raises(UsageError, match="names no pipeline of diffusers"):
        source(written(tmp_path / "own", {**INDEX, "_class_name": ["own", "Pipe"]}))


def test_without_the_library_the_cure_is_one_line(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "diffusers" else True)
    with pytest.raises(AbsentExtraError, match=r"pip install 'sightline\[diffusers\]'"):
        source(folder)


@pytest.mark.skipif(not INSTALLED, reason="diffusers is not installed")
def test_a_tiny_pipeline_of_the_real_library(tmp_path):
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    words = {"<|startoftext|>": 0, "<|endoftext|>": 1, "a</w>": 2, "g": 3}
    (tmp_path / "vocab.json").write_text(json.dumps(words))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=8)
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=4, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
            max_position_embeddings=8, bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4,
        cross_attention_dim=8, attention_head_dim=2, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.save_pretrained(tmp_path / "tiny", safe_serialization=True)
    one = source(tmp_path / "tiny", "?steps=2&guidance=3&size=64x72")
    first = draw(one)
    assert first.shape == (72, 64, 3)
    assert (draw(one) == first).all()
    assert (draw(one, seed=4) != first).any()
    assert (draw(source(tmp_path / "tiny", "?steps=2&guidance=3&size=64x72")) == first).all()
