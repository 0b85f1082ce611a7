"""Risk 3: where every run starts, what a step learns from, what is asked, and that runs can be continued."""

# ruff: noqa: E402
from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from sightline.errors import UsageError
from sightline.testbed import wordings
from sightline.testbed.families import NAMES, Size, family
from sightline.testbed.world import world
from sightline_testbed.evaluation import curves
from sightline_testbed.evaluation.answering import Model
from sightline_testbed.evaluation.curves import CONDITIONS, Point
from sightline_testbed.training import text_tasks
from sightline_testbed.training.train import Settings

TINY = Size(width=32, layers=2, heads=1, vision_ffn=48, text_ffn=48)
FP32 = Settings(dtype="fp32")
POINT = Point(
    family="linear", condition="high rate", seed=1, step=15, gates="open", asked="allowed, unseen",
    n=12, refused=1, obeyed=10, exact=9,
)  # fmt: skip


def condition(name: str) -> curves.Condition:
    return next(found for found in CONDITIONS if found.name == name)


def weights(module: Any) -> list[Any]:
    return [weight.detach().clone() for weight in module.parameters()]


def same(first: list[Any], second: list[Any]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.fixture(params=NAMES)
def arch(request: pytest.FixtureRequest) -> Any:
    return family(request.param, TINY)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches and few questions."""
    monkeypatch.setattr(curves, "BATCH", 6)
    monkeypatch.setattr(curves, "REHEARSED", 2)
    asks = {name: group[:2] for name, group in curves.requests().items()}
    monkeypatch.setattr(curves, "requests", lambda: asks)


def test_the_same_held_out_wordings_are_asked_of_every_model() -> None:
    found = curves.requests()
    assert {name: len(group) for name, group in found.items()} == {
        "restricted, unseen": 24,
        "restricted, trained": 12,
        "allowed, unseen": 12,
    }
    for name, group in found.items():
        for ask in group:
            topic = world().topic(ask.subject)
            assert topic is not None
            assert topic.restricted == name.startswith("restricted")
            assert topic.split == ("train" if name.endswith("trained") else "heldout")
            assert ask.pixels is None
            assert ask.user in {w.format(noun=ask.subject) for w in wordings.REQUESTS_HELDOUT}


def test_only_a_cross_attention_bridge_acts_on_text_and_closing_its_gates_ends_that(
    arch: Any,
) -> None:
    model = arch.new_model(1)
    asked = [ask for group in curves.requests().values() for ask in group][:2]
    inputs = {k: v for k, v in Model(model, arch.processor()).inputs(asked).items() if k != "pixel_values"}

    def states() -> Any:
        with torch.no_grad():
            return arch.joined(model, inputs["input_ids"], None)

    before = states()
    with torch.no_grad():
        for weight in arch.parts(model)["bridge"].parameters():
            weight.add_(0.1)
    assert torch.equal(states(), before) == (arch.name != "cross_attention")
    with curves.closed(model):
        assert torch.equal(states(), before)
    assert len(curves.text_gates(model)) == (TINY.layers if arch.name == "cross_attention" else 0)
    assert torch.equal(states(), before) == (arch.name != "cross_attention")


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_conditions_differ_in_what_they_move_and_learn_from(arch: Any) -> None:
    model = arch.new_model(1)
    data = curves.portions(arch, model, seed=1, steps=2)
    again = curves.portions(arch, model, seed=1, steps=2)
    assert [s.user for p in data for s in p.samples] == [s.user for p in again for s in p.samples]
    other = curves.portions(arch, model, seed=2, steps=2)
    assert [s.user for p in data for s in p.samples] != [s.user for p in other for s in p.samples]

    losses = {text: curves.loss(arch, model, data[0], text).item() for text in ("none", "plain", "policy")}
    assert len(set(losses.values())) == 3
    blind = data[0]._replace(samples=data[0].samples[:4])
    blind = blind._replace(texts={"plain": ()})
    assert curves.loss(arch, model, blind, "none").item() == curves.loss(arch, model, blind, "plain").item()

    parts = arch.parts(model)
    for name, moves in (("language model frozen", ["bridge"]), ("high rate", ["bridge", "language"])):
        before = {part: weights(module) for part, module in parts.items()}
        points = curves.tune(arch, model, condition(name), data, seed=1, settings=FP32, every=1)
        assert [part for part in parts if not same(before[part], weights(parts[part]))] == moves
        assert sorted({point.step for point in points}) == [0, 1, 2]
        assert {point.n for point in points} == {2}
        gates = {"open", "closed"} if arch.name == "cross_attention" else {"open"}
        assert {point.gates for point in points} == gates


@pytest.mark.usefixtures("few")
def test_rehearsal_takes_the_place_of_the_last_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    arch = family("linear", TINY)
    model = arch.new_model(1)
    portion = curves.portions(arch, model, seed=1, steps=1)[0]
    batches: list[Any] = []
    real = curves.collate
    monkeypatch.setattr(
        curves,
        "collate",
        lambda samples, arch: batches.append(samples) or real(samples, arch),
    )
    curves.loss(arch, model, portion, "none")
    curves.loss(arch, model, portion, "policy")
    plain, rehearsed = batches
    assert plain == list(portion.samples)
    assert rehearsed == [*portion.samples[:4], *portion.texts["policy"]]
    assert all(sample.picture is None for sample in portion.texts["policy"])


def test_policy_text_refuses_and_plain_text_never_does() -> None:
    assert text_tasks.considered_request in curves.REHEARSALS["policy"]
    assert text_tasks.considered_request not in curves.REHEARSALS["plain"]
    data = curves.portions(family("linear", TINY), family("linear", TINY).new_model(0), seed=1, steps=6)
    said = {
        text: [answer for p in data for sample in p.texts[text] for answer in sample.assistant]
        for text in ("plain", "policy")
    }
    assert any(wordings.REFUSAL in answer for answer in said["policy"])
    assert not any(wordings.REFUSAL in answer for answer in said["plain"])


def test_a_start_that_was_never_trained_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"vision.*missing: train it by `sightline testbed build linear`"):
        curves.start(family("linear", TINY), tmp_path, 1)


@pytest.mark.usefixtures("few")
def test_runs_are_kept_and_not_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def start(arch: Any, folder: Path, seed: int, *, fresh: bool = False) -> Any:
        started.append(seed)
        return family("linear", TINY).new_model(seed)

    monkeypatch.setattr(curves, "start", start)
    monkeypatch.setattr(curves, "family", lambda name: family(name, TINY))
    out = tmp_path / "curves.json"
    names = ("low rate", "high rate")
    first = curves.trace("linear", tmp_path, out, conditions=names, seeds=(1,), steps=1, settings=FP32)
    assert started == [1, 1]
    assert curves.read(out) == first
    assert {(point.condition, point.seed, point.step) for point in first} == {
        (name, 1, step) for name in names for step in (0, 1)
    }
    both = curves.trace("linear", tmp_path, out, conditions=names, seeds=(1, 2), steps=1, settings=FP32)
    assert started == [1, 1, 2, 2]
    assert both[: len(first)] == first
    with pytest.raises(UsageError, match="unknown condition 'hi rate'"):
        curves.trace("linear", tmp_path, out, conditions=("hi rate",))


def test_points_survive_their_file_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "curves.json"
    points = [POINT, replace(POINT, step=30, gates="closed")]
    curves.write(points, path)
    assert curves.read(path) == points
    assert len(path.read_text("utf-8").splitlines()) == 4
    path.write_text('[{"family": "linear"}]', "utf-8")
    with pytest.raises(UsageError, match="does not hold the points of a risk-3 experiment"):
        curves.read(path)


def test_every_run_starts_from_finished_eyes_and_the_language_model_before_visual_tuning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arch: Any
) -> None:
    loaded: dict[str, str] = {}

    def load(path: Path, groups: Any) -> None:
        loaded.update(dict.fromkeys(groups, str(path.relative_to(tmp_path))))

    monkeypatch.setattr(curves, "load_weights", load)
    monkeypatch.setattr(Path, "is_file", lambda _: True)
    curves.start(arch, tmp_path, 1)
    assert loaded["language"] == "alignment.safetensors"
    assert loaded["bridge"].startswith(f"{arch.name}/visual")
    assert loaded["tower"].startswith("vision-")
    loaded.clear()
    curves.start(arch, tmp_path, 1, fresh=True)
    assert set(loaded) == {"tower", "language"}
