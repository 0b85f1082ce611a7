"""TRL's trainers against our loop: equal losses, the plan's order, states to go on from, merged adapters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rows_to_train import few

from sightline import registry
from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.testbed.weights import materialize
from sightline.training import loop, work
from sightline.training.model import TrainableModel
from sightline.tuning import Example, Lesson, Lora, Plan

pytest.importorskip("trl")
pytest.importorskip("peft")
from sightline.training import trl_backend

SETTINGS = LocalSettings(device="cpu")
FROZEN: Any = ("tower", "bridge", "embeddings")
Rows = tuple[tuple[Lesson, ...], Any]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return few(tmp_path_factory.mktemp("blobs"))


def planned(rows: Rows, **settings: Any) -> Plan:
    """Two steps: pictures and texts together, then texts and pictures the other way round."""
    examples = tuple(
        Example(prompt=each.prompt, chosen=each.given or "yes .", rejected="no .", desirable=number % 2 == 0)
        for number, each in enumerate(rows[0])
    )
    return Plan(
        **{"examples": examples, "batches": ((0, 2, 5), (5, 1, 4)), "rate": 1e-3, "frozen": FROZEN} | settings
    )


def opened(rows: Rows, name: str = "linear") -> TrainableModel:
    return TrainableModel(materialize(name), rows[1].read, SETTINGS)


def carried_out(
    backend: Any, rows: Rows, plan: Plan, place: Path, name: str = "linear"
) -> tuple[TrainableModel, Any]:
    model = opened(rows, name)
    place.mkdir(exist_ok=True)
    return model, backend.run(model, plan, place, lambda _: None, lambda _: None)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("linear", {"loss": "nll"}),
        ("linear", {"loss": "kto", "weights": (1.0, 0.5), "lora": Lora(rank=4, alpha=8)}),
        pytest.param("queries", {"loss": "dpo", "nll_weight": 0.5}, marks=pytest.mark.slow),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_losses_are_those_of_the_loop_from_the_first_step_on(
    name: str, settings: dict[str, Any], rows: Rows, tmp_path: Path
) -> None:
    plan = planned(rows, **settings)
    _, ours = carried_out(loop, rows, plan, tmp_path / "loop", name)
    _, theirs = carried_out(trl_backend, rows, plan, tmp_path / "trl", name)
    assert theirs.losses[0] == pytest.approx(ours.losses[0], abs=1e-5)
    assert theirs.losses[1] == pytest.approx(ours.losses[1], abs=2e-4)  # after an update
    assert abs(ours.losses[1] - ours.losses[0]) > 1e-3
    assert theirs.tokens == ours.tokens
    if plan.loss == "dpo":
        assert theirs.margins == pytest.approx(ours.margins, abs=1e-3)


def test_batches_are_seen_in_the_plans_order_and_a_killed_run_goes_on(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned(rows, batches=((3, 0), (5,), (1, 4, 2)), every=1)
    seen = list[list[int]]()
    collated = trl_backend.collated

    def noted(model: TrainableModel, plan: Plan, examples: list[Example]) -> dict[str, torch.Tensor]:
        seen.append([plan.examples.index(each) for each in examples])
        return collated(model, plan, examples)

    monkeypatch.setattr(trl_backend, "collated", noted)
    (tmp_path / "loop").mkdir()
    whole = loop.run(opened(rows), plan, tmp_path / "loop", lambda _: None, lambda _: None)

    def killed(step: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trl_backend.run(opened(rows), plan, tmp_path, killed, lambda _: None)
    assert seen == [[3, 0], [5]]
    seen.clear()
    _, rest = carried_out(trl_backend, rows, plan, tmp_path)
    assert seen == [[5], [1, 4, 2]]  # the first step's state was the last one written
    assert rest.losses == pytest.approx(whole.losses, abs=2e-4)


def test_merged_adapters_predict_as_they_did(rows: Rows, tmp_path: Path) -> None:
    model = opened(rows)
    plan = planned(rows, lora=Lora(rank=4, alpha=8))
    course = trl_backend.Course(model, plan, tmp_path, lambda _: None, lambda _: None)
    fields = model.joined([model.encoded(plan.examples[0].prompt, plan.examples[0].chosen)])
    with torch.no_grad():
        base = course.seen(**fields).logits
        for name, weight in course.weights.items():
            if "lora_B" in name:
                weight.normal_(std=0.02, generator=torch.Generator().manual_seed(1))
        adapters = course.seen(**fields).logits
        copied = course.plain(copied=True)
        assert torch.allclose(copied(**fields).logits, adapters, atol=1e-5)
        assert torch.allclose(course.seen(**fields).logits, adapters, atol=1e-6)
        merged = course.plain()
        assert torch.allclose(merged(**fields).logits, adapters, atol=1e-5)
    assert not torch.allclose(base, adapters, atol=1e-2)
    assert not [name for name, _ in merged.named_parameters() if "lora" in name]


def test_a_family_with_an_input_of_its_own_is_sent_to_the_loop(rows: Rows, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="this one is idefics: use --backend loop"):
        carried_out(trl_backend, rows, planned(rows), tmp_path, "cross_attention")


@pytest.mark.slow
def test_a_target_of_trl_is_another_than_that_of_the_loop(
    rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work.tuned, "home", lambda: tmp_path)
    recipe = registry.parse("recipe", "safety_sft(preset='testbed', steps=1, batch=2, lora=2)")
    found = [
        work.train(recipe, "testbed/linear", *rows, backend=backend, local=SETTINGS)
        for backend in ("loop", "trl")
    ]
    assert found[0].name != found[1].name
    assert found[1].record["backend"] == "trl"
    assert {"trl", "peft"} <= set(found[1].record["versions"])
    names = {path.name for path in found[1].folder.iterdir()}
    assert {path.name for path in found[0].folder.iterdir()} == names
