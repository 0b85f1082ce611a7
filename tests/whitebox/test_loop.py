"""The loop: batch = serial, resume = uninterrupted, budgets, stops, memory, guards, min-max."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from planted import SIZE, WIDTH, Look, Toy, pair, plant
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sightline import registry
from sightline.budget import Budget, SpentError
from sightline.cases import Conversation, Eps, Image
from sightline.errors import UsageError
from sightline.records import SearchProgress
from sightline.targets import LocalSettings
from sightline.whitebox.checkpoint import Checkpoint, CheckpointFile, load_state, save_state
from sightline.whitebox.compute import RngStream
from sightline.whitebox.constraints import Box, LinfBall, Patch, Spectrum
from sightline.whitebox.image_search import EmbedBox, Problem, PromptAdversary, SearchResult, minimize
from sightline.whitebox.model import open_victim
from sightline.whitebox.objectives import FeatureDistance, Objective, TargetNLL, prefix_weights
from sightline.whitebox.optimizers import APGD, SGD, Adam, CommonWeakness, SignGD
from sightline.whitebox.pixels import unit
from sightline.whitebox.samplers import FixedPairs, Rotating, WithoutReplacement
from sightline.whitebox.search import Callbacks
from sightline.whitebox.stops import all_targets_greedy, loss_below
from sightline.whitebox.victim import Pair, Rows

PLANTED = plant(5, 16, convolution=True)
POOL = (*PLANTED.pairs, pair("tell me", "ab"), pair("what is it", "h"), pair("say", "cde"))


def problem(**changes: object) -> Problem:
    settings = {
        "objective": Objective(victims=(PLANTED.victim,), rows=(TargetNLL(),)),
        "constraint": LinfBall(clean=PLANTED.clean, eps=Eps(16), init="ball"),
        "optimizer": SignGD(alpha=1 / 255),
        "sampler": FixedPairs(PLANTED.pairs),
    }
    return Problem(**{**settings, **changes})


def kinds() -> dict[str, Problem]:
    two = Objective(victims=(Toy(0, convolution=True), Toy(1)), rows=(TargetNLL(),))
    patch = Patch(clean=PLANTED.clean, height=4, width=4, moving=True, samples=2)
    look = Look()
    drive_off = FeatureDistance.to_picture(look, unit(PLANTED.clean), sign=-1, metric="l2_squared")
    ball = LinfBall(clean=PLANTED.clean, eps=Eps(16), init="ball")
    noisy = registry.make("defense", "purify", jpeg=0, noise=8.0).through(Toy(1))
    return {
        "universal": problem(sampler=WithoutReplacement(POOL, 2), probe=POOL[:2]),
        "stopping": problem(stop=all_targets_greedy),
        "apgd": problem(optimizer=APGD(eta=32 / 255), stop=loss_below(0.4)),
        "adam": problem(optimizer=Adam(lr=0.02), constraint=Box(clean=PLANTED.clean, init="normal")),
        "moving": problem(constraint=patch),
        "viewed": problem(
            constraint=patch, eval_constraints=tuple(replace(patch, place=(2, i)) for i in (0, 2))
        ),
        "ensemble": problem(
            objective=two,
            constraint=Spectrum(inner=ball, draws_per_step=2),
            optimizer=CommonWeakness(alpha=3.2 / 255),
        ),
        "drawn": problem(objective=Objective(victims=(noisy,), rows=(TargetNLL(),))),
        "features": problem(objective=Objective(pictures=(drive_off,)), sampler=FixedPairs()),
        "adversary": problem(sampler=Rotating(POOL), adversary=PromptAdversary(alpha=0.02, every=2, until=9)),
    }


KINDS = kinds()


def same(left: SearchResult, right: SearchResult, rows: list[int], *, exact: bool = True) -> None:
    """Artifact i of `left` is artifact rows[i] of `right`."""
    tolerance = {"atol": 0, "rtol": 0} if exact else {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(left.theta, right.theta[rows], **tolerance)
    for mine, i in enumerate(rows):
        assert (left.pixels[mine] == right.pixels[i]).all()
        assert left.stop_reasons[mine] == right.stop_reasons[i]
        for (step, mine_loss), (other, loss) in zip(left.losses[mine], right.losses[i], strict=True):
            assert step == other
            assert mine_loss == (loss if exact else pytest.approx(loss, rel=1e-4))
        if exact:
            assert left.checks[mine] == right.checks[i]
            assert left.best[mine] == right.best[i]
        counts = [(c.forwards, c.backwards) for c in (left.costs[mine], right.costs[i])]
        assert counts[0] == counts[1]


@pytest.mark.parametrize("name", KINDS)
def test_a_batch_is_its_serial_runs(name: str) -> None:
    one = KINDS[name]
    batch = minimize(one, steps=20, every=3, seed=4)
    if name in {"stopping", "apgd"}:  # artifacts leave the batch at different steps
        assert len({best.step for best in batch.best}) > 1
    for i in (0, 3):
        constraint, objective = one.constraint.take([i]), one.objective.take([i])
        eval_constraints = tuple(view.take([i]) for view in one.eval_constraints)
        alone = replace(one, constraint=constraint, objective=objective, eval_constraints=eval_constraints)
        # products of batched matrices may round differently: Spectrum's transforms
        same(minimize(alone, steps=20, every=3, seed=4, keys=[i]), batch, [i], exact=name != "ensemble")


def test_views_are_judged_together_and_paid_for() -> None:
    patch = Patch(clean=PLANTED.clean, height=4, width=4, moving=True, init="clean")
    eval_constraints = tuple(replace(patch, place=place) for place in ((0, 0), (1, 2), (2, 1)))
    one = problem(constraint=patch, eval_constraints=eval_constraints, sampler=FixedPairs(POOL[:2]))
    found = minimize(one, steps=1, seed=4)
    each = [one.objective.probe(unit(view.finalize(patch.start(RngStream(seed=4, keys=(0,) * 5)))), POOL[:2])
            for view in eval_constraints]  # fmt: skip
    losses = torch.stack([probed.loss for probed in each]).mean(0).tolist()
    assert len({round(probed.loss[0].item(), 4) for probed in each}) == 3
    assert [checks[0].loss for checks in found.checks] == pytest.approx(losses)
    forced = torch.cat([probed.target_is_greedy for probed in each], dim=1).float().mean(1).tolist()
    assert [checks[0].greedy_share for checks in found.checks] == pytest.approx(forced)
    # two looks (start and end) under three constraints, a look at noise, a step
    assert {cost.forwards for cost in found.costs} == {3 + 1 + 1 + 3}
    with pytest.raises(SpentError, match="takes up to 8 forward passes"):
        minimize(one, steps=1, budget=Budget(forwards=7))


@pytest.mark.parametrize("name", KINDS)
def test_a_run_taken_up_from_its_file_is_the_uninterrupted_run(name: str, tmp_path: Path) -> None:
    kept: list[Checkpoint] = []
    whole = minimize(KINDS[name], steps=20, every=3, seed=4, callbacks=Callbacks(save=kept.append))
    assert len(kept) > 2
    for number in (0, len(kept) // 2, -1):
        json.dumps(kept[number].numbers)
        save_state(kept[number], tmp_path / "run.safetensors")
        again = load_state(tmp_path / "run.safetensors")
        same(minimize(KINDS[name], steps=20, every=3, seed=4, resume=again), whole, list(range(5)))
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


@pytest.mark.slow
def test_a_model_of_some_size_is_taken_up_to_the_bit_and_at_the_same_cost(tmp_path: Path) -> None:
    """PyTorch's counter changes how a pass rounds, and targets of a step are not all as long."""
    victim = open_victim("testbed/linear", local=LocalSettings(device="cpu"))
    asked = Conversation.user(Image("", 64, 64), "how is moss made with corn ?")
    pool = tuple(Pair(prompt=asked, target="corn : 1 mix" + " moss" * n, closed=False) for n in (0, 3, 12))
    one = Problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)),
        constraint=LinfBall(
            clean=torch.full((1, 3, 64, 64), 120, dtype=torch.uint8), eps=Eps(32), init="ball"
        ),
        optimizer=SGD(lr=0.5),
        sampler=WithoutReplacement(pool, 1),
    )
    kept: list[Checkpoint] = []
    whole = minimize(one, steps=8, every=2, callbacks=Callbacks(save=kept.append))
    for number in range(len(kept) - 1):
        save_state(kept[number], tmp_path / "run")
        again = minimize(one, steps=8, every=2, resume=load_state(tmp_path / "run"))
        same(again, whole, [0])
        assert again.costs[0].flops == whole.costs[0].flops


