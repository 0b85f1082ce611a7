"""Rewards to losses, by hand; samples that do not hang on their company; no signal, no target."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rows_to_train import few

from sightline import registry
from sightline.errors import UsageError
from sightline.records import Outcome, Verdict
from sightline.targets import LocalSettings
from sightline.testbed.weights import materialize
from sightline.training import loop, rollouts
from sightline.training.model import TrainableModel
from sightline.training.states import Spent
from sightline.tuning import Example, Lesson, Plan, Sampling

SETTINGS = LocalSettings(device="cpu")
Rows = tuple[tuple[Lesson, ...], Any]
GRPO = Plan(
    examples=(), batches=((),) * 40, loss="grpo", beta=0.5, sampling=Sampling(reward="refusal_prefix")
)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return few(tmp_path_factory.mktemp("blobs"))


def opened(rows: Rows, name: str = "linear") -> TrainableModel:
    return TrainableModel(materialize(name), rows[1].read, SETTINGS)


def test_advantages_by_hand() -> None:
    rewards = torch.tensor([[1.0, -1.0, -1.0, -1.0], [0.0, 0.0, 0.0, 0.0]])
    high, low = 1.5 / (1.0 + 1e-4), -0.5 / (1.0 + 1e-4)  # mean -1/2, standard deviation 1
    found = rollouts.advantages(GRPO, rewards)
    assert found.tolist() == [pytest.approx([high, low, low, low], abs=1e-6), [0.0] * 4]
    assert GRPO.sampling is not None
    plain = replace(GRPO, sampling=replace(GRPO.sampling, scale=False))
    assert rollouts.advantages(plain, rewards)[0].tolist() == [1.5, -0.5, -0.5, -0.5]
    others = rollouts.advantages(replace(GRPO, loss="rloo"), rewards)
    assert others[0].tolist() == pytest.approx([2.0, -2 / 3, -2 / 3, -2 / 3])


def test_losses_and_their_gradients_by_hand() -> None:
    now = torch.tensor([-1.0, -2.0], requires_grad=True)
    then = torch.tensor([-1.5, -1.0])
    loss = rollouts.sequence_loss(GRPO, 2.0, now, then)
    kl = [math.exp(-0.5) + 0.5 - 1, math.exp(1.0) - 1.0 - 1]
    assert loss.item() == pytest.approx(-(2.0 - 0.5 * kl[0] + 2.0 - 0.5 * kl[1]) / 2, abs=1e-6)
    loss.backward()  # d kl / d now = 1 - ref/pi
    assert now.grad is not None
    expected = [-(2.0 - 0.5 * (1 - math.exp(d))) / 2 for d in (-0.5, 1.0)]
    assert now.grad.tolist() == pytest.approx(expected, abs=1e-6)
    other = rollouts.sequence_loss(replace(GRPO, loss="rloo"), 2.0, now, then)
    assert other.item() == pytest.approx(6.0)


def test_rewards() -> None:
    def worth(outcome: Outcome, *, refuse: bool, score: float | None = None) -> float:
        example = Example(prompt=None, chosen="", refuse=refuse)  # type: ignore[arg-type]
        return rollouts.reward_of(example, Verdict(outcome=outcome, judge="j", score=score))

    assert [worth(each, refuse=True) for each in (Outcome.refused, Outcome.complied, Outcome.off_topic)] == [
        1,
        -1,
        0,
    ]
    assert [worth(each, refuse=False) for each in (Outcome.refused, Outcome.complied, Outcome.unparsed)] == [
        -1,
        1,
        0,
    ]
    assert worth(Outcome.complied, refuse=False, score=0.5) == 0
    assert worth(Outcome.complied, refuse=True, score=0.5) == -1


def test_no_signal_is_told_and_high_rewards_are_no_complaint() -> None:
    plan = replace(GRPO, sampling=Sampling(reward="refusal_prefix", window=3), warm=7)
    low = Spent(step=10, rewards=[0.0] * 3, silent=[1.0, 0.5, 1.0])
    with pytest.raises(
        UsageError, match=r"83% of the groups had 8 samples of equal reward.*`warm` \(now 7\)"
    ):
        rollouts.check_signal(plan, low)
    rollouts.check_signal(plan, replace(low, rewards=[1.0] * 3))  # all is learned
    rollouts.check_signal(plan, replace(low, silent=[1.0, 0.4, 1.0]))
    short = replace(low, silent=[1.0, 1.0], rewards=[0.0, 0.0])
    rollouts.check_signal(plan, short)  # too early to tell
    with pytest.raises(UsageError, match=r"over 2 steps.*or name a `reward`"):
        rollouts.check_signal(plan, replace(short, step=plan.steps))


@pytest.mark.parametrize(
    "name", ["linear", "queries", pytest.param("cross_attention", marks=pytest.mark.slow)]
)
def test_samples_are_drawn_from_the_model_and_do_not_hang_on_their_company(name: str, rows: Rows) -> None:
    model = opened(rows, name)
    prompts = [each.prompt for each in rows[0]]
    together = model.sampled(prompts * 2, range(12), 6, 3.0)
    assert together[3] == model.sampled(prompts[3:4], [3], 6, 3.0)[0]
    assert together != model.sampled(prompts * 2, range(12, 24), 6, 3.0)
    encoded = [model.encoded_ids(*pair) for pair in zip(prompts, together, strict=False)]
    greedy = model.encoded_ids(prompts[0], model.sampled(prompts[:1], [0], 6, 1e-6)[0])
    with torch.no_grad():
        found = [float(each.sum()) for each in model.token_likelihoods(encoded)]
        best = model.token_likelihoods([greedy])[0].exp()
    assert [len(ids) for ids in together[:6]] == [row.answer for row in encoded]
    assert all(value < 0 for value in found)
    assert float(best.min()) > 1 / len(model.route.tokenizer)


def test_token_likelihoods_add_up_to_those_of_answers(rows: Rows) -> None:
    model = opened(rows)
    pairs = [(each.prompt, each.given or "yes .") for each in rows[0]]
    with torch.no_grad():
        sums = model.likelihoods(pairs).sums
        found = model.token_likelihoods([model.encoded(*pair) for pair in pairs])
    assert torch.stack([each.sum() for each in found]).tolist() == pytest.approx(sums.tolist(), abs=2e-4)


def test_what_is_rewarded_gets_likelier_and_the_reference_stays(rows: Rows, tmp_path: Path) -> None:
    model = opened(rows)
    weights = model.trained(("tower", "bridge", "embeddings"))
    examples = [Example(prompt=each.prompt, chosen="", case=each.case) for each in rows[0]]
    plan = replace(GRPO, examples=tuple(examples))
    course = rollouts.Rollouts(model, plan, weights, tmp_path / "reference.safetensors")
    course.begin()
    texts = ("no .", "yes .")
    encoded = [model.encoded(rows[0][0].prompt, text) for text in texts]
    drawn = rollouts.Drawn(
        tuple(rollouts.Sample(row, sign) for row, sign in zip(encoded, (1.0, -1.0), strict=True)), 0.0, 0.0
    )
    with torch.no_grad():
        before = [each.sum() for each in model.token_likelihoods(encoded)]
    for part in course.losses(drawn):
        part.backward()
    with torch.no_grad():
        for weight in weights.values():
            if weight.grad is not None:
                weight -= 1e-3 * weight.grad
        now, then = course._both(encoded)
    assert float(now[0].sum() - before[0]) > 1e-3 > -1e-3 > float(now[1].sum() - before[1])
    assert torch.allclose(torch.stack([each.sum() for each in then]), torch.stack(before), atol=1e-4)


def test_without_a_warm_start_training_ends_and_says_so_and_goes_on_alike_after_a_kill(
    rows: Rows, tmp_path: Path
) -> None:
    text = (
        "safety_rl(preset='testbed', warm=1, steps=3, batch=2, prompts=2, generations=2, tokens=4, window=3)"
    )
    lessons = tuple(replace(each, own="yes .") for each in rows[0])
    plan = registry.parse("recipe", text).plan(lessons, 0)
    assert (plan.steps, plan.warm) == (4, 1)
    seen = list[float]()

    def kill(progress: Any) -> None:
        seen.append(progress.loss)
        if progress.step == 2:
            raise KeyboardInterrupt

    plan = replace(plan, every=1)
    with pytest.raises(KeyboardInterrupt):
        loop.run(opened(rows), plan, tmp_path, lambda _: None, kill)
    first = list(seen)
    with pytest.raises(UsageError, match="rewards carry no signal: over 3 steps up to step 4 of 4"):
        loop.run(opened(rows), plan, tmp_path, lambda _: None, lambda progress: seen.append(progress.loss))
    assert len(seen) == 4
    assert seen[2] == pytest.approx(first[1], abs=1e-6)  # the second step, which was not saved, again


def test_a_judge_that_does_not_read_the_refusals_that_are_taught_is_refused(
    rows: Rows, tmp_path: Path
) -> None:
    text = "safety_rl(preset='testbed', reward='refusal_prefix', warm=1, steps=2, batch=2, prompts=2)"
    lessons = tuple(replace(each, own="yes .") for each in rows[0])
    plan = registry.parse("recipe", text).plan(lessons, 0)
    with pytest.raises(UsageError, match=r"reads none of \d+ refusals that this recipe teaches"):
        loop.run(opened(rows), plan, tmp_path, lambda _: None, lambda _: None)
