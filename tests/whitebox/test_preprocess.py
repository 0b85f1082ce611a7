"""Preprocessing in the graph against the official processors on Pillow, family by family."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from _preprocessing import difference, official
from sightline.errors import ContractError, UsageError
from sightline.whitebox.preprocessing import pipelines as recipes
from sightline.whitebox.preprocessing.processor import preprocessor

pytestmark = pytest.mark.slow  # by rotation, as a whole

SIDE = 32
SQUARE, EDGE = {"height": SIDE, "width": SIDE}, {"shortest_edge": SIDE}
WITHIN, TO = {"max_height": 40, "max_width": 50}, {"height": 48, "width": 50}
POINTS = [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]]
LIMITS = {"shortest_edge": SIDE // 2, "longest_edge": SIDE}
LONG, TILE = {"longest_edge": 2 * SIDE}, {"longest_edge": SIDE}
AREA, LARGE_AREA = (
    {"shortest_edge": 16**2, "longest_edge": 64**2},
    {"shortest_edge": 72**2, "longest_edge": 200**2},
)
# (height, width): the model's size, square, wide, tall; smaller and larger; odd edges
FILES = [(SIDE, SIDE), (96, 96), (21, 21), (40, 61), (150, 33), (64, 64), (9, 200)]
# model type, folder of the library, processor's name, settings; by what is special about it
CASES: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "llava": ("llava", "clip", "CLIP", {"size": EDGE, "crop_size": SQUARE}),
    "llava square": ("llava", "clip", "CLIP", {"size": SQUARE, "do_center_crop": False}),
    "llava cropped": ("llava", "clip", "CLIP", {"crop_size": SQUARE, "do_resize": False}),
    "llava untouched": ("llava", "clip", "CLIP", {"do_center_crop": False, "do_resize": False}),
    "llava mean-padded": ("llava", "llava", "Llava", {"size": EDGE, "crop_size": SQUARE, "do_pad": True}),
    "llava two edges": ("llava", "siglip", "Siglip", {"size": {"shortest_edge": 30, "longest_edge": 47}}),
    "llava within": ("llava", "siglip", "Siglip", {"size": WITHIN}),
    "llava padded": ("llava", "siglip", "Siglip", {"size": WITHIN, "do_pad": True, "pad_size": TO}),
    "llava levels": ("llava", "siglip", "Siglip", {"size": SQUARE, "do_rescale": False}),
    "llava unnormalized": (
        "llava",
        "siglip",
        "Siglip",
        {"size": SQUARE, "rescale_factor": 2 / 255, "do_normalize": False},
    ),
    "llava_next": (
        "llava_next",
        "llava_next",
        "LlavaNext",
        {"size": EDGE, "crop_size": SQUARE, "image_grid_pinpoints": POINTS},
    ),
    "blip-2": ("blip-2", "blip", "Blip", {"size": SQUARE}),
    "instructblip lanczos": ("instructblip", "blip", "Blip", {"size": SQUARE, "resample": 1}),
    "idefics": ("idefics", "idefics", "Idefics", {"image_size": SIDE}),
    "idefics2": ("idefics2", "idefics2", "Idefics2", {"size": LIMITS}),
    "idefics2 split": ("idefics2", "idefics2", "Idefics2", {"size": LIMITS, "do_image_splitting": True}),
    "idefics3": ("idefics3", "idefics3", "Idefics3", {"size": LONG, "max_image_size": TILE}),
    "idefics3 whole": (
        "idefics3",
        "idefics3",
        "Idefics3",
        {"size": LONG, "max_image_size": TILE, "do_image_splitting": False},
    ),
    "smolvlm": ("smolvlm", "smolvlm", "SmolVLM", {"size": {"longest_edge": 99}, "max_image_size": TILE}),
    "mllama": ("mllama", "mllama", "Mllama", {"size": SQUARE, "max_image_tiles": 2}),
    "mllama 4 tiles": ("mllama", "mllama", "Mllama", {"size": SQUARE, "max_image_tiles": 4}),
    "qwen2_vl": ("qwen2_vl", "qwen2_vl", "Qwen2VL", {"patch_size": 8, "merge_size": 2, "size": AREA}),
    "qwen2_5_vl": (
        "qwen2_5_vl",
        "qwen2_vl",
        "Qwen2VL",
        {"patch_size": 4, "merge_size": 3, "temporal_patch_size": 3, "size": LARGE_AREA},
    ),
    "paligemma": ("paligemma", "siglip", "Siglip", {"size": SQUARE}),
    "clip": ("clip", "clip", "CLIP", {"size": EDGE, "crop_size": SQUARE}),
}
CHAINED = {"idefics3", "idefics3 whole", "smolvlm"}  # resizes in a row, each of which Pillow rounds
# sizes of files that nothing resizes
EXACT = {
    "llava": [(SIDE, SIDE)],
    "llava cropped": [(32, 32), (21, 50), (50, 21), (33, 31)],
    "llava untouched": [(32, 32), (21, 50)],
    "llava mean-padded": [(SIDE, SIDE)],
    "llava unnormalized": [(SIDE, SIDE)],
    "blip-2": [(SIDE, SIDE)],
    "idefics": [(SIDE, SIDE)],
    "idefics2": [(32, 32), (21, 32), (16, 16)],
    "mllama": [(32, 32), (32, 64), (64, 32), (32, 50)],
    "mllama 4 tiles": [(64, 64), (32, 128), (70, 32)],
    "qwen2_vl": [(32, 48), (64, 64)],
    "qwen2_5_vl": [(72, 84)],
    "paligemma": [(SIDE, SIDE)],
}


def made(family: str, name: str, **settings: Any) -> Any:
    """An official picture processor on Pillow."""
    module = import_module(f"transformers.models.{family}.image_processing_pil_{family}")
    return getattr(module, f"{name}ImageProcessorPil")(**settings)


def opened(name: str, **changes: Any) -> tuple[str, Any]:
    """Model type and processor of a case; `changes` are made to the processor afterwards."""
    model_type, family, kind, settings = CASES[name]
    processor = made(family, kind, **settings)
    for key, value in changes.items():
        setattr(processor, key, value)
    return model_type, processor


@pytest.fixture(params=CASES, scope="module")
def case(request: pytest.FixtureRequest) -> tuple[str, str, Any]:
    return request.param, *opened(request.param)


def drawn(height: int, width: int) -> np.ndarray:
    """A picture of smooth color, a hard edge and noise."""
    rng = np.random.default_rng([height, width])
    ramp = np.linspace(0, 255, height)[:, None, None] * np.linspace(0, 1, width)[None, :, None]
    picture = np.repeat(ramp, 3, axis=2)
    picture[height // 3 : height // 2 + 1] = (255, 0, 128)
    noise = rng.integers(0, 256, picture.shape)
    return np.where(rng.random(picture.shape[:2])[..., None] < 0.3, noise, picture).astype(np.uint8)


def unit(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def test_the_official_fields_at_every_size(case: tuple[str, str, Any]) -> None:
    name, model_type, processor = case
    ours = preprocessor(model_type, processor)
    for height, width in FILES:
        found = difference(ours, processor, drawn(height, width))  # raises for any other field
        limit = 2.5 if name in CHAINED else 1.3
        assert found.max_levels <= limit, (height, width, found)
        assert found.mean_levels <= 0.5, (height, width, found)


def test_rounded_as_for_a_file_it_is_the_same(case: tuple[str, str, Any]) -> None:
    _, model_type, processor = case
    ours = preprocessor(model_type, processor).rounded()
    for height, width in FILES:
        assert difference(ours, processor, drawn(height, width)).max_levels <= 1e-4


def test_rounded_is_what_the_written_file_gives() -> None:
    x = torch.rand(1, 3, 40, 61, requires_grad=True)
    written = (x.detach() * 255).round().to(torch.uint8)[0].permute(1, 2, 0).numpy()
    for name in ("llava", "idefics3", "qwen2_vl"):
        ours = preprocessor(*opened(name)).rounded()
        found = ours(x)["pixel_values"]
        wanted = official(ours, opened(name)[1], written)["pixel_values"]
        assert torch.allclose(found, wanted, atol=1e-6)
        assert torch.autograd.grad(found.sum(), x)[0].abs().sum() > 0


def test_normalized_difference_is_the_levels_one_over_the_deviation() -> None:
    model_type, processor = opened("blip-2")
    found = difference(preprocessor(model_type, processor), processor, drawn(77, 50))
    deviations = [255 * value for value in processor.image_std]
    assert found.max_levels / max(deviations) <= found.max * 1.0001
    assert found.max <= found.max_levels / min(deviations) * 1.0001
    assert found.mean > 0


@pytest.mark.parametrize("name", EXACT)
def test_without_a_resize_it_is_exact(name: str) -> None:
    model_type, processor = opened(name)
    for size in EXACT[name]:
        found = difference(preprocessor(model_type, processor), processor, drawn(*size))
        assert found.max <= 1e-6, (size, found)
        assert found.max_levels <= 1e-4


def test_a_batch_is_its_pictures_one_by_one(case: tuple[str, str, Any]) -> None:
    _, model_type, processor = case
    ours = preprocessor(model_type, processor)
    pictures = [unit(drawn(50, 75)), unit(drawn(50, 75)).flip(-1), torch.rand(1, 3, 50, 75)]
    whole = ours(torch.cat(pictures))
    for name, value in whole.items():
        singles = torch.cat([ours(picture)[name] for picture in pictures])
        assert value.shape == singles.shape
        assert value.dtype == singles.dtype
        assert torch.allclose(value.double(), singles.double(), atol=1e-5)


def test_several_pictures_are_what_the_processor_makes_of_several() -> None:
    files = [drawn(50, 75), drawn(50, 75)[::-1].copy()]
    for name in ("llava", "llava_next", "qwen2_vl", "idefics3", "mllama"):
        model_type, processor = opened(name)
        ours = preprocessor(model_type, processor)(torch.cat([unit(file) for file in files]))
        shown = [[file] for file in files] if name in {"idefics3", "mllama"} else files
        theirs = processor(shown, return_tensors="pt")
        for field, value in ours.items():
            assert value.shape == theirs[field].shape
            assert torch.allclose(value.double(), theirs[field].double(), atol=2 / 255 / 0.25)


def test_gradient_is_the_derivative(case: tuple[str, str, Any]) -> None:
    _, model_type, processor = case
    ours = preprocessor(model_type, processor)
    generator = torch.Generator().manual_seed(0)
    x = 0.35 + 0.3 * torch.rand(1, 3, 37, 45, dtype=torch.float64, generator=generator)
    x.requires_grad_(True)
    found = ours(x)["pixel_values"]
    toward = torch.randn(found.shape, dtype=torch.float64, generator=generator)
    (slope,) = torch.autograd.grad((found * toward).sum(), x)
    assert slope.count_nonzero() > 0.5 * slope.numel()
    step = torch.randn(x.shape, dtype=torch.float64, generator=generator) * 1e-5
    with torch.no_grad():
        moved = ((ours(x + step)["pixel_values"] - ours(x - step)["pixel_values"]) * toward).sum() / 2
    assert torch.isclose(moved, (slope * step).sum(), rtol=1e-6, atol=1e-10)


def test_every_pixel_of_the_file_counts() -> None:
    # What is cropped away has no gradient; everything else has one, in whichever tile it lies.
    for name in ("llava square", "llava_next", "idefics2", "idefics3", "mllama", "qwen2_vl"):
        model_type, processor = opened(name)
        x = torch.full((1, 3, 50, 75), 0.7, requires_grad=True)
        fields = preprocessor(model_type, processor)(x)
        (slope,) = torch.autograd.grad(fields["pixel_values"].square().sum(), x)
        assert (slope != 0).all()


def test_fields_follow_the_device_and_dtype_of_x(case: tuple[str, str, Any]) -> None:
    _, model_type, processor = case
    ours = preprocessor(model_type, processor)
    for name, value in ours(torch.empty(2, 3, 50, 75, device="meta")).items():
        assert value.device.type == "meta"
        assert value.dtype == (torch.float32 if name == "pixel_values" else torch.int64)
    assert ours(torch.rand(1, 3, 50, 75, dtype=torch.float64))["pixel_values"].dtype == torch.float64


def test_processors_as_they_are_loaded(tmp_path: Any) -> None:
    from transformers.models.auto.image_processing_auto import AutoImageProcessor

    for number, name in enumerate(("llava", "llava_next", "idefics3", "mllama", "qwen2_vl")):
        model_type, processor = opened(name)
        folder = tmp_path / str(number)
        processor.save_pretrained(folder)
        loaded = AutoImageProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        assert preprocessor(model_type, loaded) == preprocessor(model_type, processor)
        assert difference(preprocessor(model_type, loaded), loaded, drawn(40, 61)).max_levels <= 2


def test_settings_are_read_once() -> None:
    _, processor = opened("llava")
    ours = preprocessor("llava", processor)
    processor.do_normalize = False
    assert ours(torch.zeros(1, 3, SIDE, SIDE))["pixel_values"].max() < 0


def _transposed(x: torch.Tensor, settings: Any) -> dict[str, torch.Tensor]:
    return recipes.qwen(x.transpose(-1, -2), settings)


def test_broken_promises_are_told() -> None:
    ours, (_, other) = preprocessor(*opened("qwen2_vl")), opened("qwen2_5_vl")
    with pytest.raises(ContractError, match="pixel_values has shape"):
        difference(ours, other, drawn(40, 40))
    sideways = preprocessor(*opened("qwen2_vl", merge_size=1))
    with pytest.raises(ContractError, match=r"image_grid_thw is \[\[1, 5, 6\]\], not \[\[1, 6, 5\]\]"):
        difference(replace(sideways, recipe=_transposed), opened("qwen2_vl", merge_size=1)[1], drawn(48, 40))
    _, shifted = opened("paligemma", image_mean=[0.1, 0.5, 0.5])
    found = difference(preprocessor(*opened("paligemma")), shifted, drawn(SIDE, SIDE))
    assert found.max == pytest.approx(0.8, abs=1e-6)  # (.5 - .1) / .5, in the first of three channels
    assert found.mean == pytest.approx(0.8 / 3, abs=1e-6)
    assert found.max_levels == 0


def _refused(message: str, model_type: str, processor: Any, *size: int) -> None:
    with pytest.raises(UsageError, match=message):
        preprocessor(model_type, processor)(torch.rand(1, 3, *size))


def test_misuse() -> None:
    _, clip = opened("llava")
    _refused("unknown model type 'llama'. Did you mean 'mllama' or 'llava'", "llama", clip, 8, 8)
    _refused("unknown qwen2_vl picture processor 'CLIPImageProcessor'", "qwen2_vl", clip, 8, 8)
    ours = preprocessor("llava", clip)
    for shape in ((3, 8, 8), (1, 1, 8, 8), (0, 3, 8, 8)):
        with pytest.raises(UsageError, match=r"expected \(n, 3, height, width\)"):
            ours(torch.rand(*shape))
    with pytest.raises(UsageError, match=r"torch\.uint8: expected"):
        ours(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(UsageError, match="backend='pil'"):
        official(ours, object(), drawn(8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"do_flip": True}, "asks for do_flip"),
        ({"image_mean": None}, "image_mean or image_std is absent"),
        ({"image_std": [0.5]}, "three channels"),
        ({"resample": 8}, "unknown resampling filter '8'"),
        ({"size": {"longest_edge": 9}}, "size {'longest_edge': 9} is not one"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_followed(changes: dict[str, Any], message: str) -> None:
    _refused(message, *opened("paligemma", **changes), 8, 8)


def test_flags_that_ask_for_nothing_are_fine() -> None:
    model_type, processor = opened("paligemma", do_flip=False, do_convert_rgb=True, image_mean=0.5)
    assert preprocessor(model_type, processor).settings.mean == (0.5, 0.5, 0.5)


def test_pictures_that_a_processor_cannot_take() -> None:
    _refused("2x500 pixels is too narrow", *opened("qwen2_vl"), 500, 2)
    _refused("8x8 pixels does not divide into squares of 16", *opened("qwen2_vl", do_resize=False), 8, 8)
    _refused("1x9 pixels cannot be split", *opened("idefics2 split"), 9, 1)
    _refused("too small or too narrow", *opened("llava within"), 1, 99)
    _refused("60x20 pixels cannot be padded to 50x48", *opened("llava padded", do_resize=False), 20, 60)
    _refused("parts of 2 sizes", *opened("idefics2 split", do_pad=False), 31, 60)
    _refused("image_grid_pinpoints is empty", *opened("llava_next", image_grid_pinpoints=[]), 20, 60)
    _refused("always resized and padded", *opened("mllama", do_pad=False), 20, 60)