def test_the_state_of_another_run_or_no_state_is_refused(tmp_path: Path) -> None:
    kept: list[Checkpoint] = []
    minimize(problem(), steps=4, callbacks=Callbacks(save=kept.append))
    with pytest.raises(UsageError, match="the state of another search: seed was 0, now it is 1"):
        minimize(problem(), steps=4, seed=1, resume=kept[0])
    with pytest.raises(UsageError, match=r"optimizer was .SignGD\("):
        minimize(problem(optimizer=Adam(lr=0.1)), steps=4, resume=kept[0])
    other = LinfBall(clean=PLANTED.clean // 2, eps=Eps(16), init="ball")
    with pytest.raises(UsageError, match="clean was"):
        minimize(problem(constraint=other), steps=4, resume=kept[0])
    with pytest.raises(UsageError, match="no search to resume"):
        load_state(tmp_path / "absent")
    (tmp_path / "torn").write_bytes(b"not a file of tensors")
    with pytest.raises(UsageError, match="delete it to start anew"):
        load_state(tmp_path / "torn")


@pytest.mark.parametrize("forwards", [5, 17, 18])
def test_a_budget_is_used_up_and_never_exceeded(forwards: int) -> None:
    budget = Budget(forwards=forwards)
    found = minimize(problem(optimizer=APGD(eta=0.1)), steps=100, every=4, budget=budget)
    assert set(found.stop_reasons) == {"budget"}
    assert all(cost.forwards == forwards or forwards in {5, 18} for cost in found.costs)
    assert all(forwards - 1 <= cost.forwards <= forwards for cost in found.costs)
    for best, checks in zip(found.best, found.checks, strict=True):
        assert best.loss == min(check.loss for check in checks)
        assert checks[-1].step == found.losses[0][-1][0] + 1  # the last step was judged


def test_costs_are_what_the_victims_did() -> None:
    victim = Toy(0)
    spectrum = Spectrum(inner=LinfBall(clean=PLANTED.clean, eps=Eps(16)), draws_per_step=3)
    objective = Objective(victims=(victim,), rows=(TargetNLL(),))
    found = minimize(problem(objective=objective, constraint=spectrum), steps=4, every=2)
    assert sum(victim.passes) == sum(cost.forwards for cost in found.costs)
    assert {(cost.forwards, cost.backwards) for cost in found.costs} == {(4 + 4 * 3, 4 * 3)}


@dataclass(eq=False)
class Product(Toy):
    """Its only cost is one product of (108,) by (108, 24)."""

    def logits(self, x: Tensor, words: Tensor) -> Tensor:
        return (x.reshape(1, -1) @ torch.ones(108, 24).cumsum(1).sin()).reshape(3, 8) / 5


def test_flops_are_counted_for_one_step_of_each_shape_and_multiplied() -> None:
    objective = Objective(victims=(Product(),), rows=(TargetNLL(),))
    x = unit(PLANTED.clean[:1]).requires_grad_(True)
    with FlopCounterMode(display=False) as forward:
        loss = objective(x, PLANTED.pairs)
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(loss.sum(), x)
    looks, steps = 2 * forward.get_total_flops(), forward.get_total_flops() + backward.get_total_flops()
    assert forward.get_total_flops() == 2 * 108 * 24
    found = minimize(problem(objective=objective), steps=7, every=100)
    assert [cost.flops for cost in found.costs] == [looks + forward.get_total_flops() + 7 * steps] * 5
    limit = looks + forward.get_total_flops() + 4.5 * steps
    limited = minimize(problem(objective=objective), steps=7, every=100, budget=Budget(flops=limit))
    assert limited.losses[0][-1][0] == 3  # steps 0 to 3
    assert all(cost.flops <= limit for cost in limited.costs)
    one = looks + forward.get_total_flops() + steps
    assert minimize(problem(objective=objective), steps=1, budget=Budget(flops=one)).costs[0].flops == one
    for less in (0.5, 0.9 * forward.get_total_flops(), steps):  # of one step, the last look is due as well
        with pytest.raises(SpentError, match="does not pay for one step"):
            minimize(problem(objective=objective), steps=7, budget=Budget(flops=one - less))


def test_time_stops_a_run_and_is_shared_out() -> None:
    ticks = iter(range(1000))
    found = minimize(
        problem(),
        steps=500,
        every=10,
        budget=Budget(seconds=80),
        callbacks=Callbacks(clock=lambda: next(ticks)),
    )
    assert set(found.stop_reasons) == {"budget"}
    assert 80 <= sum(cost.seconds for cost in found.costs) < 90


def test_a_budget_too_small_for_one_step_says_so() -> None:
    with pytest.raises(
        UsageError, match=r"budget.forwards=3 does not pay for one step.* takes up to 4 forward passes"
    ):
        minimize(problem(), steps=3, budget=Budget(forwards=3))
    assert minimize(problem(), steps=3, budget=Budget(forwards=4)).costs[0].backwards == 1
    real = problem(objective=Objective(victims=(Product(),), rows=(TargetNLL(),)))
    with pytest.raises(SpentError, match=r"budget.flops=2 does not pay for one step.*until now"):
        minimize(real, steps=3, budget=Budget(flops=2.0))


def test_a_bench_takes_up_what_a_crash_left_and_nothing_of_another_run(tmp_path: Path) -> None:
    whole = minimize(problem(), steps=30, every=5)
    ticks = iter(range(10_000))

    def bench() -> CheckpointFile:
        return CheckpointFile(tmp_path / "run", pause=0, clock=lambda: next(ticks))

    def crash(progress: SearchProgress) -> None:
        if progress.step == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minimize(problem(), steps=30, every=5, checkpoint_file=bench(), callbacks=Callbacks(report=crash))
    assert load_state(tmp_path / "run").numbers["step"] == 15
    steps: list[int] = []
    again = minimize(
        problem(),
        steps=30,
        every=5,
        checkpoint_file=bench(),
        callbacks=Callbacks(report=lambda said: steps.append(said.step)),
    )
    assert steps == [20, 25, 30]
    same(again, whole, list(range(5)))
    assert again.costs[0].forwards == whole.costs[0].forwards
    other = minimize(problem(), steps=25, every=5, checkpoint_file=bench())
    same(other, minimize(problem(), steps=25, every=5), list(range(5)))
    (tmp_path / "run").write_bytes(b"torn")
    same(minimize(problem(), steps=30, every=5, checkpoint_file=bench()), whole, list(range(5)))


def test_a_bench_writes_no_more_often_than_it_is_asked_to(tmp_path: Path) -> None:
    now = iter(range(10_000))
    bench = CheckpointFile(tmp_path / "run", pause=1000, clock=lambda: next(now))
    minimize(problem(), steps=30, every=5, checkpoint_file=bench)
    assert not (tmp_path / "run").exists()


def test_a_batch_that_does_not_fit_is_halved_and_the_result_is_the_same() -> None:
    whole = minimize(problem(), steps=6, every=3)
    heard: list[SearchProgress] = []
    small = Objective(victims=(replace(PLANTED.victim, full_above=1),), rows=(TargetNLL(),))
    found = minimize(problem(objective=small), steps=6, every=3, callbacks=Callbacks(report=heard.append))
    same(found, whole, list(range(5)))
    said = [progress.message for progress in heard if progress.message]
    assert said == [
        "out of memory with 5 pictures at a time: going on with 3",
        "out of memory with 3 pictures at a time: going on with 2",
        "out of memory with 2 pictures at a time: going on with 1",
    ]
    none = Objective(victims=(Toy(full_above=0),), rows=(TargetNLL(),))
    with pytest.raises(UsageError, match="one picture alone does not fit into memory"):
        minimize(problem(objective=none), steps=2)


@pytest.mark.parametrize("adversary", [None, PromptAdversary(alpha=0.02)])
def test_an_artifacts_own_pictures_are_split_where_they_do_not_fit(adversary: PromptAdversary | None) -> None:
    """Places, or spectrum draws, of one artifact: the same slopes, one picture at a time."""
    patch = Patch(clean=PLANTED.clean[:2], height=4, width=4, moving=True, samples=5)
    one = problem(constraint=patch, sampler=FixedPairs(POOL[:2]), adversary=adversary)
    whole = minimize(one, steps=6, every=3)
    heard: list[SearchProgress] = []
    victim = replace(PLANTED.victim, full_above=2, passes=[])
    small = Objective(victims=(victim,), rows=(TargetNLL(),))
    found = minimize(
        replace(one, objective=small), steps=6, every=3, callbacks=Callbacks(report=heard.append)
    )
    same(found, whole, [0, 1], exact=False)
    assert [progress.message for progress in heard if progress.message] == [
        "out of memory with 10 pictures at a time: going on with 5",
        "out of memory with 5 pictures at a time: going on with 3",
        "out of memory with 3 pictures at a time: going on with 2",
    ]
    assert max(victim.passes) == 2
    counts = [(cost.forwards, cost.backwards) for cost in found.costs]
    assert counts == [(5 * 6 + 4, 5 * 6)] * 2  # every picture counts once, however many fit


@pytest.mark.parametrize("adversary", [None, PromptAdversary(alpha=0.02)])
@pytest.mark.parametrize(
    "term",
    [TargetNLL(), TargetNLL(reduction="pair_mean"), TargetNLL(reduction="sum", weights=prefix_weights)],
    ids=["token_mean", "pair_mean", "weighted"],
)
def test_the_pairs_of_one_picture_are_split_where_they_do_not_fit(
    term: TargetNLL, adversary: PromptAdversary | None
) -> None:
    """One picture with many pairs: the same search, some pairs at a time, whatever the loss makes of them."""
    pairs = (*POOL, pair("tell me", "hg"))
    ball = LinfBall(clean=PLANTED.clean[:1], eps=Eps(16), init="ball")
    settings = {"constraint": ball, "sampler": FixedPairs(pairs), "adversary": adversary}
    roomy = Objective(victims=(PLANTED.victim,), rows=(term,))
    whole = minimize(problem(objective=roomy, **settings), steps=6, every=3)
    heard: list[SearchProgress] = []
    victim = replace(PLANTED.victim, pairs_above=2, together=[])
    small = problem(objective=Objective(victims=(victim,), rows=(term,)), **settings)
    found = minimize(small, steps=6, every=3, callbacks=Callbacks(report=heard.append))
    same(found, whole, [0], exact=False)
    assert [progress.message for progress in heard if progress.message] == [
        "out of memory with 5 pairs at a time: going on with 3",
        "out of memory with 3 pairs at a time: going on with 2",
    ]
    assert max(victim.together) == 2
    none = Objective(victims=(replace(victim, pairs_above=0),), rows=(term,))
    with pytest.raises(UsageError, match=r"one picture alone does not fit .* SIGHTLINE_CHECKPOINTING=1"):
        minimize(problem(objective=none, **settings), steps=2)


def test_pictures_are_split_before_pairs_and_a_run_goes_on_with_both() -> None:
    victim = replace(PLANTED.victim, pairs_above=3, together=[], passes=[])
    small = problem(
        objective=Objective(victims=(victim,), rows=(TargetNLL(),)), sampler=FixedPairs(POOL), probe=POOL[:1]
    )
    kept: list[Checkpoint] = []
    whole = minimize(small, steps=6, every=3, callbacks=Callbacks(save=kept.append))
    assert kept[1].numbers["micro_batches"] == {"pictures": 1, "pairs": 2}
    victim.together.clear()
    heard: list[SearchProgress] = []
    again = minimize(small, steps=6, every=3, resume=kept[1], callbacks=Callbacks(report=heard.append))
    same(again, whole, list(range(5)))
    assert not any(progress.message for progress in heard)


def test_halves_of_a_batch_keep_their_own_features() -> None:
    """Each artifact is driven off its own clean features, with several pictures of each per step."""
    found = []
    for full_above in (None, 4):
        look = Look()
        own = FeatureDistance.to_picture(look, unit(PLANTED.clean), sign=-1, metric="l2_squared")
        look.full_above = full_above
        ball = LinfBall(clean=PLANTED.clean, eps=Eps(16), init="ball")
        seen = Spectrum(inner=ball, draws_per_step=2, rho=0)
        features = problem(objective=Objective(pictures=(own,)), constraint=seen, sampler=FixedPairs())
        found.append(minimize(features, steps=5, every=2))
    same(found[1], found[0], list(range(5)), exact=False)
    assert found[1].checks[0][-1].loss < found[1].checks[0][0].loss


def test_the_best_theta_is_chosen_on_the_probe_batch_and_not_by_training_losses() -> None:
    away = problem(objective=Objective(victims=(PLANTED.victim,), rows=(TargetNLL(),)))
    other = pair("say", "hgf")
    found = minimize(
        replace(away, sampler=FixedPairs((other,)), probe=PLANTED.pairs, optimizer=SignGD(alpha=4 / 255)),
        steps=30,
        every=1,
    )
    assert all(curve[-1][1] < curve[0][1] for curve in found.losses)  # training went well
    for i, (best, checks) in enumerate(zip(found.best, found.checks, strict=True)):
        assert best == min(checks, key=lambda check: check.loss)
        loss = away.objective(unit(torch.from_numpy(found.pixels[i]).permute(2, 0, 1)[None]), PLANTED.pairs)
        assert loss.item() == pytest.approx(best.loss, rel=1e-5)  # of the file, not of theta
    assert any(best.step < 30 for best in found.best)


def test_what_stops_an_artifact_is_kept_even_where_the_loss_was_lower_before() -> None:
    other = FixedPairs((pair("say", "hgf"),))
    away = problem(sampler=other, probe=PLANTED.pairs, optimizer=SignGD(alpha=4 / 255))
    before = minimize(away, steps=8, every=1)
    lost = max(checks[-1].loss for checks in before.checks)
    found = minimize(replace(away, stop=lambda probed: probed.loss >= lost - 1e-4), steps=8, every=1)
    i = next(i for i, checks in enumerate(before.checks) if checks[-1].loss == lost)
    assert found.stop_reasons[i] == "stopped"
    assert found.best[i] == found.checks[i][-1]
    assert found.best[i].loss > min(check.loss for check in found.checks[i])


def test_every_question_of_a_step_draws_its_own_numbers() -> None:
    @dataclass(eq=False)
    class Watching(Toy):
        seen: list[Tensor] = field(default_factory=list)

        def rows(self, x: Tensor, *rest: object, **named: object) -> Rows:
            self.seen.append(x.detach())
            return super().rows(x, *rest, **named)

    first, second = Watching(0), Watching(1)
    spectrum = Spectrum(inner=LinfBall(clean=PLANTED.clean, eps=Eps(16)), draws_per_step=1)
    objective = Objective(victims=(first, second), rows=(TargetNLL(),))
    still = CommonWeakness(alpha=1e-9, inner_step=1e-9)
    minimize(problem(objective=objective, constraint=spectrum, optimizer=still), steps=2, every=9)
    shown = [seen[2 + step] for seen in (first.seen, second.seen) for step in (0, 1)]  # after two looks
    assert all((a - b).abs().mean() > 0.01 for n, a in enumerate(shown) for b in shown[:n])


@pytest.mark.slow
def test_curves_are_thin_and_a_stop_keeps_what_stopped_it() -> None:
    found = minimize(problem(optimizer=SignGD(alpha=0.1 / 255)), steps=450, every=200)
    assert [step for step, _ in found.losses[0]] == list(range(0, 450, 3))
    assert [check.step for check in found.checks[0]] == [0, 200, 400, 450]
    stopped = minimize(problem(stop=all_targets_greedy), steps=40, every=2)
    for best, stop_reason, checks in zip(stopped.best, stopped.stop_reasons, stopped.checks, strict=True):
        assert stop_reason == "stopped"
        assert best == checks[-1]
        assert best.greedy_share == 1


def test_values_are_read_from_the_device_only_at_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = [0]
    for name in ("tolist", "item", "__bool__", "__float__", "__int__"):
        plain = getattr(torch.Tensor, name)

        def counted(self: Tensor, plain: object = plain) -> object:
            reads[0] += 1
            return plain(self)  # type: ignore[operator]

        monkeypatch.setattr(torch.Tensor, name, counted)
    for optimizer in (SignGD(alpha=0.01), Adam(lr=0.01), APGD(eta=0.1), CommonWeakness(alpha=0.01)):
        seen = []
        for steps in (10, 40):
            reads[0] = 0
            minimize(problem(optimizer=optimizer), steps=steps, every=steps)
            seen.append(reads[0])
        assert seen[0] == seen[1] > 0


def test_a_model_that_gives_no_gradient_is_named() -> None:
    closed = Objective(victims=(Toy(3, frozen_out=True),), rows=(TargetNLL(),))
    with pytest.raises(
        UsageError, match=r"the loss does not change|the loss has no gradient to the picture with toy-3"
    ):
        minimize(problem(objective=closed), steps=2)


def test_a_constant_loss_is_found_out() -> None:
    """Tu et al.'s released attack: the loss is ln 3 whatever the picture, and its gradient is noise."""

    @dataclass(eq=False)
    class Constant(Toy):
        def hidden(self, x: Tensor) -> Tensor:
            return super().hidden(x) * 1e-12

    with pytest.raises(UsageError, match="the loss does not change with the picture"):
        minimize(problem(objective=Objective(victims=(Constant(),), rows=(TargetNLL(),))), steps=2)


def test_a_start_without_slope_is_found_out() -> None:
    own = FeatureDistance.to_picture(Look(), unit(PLANTED.clean), sign=-1)
    stuck = problem(
        objective=Objective(pictures=(own,)),
        sampler=FixedPairs(),
        constraint=LinfBall(clean=PLANTED.clean, eps=Eps(8)),
    )
    with pytest.raises(UsageError, match=r"exactly zero at the start.*set init='ball'"):
        minimize(stuck, steps=2)
    with pytest.raises(UsageError, match="stop with loss_below"):
        minimize(replace(stuck, stop=all_targets_greedy), steps=2)


def test_an_artifact_whose_loss_breaks_keeps_what_it_had() -> None:
    @dataclass(eq=False)
    class Fragile(Toy):
        def hidden(self, x: Tensor) -> Tensor:
            return super().hidden(x) + torch.where(x[0, 0, 0] > 0.9, torch.nan, 0.0)

    clean = torch.full((2, 3, SIZE, SIZE), 128, dtype=torch.uint8)
    clean[1, 0, 0, 0] = 228
    objective = Objective(victims=(Fragile(),), rows=(TargetNLL(),))
    up = problem(
        objective=objective,
        constraint=Box(clean=clean),
        optimizer=SignGD(alpha=1 / 255),
        sampler=FixedPairs((pair("say", "a" if _rises("a") else "b"),)),
    )
    found = minimize(up, steps=6, every=1)
    assert found.stop_reasons == ("steps", "broken")
    assert found.best[1].step < 6
    assert math.isfinite(found.best[1].loss)
    clean[:, 0, 0, 0] = 250
    with pytest.raises(UsageError, match="not a finite number at the start"):
        minimize(replace(up, constraint=Box(clean=clean)), steps=2)


def _rises(letter: str) -> bool:
    """Whether making `letter` likely pushes the very first value up, at mid-gray."""
    x = torch.full((1, 3, SIZE, SIZE), 0.5, requires_grad=True)
    loss = Objective(victims=(Toy(),), rows=(TargetNLL(),))(x, (pair("say", letter),))
    return bool(torch.autograd.grad(loss.sum(), x)[0][0, 0, 0, 0] < 0)


def test_the_rival_climbs_while_the_picture_descends() -> None:
    pairs, alpha = (pair("say it", "ab"), pair("tell", "c")), 0.05
    kept: list[Checkpoint] = []
    adversary = PromptAdversary(alpha=alpha, every=2, until=4, box=EmbedBox(low=-0.07, high=0.12))
    ball = LinfBall(clean=PLANTED.clean[:2], eps=Eps(16), init="ball")
    minmax = problem(constraint=ball, sampler=FixedPairs(pairs), adversary=adversary)
    minimize(minmax, steps=7, every=1, callbacks=Callbacks(save=kept.append))
    states = [(one.tensors["state.theta"], one.tensors["perturbations"]) for one in kept]

    moved = [step for step in range(7) if not torch.equal(states[step][1], states[step + 1][1])]
    assert moved == [2, 4]
    assert states[0][1].shape == (2, 2, 2, WIDTH)
    for step in range(7):  # the plain loop
        theta, perturbations = (
            states[step][0].clone().requires_grad_(True),
            states[step][1].clone().requires_grad_(True),
        )
        loss = minmax.objective(theta, pairs, (perturbations[:, 0, :2], perturbations[:, 1, :1]))
        down, rise = torch.autograd.grad(loss.sum(), (theta, perturbations))
        assert torch.equal(states[step + 1][0], ball.project(theta - down.sign() / 255))
        wanted = (perturbations + alpha * rise.sign()).clamp(-0.07, 0.12) if step in moved else perturbations
        assert torch.equal(states[step + 1][1], wanted)
    assert (states[-1][1][:, 1, 1] == 0).all()  # behind the last token of the shorter prompt


def test_a_rival_needs_one_victim() -> None:
    two = Objective(victims=(Toy(0), Toy(1)), rows=(TargetNLL(),))
    with pytest.raises(UsageError, match="belong to one victim's embeddings, the objective has 2"):
        problem(objective=two, adversary=PromptAdversary(alpha=0.1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps=0 is out of range"),
        ({"steps": 2, "every": 0}, "every=0 is out of range"),
        ({"steps": 2, "keys": [1, 2]}, "5 keys, one per artifact"),
    ],
)
def test_wrong_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        minimize(problem(), **settings)
