"""Each rule against a plain loop or PyTorch's own; schedules by hand; planted targets recovered."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from planted import Toy, plant
from torch import Tensor

from sightline.cases import Eps
from sightline.errors import UsageError
from sightline.whitebox.constraints import LinfBall
from sightline.whitebox.image_search import Problem, minimize
from sightline.whitebox.objectives import Objective, TargetNLL
from sightline.whitebox.optimizers import (
    APGD,
    SGD,
    Adam,
    CommonWeakness,
    LossAndGrad,
    Optimizer,
    SignGD,
    UnitGD,
    checkpoints,
    select_rows,
)
from sightline.whitebox.samplers import FixedPairs
from sightline.whitebox.stops import all_targets_greedy

Loss = Callable[[Tensor], Tensor]


def bumpy(theta: Tensor) -> Tensor:
    """A loss with ripples, per artifact, so that steps fail now and then."""
    centers = torch.linspace(-0.4, 0.6, theta[0].numel()).reshape(theta.shape[1:])
    return ((theta - centers).square() + 0.03 * torch.sin(40 * theta)).flatten(1).sum(1)


def tilted(theta: Tensor) -> Tensor:
    return (theta - 0.2).square().flatten(1).sum(1) + theta.flatten(1)[:, 0]


class Known:
    """GradientOracle of known losses."""

    def __init__(self, *losses: Loss) -> None:
        self.losses, self.asked = losses, list[int | None]()

    @property
    def parts(self) -> int:
        return len(self.losses)

    def __call__(self, theta: Tensor, part: int | None = None) -> LossAndGrad:
        self.asked.append(part)
        leaf = theta.detach().requires_grad_(True)
        chosen_losses = self.losses if part is None else (self.losses[part],)
        loss = torch.stack([loss(leaf) for loss in chosen_losses]).sum(0)
        return LossAndGrad(loss.detach(), torch.autograd.grad(loss.sum(), leaf)[0])


def box(theta: Tensor) -> Tensor:
    return theta.clamp(-0.5, 0.5)


def start() -> Tensor:
    return torch.rand(3, 3, 4, 2, generator=torch.Generator().manual_seed(1)) - 0.5


def path(optimizer: Optimizer, slopes: Known, steps: int, theta: Tensor | None = None) -> list:
    state = optimizer.start(start() if theta is None else theta)
    states = [state]
    for step in range(steps):
        state = optimizer.step(state, slopes, box, step, steps).state
        states.append(state)
    return states


def test_schedules_by_hand() -> None:
    rates = [SignGD(alpha=0.1).rate(step, 5) for step in range(5)]
    assert rates == [0.1] * 5
    linear = SignGD(alpha=0.1, end=0.02, schedule="linear")
    assert [linear.rate(step, 5) for step in range(5)] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02])
    cosine = SignGD(alpha=0.01, end=1e-4, schedule="cosine")
    wanted = [0.01, 0.0085502, 0.00505, 0.0015498, 0.0001]  # cos of 0, 45, 90, 135, 180 degrees
    assert [cosine.rate(step, 5) for step in range(5)] == pytest.approx(wanted, abs=1e-7)
    assert linear.rate(0, 1) == 0.1


def test_signed_steps() -> None:
    before, after = path(SignGD(alpha=0.05), Known(bumpy), 1)
    grad = Known(bumpy)(before.theta).grad
    torch.testing.assert_close(after.theta, box(before.theta - 0.05 * grad.sign()))


def test_clipping_is_that_of_pytorch_for_each_artifact() -> None:
    before, after = path(SGD(lr=0.1, clip=1.5), Known(bumpy), 1)
    for i in range(3):
        leaf = torch.nn.Parameter(before.theta[i : i + 1].clone())
        leaf.grad = Known(bumpy)(before.theta).grad[i : i + 1].clone()
        norm = torch.nn.utils.clip_grad_norm_([leaf], 1.5)
        assert norm > 1.5  # so that there is something to clip
        torch.optim.SGD([leaf], lr=0.1).step()
        torch.testing.assert_close(after.theta[i : i + 1], box(leaf.detach()), atol=1e-6, rtol=1e-5)
    free = path(SGD(lr=0.1), Known(bumpy), 1)[1].theta
    torch.testing.assert_close(free, box(before.theta - 0.1 * Known(bumpy)(before.theta).grad))


def test_adam_is_pytorch_s() -> None:
    leaf = torch.nn.Parameter(start())
    theirs = torch.optim.Adam([leaf], lr=0.03)
    for state in path(Adam(lr=0.03), Known(bumpy), 12)[1:]:
        leaf.grad = Known(bumpy)(leaf.detach()).grad
        theirs.step()
        with torch.no_grad():
            leaf.copy_(box(leaf))
        torch.testing.assert_close(state.theta, leaf.detach(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(("schedule", "middle"), [("linear", 0.06), ("cosine", 0.06), ("constant", 0.1)])
def test_adams_rate_follows_its_schedule(schedule: str, middle: float) -> None:
    """Where the gradient is always the same, bias-corrected Adam moves by its rate."""
    slope = Known(lambda theta: theta.flatten(1).sum(1))
    optimizer = Adam(lr=0.1, end=0.02, schedule=schedule, tiny=0.0)
    thetas = [state.theta for state in path(optimizer, slope, 5, torch.full((1, 1), 0.4))]
    steps = [(before - after).item() for before, after in itertools.pairwise(thetas)]
    assert steps[0] == pytest.approx(0.1, abs=1e-6)
    assert steps[2] == pytest.approx(middle, abs=1e-6)
    assert steps[4] == pytest.approx(0.1 if schedule == "constant" else 0.02, abs=1e-6)


def test_unit_steps_have_their_length_and_the_gradients_direction() -> None:
    before, after = path(UnitGD(alpha=0.03), Known(bumpy), 1, start() / 4)
    grad = Known(bumpy)(before.theta).grad
    for i in range(3):
        moved = after.theta[i] - before.theta[i]
        assert moved.norm().item() == pytest.approx(0.03, rel=1e-4)
        assert torch.cosine_similarity(moved.flatten(), -grad[i].flatten(), dim=0).item() == pytest.approx(1)
    flat = Known(lambda theta: 0 * theta.flatten(1).sum(1))
    still, same = path(UnitGD(alpha=0.03), flat, 1)
    assert torch.equal(still.theta, same.theta)


def test_apgd_looks_at_its_step_where_the_paper_says() -> None:
    # 22 %, then 19, 16, 13, 10, 7, 6 % later
    assert checkpoints(100) == (22, 41, 57, 70, 80, 87, 93, 99)
    assert checkpoints(10) == (3, 5, 6, 7, 8, 9, 10)
    assert checkpoints(10_000)[:3] == (2200, 4100, 5700)
    assert checkpoints(1) == (1,)


def test_apgd_halves_its_step_by_hand() -> None:
    """|x| from 0.25 with steps of 1: it jumps over 0, no step improves more than half the time."""
    distance = Known(lambda theta: theta.abs().flatten(1).sum(1))
    states = path(APGD(eta=1.0), distance, 10, torch.full((1, 1), 0.25))
    # 0.25 -> -0.5 (clipped) -> 0.5 + .25 * -0.75 ... ; looked at before steps 3, 5, 6, 7, 8 and 9
    etas = [state.eta.item() for state in states]
    assert etas[:4] == [1.0, 1.0, 1.0, 1.0]
    assert etas[4] == 0.5  # at step 3 with 1 of 3 steps improving at most
    assert states[3].gains.item() < 0.75 * 3
    assert etas == sorted(etas, reverse=True)
    assert etas[-1] < 0.1


def plain_apgd(loss: Loss, theta: Tensor, eta: float, steps: int) -> tuple[list[Tensor], list[float]]:
    """Croce and Hein's algorithm 1 for one artifact, maximizing f = -loss; x and eta after every step."""
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    marks = [math.ceil(round(share * steps, 6)) for share in shares]
    known = Known(loss)
    x, before, f_seen, best = theta, theta, [], (-math.inf, theta, theta)
    f_max_at_mark, halved_at_mark, gains, xs, etas = None, False, 0, [], []
    for k in range(steps):
        value, grad = known(x)
        f, g = -value.item(), -grad
        gains += bool(f_seen) and f > f_seen[-1]
        f_seen.append(f)
        if f > best[0]:
            best = (f, x, g)
        f_max_at_mark = best[0] if k == 0 else f_max_at_mark
        if k in marks[1:]:
            j = marks.index(k)
            first = gains < 0.75 * (marks[j] - marks[j - 1])
            second = not halved_at_mark and f_max_at_mark == best[0]
            halved_at_mark = first or second
            if halved_at_mark:
                eta, x, g = eta / 2, best[1], best[2]
                f_seen.append(best[0])
            gains, f_max_at_mark = 0, best[0]
        z = box(x + eta * g.sign())
        new = z if k == 0 else box(x + 0.75 * (z - x) + 0.25 * (x - before))
        before, x = x, new
        xs.append(x)
        etas.append(eta)
    return xs, etas


