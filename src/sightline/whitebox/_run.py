"""A run under way: which artifacts are still at work, what is best so far, and how to save all of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sightline.budget import Budget, Meter, SpentError
from sightline.errors import UsageError
from sightline.records import NO_COST, Cost
from sightline.whitebox._passes import Nudges, Passes, expanded
from sightline.whitebox._problem import (
    CURVE_POINTS,
    Check,
    Ending,
    Found,
    Problem,
    Progress,
    Watch,
    better,
    no_nudges,
)
from sightline.whitebox.checkpoint import Checkpoint, check_same
from sightline.whitebox.compute import Draws
from sightline.whitebox.model import MultimodalVictim, check_tokens
from sightline.whitebox.objectives import Probed
from sightline.whitebox.optimizers import Slope, chosen, tensors_of
from sightline.whitebox.pixels import as_pixels, unit

START, GUARD = -1, -2
NOISE, SAME = 0.1, 1e-6
"""Deviation of the noise that has to change the loss, and the relative change that counts as none."""


@dataclass(frozen=True, slots=True)
class Plan:
    steps: int
    seed: int
    every: int
    budget: Budget
    keys: tuple[int, ...]


class Run:
    """A run under way. Lists have one entry per artifact; tensors and `state` only those still `active`."""

    def __init__(self, problem: Problem, plan: Plan, watch: Watch) -> None:
        self.problem, self.plan, self.watch = problem, plan, watch
        self.device = problem.constraint.clean.device
        self.judged = problem.judged
        n = len(plan.keys)
        self.step, self.checked = 0, -1
        theta = problem.constraint.start(self.draws(START, keys=plan.keys))
        self.best_theta = theta.clone()
        self.state: Any = problem.optimizer.start(theta)
        self.nudges: Tensor | None = None
        self.spans: dict[Any, tuple[int, int]] = {}
        if problem.rival is not None:
            self.nudges, self.spans = no_nudges(problem, n, self.device)
        self.best: list[Check | None] = [None] * n
        self.done: list[bool] = [False] * n
        self.endings: list[Ending | None] = [None] * n
        self.losses: list[list[tuple[int, float]]] = [[] for _ in range(n)]
        self.checks: list[list[Check]] = [[] for _ in range(n)]
        self.costs: list[Cost] = [NO_COST] * n
        self.pending: list[tuple[int, Tensor]] = []
        self.step_flops = self.check_flops = 0.0
        self._spend(NO_COST)
        self._activate(list(range(n)))

    def begin(self) -> None:
        """Judge the start, and make sure that the loss depends on the picture."""
        looks = Cost(forwards=self.problem.objective.passes * (len(self.views) + 1))
        limit = self.meter.forbids(looks + self.price)
        if limit is not None:
            raise SpentError(
                f"budget.{limit}={getattr(self.plan.budget, limit)} does not pay for one step: two looks at "
                f"the start, a step and a last look take {(looks + self.price).forwards} forward passes"
            )
        self._check_tokens()
        self.check()
        if self.active and not self._depends():
            raise UsageError(
                "the loss does not change with the picture (it is the same for noise): the objective is "
                "constant, or the model does not see the picture"
            )
        if not self.active and all(ending == "broken" for ending in self.endings):
            raise UsageError("the loss is not a finite number at the start: check the targets and the model")
        self.save()

    def too_poor(self, limit: str) -> SpentError:
        """The complaint of a budget whose `limit` was reached before there was a step."""
        spent = self.meter.spent
        return SpentError(
            f"budget.{limit}={getattr(self.plan.budget, limit):g} does not pay for one step: until now "
            f"{spent.forwards} forward passes, {spent.flops:g} FLOPs and {spent.seconds:.3g} s are spent"
        )

    @property
    def price(self) -> Cost:
        """What the next step and a last check will cost an artifact."""
        objective = self.problem.objective
        passes = objective.passes * self.problem.constraint.samples
        step = Cost(forwards=passes, backwards=passes, flops=self.step_flops)
        return step + Cost(forwards=objective.passes * len(self.views), flops=self.check_flops)

    def draws(self, *place: int, keys: Sequence[int] | None = None) -> Draws:
        """The random numbers of the active artifacts at a place of the run."""
        own = tuple(self.plan.keys[i] for i in self.active) if keys is None else tuple(keys)
        return Draws(seed=self.plan.seed, keys=own, place=place, device=self.device)

    def advance(self) -> None:
        """One step of the optimizer, and of the rival when it is due."""
        before = self.meter.flops
        slopes = _Slopes(self)
        optimizer = self.problem.optimizer
        move = optimizer.step(self.state, slopes, self.constraint.project, self.step, self.plan.steps)
        self.state = move.state
        if self.problem.rival is not None and slopes.rise is not None and self.nudges is not None:
            self.nudges = self.problem.rival.moved(self.nudges, slopes.rise)
        if self.step % math.ceil(self.plan.steps / CURVE_POINTS) == 0:
            self.pending.append((self.step, move.loss))
        self.step_flops = self.meter.flops - before
        self.step += 1
        allowed = self.plan.budget.flops
        if self.step == 1 and allowed is not None and self.meter.flops + self.check_flops > allowed:
            raise self.too_poor("flops")

    def check(self) -> None:
        """Judge the active artifacts as files; keep the best, end what is done."""
        before = self.meter.flops
        theta = self.problem.optimizer.proposal(self.state)
        probed = self._look(theta)
        self.check_flops = self.meter.flops - before
        self.checked = self.step
        stop = self.problem.stop
        dones = [False] * len(self.active) if stop is None else stop(probed).tolist()
        shares = probed.forced.float().mean(1).nan_to_num(0).tolist()  # without pairs: 0
        found = [Check(self.step, *pair) for pair in zip(probed.loss.tolist(), shares, strict=True)]
        self._read_curves()
        self._share_time()
        stay = []
        for row, (i, check, done) in enumerate(zip(self.active, found, dones, strict=True)):
            self.checks[i].append(check)
            self._keep_best(i, theta[row], check, done)
            if done or not math.isfinite(check.loss):
                self._end(i, "stopped" if done else "broken")
            else:
                stay.append(row)
        at_work = [check.loss for check in found]
        self.say("", sum(at_work) / len(at_work))
        if len(stay) < len(self.active):
            self.state = chosen(self.state, stay)
            self.nudges = None if self.nudges is None else self.nudges[stay]
            self._activate([self.active[row] for row in stay])

    def save(self) -> None:
        """Hand the run out to be kept; only right after a check, when nothing is pending."""
        if self.watch.keep is not None:
            self.watch.keep(self._kept())

    def finish(self, ending: Ending) -> Found:
        """Judge what has moved since the last check, and gather everything."""
        if self.active and self.checked != self.step:
            self.check()
            self.save()
        for i in self.active:
            self._end(i, ending)
        return Found(
            theta=self.best_theta,
            pixels=tuple(as_pixels(self.problem.constraint.finalize(self.best_theta))),
            best=tuple(best or checks[0] for best, checks in zip(self.best, self.checks, strict=True)),
            endings=tuple(ending or "steps" for ending in self.endings),
            losses=tuple(map(tuple, self.losses)),
            checks=tuple(map(tuple, self.checks)),
            costs=tuple(self.costs),
        )

    def say(self, message: str, loss: float = math.nan) -> None:
        """Report to the outside."""
        at_work, cost = len(self.active), self.meter.spent
        self.watch.report(
            Progress(
                step=self.step, steps=self.plan.steps, loss=loss, at_work=at_work, cost=cost, message=message
            )
        )

    def restore(self, kept: Checkpoint) -> None:
        """Take up a run."""
        numbers, tensors = kept.numbers, kept.tensors
        check_same(kept, self._identity(), "run")
        self.step = self.checked = numbers["step"]
        self.best = [None if best is None else Check(*best) for best in numbers["best"]]
        self.done, self.endings = list(numbers["done"]), list(numbers["endings"])
        self.losses = [[(step, loss) for step, loss in curve] for curve in numbers["losses"]]
        self.checks = [[Check(*check) for check in checks] for checks in numbers["checks"]]
        self.costs = [Cost(**cost) for cost in numbers["costs"]]
        self.step_flops, self.check_flops = numbers["step_flops"], numbers["check_flops"]
        self._spend(Cost(**numbers["spent"]), numbers["piece"], numbers.get("at_once"))
        self.passes.counted = {tuple(shape): flops for shape, flops in numbers.get("counted", ())}
        self.best_theta = tensors["best_theta"].to(self.device)
        fields = {name: tensors[f"state.{name}"].to(self.device) for name in tensors_of(self.state)}
        self.state = type(self.state)(**fields)
        self.nudges = tensors["nudges"].to(self.device) if "nudges" in tensors else None
        self._activate(list(numbers["active"]))

    def _kept(self) -> Checkpoint:
        """The run as it is now, at a check."""
        tensors = {f"state.{name}": value for name, value in tensors_of(self.state).items()}
        if self.nudges is not None:
            tensors["nudges"] = self.nudges
        numbers = {
            "identity": self._identity(),
            "step": self.step,
            "active": self.active,
            "best": [None if best is None else best.plain() for best in self.best],
            "done": self.done,
            "endings": self.endings,
            "losses": self.losses,
            "checks": [[check.plain() for check in checks] for checks in self.checks],
            "costs": [asdict(cost) for cost in self.costs],
            "step_flops": self.step_flops,
            "check_flops": self.check_flops,
            "spent": asdict(self.meter.spent),
            "piece": self.passes.piece,
            "at_once": self.passes.at_once,
            "counted": list(self.passes.counted.items()),
        }
        return Checkpoint({**tensors, "best_theta": self.best_theta.clone()}, _copied(numbers))

    def _identity(self) -> dict[str, Any]:
        """What has to be the same for a run to be taken up; plain values."""
        clean = self.problem.constraint.clean
        return {
            "steps": self.plan.steps,
            "seed": self.plan.seed,
            "keys": list(self.plan.keys),
            "every": self.plan.every,
            "optimizer": repr(self.problem.optimizer),
            "rival": repr(self.problem.rival),
            "constraint": type(self.problem.constraint).__name__,
            "victims": list(self.problem.objective.ids),
            "asked": hashlib.sha256(repr((self.problem.sampler, self.judged)).encode()).hexdigest(),
            "clean": hashlib.sha256(clean.cpu().numpy().tobytes()).hexdigest(),
        }

    def _spend(self, spent: Cost, piece: int | None = None, at_once: int | None = None) -> None:
        """Start counting from `spent`."""
        self.meter = Meter(self.plan.budget, clock=self.watch.clock, spent=spent)
        self.passes = Passes(self.meter, self.say)
        self.passes.piece, self.passes.at_once = piece, at_once
        self.shared_seconds = spent.seconds

    def _activate(self, active: list[int]) -> None:
        """Go on with these artifacts."""
        whole = len(active) == len(self.plan.keys)
        self.active = active
        self.constraint = self.problem.constraint if whole else self.problem.constraint.take(active)
        self.objective = self.problem.objective if whole else self.problem.objective.take(active)
        self.views = tuple(view if whole else view.take(active) for view in self.problem.views) or (
            self.constraint,
        )
        self.trained = expanded(self.objective, self.constraint)
        self.parts = self.trained.parts

    def _look(self, theta: Tensor) -> Probed:
        """What the active artifacts do as files, all views taken together."""
        seen = [self.passes.probe(self.objective, view.finalize(theta), self.judged) for view in self.views]
        return Probed(
            torch.stack([probed.loss for probed in seen]).mean(0),
            torch.cat([probed.forced for probed in seen], dim=1),
        )

    def _keep_best(self, i: int, theta: Tensor, check: Check, done: bool) -> None:
        """Keep a theta that is done where none was, or has a lower probe loss than any before."""
        if better(check, done, self.best[i], self.done[i]):
            self.best[i], self.done[i] = check, done
            self.best_theta[i] = theta

    def _end(self, i: int, ending: Ending) -> None:
        """Note why an artifact ends, and what it has cost."""
        self.endings[i] = ending
        self.costs[i] = replace(self.meter.spent, seconds=self.costs[i].seconds)

    def _share_time(self) -> None:
        """Share the seconds since the last check out among the active artifacts."""
        now = self.meter.spent.seconds
        for i in self.active:
            own = self.costs[i].seconds + (now - self.shared_seconds) / len(self.active)
            self.costs[i] = replace(self.costs[i], seconds=own)
        self.shared_seconds = now

    def _read_curves(self) -> None:
        """Read the training losses since the last check from the device, in one go."""
        if self.pending:
            read = torch.stack([loss for _, loss in self.pending]).tolist()
            for (step, _), row in zip(self.pending, read, strict=True):
                for i, loss in zip(self.active, row, strict=True):
                    self.losses[i].append((step, loss))
        self.pending = []

    def _check_tokens(self) -> None:
        """Make sure that generation will read what the loss reads."""
        levels = self.constraint.finalize(self.problem.optimizer.proposal(self.state))
        for victim in self.problem.objective.victims:
            if isinstance(victim, MultimodalVictim):
                check_tokens(victim, unit(levels[:1]), self.judged)

    def _depends(self) -> bool:
        """Whether noise on the start changes the loss of any artifact."""
        levels = self.constraint.finalize(self.problem.optimizer.proposal(self.state)).float()
        noise = 255 * NOISE * self.draws(GUARD).normal(levels.shape[1:])
        noisy = (levels + noise).round().clamp(0, 255).to(torch.uint8)
        found = self.passes.probe(self.objective, noisy, self.judged).loss.tolist()
        before = [self.checks[i][0].loss for i in self.active]
        return any(abs(a - b) > SAME * max(1.0, abs(b)) for a, b in zip(found, before, strict=True))


class _Slopes:
    """The slopes of one step; every question draws its own random numbers."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pairs = run.problem.sampler.draw(run.step, run.plan.seed)
        self.calls = 0
        self.rise: Tensor | None = None

    @property
    def parts(self) -> int:
        return len(self.run.parts)

    def __call__(self, theta: Tensor, part: int | None = None) -> Slope:
        run, first = self.run, self.calls == 0
        draws = run.draws(run.step, self.calls)
        self.calls += 1
        nudges = None
        if run.problem.rival is not None and run.nudges is not None:
            spans = tuple(run.spans[pair.prompt] for pair in self.pairs)
            nudges = Nudges(run.nudges, spans, free=first and run.problem.rival.due(run.step))
        objective = run.trained if part is None else run.parts[part]
        slope, rise = run.passes.slope(
            (objective, run.constraint), theta, self.pairs, draws, nudges=nudges, part=part
        )
        self.rise = rise if first else self.rise
        if first and run.step == 0 and not bool(slope.grad.any()):
            raise UsageError(
                "the gradient of the loss is exactly zero at the start: either the model gives none, or the "
                "start is an extremum, such as a distance from the clean picture itself; set init='ball'"
            )
        return slope


def _copied(value: Any) -> Any:
    """Plain values that later steps do not change."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list | tuple) else value
