"""SSIM and PSNR: goldens by scikit-image 0.26, which is also an oracle where it is installed; bounds."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from sightline.errors import UsageError
from sightline.metrics.pictures import WINDOW, psnr, ssim


def ramp() -> np.ndarray:
    y, x = np.mgrid[0:16, 0:16]
    return (x * 8 + y * 7).astype(np.uint8)


def with_square() -> np.ndarray:
    picture = ramp()
    picture[4:8, 4:8] += 40
    return picture


def noise(seed: int, shape: tuple[int, ...] = (16, 14, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_goldens_of_scikit_image() -> None:
    # outside the repository: scikit-image 0.26, structural_similarity(gaussian_weights=True, sigma=1.5,
    # use_sample_covariance=False, data_range=255); its default window would give .858563
    assert ssim(ramp(), with_square()) == pytest.approx(0.6880621170881783)
    # by hand: 16 of 256 pixels differ by 40, mean square 100
    assert psnr(ramp(), with_square()) == pytest.approx(10 * math.log10(255**2 / 100))


def test_flat_pictures_by_hand() -> None:
    black, white = np.zeros((16, 16), np.uint8), np.full((16, 16), 255, np.uint8)
    c1 = 2.55**2
    assert ssim(black, white) == pytest.approx(c1 / (255**2 + c1))  # no variance: the term of means alone
    assert psnr(black, white) == pytest.approx(0.0)


@given(st.integers(0, 99), st.integers(0, 99))
def test_bounds_and_symmetry(first: int, second: int) -> None:
    a, b = noise(first), noise(second)
    value = ssim(a, b)
    assert value is not None
    assert -1 <= value <= 1
    assert ssim(b, a) == pytest.approx(value)
    assert ssim(a[::-1], b[::-1]) == pytest.approx(value)
    assert ssim(a, a) == pytest.approx(1.0)
    channels = [ssim(a[..., c], b[..., c]) for c in range(3)]
    assert value == pytest.approx(np.mean([each for each in channels if each is not None]))


@given(st.integers(1, 60))
def test_more_noise_lowers_both(amount: int) -> None:
    clean = np.full((16, 16), 120, np.uint8)
    signs = np.where(noise(1, (16, 16)) % 2, 1, -1)
    less, more = ((clean + signs * size).astype(np.uint8) for size in (amount, 2 * amount))
    assert psnr(clean, less) == pytest.approx(20 * math.log10(255 / amount))
    low, high = ssim(clean, more), ssim(clean, less)
    assert low is not None
    assert high is not None
    assert low < high


def test_undefined_is_none() -> None:
    assert psnr(ramp(), ramp()) is None
    small = np.zeros((WINDOW - 1, 40), np.uint8)
    assert ssim(small, small) is None
    edge = np.zeros((WINDOW, WINDOW), np.uint8)
    assert ssim(edge, edge) == pytest.approx(1.0)
    nothing = np.zeros((0, 4), np.uint8)
    assert ssim(nothing, nothing) is None
    assert psnr(nothing, nothing) is None


@pytest.mark.parametrize("metric", [ssim, psnr])
def test_other_arrays_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(UsageError, match="second picture has values of type float64"):
        metric(ramp(), ramp() / 255)
    with pytest.raises(UsageError, match="one size"):
        metric(ramp(), ramp()[:12])
    with pytest.raises(UsageError, match="one size"):
        metric(noise(1), noise(1)[..., 0])


def test_written_files_are_what_is_measured() -> None:
    file = io.BytesIO()
    Image.fromarray(noise(3)).save(file, "PNG")
    assert psnr(noise(3), np.asarray(Image.open(file))) is None  # PNG keeps every value


def test_oracle_of_scikit_image() -> None:
    oracle = pytest.importorskip("skimage.metrics")
    for shape in ((11, 11), (20, 17), (32, 24, 3)):
        a, b = noise(5, shape), noise(6, shape)
        axis = -1 if len(shape) == 3 else None
        settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
        expected = oracle.structural_similarity(a, b, channel_axis=axis, data_range=255, **settings)
        assert ssim(a, b) == pytest.approx(expected)
        assert psnr(a, b) == pytest.approx(oracle.peak_signal_noise_ratio(a, b, data_range=255))