@pytest.mark.parametrize("steps", [7, 40, 100])
def test_apgd_is_the_paper_s_algorithm(steps: int) -> None:
    together = path(APGD(eta=0.3), Known(bumpy), steps)[1:]
    for i in range(3):
        xs, etas = plain_apgd(bumpy, start()[i : i + 1], 0.3, steps)
        for state, x, eta in zip(together, xs, etas, strict=True):
            torch.testing.assert_close(state.theta[i : i + 1], x)
            assert state.eta[i].item() == pytest.approx(eta)
        assert together[-1].best_loss[i] <= bumpy(start())[i]
    if steps == 100:
        assert (together[-1].eta < 0.3).all()


@pytest.mark.parametrize("halved", [False, True])
def test_apgd_halves_for_want_of_progress_only_if_it_did_not_at_the_last_checkpoint(halved: bool) -> None:
    """Condition 2: enough steps improve, but the best point is that of the last checkpoint."""
    apgd, loss = APGD(eta=0.4), torch.full((3,), 9.0)
    begun = apgd.start(start())
    state = replace(
        begun,
        best_loss=torch.full((3,), -9.0),
        mark=torch.full((3,), -9.0),
        gains=torch.full((3,), 20),
        halved=torch.full((3,), halved),
    )
    after = apgd.step(replace(state, loss=loss), Known(bumpy), box, 22, 100).state
    assert after.eta.tolist() == pytest.approx([0.4 if halved else 0.2] * 3)
    assert after.halved.tolist() == [not halved] * 3
    assert after.gains.tolist() == [0] * 3


