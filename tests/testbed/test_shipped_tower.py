"""Shipped vision towers as finished stages: the same weights, what they cost, and a clear word if absent."""

# ruff: noqa: E402
from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors import safe_open
from safetensors.torch import load_file

from sightline.errors import UsageError
from sightline.testbed.families import family
from sightline.testbed.weights import JOINED, SHIPPED, find, materialize, read_manifest
from sightline_testbed.training.plans import plan
from sightline_testbed.training.shipped_tower import use_shipped_tower
from sightline_testbed.training.stages import VisionStage, checkpoint
from sightline_testbed.training.train import load_weights


@pytest.mark.parametrize("name", ["linear", "queries", "cross_attention", "linear-0.5m"])
def test_a_borrowed_tower_is_the_shipped_one(name: str, tmp_path: Path) -> None:
    stages = plan(name)
    vision = [stage for stage in stages if isinstance(stage, VisionStage)]
    spent = use_shipped_tower(name, stages, tmp_path)
    assert set(spent) == {stage.name for stage in vision}
    known = read_manifest(find(name).folder)["stages"]
    assert all(cost.cpu_seconds == known[stage]["cpu_seconds"] for stage, cost in spent.items())
    arch = family(name if name in ("queries", "cross_attention") else "linear", vision[-1].size)
    model = arch.new_model(3)
    tower = arch.parts(model)["tower"]
    load_weights(checkpoint(tmp_path, vision[-1].name), {"tower": tower})
    shipped = load_file(materialize(name) / JOINED)
    names = {id(weight): key for key, weight in model.named_parameters()}
    weights = list(tower.parameters())
    assert len(weights) > 20
    for weight in weights:
        assert torch.equal(weight, shipped[names[id(weight)]])
    with safe_open(checkpoint(tmp_path, vision[-1].name), framework="pt") as stored:
        assert json.loads(stored.metadata()["facts"])["steps"] == vision[-1].steps


def test_a_model_that_does_not_say_how_its_vision_were_made_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "root" / "linear"
    folder.mkdir(parents=True)
    for file in (SHIPPED / "linear").iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "manifest.json").unlink()
    manifest = json.loads((SHIPPED / "linear" / "manifest.json").read_text("utf-8"))
    del manifest["stages"]
    (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(UsageError, match="does not say how 'vision' was made: train the tower"):
        use_shipped_tower("linear", plan("linear"), tmp_path / "checkpoints", tmp_path / "root")
