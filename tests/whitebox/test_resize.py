"""Resampling against Pillow itself, whose 8-bit rounding is all that may differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL.Image import Resampling

from sightline.errors import UsageError
from sightline.whitebox.preprocessing.resize import HALF_LEVEL, filter_of, resize, weights

FILTERS = [
    Resampling.NEAREST,
    Resampling.BOX,
    Resampling.BILINEAR,
    Resampling.HAMMING,
    Resampling.BICUBIC,
    Resampling.LANCZOS,
]
SMOOTH = FILTERS[2:]
length = st.integers(1, 90)


def drawn(height: int, width: int, seed: int, *, harsh: bool = False) -> np.ndarray:
    """Random pixels: any level, or black and white only, where filters overshoot most."""
    rng = np.random.default_rng([height, width, seed])
    if harsh:
        return rng.choice(np.array([0, 255], dtype=np.uint8), (height, width, 3))
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def unit(pixels: np.ndarray, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(dtype) / 255


def gap(
    pixels: np.ndarray, height: int, width: int, resample: Resampling, *, rounded: bool = False
) -> np.ndarray:
    """Absolute difference to Pillow, in levels."""
    wanted = np.asarray(PilImage.fromarray(pixels).resize((width, height), resample))
    found = resize(unit(pixels), height, width, resample, rounded=rounded)[0].permute(1, 2, 0).numpy()
    return np.abs(found * 255 - wanted.astype(np.float64))


@given(length, length, length, length, st.sampled_from(FILTERS), st.booleans(), st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_only_pillows_rounding_is_missing(
    height: int, width: int, tall: int, wide: int, resample: Resampling, harsh: bool, seed: int
) -> None:
    found = gap(drawn(height, width, seed, harsh=harsh), tall, wide, resample)
    # Half a level per pass; the second pass multiplies the first one's by the sum of its absolute weights.
    second = max(np.abs(weights(*axis, resample)).sum(1).max() for axis in ((height, tall), (width, wide)))
    assert found.max() <= 0.5 + 0.5 * second + 0.01
    if resample == Resampling.NEAREST:
        assert found.max() < 1e-4


@pytest.mark.parametrize("resample", SMOOTH, ids=lambda member: member.name)
@pytest.mark.parametrize(
    ("old", "new"),
    [((480, 640), (224, 298)), ((60, 45), (224, 168)), ((300, 200), (224, 224)), ((64, 700), (336, 96))],
    ids=str,
)
def test_measured_difference(resample: Resampling, old: tuple[int, int], new: tuple[int, int]) -> None:
    found = gap(drawn(*old, 0), *new, resample)
    assert found.max() <= 1.25
    assert found.mean() <= 0.4


@given(length, length, length, length, st.sampled_from(FILTERS), st.booleans(), st.integers(0, 9))
@example(42, 90, 2, 61, Resampling.HAMMING, False, 2)  # tells single precision of its constants from double
@settings(max_examples=150, deadline=None)
def test_with_the_rounding_it_is_pillows(
    height: int, width: int, tall: int, wide: int, resample: Resampling, harsh: bool, seed: int
) -> None:
    assert gap(drawn(height, width, seed, harsh=harsh), tall, wide, resample, rounded=True).max() < 1e-4


def test_rounding_leaves_the_gradient_alone() -> None:
    x = torch.rand(1, 3, 20, 30, requires_grad=True)
    toward = torch.randn(1, 3, 33, 11)
    found = resize(x, 33, 11, Resampling.BICUBIC, rounded=True)
    smooth = resize(x, 33, 11, Resampling.BICUBIC)
    inside = (smooth > 0.02) & (smooth < 0.98)  # neither is clipped
    slopes = [torch.autograd.grad((view * toward)[inside].sum(), x)[0] for view in (found, smooth)]
    assert torch.allclose(found * 255, (found * 255).round(), atol=1e-4)
    assert torch.allclose(*slopes, atol=1e-6)


def test_pass_that_pillow_runs_first_is_run_first() -> None:
    # Since Pillow 13 the height, where it loses more than twice what the width does: clipping shows it.
    for old, new in (((90, 40), (30, 60)), ((90, 60), (60, 40)), ((40, 90), (60, 30))):
        assert gap(drawn(*old, 1, harsh=True), *new, Resampling.LANCZOS).max() < 1.3


def test_hand_computed_weights() -> None:
    # Doubling with the triangle filter: centers at -1/4, 1/4, 3/4, ... of the old pixels.
    assert np.allclose(
        weights(2, 4, Resampling.BILINEAR), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]], atol=1e-12
    )
    # Halving: a triangle four pixels wide, cut at the edge and divided by what is left.
    assert np.allclose(
        weights(4, 2, Resampling.BILINEAR), np.array([[3, 3, 1, 0], [0, 1, 3, 3]]) / 7, atol=1e-12
    )
    # Keys' cubic 1.25, 0.25, 0.75 and 1.75 pixels from a center.
    inner = weights(8, 16, Resampling.BICUBIC)[7]
    assert np.allclose(inner[2:6] * 128, [-9, 111, 29, -3], atol=1e-9)
    assert np.allclose(weights(3, 6, Resampling.NEAREST).argmax(1), [0, 0, 1, 1, 2, 2])


@given(length, length, st.sampled_from(FILTERS))
@settings(max_examples=60, deadline=None)
def test_weights_sum_to_one_and_flat_pictures_stay(old: int, new: int, resample: Resampling) -> None:
    assert np.allclose(weights(old, new, resample).sum(1), 1, atol=1e-12)
    flat = torch.full((1, 3, old, old), 0.3)
    assert torch.allclose(resize(flat, new, new, resample), torch.tensor(0.3), atol=1e-6)


def test_same_size_is_the_same_picture() -> None:
    x = torch.rand(2, 3, 9, 7)
    assert resize(x, 9, 7, Resampling.LANCZOS) is x


@pytest.mark.parametrize("resample", FILTERS, ids=lambda member: member.name)
def test_gradient_is_the_derivative(resample: Resampling) -> None:
    # Away from 0 and 1 nothing is clipped; more than one block of rows, both ways.
    x = (0.4 + 0.2 * torch.rand(1, 1, 3, 68, dtype=torch.float64)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda t: resize(t, 5, 66, resample), (x,), atol=1e-6)


def test_gradient_can_be_differentiated_again() -> None:
    x = torch.rand(1, 1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda t: resize(0.3 + 0.1 * t**2, 4, 9, Resampling.BICUBIC), (x,))


def test_clipped_values_have_no_gradient_and_white_keeps_its_own() -> None:
    edge = torch.ones(1, 1, 12, 12)
    edge[..., 6:] = 0
    edge.requires_grad_(True)
    grown = resize(edge, 12, 48, Resampling.BICUBIC)
    assert grown.max() <= 1 + HALF_LEVEL + 1e-6
    over = grown > 1 + HALF_LEVEL - 1e-6
    assert over.any()
    assert torch.autograd.grad(grown[over].sum(), edge)[0].abs().sum() == 0
    white = torch.ones(1, 1, 31, 31, requires_grad=True)
    slope = torch.autograd.grad(resize(white, 17, 45, Resampling.LANCZOS).sum(), white)[0]
    assert torch.isclose(slope.sum(), torch.tensor(17.0 * 45), rtol=1e-4)  # each result is worth 1 in all


def test_a_batch_is_its_pictures_one_by_one() -> None:
    x = torch.rand(3, 3, 40, 70)
    whole = resize(x, 90, 33, Resampling.BICUBIC)
    for picture, found in zip(x, whole, strict=True):
        assert torch.allclose(resize(picture[None], 90, 33, Resampling.BICUBIC)[0], found, atol=1e-6)


def test_precision_is_kept_under_autocast() -> None:
    x = torch.rand(1, 3, 30, 30)
    plain = resize(x, 20, 50, Resampling.BICUBIC)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resize(x, 20, 50, Resampling.BICUBIC), plain)


def test_misuse() -> None:
    with pytest.raises(UsageError, match="10x4 pixels cannot be resized to 5x0"):
        resize(torch.rand(1, 3, 4, 10), 0, 5, Resampling.BOX)
    with pytest.raises(UsageError, match="unknown resampling filter '9'"):
        filter_of(9)
    assert filter_of(None) is Resampling.BILINEAR
    assert filter_of(3) is Resampling.BICUBIC