def test_apgd_in_the_l2_norm_takes_steps_of_its_length() -> None:
    before, after = path(APGD(eta=0.01, norm="l2"), Known(tilted), 1)
    lengths = (after.theta - before.theta).flatten(1).norm(dim=1)
    assert (lengths <= 0.01 + 1e-6).all()
    assert (lengths > 0.005).all()


def test_common_weakness_is_the_released_loop() -> None:
    losses, steps, eps, mu = (bumpy, tilted, lambda t: -3 * bumpy(t)), 4, 0.1, 0.9
    optimizer = CommonWeakness(alpha=eps / 5, inner_step=2.5, inner=mu, outer=mu)
    states = path(optimizer, Known(*losses), steps)
    for i in range(3):
        x = start()[i : i + 1]
        m, big = torch.zeros_like(x), torch.zeros_like(x)
        for step in range(steps):
            x_start = x
            for loss in losses:  # the release ascends the negative loss
                g = -Known(loss)(x).grad
                m = mu * m + g / (g.norm(p=2) + 1e-5)
                x = box(x + 2.5 * m)
            u = x - x_start
            big = mu * big + u / u.norm(p=1)
            x = box(x_start + eps / 5 * big.sign())
            torch.testing.assert_close(states[step + 1].theta[i : i + 1], x)
    asked = Known(*losses)
    optimizer.step(optimizer.start(start()), asked, box, 0, 1)
    assert asked.asked == [0, 1, 2]


