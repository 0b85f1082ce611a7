"""The loss of single answers, desirable or not, against its formula."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from rows_to_train import few

from sightline.targets import LocalSettings
from sightline.testbed.weights import materialize
from sightline.training import losses
from sightline.training.model import TrainableModel
from sightline.tuning import Example, Plan

pytestmark = pytest.mark.usefixtures("one_thread")


def test_kto_against_its_formula(tmp_path: Path) -> None:
    lessons, images = few(tmp_path)
    model = TrainableModel(materialize("linear"), images.read, LocalSettings(device="cpu"))
    answers = ("yes .", "i cannot help with that .", "no .")
    examples = [
        Example(prompt=each.prompt, chosen=answer, desirable=number != 1)
        for number, (each, answer) in enumerate(zip(lessons, answers, strict=False))
    ]
    others = losses.mismatched(examples)
    assert [answer for _, answer in others] == ["no .", "yes .", "i cannot help with that ."]
    plan = Plan(examples=tuple(examples), batches=(), loss="kto", beta=0.3, weights=(1.0, 0.5))
    with torch.no_grad():
        own = [float(model.likelihoods([(e.prompt, e.chosen)]).sums) for e in examples]
        mixed = [float(model.likelihoods([pair]).sums) for pair in others]
    r = [0.5, -1.0, 2.0]  # what the reference is set to say
    for shift, z in ((-3.0, 0.0), (2.0, 2.0)):
        reference = torch.tensor(
            [[mine - each, other - shift] for mine, other, each in zip(own, mixed, r, strict=True)]
        )
        with torch.no_grad():
            loss, margin = losses.objective(model, plan, examples, reference)
        expected = (wrong(r[0] - z) + 0.5 * wrong(z - r[1]) + wrong(r[2] - z)) / 3
        assert float(loss) == pytest.approx(expected, abs=1e-4)
        assert margin == pytest.approx(0.3 * (0.5 + 1.0 + 2.0) / 3, abs=1e-4)


def wrong(x: float) -> float:
    """1 - sigmoid(beta x), beta .3."""
    return 1 - 1 / (1 + math.exp(-0.3 * x))
