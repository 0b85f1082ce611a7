"""Guards: silent on a sound attack, and each fires on the defect that it is for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plain_pass import pair

from sightline.cases import Image
from sightline.errors import ContractError, UsageError
from sightline.targets import LocalSettings
from sightline.whitebox.guards import check, check_gradient, check_tokens
from sightline.whitebox.opening import open_victim

IMAGE = Image(sha256="0" * 64, width=64, height=64)
PAIRS = [pair(IMAGE, "what is in the image ?", "a red square ."), pair(IMAGE, "is it red ?", "yes")]


@pytest.fixture(scope="module")
def victim():
    return open_victim("testbed/linear", local=LocalSettings(device="cpu"))


@pytest.fixture
def x():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_sound_attack_passes(victim, x):
    check(victim, x, PAIRS)


def test_a_constant_loss_is_caught(x):
    """As Tu et al.'s SIN was released: a constant, and a gradient of floating-point noise."""
    with pytest.raises(ContractError, match=r"does not change when noise is added.*pictures \[0, 1\] of 2"):
        check_gradient(lambda pictures: (pictures - pictures.detach()).sum((1, 2, 3)) + 1.0986, x, "a loss")


def test_a_picture_without_gradient_is_named(x):
    half = torch.tensor([1.0, 0.0])[:, None, None, None]
    with pytest.raises(ContractError, match=r"gradient .* is zero \(pictures \[1\] of 2\)"):
        check_gradient(lambda p: (p * half + p.detach()).mean((1, 2, 3)), x, "a loss")


def test_a_detached_loss_is_caught(x):
    with pytest.raises(ContractError, match="something detached it"):
        check_gradient(lambda pictures: pictures.detach().mean((1, 2, 3)), x, "a loss")


def test_a_gradient_that_is_not_finite_is_caught(x):
    dark = x.clone()
    dark[1] = 0
    with pytest.raises(ContractError, match=r"not finite \(pictures \[1\] of 2\)"):
        check_gradient(lambda pictures: pictures.sum((1, 2, 3)).sqrt(), dark, "a loss")


def test_a_loss_for_all_pictures_together_is_refused(x):
    with pytest.raises(ContractError, match="2 pictures need a loss each"):
        check_gradient(lambda pictures: pictures.mean(), x, "a loss")


def test_another_tokenization_for_the_loss_is_caught(victim, x, monkeypatch):
    """Two beginnings of the sequence in the loss, one in generation, as in Qi et al.'s MiniGPT-4 path."""
    prompt = victim.prompts.prompt
    doubled = lambda *asked: replace(found := prompt(*asked), ids=(found.ids[0], *found.ids))  # noqa: E731
    monkeypatch.setattr(victim.prompts, "prompt", doubled)
    with pytest.raises(ContractError, match=r"tokenize the prompt 'what is in the image .' differently"):
        check_tokens(victim, x, PAIRS)


def test_what_the_model_cannot_take_is_for_the_user(victim, x):
    with pytest.raises(UsageError, match="smaller than a patch"):
        check_gradient(lambda p: victim.rows(p, PAIRS).nll.mean(1), x[:, :, :5], victim.id)
    with pytest.raises(UsageError, match="'a ☃' is no answer"):
        check(victim, x, [pair(IMAGE, "is it red ?", "a ☃")])
