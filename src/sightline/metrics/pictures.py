"""How alike two pictures are: SSIM and PSNR, on the pixels of the written files (uint8).

`np.asarray(PIL.Image.open(path).convert("RGB"))` reads one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UsageError

Pixels = NDArray[np.uint8]
"""(height, width) or (height, width, channels)."""
_Planes = NDArray[np.float64]
_SIGMA = 1.5
_RADIUS = 5
_LARGEST = 255.0
WINDOW = 2 * _RADIUS + 1
"""Side of SSIM's window in pixels; in a picture with a shorter side SSIM is undefined."""


def _checked(x: Pixels, y: Pixels) -> tuple[_Planes, _Planes]:
    for name, picture in (("first", x), ("second", y)):
        if picture.dtype != np.uint8 or picture.ndim not in {2, 3}:
            raise UsageError(
                f"the {name} picture has values of type {picture.dtype} in {picture.ndim} dimensions; give "
                "the uint8 array of the written file, (height, width) or (height, width, channels)"
            )
    if x.shape != y.shape:
        raise UsageError(f"pictures of {x.shape} and {y.shape}: compare files of one size, without scaling")
    return np.atleast_3d(x).astype(np.float64), np.atleast_3d(y).astype(np.float64)


def _blurred(planes: _Planes) -> _Planes:
    """Gaussian means of every window that lies inside the picture."""
    places = np.arange(-_RADIUS, _RADIUS + 1)
    weights = np.exp(-(places**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    for axis in (0, 1):
        windows = np.lib.stride_tricks.sliding_window_view(planes, WINDOW, axis=axis)
        planes = windows @ weights
    return planes


def ssim(x: Pixels, y: Pixels) -> float | None:
    """Structural similarity, averaged over windows, then over channels; in [-1, 1], 1 for equal pictures.

    (2 mx my + C1)(2 sxy + C2) / ((mx^2 + my^2 + C1)(sx^2 + sy^2 + C2)) in Gaussian windows of 11 x 11 pixels
    with sigma 1.5, population covariances, C1 = (.01 L)^2, C2 = (.03 L)^2, L = 255 (Wang et al. 2004). Equal
    to scikit-image's `structural_similarity` with `gaussian_weights=True, sigma=1.5,
    use_sample_covariance=False`; its default window is another one and gives other values. None for a picture
    smaller than a window.

    Raises:
        UsageError: for pictures of other types or of different sizes.
    """
    a, b = _checked(x, y)
    if min(a.shape[:2]) < WINDOW or not a.shape[2]:
        return None
    mean_a, mean_b = _blurred(a), _blurred(b)
    var_a, var_b = _blurred(a * a) - mean_a**2, _blurred(b * b) - mean_b**2
    shared = _blurred(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * _LARGEST) ** 2, (0.03 * _LARGEST) ** 2
    above = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    return float(np.mean(above / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))))


def psnr(x: Pixels, y: Pixels) -> float | None:
    """Peak signal-to-noise ratio 10 log10(255^2 / mean squared difference) in dB, at least 0.

    None where it is undefined: for equal pictures (it has no upper limit) and for pictures without pixels.

    Raises:
        UsageError: for pictures of other types or of different sizes.
    """
    a, b = _checked(x, y)
    squared = float(np.mean((a - b) ** 2)) if a.size else 0.0
    return 10.0 * math.log10(_LARGEST**2 / squared) if squared else None
