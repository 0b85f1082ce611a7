"""Adapters of the loop: nothing before the first step, merged as they were, the base's weights kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rows_to_train import few

from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.testbed.weights import materialize
from sightline.training import loop
from sightline.training.lora import AdaptedLinear, merged
from sightline.training.model import TrainableModel, part_of
from sightline.tuning import PARTS, Example, Lora, Plan, lora_of

FROZEN: Any = ("tower", "bridge", "embeddings")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["linear", pytest.param("cross_attention", marks=pytest.mark.slow)])
def test_adapters_train_alone_and_merge_as_they_were(name: str, tmp_path: Path) -> None:
    lessons, images = few(tmp_path)
    model = TrainableModel(materialize(name), images.read, LocalSettings(device="cpu"))
    examples = tuple(Example(prompt=each.prompt, chosen=each.given or "yes .") for each in lessons)
    pairs = [(each.prompt, each.chosen) for each in examples[:2]]
    before = {key: weight.detach().clone() for key, weight in model.model.named_parameters()}
    with torch.no_grad():
        base = model.likelihoods(pairs).sums
        model.adapt(FROZEN, Lora(rank=2, alpha=4))
        assert torch.equal(model.likelihoods(pairs).sums, base)  # B is zero
    plan = Plan(
        examples=examples, batches=((0, 1), (2, 3)), rate=1e-2, frozen=FROZEN, lora=Lora(rank=2, alpha=4)
    )
    loop.run(model, plan, tmp_path, lambda _: None, lambda _: None)
    with torch.no_grad():
        adapters = model.likelihoods(pairs).sums
        with merged(model.model) as plain:
            assert set(dict(plain.named_parameters())) == set(before)
            changed = {
                key for key, weight in plain.named_parameters() if not torch.equal(weight, before[key])
            }
            assert torch.allclose(model.likelihoods(pairs).sums, adapters, atol=1e-4)
        assert torch.equal(model.likelihoods(pairs).sums, adapters)
    assert not torch.allclose(base, adapters, atol=1e-2)
    assert changed == {f"{each}.weight" for each in model_layers(model)}
    assert {part_of(key) for key in changed} == {"language"}
    kept = {key.replace(".plain.", "."): weight for key, weight in model.model.named_parameters()}
    assert all(torch.equal(kept[key], weight) for key, weight in before.items())


def model_layers(model: TrainableModel) -> list[str]:
    return [key for key, each in model.model.named_modules() if isinstance(each, AdaptedLinear)]


def test_settings_of_adapters() -> None:
    assert lora_of(0, 0.0) is None
    assert lora_of(8, 0.0) == Lora(rank=8, alpha=16.0)
    assert lora_of(8, 4.0) == Lora(rank=8, alpha=4.0)
    with pytest.raises(UsageError, match="lora"):
        lora_of(-1, 0.0)


def test_no_layer_for_an_adapter_is_told(tmp_path: Path) -> None:
    model = TrainableModel(materialize("linear"), few(tmp_path)[1].read, LocalSettings(device="cpu"))
    with pytest.raises(UsageError, match="no linear layer takes an adapter"):
        model.adapt(PARTS, Lora(rank=2, alpha=4))
