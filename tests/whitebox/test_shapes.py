"""Stated shapes are checked at every call of a test process, and only there."""

# ruff: noqa: E402
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import shape_checks
from apart import printed
from jaxtyping import TypeCheckError

from sightline.whitebox import pixels, shapes


def test_a_call_with_another_shape_or_number_format_is_refused() -> None:
    levels = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    assert pixels.unit(levels).shape == (2, 3, 8, 8)
    with pytest.raises(TypeCheckError, match=r"parameters of sightline\.whitebox\.pixels\.unit"):
        pixels.unit(levels[0])
    with pytest.raises(TypeCheckError, match=r"parameters of sightline\.whitebox\.pixels\.unit"):
        pixels.unit(levels.float())


def test_an_axis_of_one_name_has_one_size_within_a_call() -> None:
    def weighted(losses: shapes.Losses, theta: shapes.Theta) -> shapes.Losses:
        return losses * theta.flatten(1).sum(1)

    weighted.__annotations__ = {"losses": "Losses", "theta": "Theta", "return": "Losses"}
    function = type(weighted)(weighted.__code__, vars(shapes), "weighted")
    function.__annotations__ = weighted.__annotations__
    strict = shape_checks.checked(function)
    assert strict(torch.ones(2), torch.ones(2, 5)).shape == (2,)
    with pytest.raises(TypeCheckError):
        strict(torch.ones(1), torch.ones(2, 5))


def test_functions_that_state_no_shape_are_left_alone() -> None:
    assert not hasattr(pixels.known_init, "__wrapped__")
    assert shape_checks.checked(pixels.known_init) is pixels.known_init


def test_outside_tests_nothing_is_checked() -> None:
    code = (
        "import torch; from sightline.whitebox import pixels\n"
        "print(pixels.unit(torch.zeros(3, dtype=torch.uint8)).shape)"
    )
    assert printed(code) == "torch.Size([3])"