@pytest.mark.parametrize(
    "optimizer", [SignGD(alpha=0.02), UnitGD(alpha=0.1), SGD(lr=0.1), Adam(lr=0.1), APGD(eta=0.2)]
)
def test_artifacts_do_not_touch_each_other(optimizer: Optimizer) -> None:
    together = path(optimizer, Known(bumpy), 25)[-1]
    alone = path(optimizer, Known(bumpy), 25, start()[1:2])[-1]
    assert torch.equal(together.theta[1:2], alone.theta)
    assert torch.equal(select_rows(together, [1]).theta, alone.theta)


RULES = {
    "sign": SignGD(alpha=2 / 255),
    "sign_cosine": SignGD(alpha=4 / 255, schedule="cosine"),
    "sgd": SGD(lr=0.05, clip=20.0),
    "unit": UnitGD(alpha=0.1),
    "adam": Adam(lr=0.01),
    "apgd": APGD(eta=2 * 16 / 255),
    "cwa": CommonWeakness(alpha=16 / 255 / 5),
}


def recovered(optimizer: Optimizer, *, convolution: bool, sign: int = 1) -> int:
    """How many of 8 planted answers are found in 40 steps."""
    planted = plant(8, 16, convolution=convolution)
    victims: tuple[Toy, ...] = (planted.victim,)
    problem = Problem(
        objective=Objective(victims=victims, rows=(TargetNLL(sign=sign),)),
        constraint=LinfBall(clean=planted.clean, eps=Eps(16)),
        optimizer=optimizer,
        sampler=FixedPairs(planted.pairs),
        stop=all_targets_greedy,
    )
    found = minimize(problem, steps=40, every=5)
    assert all(checks[0].greedy_share < 1 for checks in found.checks)
    return sum(stop_reason == "stopped" for stop_reason in found.stop_reasons)


@pytest.mark.parametrize("convolution", [False, True], ids=["linear", "convolution"])
@pytest.mark.parametrize("name", RULES)
def test_planted_targets_are_recovered(name: str, convolution: bool) -> None:
    """Carlini et al.'s calibration: a solution is known to lie in the ball; how many does a rule find?"""
    assert recovered(RULES[name], convolution=convolution) >= 7


@pytest.mark.parametrize("name", RULES)
@pytest.mark.slow
def test_going_the_wrong_way_recovers_nothing(name: str) -> None:
    assert recovered(RULES[name], convolution=True, sign=-1) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SignGD(alpha=1.0),
            "alpha=1.0 is out of range: expected 0 < alpha < 1; one level of 255 is 1/255",
        ),
        (lambda: SignGD(alpha=0.1, schedule="cosin"), "unknown schedule 'cosin'. Did you mean 'cosine'"),
        (lambda: SGD(lr=0), "lr=0 is out of range"),
        (lambda: SGD(lr=1, clip=-1), "clip=-1 is out of range"),
        (lambda: UnitGD(alpha=0), "alpha=0 is out of range: expected more than 0"),
        (lambda: Adam(lr=0.1, schedule="cosin"), "unknown schedule 'cosin'. Did you mean 'cosine'"),
        (lambda: Adam(lr=0.1, end=-1), "end=-1 is out of range"),
        (lambda: Adam(lr=0.1, betas=(0.9, 1.0)), "betas=(0.9, 1.0) is out of range"),
        (lambda: APGD(eta=0), "eta=0 is out of range"),
        (lambda: APGD(eta=0.1, norm="l3"), "unknown norm 'l3'. Did you mean 'l2'"),
        (lambda: CommonWeakness(alpha=0.1, inner=2), "inner=2 is out of range"),
    ],
)
def test_wrong_settings_are_refused(make: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)
