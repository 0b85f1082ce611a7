"""Bounds in whole levels, projections, starts, moving patches, spectra."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from sightline.cases import Eps
from sightline.errors import UsageError
from sightline.whitebox import constraints
from sightline.whitebox.compute import RngStream
from sightline.whitebox.constraints import (
    Box,
    Constraint,
    L2Ball,
    LinfBall,
    Mask,
    Patch,
    Spectrum,
    WarmStart,
    first_rows,
)
from sightline.whitebox.image_search import EmbedBox
from sightline.whitebox.pixels import as_pixels, from_pixels, unit

N, H, W = 2, 7, 5


def levels(seed: int, n: int = N) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, 3, H, W), dtype=np.uint8))


def draws(seed: int = 0, keys: tuple[int, ...] = (0, 1), place: tuple[int, ...] = (3,)) -> RngStream:
    return RngStream(seed=seed, keys=keys, place=place)


def wild(shape: torch.Size, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0.5, 1.0, tuple(shape))).float()


def after_png(pixels: Tensor) -> Tensor:
    files = []
    for picture in as_pixels(pixels):
        Image.fromarray(picture).save(file := io.BytesIO(), "PNG")
        files.append(np.asarray(Image.open(file)))
    return from_pixels(files)


def every(clean: Tensor, eps: Eps, init: str = "uniform") -> list[Constraint]:
    region = torch.zeros(1, 1, H, W, dtype=torch.bool)
    region[:, :, 2:5, 1:3] = True
    return [
        LinfBall(clean=clean, eps=eps, init=init),
        L2Ball(clean=clean, eps=eps, init=init),
        Box(clean=clean, init=init),
        Patch(clean=clean, height=3, width=2, init=init),
        Patch(clean=clean, height=3, width=2, moving=True, init=init),
        first_rows(clean, 2, init=init),
        Mask(inner=LinfBall(clean=clean, eps=eps, init=init), region=region),
        Spectrum(inner=LinfBall(clean=clean, eps=eps, init=init), draws_per_step=2),
        WarmStart(inner=LinfBall(clean=clean, eps=eps, init=init), theta=unit(clean)),
    ]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), raw=st.floats(1, 255))
def test_projection_is_idempotent_and_files_keep_the_bound_in_whole_levels(seed: int, raw: float) -> None:
    clean = levels(seed)
    for constraint in every(clean, Eps(raw)):
        theta = constraint.project(wild(constraint.start(draws(seed)).shape, seed + 1))
        torch.testing.assert_close(constraint.project(theta), theta, atol=1e-6, rtol=0)
        for sign in (-1, 1):  # as far outside as rounding could ever be, and inside
            file = after_png(constraint.finalize(theta + sign * 0.6 / 255))
            change = file.int() - clean.int()
            inner = constraint.inner if isinstance(constraint, Mask | Spectrum) else constraint
            if isinstance(inner, LinfBall):
                assert change.abs().max() <= math.floor(raw)
            if isinstance(inner, L2Ball):
                assert (change.double().square().sum((1, 2, 3)) <= raw**2).all()
        x = constraint.image(theta, draws(seed))
        assert x.shape == (N * constraint.samples, 3, H, W)
        assert x.dtype == torch.float32
        assert x.min() >= 0
        assert x.max() <= 1


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), raw=st.integers(1, 255))
def test_the_nearest_file_is_chosen(seed: int, raw: int) -> None:
    clean = levels(seed)
    ball = LinfBall(clean=clean, eps=Eps(raw))
    theta = ball.project(wild(clean.shape, seed))
    assert ((ball.finalize(theta).double() - theta.double() * 255).abs() <= 0.5 + 1e-4).all()
    assert torch.equal(ball.finalize(unit(clean)), clean)
    large = L2Ball(clean=clean, eps=Eps(255))
    near = unit(clean) + 0.003 * torch.sign(wild(clean.shape, seed))
    assert torch.equal(large.finalize(near), (near * 255).round().clamp(0, 255).to(torch.uint8))


def test_an_l2_file_uses_up_its_bound() -> None:
    clean = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    ball = L2Ball(clean=clean, eps=Eps(200))
    theta = ball.project(unit(clean) + wild(clean.shape, 1))
    norm = (ball.finalize(theta).double() - 128).square().sum().sqrt()
    assert 180 < norm <= 200


@pytest.mark.parametrize("init", ["clean", "ball", "uniform", "white", "normal"])
def test_starts(init: str) -> None:
    clean = torch.full((N, 3, H, W), 100, dtype=torch.uint8)
    ball = LinfBall(clean=clean, eps=Eps(10), init=init)
    theta, low, high = ball.start(draws()), 90 / 255 - 1e-6, 110 / 255 + 1e-6
    assert ((theta >= low) & (theta <= high)).all()
    moved = (theta - unit(clean)).abs().max() > 0
    assert moved == (init != "clean")
    if init == "ball":  # uniform over the ball: about a quarter in each quarter
        inside = RngStream(seed=0, keys=(0,))
        many = LinfBall(clean=torch.full((1, 3, 60, 60), 100, dtype=torch.uint8), eps=Eps(10), init=init)
        share = (many.start(inside) < 95 / 255).float().mean()
        assert 0.22 < share < 0.28
    if init == "white":
        torch.testing.assert_close(theta, torch.full_like(theta, 110 / 255))
    if init == "normal":  # nearly all of it is cut off at the bounds
        assert ((theta < 91 / 255) | (theta > 109 / 255)).float().mean() > 0.9


def test_box_starts_are_the_whole_range() -> None:
    clean = levels(0)
    assert torch.equal(Box(clean=clean).start(draws()), unit(clean))
    assert (Box(clean=clean, init="white").start(draws()) == 1).all()
    spread = Box(clean=clean, init="uniform").start(draws())
    assert spread.min() < 0.1
    assert spread.max() > 0.9


@pytest.mark.parametrize("seed", range(3))
def test_l2_start_lies_in_the_ball(seed: int) -> None:
    ball = L2Ball(clean=torch.full((N, 3, H, W), 128, dtype=torch.uint8), eps=Eps(50), init="ball")
    norms = torch.linalg.vector_norm((ball.start(draws(seed)) - 128 / 255).flatten(1), dim=1)
    assert ((norms > 0.9 * 50 / 255) & (norms <= 50 / 255 + 1e-6)).all()  # volume lies at the surface


def test_numbers_depend_on_key_and_place_and_not_on_the_batch() -> None:
    both, second = draws(keys=(4, 9)), draws(keys=(9,))
    assert torch.equal(both.uniform((2, 3))[1:], second.uniform((2, 3)))
    assert torch.equal(both.normal((2,))[1:], second.normal((2,)))
    assert both.places(5, 6, 4)[1] == second.places(5, 6, 4)[0]
    assert torch.equal(draws(keys=(4, 9)).take([1]).uniform((3,)), draws(keys=(9,)).uniform((3,)))
    for other in (draws(seed=1), draws(keys=(7, 8)), draws(place=(4,))):
        assert not torch.equal(other.uniform((2, 3)), draws().uniform((2, 3)))


def test_taking_artifacts_takes_their_pictures() -> None:
    clean = levels(5, n=3)
    for constraint in every(clean, Eps(9)):
        few = constraint.take([2, 0])
        theta = constraint.start(draws(keys=(0, 1, 2)))
        assert torch.equal(few.clean, clean[[2, 0]])
        assert torch.equal(few.finalize(theta[[2, 0]]), constraint.finalize(theta)[[2, 0]])
    region = torch.rand(3, 1, H, W) > 0.5
    mask = Mask(inner=Box(clean=clean), region=region)
    assert torch.equal(mask.take([2]).region, region[[2]])


def test_a_patch_covers_its_place_and_nothing_else() -> None:
    clean = levels(2)
    patch = Patch(clean=clean, height=3, width=2, place=(4, 1), init="clean")
    assert torch.equal(patch.start(draws()), unit(clean)[:, :, 4:7, 1:3])
    theta = torch.ones(N, 3, 3, 2)
    outside = torch.ones(H, W, dtype=torch.bool)
    outside[4:7, 1:3] = False
    for shown in (patch.image(theta, draws()) * 255, patch.finalize(theta).float()):
        torch.testing.assert_close(shown[..., outside], clean[..., outside].float())
        assert (shown[..., ~outside] == 255).all()
    rows = first_rows(clean, 2)
    file = rows.finalize(torch.zeros(N, 3, 2, W))
    assert (file[:, :, :2] == 0).all()
    assert torch.equal(file[:, :, 2:], clean[:, :, 2:])


def test_gradient_of_a_moving_patch_is_the_mean_over_places() -> None:
    clean, weights = levels(3, n=1), wild(torch.Size((3, H, W)), 4)
    patch = Patch(clean=clean, height=3, width=2, moving=True, samples=4000)
    tops, lefts = H - 3 + 1, W - 2 + 1
    crops = [weights[:, t : t + 3, c : c + 2] for t in range(tops) for c in range(lefts)]
    mean = torch.stack(crops).mean(0)

    theta = torch.rand(1, 3, 3, 2, requires_grad=True)
    everywhere = [[(t, c) for t in range(tops) for c in range(lefts)]]
    loss = (patch.at(theta, everywhere) * weights).sum((1, 2, 3)).mean()
    torch.testing.assert_close(torch.autograd.grad(loss, theta)[0][0], mean)

    loss = (patch.image(theta, draws(keys=(0,))) * weights).sum((1, 2, 3)).mean()
    estimate = torch.autograd.grad(loss, theta)[0][0]
    assert (estimate - mean).abs().max() < 0.1  # 4000 uniform places; deviation about 1 / 63


def test_a_moving_patch_has_its_own_place_in_every_picture() -> None:
    patch = Patch(clean=levels(0), height=1, width=1, moving=True, samples=3)
    theta = torch.full((N, 3, 1, 1), 2.0)  # out of range, to be found
    shown = patch.image(theta, draws())
    places = [tuple((picture[0] == 2).nonzero()[0].tolist()) for picture in shown]
    assert places == [place for some in draws().places(H, W, 3) for place in some]
    assert len(set(places)) > 1


def test_a_mask_lets_nothing_else_change() -> None:
    clean = levels(1)
    region = torch.zeros(1, 1, H, W, dtype=torch.bool)
    region[..., 0, 0] = True
    mask = Mask(inner=Box(clean=clean), region=region)
    theta = torch.zeros(clean.shape, requires_grad=True)
    (grad,) = torch.autograd.grad(mask.image(theta, draws()).sum(), theta)
    assert torch.equal(grad, region.expand_as(grad).float())
    file = mask.finalize(theta)
    assert (file[..., 0, 0] == 0).all()
    assert torch.equal(file[:, :, 1:], clean[:, :, 1:])


def test_spectrum_without_change_is_the_identity() -> None:
    clean = levels(6)
    for through in (False, True):
        spectrum = Spectrum(inner=Box(clean=clean), draws_per_step=3, rho=0, sigma=0, through=through)
        shown = spectrum.image(unit(clean), draws())
        torch.testing.assert_close(shown, unit(clean).repeat_interleave(3, 0), atol=1e-6, rtol=0)


def test_the_transform_is_the_orthonormal_cosine_transform() -> None:
    x = wild(torch.Size((2, 3, H, W)), 7)
    wanted = scipy.fft.dctn(x.numpy(), axes=(-2, -1), norm="ortho")
    torch.testing.assert_close(constraints._dct(x), torch.from_numpy(wanted), atol=1e-5, rtol=0)
    torch.testing.assert_close(constraints._idct(constraints._dct(x)), x, atol=1e-5, rtol=0)


def test_spectrum_follows_its_formula_and_both_gradients() -> None:
    clean = torch.full((1, 3, H, W), 128, dtype=torch.uint8)
    settings_ = {"draws_per_step": 2, "rho": 0.2, "sigma": 0.01}
    theta = (unit(clean) + 0.05 * wild(clean.shape, 1).clamp(-1, 1)).requires_grad_(True)
    same = draws(keys=(0,))
    noise = 0.01 * same.normal((2, 3, H, W))[0]
    scale = 1 + 0.2 * (2 * same.uniform((2, 3, H, W))[0] - 1)

    def slow(x: Tensor) -> Tensor:
        rows, columns = (
            torch.from_numpy(scipy.fft.dct(np.eye(k), axis=0, norm="ortho")).float() for k in (H, W)
        )
        return torch.stack(
            [
                rows.T @ ((rows @ (x[0] + n) @ columns.T) * s) @ columns
                for n, s in zip(noise, scale, strict=True)
            ]
        )

    released = Spectrum(inner=Box(clean=clean), **settings_)
    through = Spectrum(inner=Box(clean=clean), through=True, **settings_)
    weights = wild(torch.Size((2, 3, H, W)), 2)
    for spectrum in (released, through):
        torch.testing.assert_close(spectrum.image(theta, draws(keys=(0,))), slow(theta), atol=1e-5, rtol=0)
    (at,) = torch.autograd.grad((released.image(theta, draws(keys=(0,))) * weights).sum(), theta)
    torch.testing.assert_close(at, weights.sum(0, keepdim=True))
    (back,) = torch.autograd.grad((through.image(theta, draws(keys=(0,))) * weights).sum(), theta)
    (wanted,) = torch.autograd.grad((slow(theta) * weights).sum(), theta)
    torch.testing.assert_close(back, wanted, atol=1e-5, rtol=1e-4)
    assert (at - back).abs().max() > 0.01


def test_embed_box_keeps_the_range() -> None:
    box = EmbedBox()
    assert box.project(torch.tensor([-1.0, -0.2, 0.0, 0.3])).tolist() == pytest.approx(
        [-0.23, -0.2, 0.0, 0.27]
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LinfBall(clean=levels(0), eps=Eps(256)), "eps=256 is out of range: expected 0 < eps <= 255"),
        (lambda: LinfBall(clean=levels(0), eps=Eps(0)), "eps=0 is out of range: expected 0 < eps <= 255"),
        (lambda: LinfBall(clean=levels(0), eps=Eps(0.5)), "eps=0.5 is out of range: expected 1 to 255"),
        (
            lambda: LinfBall(clean=levels(0), eps=Eps(8), init="unifrom"),
            "unknown init 'unifrom'. Did you mean 'uniform'",
        ),
        (lambda: Box(clean=levels(0), init="ball"), "unknown init 'ball'"),
        (lambda: Box(clean=unit(levels(0))), "clean pictures are torch.float32"),
        (
            lambda: Patch(clean=levels(0), height=8, width=2),
            "a patch of 8 x 2 pixels does not fit into a picture of 7 x 5",
        ),
        (lambda: Patch(clean=levels(0), height=3, width=2, place=(5, 0)), "top is at most 4"),
        (lambda: Patch(clean=levels(0), height=3, width=2, samples=2), "1 for a patch that stands still"),
        (lambda: first_rows(levels(0), 9), "a patch of 9 x 5 pixels does not fit"),
        (lambda: Mask(inner=Box(clean=levels(0)), region=torch.ones(1, 1, H, W)), "expected torch.bool"),
        (
            lambda: Mask(inner=Box(clean=levels(0)), region=torch.ones(1, 1, 2, 2, dtype=torch.bool)),
            "expected torch.bool",
        ),
        (
            lambda: Mask(inner=Box(clean=levels(0)), region=torch.zeros(1, 1, H, W, dtype=torch.bool)),
            "nothing may change",
        ),
        (lambda: Spectrum(inner=Box(clean=levels(0)), rho=2), "rho=2 is out of range"),
        (lambda: EmbedBox(low=0.1), "low <= 0 <= high"),
        (lambda: from_pixels([]), "pictures of one size, got none"),
        (
            lambda: from_pixels([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)]),
            "group them by size",
        ),
    ],
)
def test_wrong_settings_are_refused(make: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)


def test_a_search_goes_on_from_given_thetas_inside_the_bounds() -> None:
    clean = levels(3)
    ball = LinfBall(clean=clean, eps=Eps(8), init="ball")
    theta = unit(clean) + torch.tensor([[4 / 255], [40 / 255]])[:, :, None, None]
    begun = WarmStart(inner=ball, theta=theta)
    torch.testing.assert_close(begun.start(draws()), ball.project(theta))
    assert not torch.equal(begun.start(draws()), ball.start(draws()))
    torch.testing.assert_close(begun.take([1]).start(draws(keys=(1,))), ball.project(theta)[1:])
    assert torch.equal(begun.finalize(theta), ball.finalize(theta))
    assert begun.samples == 1
    with pytest.raises(UsageError, match="1 thetas to start from, but 2 pictures"):
        WarmStart(inner=ball, theta=theta[:1])
