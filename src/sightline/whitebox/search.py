"""The state of a search, once for all kinds: best so far, checks, trace, budget, checkpoint and resume.

A search moves one or more artifacts: the pictures of a batch (`image_search`), the tokens of a suffix
(`token_search`), the embeddings of a text (`embedding_search`). Each of these says how one step moves them
and what they score on the probe batch; the rest is here. What is kept is what did best on the probe batch, in
the form in which it is sent (a rounded picture, a text that reads back), never a training loss. Values are
read from the device only at checks. A search that was interrupted goes on from its last checkpoint as if
nothing had happened.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from sightline.budget import Budget, Clock, Meter, SpentError
from sightline.errors import UsageError, require
from sightline.records import NO_COST, Cost, SearchProgress, no_progress
from sightline.whitebox.checkpoint import FORMAT, Checkpoint, CheckpointFile, check_same, plain
from sightline.whitebox.compute import RngStream
from sightline.whitebox.objectives import Scores
from sightline.whitebox.stops import Stop

#: pairs of the sampler's pool that are the probe batch, if none is given
PROBE_PAIRS = 16
#: points of a loss curve, at most
CURVE_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Callbacks:
    """What a search calls.

    Attributes:
        report: called at every check, and with messages for the user.
        save: called with the state of the search at every check; None saves nothing.
        clock: seconds from any origin.
    """

    report: Callable[[SearchProgress], None] = no_progress
    save: Callable[[Checkpoint], None] | None = None
    clock: Clock = time.monotonic


@dataclass(frozen=True, slots=True)
class Check:
    """Scores of an artifact on the probe batch: its loss, and the share of targets greedy decoding writes."""

    step: int
    loss: float
    greedy_share: float


StopReason = Literal["steps", "stopped", "budget", "broken"]
"""All steps done; done before; budget spent; the loss was no longer a finite number."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """Settings of a search that are not part of its problem; `keys` name the artifacts' random numbers.

    Raises:
        UsageError: for settings out of range.
    """

    steps: int
    seed: int
    every: int
    budget: Budget
    keys: tuple[int, ...]

    def __post_init__(self) -> None:
        require(self.steps >= 1, "steps", self.steps, "at least 1")
        require(self.every >= 1, "every", self.every, "at least 1 step from check to check")


class Search(ABC):
    """A search under way. Lists have one entry per artifact; tensors hold only those still `active`."""

    device: Any = "cpu"

    def __init__(self, plan: SearchPlan, callbacks: Callbacks, stop: Stop | None = None) -> None:
        n = len(plan.keys)
        self.plan, self.callbacks, self.stop = plan, callbacks, stop
        self.step, self.checked, self.saved = 0, -1, -1
        self.active = list(range(n))
        self.best: list[Check | None] = [None] * n
        self.done: list[bool] = [False] * n
        self.stop_reasons: list[StopReason | None] = [None] * n
        self.losses: list[list[tuple[int, float]]] = [[] for _ in range(n)]
        self.checks: list[list[Check]] = [[] for _ in range(n)]
        self.costs: list[Cost] = [NO_COST] * n
        self.step_flops = self.check_flops = 0.0
        self._latest: dict[int, Check] = {}
        self._shared_seconds = 0.0
        self._unread: list[tuple[int, Tensor]] = []
        self._count_from(NO_COST)

    @property
    @abstractmethod
    def price(self) -> Cost:
        """What the next step and a last check cost an artifact at most."""

    @property
    def start_price(self) -> Cost:
        """What `begin` costs an artifact, as far as that is known before."""
        return NO_COST

    @property
    def check_due_flops(self) -> float:
        """What the check costs that is due after a step."""
        return self.check_flops

    @property
    def exhausted(self) -> bool:
        """Whether all steps were made."""
        return self.step >= self.plan.steps

    @abstractmethod
    def move(self) -> Tensor:
        """One step of all active artifacts; their training losses (active,)."""

    def moved(self) -> None:
        """Called after a step was counted."""

    @abstractmethod
    def probe(self) -> Scores:
        """Scores of the active artifacts on the probe batch, in the form in which they are sent."""

    @abstractmethod
    def keep(self, artifact: int, row: int) -> None:
        """Keep the point of an artifact, `row` of the active ones, as its best."""

    def verify_prompts(self) -> None:
        """Raise for prompts that a model would read otherwise; called before the first check."""

    def verify_start(self) -> None:
        """Raise for a start that no search can improve; called after the first check."""

    def select(self, rows: Sequence[int]) -> None:
        """Go on with some of the active artifacts."""

    @abstractmethod
    def identity(self) -> Mapping[str, Any]:
        """Settings of the problem that have to be the same for a search to be resumed; plain values."""

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Own tensors and plain values, for a checkpoint."""

    @abstractmethod
    def set_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Take over what `state` gave."""

    # What is the same for all.

    def run(self, resume: Checkpoint | None = None, file: CheckpointFile | None = None) -> None:
        """Search until all artifacts are done, or steps or budget end.

        Args:
            resume: of a search with the same settings.
            file: where the search is saved and resumed from; another search's state is overwritten.
        """
        if resume is not None:
            self.restore(resume)
        elif file is not None:
            file.resume(self, self.device)
        if file is not None:
            self.callbacks = replace(self.callbacks, save=file.save)
        if self.checked < 0:
            self._begin()
        limit = None
        while self.active and not self.exhausted and limit is None:
            limit = self.meter.forbids(self.price)
            if limit is not None and self.step == 0:
                raise self._budget_too_small(limit, self.price)
            if limit is None:
                self._advance()
                if self.check_is_due:
                    if self.checked != self.step:
                        self.check()
                    self.save()
        self._finish("steps" if limit is None else "budget")

    @property
    def check_is_due(self) -> bool:
        """Whether this step ends with a check and a checkpoint."""
        return self.step % self.plan.every == 0

    def check(self) -> None:
        """Score the active artifacts on the probe batch, keep the best, end what is done."""
        before = self.meter.flops
        probed = self.probe()
        self.check_flops = self.meter.flops - before
        self.judge(probed)

    def judge(self, probed: Scores) -> None:
        """Keep what did better than before, and end what is done or broken."""
        self.checked = self.step
        dones = [False] * len(self.active) if self.stop is None else self.stop(probed).tolist()
        shares = probed.target_is_greedy.float().mean(1).nan_to_num(0).tolist()  # without pairs: 0
        found = [Check(self.step, *pair) for pair in zip(probed.loss.tolist(), shares, strict=True)]
        self._read_losses()
        self._share_time()
        rows = []
        for row, (i, check, done) in enumerate(zip(self.active, found, dones, strict=True)):
            if self.improves(i, check, done):
                self.best[i], self.done[i] = check, done
                self.keep(i, row)
            if done or not math.isfinite(check.loss):
                self.end(i, "stopped" if done else "broken")
            else:
                rows.append(row)
        self._latest = dict(zip(self.active, found, strict=True))
        if self.step % self.plan.every == 0 or len(rows) < len(self.active):
            self._record()
        if len(rows) < len(self.active):
            self.select(rows)
            self.active = [self.active[row] for row in rows]

    def improves(self, artifact: int, check: Check, done: bool) -> bool:
        """Whether a check is better: done where the best one is not, or else of a lower, finite loss."""
        best = self.best[artifact]
        lower = math.isfinite(check.loss) and (best is None or check.loss < best.loss)
        return done > self.done[artifact] or (lower and done == self.done[artifact])

    def end(self, artifact: int, reason: StopReason) -> None:
        """Note why an artifact ends, and what it has cost."""
        self.stop_reasons[artifact] = reason
        self.costs[artifact] = replace(self.meter.spent, seconds=self.costs[artifact].seconds)

    def say(self, message: str, loss: float = math.nan) -> None:
        """Report progress."""
        self.callbacks.report(
            SearchProgress(
                step=self.step,
                steps=self.plan.steps,
                loss=loss,
                at_work=sum(self.stop_reasons[i] is None for i in self.active),
                cost=self.meter.spent,
                message=message,
            )
        )

    def rng(self, *place: int) -> RngStream:
        """The random numbers of the active artifacts at a place of the search."""
        keys = tuple(self.plan.keys[i] for i in self.active)
        return RngStream(seed=self.plan.seed, keys=keys, place=place, device=self.device)

    def save(self) -> None:
        """Save the search; only right after a check, when nothing is unread."""
        if self.callbacks.save is not None and self.saved != self.step:
            self.callbacks.save(self._checkpoint())
        self.saved = self.step

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint.

        Raises:
            OtherRunError: for that of a search with other settings; nothing is changed then.
        """
        check_same(checkpoint, self._identity())
        numbers = checkpoint.numbers
        self.step = self.checked = self.saved = numbers["step"]
        self.active = list(numbers["active"])
        self.best = [None if best is None else Check(*best) for best in numbers["best"]]
        self.done, self.stop_reasons = list(numbers["done"]), list(numbers["stop_reasons"])
        self.losses = [[(step, loss) for step, loss in curve] for curve in numbers["losses"]]
        self.checks = [[Check(*check) for check in checks] for checks in numbers["checks"]]
        self.costs = [Cost(**cost) for cost in numbers["costs"]]
        self.step_flops, self.check_flops = numbers["step_flops"], numbers["check_flops"]
        self._latest = {i: self.checks[i][-1] for i in self.active}
        self._count_from(Cost(**numbers["spent"]))
        self.set_state(checkpoint.tensors, numbers)

    def _begin(self) -> None:
        """Check the start."""
        price = self.start_price + self.price
        limit = self.meter.forbids(price)
        if limit is not None:
            raise self._budget_too_small(limit, price)
        self.verify_prompts()
        self.check()
        limit = self.plan.budget.exceeded(replace(self.meter.spent, seconds=0.0))
        if limit is not None:  # what the start costs in FLOPs is known only now
            raise self._budget_too_small(limit, price)
        self.verify_start()
        if all(reason == "broken" for reason in self.stop_reasons):
            raise UsageError("the loss is not a finite number at the start: check the targets and the model")
        self.save()

    def _advance(self) -> None:
        """One step, counted; where the first one costs more FLOPs than there are, that is an error."""
        before = self.meter.flops
        loss = self.move()
        if self.step % math.ceil(self.plan.steps / CURVE_POINTS) == 0:
            self._unread.append((self.step, loss))
        self.step_flops = self.meter.flops - before
        self.step += 1
        allowed = self.plan.budget.flops
        if self.step == 1 and allowed is not None and self.meter.flops + self.check_due_flops > allowed:
            raise self._budget_too_small("flops", self.price)
        self.moved()

    def _finish(self, reason: StopReason) -> None:
        """Check what has moved since the last check, and end everything."""
        if self.active and self.checked != self.step:
            self.check()
        self._read_losses()
        self._record()
        self.save()
        self._share_time()
        for i in self.active:
            self.end(i, reason)

    def _record(self) -> None:
        """Put the last check on record, unless it is there."""
        recorded = {i: self.checks[i][-1].step if self.checks[i] else -1 for i in self._latest}
        new = [i for i, check in self._latest.items() if recorded[i] < check.step]
        for i in new:
            self.checks[i].append(self._latest[i])
        if new:
            losses = [check.loss for check in self._latest.values()]
            self.say("", sum(losses) / len(losses))

    def _read_losses(self) -> None:
        """Read the training losses since the last check from the device, in one go."""
        if self._unread:
            read = torch.stack([loss for _, loss in self._unread]).tolist()
            for (step, _), row in zip(self._unread, read, strict=True):
                for i, loss in zip(self.active, row, strict=True):
                    self.losses[i].append((step, loss))
        self._unread = []

    def _share_time(self) -> None:
        """Share the seconds since the last check out among the active artifacts."""
        now = self.meter.spent.seconds
        for i in self.active:
            own = self.costs[i].seconds + (now - self._shared_seconds) / len(self.active)
            self.costs[i] = replace(self.costs[i], seconds=own)
        self._shared_seconds = now

    def _count_from(self, spent: Cost) -> None:
        """Start counting from `spent`."""
        self.meter = Meter(self.plan.budget, clock=self.callbacks.clock, spent=spent)
        self._shared_seconds = spent.seconds

    def _budget_too_small(self, limit: str, price: Cost) -> SpentError:
        spent = self.meter.spent
        return SpentError(
            f"budget.{limit}={getattr(self.plan.budget, limit):g} does not pay for one step: with the checks "
            f"at start and end it takes up to {price.forwards} forward passes and {price.flops:g} FLOPs; "
            f"until now {spent.forwards} forward passes, {spent.flops:g} FLOPs and {spent.seconds:.3g} s "
            "are spent"
        )

    def _identity(self) -> dict[str, Any]:
        plan = self.plan
        own = {"format": FORMAT, "steps": plan.steps, "seed": plan.seed, "keys": list(plan.keys)}
        return {**own, "every": plan.every, **self.identity()}

    def _checkpoint(self) -> Checkpoint:
        """The search as it is now, at a check."""
        tensors, numbers = self.state()
        numbers |= {
            "identity": self._identity(),
            "step": self.step,
            "active": self.active,
            "best": [None if best is None else astuple(best) for best in self.best],
            "done": self.done,
            "stop_reasons": self.stop_reasons,
            "losses": self.losses,
            "checks": [list(map(astuple, checks)) for checks in self.checks],
            "costs": [asdict(cost) for cost in self.costs],
            "step_flops": self.step_flops,
            "check_flops": self.check_flops,
            "spent": asdict(self.meter.spent),
        }
        return Checkpoint(tensors, plain(numbers))
