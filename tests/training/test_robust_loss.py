"""The loss of robust towers against its formula by hand, and what its training changes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rows_to_train import few

from sightline import registry
from sightline.cases import Conversation, Eps
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.targets import LocalSettings
from sightline.testbed.weights import materialize
from sightline.training import loop
from sightline.training.model import TrainableModel, part_of
from sightline.training.robust import RobustTower, robust_tower
from sightline.training.work import check
from sightline.tuning import Example, Lesson, Plan, Robust
from sightline.whitebox.compute import RngStream
from sightline.whitebox.pixels import from_pixels, unit

SETTINGS = LocalSettings(device="cpu")
EPS = Eps(raw=8)
FROZEN = ("bridge", "language", "embeddings")
Rows = tuple[tuple[Lesson, ...], Blobs]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return few(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def model(rows: Rows) -> TrainableModel:
    return TrainableModel(materialize("linear"), rows[1].read, SETTINGS)


def attack(steps: int = 2, features: str = "patches") -> Robust:
    return Robust(eps=EPS, alpha=Eps(raw=4), steps=steps, features=features, seed=3)  # type: ignore[arg-type]


def plan_of(rows: Rows, robust: Robust, steps: int = 1) -> Plan:
    shown = [each for each in rows[0] if list(each.prompt.images)][:2]
    return Plan(
        examples=tuple(Example(prompt=each.prompt, chosen="") for each in shown),
        batches=((0, 1),) * steps,
        loss="features",
        rate=2e-5,
        frozen=FROZEN,  # type: ignore[arg-type]
        robust=robust,
    )


def by_transformers(model: TrainableModel, x: torch.Tensor, features: str) -> torch.Tensor:
    """Features of pictures in [0, 1], by the tower's own module and its processor's constants."""
    assert x.shape[-1] == model.model.config.vision_config.image_size
    settings = json.loads((model.folder / "processor_config.json").read_text())
    pictures = settings.get("image_processor", settings)
    mean, std = (torch.tensor(pictures[name])[:, None, None] for name in ("image_mean", "image_std"))
    found = model.model.base_model.vision_tower((x - mean) / std, output_hidden_states=True)
    if features == "pooled":
        pooled: torch.Tensor = found.pooler_output
        return pooled[:, None]
    patches: torch.Tensor = found.hidden_states[model.model.config.vision_feature_layer][:, 1:]
    return patches


@pytest.mark.parametrize("features", ["patches", "pooled"])
def test_the_loss_is_the_squared_distance_to_what_the_tower_was(
    rows: Rows, model: TrainableModel, features: str
) -> None:
    robust = robust_tower(model, attack(features=features))
    plan = plan_of(rows, robust.settings)
    loss, clean = robust.loss(plan, 0)
    levels = from_pixels([model.picture(next(each.prompt.images)) for each in plan.examples])
    with torch.no_grad():
        known = by_transformers(model, unit(levels), features)
        rng = RngStream(seed=3, keys=(0, 1), place=(0,))
        with torch.enable_grad():
            attacked = robust.attacked(levels, known, rng)
        moved = by_transformers(model, attacked, features)
    expected = ((moved - known) ** 2).sum(-1).mean(-1).mean()
    assert float(loss.detach()) == pytest.approx(float(expected), rel=1e-3)
    assert clean == pytest.approx(0.0, abs=1e-4)


def test_the_attack_stays_in_its_bound_and_finds_more_than_chance(rows: Rows, model: TrainableModel) -> None:
    def moved(steps: int) -> float:
        robust: RobustTower = robust_tower(model, attack(steps=steps))
        return float(robust.loss(plan_of(rows, robust.settings), 0).loss.detach())

    assert moved(3) > 1.5 * moved(0)
    robust = robust_tower(model, attack(steps=3))
    levels = from_pixels([model.picture(next(rows[0][0].prompt.images))])
    with torch.no_grad():
        known = robust._features(robust.before, unit(levels))
    x = robust.attacked(levels, known, RngStream(seed=0, keys=(0,), place=(0,)))
    assert float((x - unit(levels)).abs().max()) <= EPS.unit + 1e-6
    assert 0 <= float(x.min()) <= float(x.max()) <= 1


def test_training_moves_the_tower_alone_and_a_killed_run_goes_on_as_if_it_had_not_been(
    rows: Rows, tmp_path: Path
) -> None:
    def opened() -> TrainableModel:
        return TrainableModel(materialize("linear"), rows[1].read, SETTINGS)

    class KilledError(Exception):
        pass

    def kill(progress: object) -> None:
        if progress.step == 2:  # type: ignore[attr-defined]
            raise KilledError

    plan = replace(plan_of(rows, attack(steps=1), steps=3), every=1)
    before = {name: weight.detach().clone() for name, weight in opened().model.named_parameters()}
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole, again = opened(), opened()
    spent = loop.run(whole, plan, tmp_path / "whole", lambda _: None, lambda _: None)
    moved = {name for name, weight in whole.model.named_parameters() if not torch.equal(weight, before[name])}
    assert {part_of(name) for name in moved} == {"tower"}
    assert spent.clean[0] == pytest.approx(0.0, abs=1e-4)
    assert spent.clean[-1] > 0
    assert spent.flops > 0
    with pytest.raises(KilledError):
        loop.run(opened(), plan, tmp_path / "killed", lambda _: None, kill)
    resumed = loop.run(again, plan, tmp_path / "killed", lambda _: None, lambda _: None)
    assert resumed.losses == spent.losses
    assert np.allclose(resumed.clean, spent.clean)


def test_other_families_are_attacked_through_their_own_preprocessing(rows: Rows) -> None:
    for name in ("queries", "cross_attention"):
        model = TrainableModel(materialize(name), rows[1].read, SETTINGS)
        robust = robust_tower(model, attack(steps=1))
        assert float(robust.loss(plan_of(rows, robust.settings), 0).loss.detach()) > 0


def test_rows_without_a_picture_are_told() -> None:
    plan = Plan(
        examples=(Example(prompt=Conversation.user("x"), chosen=""),),
        batches=((0,),),
        loss="features",
        robust=attack(),
    )
    with pytest.raises(UsageError, match="a row without a picture trains no tower"):
        check(plan, registry.make("recipe", "robust_encoder"))
