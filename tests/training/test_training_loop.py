"""The loop's losses against the white-box engine's, and its updates: frozen parts, resuming, bad losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rows_to_train import few

from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.targets import LocalSettings, open_target
from sightline.testbed.weights import materialize
from sightline.training import loop
from sightline.training.losses import objective
from sightline.training.model import TrainableModel, by_part, part_of
from sightline.tuning import Example, Lesson, Plan
from sightline.whitebox import from_pixels, unit
from sightline.whitebox.model import open_victim
from sightline.whitebox.victim import Pair

SETTINGS = LocalSettings(device="cpu")
Rows = tuple[tuple[Lesson, ...], object]
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return few(tmp_path_factory.mktemp("blobs"))


def examples_of(lessons: tuple[Lesson, ...]) -> tuple[Example, ...]:
    return tuple(
        Example(prompt=each.prompt, chosen=each.given or "yes .", rejected="i cannot help with that .")
        for each in lessons
    )


def opened(model: str, images: object) -> TrainableModel:
    return TrainableModel(materialize(model), images.read, SETTINGS)  # type: ignore[attr-defined]


def by_the_engine(target: str, images: object, example: Example, answer: str) -> float:
    """Negative log-likelihood of an answer as the white-box engine has it: another forward, other packing."""
    victim = open_victim(open_target(target, images, local=SETTINGS))  # type: ignore[arg-type]
    image = next(example.prompt.images)
    x = unit(from_pixels([images.pixels(image)]))  # type: ignore[attr-defined]
    with torch.no_grad():
        found = victim.rows(x.reshape(1, *x.shape[-3:]), [Pair(prompt=example.prompt, target=answer)])
    return float(found.nll.sum())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear", "queries", "cross_attention"])
def test_the_first_loss_is_the_whitebox_engines_likelihood(name: str, rows: Rows) -> None:
    lessons, images = rows
    examples = [each for each in examples_of(lessons) if list(each.prompt.images)]
    model = opened(name, images)
    with torch.no_grad():
        loss, margin = objective(model, Plan(examples=tuple(examples), batches=()), examples)
        found = model.likelihoods([(each.prompt, each.chosen) for each in examples])
    expected = [by_the_engine(f"testbed/{name}", images, each, each.chosen) for each in examples]
    assert margin is None
    assert (-found.sums).tolist() == pytest.approx(expected, abs=2e-4)
    assert float(loss) == pytest.approx(sum(expected) / int(found.tokens.sum()), abs=1e-5)


@pytest.mark.parametrize("name", ["linear", "queries", "cross_attention"])
def test_an_answers_likelihood_does_not_depend_on_its_batch(name: str, rows: Rows) -> None:
    lessons, images = rows
    pairs = [(each.prompt, each.chosen) for each in examples_of(lessons)]
    model = opened(name, images)
    with torch.no_grad():
        together = model.likelihoods(pairs).sums
        alone = torch.cat([model.likelihoods([pair]).sums for pair in pairs])
    assert torch.allclose(together, alone, atol=2e-4)


def test_the_first_preference_loss_is_log_two_plus_the_weighted_likelihood(
    rows: Rows, tmp_path: Path
) -> None:
    lessons, images = rows
    examples = examples_of(lessons)[2:4]
    plan = Plan(examples=examples, batches=((0, 1),), loss="dpo", nll_weight=0.5)
    model = opened("linear", images)
    chosen = model.likelihoods([(each.prompt, each.chosen) for each in examples])
    nll = -(chosen.sums.sum() / chosen.tokens.sum()).item()
    spent = loop.run(model, plan, tmp_path, lambda _: None, lambda _: None)
    assert spent.losses == pytest.approx([0.693147 + 0.5 * nll], abs=1e-5)
    assert spent.margins == pytest.approx([0.0], abs=1e-5)


def test_preference_loss_against_its_formula(rows: Rows) -> None:
    lessons, images = rows
    examples = examples_of(lessons)[2:4]
    plan = Plan(examples=examples, batches=(), loss="dpo", beta=0.7)
    model = opened("linear", images)
    with torch.no_grad():
        sums = [
            model.likelihoods([(e.prompt, a)]).sums.item() for e in examples for a in (e.chosen, e.rejected)
        ]
        reference = torch.tensor([[sums[0] - 1.0, sums[1] + 0.5], [sums[2] + 2.0, sums[3]]])
        loss, margin = objective(model, plan, examples, reference)
    margins = [0.7 * (1.0 + 0.5), 0.7 * -2.0]
    expected = sum(torch.log1p(torch.exp(torch.tensor(-each))).item() for each in margins) / 2
    assert float(loss) == pytest.approx(expected, abs=1e-4)
    assert margin == pytest.approx(sum(margins) / 2, abs=1e-4)


def test_frozen_parts_stay_and_the_others_move(rows: Rows, tmp_path: Path) -> None:
    lessons, images = rows
    model = opened("linear", images)
    before = {name: weight.detach().clone() for name, weight in model.model.named_parameters()}
    plan = Plan(
        examples=examples_of(lessons),
        batches=((0, 2), (1, 3)),
        frozen=("tower", "bridge", "embeddings"),
        rate=1e-3,
    )
    loop.run(model, plan, tmp_path, lambda _: None, lambda _: None)
    moved = {name for name, weight in model.model.named_parameters() if not torch.equal(weight, before[name])}
    assert moved
    assert {part_of(name) for name in moved} == {"language"}
    assert all(name in moved for name in before if "q_proj" in name and part_of(name) == "language")


@pytest.mark.parametrize("name", ["linear", "queries", "cross_attention"])
def test_every_family_has_all_parts(name: str, rows: Rows) -> None:
    found = by_part(opened(name, rows[1]).trained(()))
    assert all(found.values()), found


def test_a_killed_run_goes_on_as_if_it_had_not_been(rows: Rows, tmp_path: Path) -> None:
    lessons, images = rows
    plan = Plan(examples=examples_of(lessons), batches=((0, 2), (1, 3), (4, 0), (5, 2)), rate=1e-3, every=2)
    whole, kept = opened("linear", images), list[int]()
    (tmp_path / "whole").mkdir()
    uninterrupted = loop.run(whole, plan, tmp_path / "whole", kept.append, lambda _: None)
    assert kept == [2]

    class KilledError(Exception):
        pass

    def kill(progress: object) -> None:
        if progress.step == 3:  # type: ignore[attr-defined]
            raise KilledError

    (tmp_path / "killed").mkdir()
    with pytest.raises(KilledError):
        loop.run(opened("linear", images), plan, tmp_path / "killed", lambda _: None, kill)
    again = opened("linear", images)
    told = list[int]()
    resumed = loop.run(again, plan, tmp_path / "killed", lambda _: None, lambda p: told.append(p.step))
    assert told == [3, 4]
    assert resumed.losses == uninterrupted.losses
    assert resumed.tokens == uninterrupted.tokens
    for (name, weight), other in zip(whole.model.named_parameters(), again.model.parameters(), strict=True):
        assert torch.equal(weight, other), name


def test_a_loss_that_is_not_finite_ends_the_run_and_says_what_to_lower(rows: Rows, tmp_path: Path) -> None:
    lessons, images = rows
    plan = Plan(examples=examples_of(lessons), batches=((0, 2), (1, 3), (0, 1)), rate=1e30)
    with pytest.raises(UsageError, match=r"not finite.*lower `rate` \(now 1e\+30\)"):
        loop.run(opened("linear", images), plan, tmp_path, lambda _: None, lambda _: None)


def test_an_answer_that_does_not_fit_is_told(rows: Rows) -> None:
    model = opened("linear", rows[1])
    with pytest.raises(UsageError, match="shorten"):
        model.encoded(Conversation.user("steps for lumopi"), "mix corn " * 2000)


def test_rates_warm_up_and_fall() -> None:
    plan = Plan(examples=(), batches=((),) * 10, rate=1.0, warmup=2)
    found = [loop.rate_at(plan, step) for step in range(10)]
    assert found[0] == pytest.approx(0.5)
    assert found[5] == pytest.approx(0.5)
    assert found[-1] < 0.03
    assert {loop.rate_at(replace(plan, schedule="constant"), step) for step in range(2, 10)} == {1.0}
