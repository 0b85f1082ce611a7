"""Single stages: what moves and what is frozen, what a stage starts from, what its loss is made of."""

# ruff: noqa: E402
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from sightline.testbed.families import NAMES, Family, Size, family
from sightline_testbed.training import dialogues, stages
from sightline_testbed.training.plans import find
from sightline_testbed.training.stages import AID_WEIGHT, Tuning, VisionStage, checkpoint, constant
from sightline_testbed.training.train import Settings, Stage

TINY = Size(width=16, layers=1, heads=1, vision_ffn=16, text_ffn=16)
SETTINGS = Settings(dtype="fp32", seed=5)


class Caught(NamedTuple):
    """What a stage hands to the training loop, with the model it works on."""

    arch: Family
    model: Any
    groups: dict[str, Any]
    loss_at: Callable[[int], tuple[Any, dict[str, float]]]

    def moved(self) -> dict[str, bool]:
        """Part -> whether any weight of it got a gradient."""
        return {
            part: any(w.grad is not None and bool((w.grad != 0).any()) for w in module.parameters())
            for part, module in self.arch.parts(self.model).items()
        }


def caught(stage: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> Caught:
    """Start a stage; its loop is not run."""
    arch = family(stage.family, TINY)
    model = arch.new_model(SETTINGS.seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "alpha" in name:  # the gates of cross-attention are closed at first
                weight.fill_(0.5)
    monkeypatch.setattr(arch, "new_model", lambda _: model)
    monkeypatch.setattr(stages, "family", lambda *_: arch)
    found: list[Caught] = []

    def run(_: Stage, groups: Any, loss_at: Any, *_more: Any) -> None:
        found.append(Caught(arch, model, dict(groups), loss_at))

    monkeypatch.setattr(stages, "run_stage", run)
    stage.train(folder, SETTINGS, lambda _: None)
    return found[0]


def small(name: str, **changes: Any) -> Any:
    """A stage of the plan at a tiny size, from random weights."""
    return replace(find(name), size=TINY, batch=12, **({"sources": {}} | changes))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("stage", "trained"),
    [("visual", {"bridge", "language"}), ("victim", {"language"}), ("catfirst", {"language"})],
)
def test_frozen_parts_get_no_gradient(
    name: str, stage: str, trained: set[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = caught(small(f"{name}/{stage}"), monkeypatch, tmp_path)
    assert set(found.groups) == trained
    loss, _ = found.loss_at(0)
    loss.backward()
    assert found.moved() == {part: part in trained for part in ("tower", "bridge", "language")}


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_bridge_gives_the_same_loss(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Freezing saves work, it does not change what is computed."""
    frozen = caught(small(f"{name}/victim"), monkeypatch, tmp_path).loss_at(3)[0]
    open_ = small(f"{name}/victim", rates={"bridge": 1e-3, "language": 1e-3})
    assert caught(open_, monkeypatch, tmp_path).loss_at(3)[0].item() == frozen.item()


@pytest.mark.parametrize(("name", "aided"), [("linear", True), ("queries", True), ("cross_attention", False)])
def test_the_visual_loss_is_words_plus_half_the_aid(
    name: str, aided: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loss, figures = caught(small(f"{name}/visual"), monkeypatch, tmp_path).loss_at(0)
    assert AID_WEIGHT == 0.5
    assert loss.item() == pytest.approx(figures["language"] + 0.5 * figures["aid"], rel=1e-6)
    assert (figures["aid"] > 0) is aided
    assert "aid" not in caught(small(f"{name}/victim"), monkeypatch, tmp_path).loss_at(0)[1]


def test_a_batch_follows_from_seed_stream_and_step(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = caught(small("linear/visual"), monkeypatch, tmp_path)
    again = caught(small("linear/visual"), monkeypatch, tmp_path)
    other = caught(small("linear/visual", stream=99), monkeypatch, tmp_path)
    first, second = found.loss_at(7)[0].item(), found.loss_at(8)[0].item()
    assert again.loss_at(7)[0].item() == first  # asked in another order
    assert found.loss_at(7)[0].item() == first
    assert first != second
    assert other.loss_at(7)[0].item() != first


def test_the_mixture_follows_the_share_of_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[float] = []

    def mixture(done: float) -> dialogues.Mixture:
        asked.append(done)
        return dialogues.LANGUAGE

    found = caught(small("language", steps=8, mixture=mixture), monkeypatch, tmp_path)
    for step in (0, 2, 7):
        found.loss_at(step)
    assert asked == [0, 0.25, 0.875]


def test_a_tuning_starts_from_its_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Parts come from the stages it names, each from its own; what none names keeps the seed's weights."""
    for name, seed in (("eyes", 1), ("words", 2)):
        source = Tuning(
            name=name,
            steps=1,
            batch=1,
            rates={"tower": 0.0, "language": 0.0},
            mixture=constant(dialogues.LANGUAGE),
            size=TINY,
            stream=0,
        )
        source.train(tmp_path, replace(SETTINGS, seed=seed), lambda _: None)
    stage = small("linear/visual", sources={"tower": "eyes", "language": "words"})
    found = caught(stage, monkeypatch, tmp_path)
    parts = found.arch.parts(found.model)
    for part, source in (("tower", "eyes"), ("language", "words")):
        kept = load_file(checkpoint(tmp_path, source))
        for name, weight in parts[part].named_parameters():
            assert torch.equal(weight, kept[f"weight/{part}.{name}"])
    fresh = family("linear", TINY).new_model(SETTINGS.seed)
    bridges = (parts["bridge"].state_dict(), family("linear", TINY).parts(fresh)["bridge"].state_dict())
    assert all(torch.equal(bridges[0][key], bridges[1][key]) for key in bridges[0])


def test_eyes_of_blip_start_from_clips(tmp_path: Path) -> None:
    """The second kind of tower sees almost what the first one saw, before any step of its own."""
    clip = VisionStage(**{**fields(find("vision")), "size": TINY, "steps": 1, "batch": 2, "name": "eyes"})
    clip.train(tmp_path, SETTINGS, lambda _: None)
    blip = VisionStage(
        **{**fields(find("vision-queries")), "size": TINY, "steps": 1, "batch": 2, "before": "eyes"}
    )
    weights = {}
    for before in ("eyes", ""):
        folder = tmp_path / f"from-{before}"
        folder.mkdir()
        checkpoint(folder, "eyes").symlink_to(checkpoint(tmp_path, "eyes"))
        replace(blip, before=before, rates={"tower": 0.0, "heads": 0.0}).train(
            folder, SETTINGS, lambda _: None
        )
        weights[before] = load_file(checkpoint(folder, "vision-queries"))
    key = "weight/tower.encoder.layers.0.mlp.fc1.weight"
    own = load_file(checkpoint(tmp_path, "eyes"))[key]
    assert torch.equal(weights["eyes"][key], own)
    assert not torch.allclose(weights[""][key], own, atol=1e-3)


def fields(stage: Any) -> dict[str, Any]:
    return {name: getattr(stage, name) for name in stage.__dataclass_fields__}


def test_a_rate_warms_up_and_falls_by_a_cosine() -> None:
    """Golden: eight steps, two of warm-up; a group that starts late counts from its start."""
    stage = Stage(
        name="s", steps=8, batch=1, rates={"a": 1.0, "b": 2.0}, starts={"b": 4}, warmup=2, floor=0.0
    )
    cosine = [
        0.5 * (1 + c) for c in (1, 0.9238795, 0.7071068, 0.3826834, 0, -0.3826834, -0.7071068, -0.9238795)
    ]
    expected = [cosine[0] / 2, *cosine[1:]]
    assert [stage.rate("a", step) for step in range(8)] == pytest.approx(expected, abs=1e-6)
    assert [stage.rate("b", step) for step in range(8)] == pytest.approx(
        [0, 0, 0, 0, 2 * cosine[0] / 2, 2 * cosine[2], 2 * cosine[4], 2 * cosine[6]], abs=1e-6
    )
    assert replace(stage, floor=0.1, starts={}).rate("a", 8) == pytest.approx(0.1)
