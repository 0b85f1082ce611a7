"""Guards: silent on a sound attack, and each fires on the defect that it is for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from plain_pass import pair

from sightline.cases import Image
from sightline.errors import ContractError, UsageError
from sightline.targets import LocalSettings
from sightline.whitebox.constraints import Box
from sightline.whitebox.image_search import Problem, minimize
from sightline.whitebox.model import check_tokens, open_victim
from sightline.whitebox.objectives import Objective, TargetNLL
from sightline.whitebox.optimizers import SignGD
from sightline.whitebox.samplers import FixedPairs

IMAGE = Image(sha256="0" * 64, width=64, height=64)
PAIRS = [pair(IMAGE, "what is in the image ?", "a red square ."), pair(IMAGE, "is it red ?", "yes")]


@pytest.fixture(scope="module")
def victim():
    return open_victim("testbed/linear", local=LocalSettings(device="cpu"))


@pytest.fixture
def x():
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_sound_attack_passes(victim, x):
    check_tokens(victim, x, PAIRS)


def test_another_tokenization_for_the_loss_is_caught(victim, x, monkeypatch):
    """Two beginnings of the sequence in the loss, one in generation, as in Qi et al.'s MiniGPT-4 path."""
    prompt = victim.prompts.prompt
    doubled = lambda *asked: replace(found := prompt(*asked), ids=(found.ids[0], *found.ids))  # noqa: E731
    monkeypatch.setattr(victim.prompts, "prompt", doubled)
    with pytest.raises(ContractError, match=r"tokenize the prompt 'what is in the image .' differently"):
        check_tokens(victim, x, PAIRS)


def test_no_search_begins_on_other_tokens(victim, x, monkeypatch):
    prompt = victim.prompts.prompt
    doubled = lambda *asked: replace(found := prompt(*asked), ids=(found.ids[0], *found.ids))  # noqa: E731
    monkeypatch.setattr(victim.prompts, "prompt", doubled)
    problem = Problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)),
        constraint=Box(clean=(x * 255).to(torch.uint8)),
        optimizer=SignGD(alpha=1 / 255),
        sampler=FixedPairs(tuple(PAIRS)),
    )
    with pytest.raises(ContractError, match="the loss and generation tokenize the prompt"):
        minimize(problem, steps=1)


def test_what_the_model_cannot_take_is_for_the_user(victim, x):
    with pytest.raises(UsageError, match="'a ☃' is no answer"):
        check_tokens(victim, x, [pair(IMAGE, "is it red ?", "a ☃")])
