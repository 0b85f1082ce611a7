"""A search under way: the suffix, the best one so far, and how to save all of it."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch

from sightline.budget import Budget, Meter, SpentError
from sightline.errors import UsageError
from sightline.records import NO_COST, Cost
from sightline.whitebox._look import Looks
from sightline.whitebox._problem import CURVE_POINTS, Check, Ending, Progress, Watch, better
from sightline.whitebox._text_problem import FoundText, TextProblem
from sightline.whitebox.checkpoint import Checkpoint, check_same
from sightline.whitebox.compute import Draws
from sightline.whitebox.objectives import Probed
from sightline.whitebox.suffix import KEPT
from sightline.whitebox.token_optimizers import Scores
from sightline.whitebox.victim import Pair


@dataclass(frozen=True, slots=True)
class TextPlan:
    steps: int
    seed: int
    every: int
    budget: Budget
    key: int


class Search:
    """A search under way.

    Raises:
        UsageError: for a start that cannot be read back, or models with other tokens.
    """

    def __init__(self, problem: TextProblem, plan: TextPlan, watch: Watch) -> None:
        self.problem, self.plan, self.watch = problem, plan, watch
        self.reader = problem.readers[0]
        prompt = problem.judged[0].prompt
        starts = [reader.start(prompt, plan.seed + plan.key) for reader in problem.readers]
        self.ids = self.best_ids = starts[0]
        if any(not torch.equal(self.ids, start) for start in starts):
            raise UsageError(
                "models that share a suffix have to read it as the same tokens; "
                f"{', '.join(reader.id for reader in problem.readers)} do not"
            )
        self.step, self.checked = 0, -1
        self.best: Check | None = None
        self.last = Check(-1, math.nan, 0.0)
        self.done = False
        self.ending: Ending | None = None
        self.losses: list[tuple[int, float]] = []
        self.checks: list[Check] = []
        self._spend(NO_COST)

    @property
    def price(self) -> Cost:
        """What the next step and a last check will cost at most."""
        models = len(self.problem.readers)
        forwards = self.problem.optimizer.forwards(self.reader.suffix.length)
        dear = self.looks.dearest
        flops = forwards * dear["rows"] + dear["slope"] + 2 * dear["begin"] + dear["rows"]
        return Cost(forwards=(forwards + 3) * models, backwards=models, flops=flops * models)

    def begin(self) -> None:
        """Judge the start."""
        self._affordable()
        self.check()
        if self.best is None:
            raise UsageError("the loss is not a finite number at the start: check the targets and the model")
        if self.ending is None:
            self._affordable()
        self.save()

    def _affordable(self) -> None:
        limit = self.meter.forbids(self.price)
        if limit is not None:
            raise SpentError(
                f"budget.{limit}={getattr(self.plan.budget, limit):g} does not pay for one step: it takes "
                f"up to {self.price.forwards} forward passes and {self.price.flops:g} FLOPs"
            )

    def advance(self) -> None:
        """One step of the optimizer; where its pairs are those of the probe, that was a check as well."""
        pairs = self.problem.sampler.draw(self.step, self.plan.seed)
        self.looks.pairs = pairs
        draws = Draws(seed=self.plan.seed, keys=(self.plan.key,), place=(self.step,))
        flip = self.problem.optimizer.step(self.looks, self.ids, self.step, draws)
        self.ids = flip.ids
        if self.step % math.ceil(self.plan.steps / CURVE_POINTS) == 0:
            self.losses.append((self.step, float(flip.scores.loss[0])))
        self.step += 1
        if pairs == self.problem.judged:
            self._judge(flip.scores)

    def check(self) -> None:
        """Judge the suffix on the probe batch."""
        self.looks.pairs = self.problem.judged
        self._judge(self.looks.score(self.ids[None]))

    def save(self) -> None:
        """Hand the search out to be kept; only right after a check."""
        if self.watch.keep is not None:
            self.watch.keep(self._kept())

    def finish(self, ending: Ending) -> FoundText:
        """Judge what has moved since the last check, and gather everything."""
        if self.ending is None and self.checked != self.step:
            self.check()
        self._note()
        self.save()
        best = self.best or self.checks[0]
        ids = tuple(self.best_ids.tolist())
        return FoundText(
            ids=ids,
            text=self.reader.text(ids),
            best=best,
            ending=self.ending or ending,
            losses=tuple(self.losses),
            checks=tuple(self.checks),
            cost=self.meter.spent,
        )

    def say(self, message: str, loss: float = math.nan) -> None:
        """Report to the outside."""
        at_work = int(self.ending is None)
        self.watch.report(
            Progress(
                step=self.step,
                steps=self.plan.steps,
                loss=loss,
                at_work=at_work,
                cost=self.meter.spent,
                message=message,
            )
        )

    def restore(self, kept: Checkpoint) -> None:
        """Take up a search.

        Raises:
            OtherRunError: for the state of a search of other settings.
        """
        numbers, tensors = kept.numbers, kept.tensors
        check_same(kept, self._identity(), "search")
        self.step = self.checked = numbers["step"]
        self.best = None if numbers["best"] is None else Check(*numbers["best"])
        self.done, self.ending = numbers["done"], numbers["ending"]
        self.losses = [(step, loss) for step, loss in numbers["losses"]]
        self.checks = [Check(*check) for check in numbers["checks"]]
        self.last = self.checks[-1]
        self.ids, self.best_ids = (tensors[name].cpu() for name in ("ids", "best_ids"))
        self._warm()
        self._spend(Cost(**numbers["spent"]), numbers["piece"], numbers["dearest"])

    def _warm(self) -> None:
        """Run again what stands before the suffix, as far as readers held it: it was paid for before."""
        if self.ending is not None:
            return
        judged = self.problem.judged
        met = [judged]
        for step in range(self.step):
            met.append(self.problem.sampler.draw(step, self.plan.seed))
            met += [judged] if (step + 1) % self.plan.every == 0 else []
        latest = _last_of_each(met)[::-1]
        for reader in self.problem.readers:
            held = list[tuple[Pair, ...]]()
            for pairs in latest:
                if len(held) == KEPT:
                    break
                held += [pairs] if reader.needs_prefill(pairs) else []
                reader.prefill(pairs)
            for pairs in reversed(held):  # in the order of their use
                reader.prefill(pairs)

    def _judge(self, scores: Scores) -> None:
        """Keep the suffix if it is the best until now, and end if it is done."""
        loss, share = float(scores.loss[0]), float(scores.forced.float().mean())
        stop = self.problem.stop
        done = stop is not None and bool(stop(Probed(scores.loss, scores.forced))[0])
        self.checked = self.step
        self.last = Check(self.step, loss, share)
        if better(self.last, done, self.best, self.done):
            self.best, self.done, self.best_ids = self.last, done, self.ids
        if done or not math.isfinite(loss):
            self.ending = "stopped" if done else "broken"
        if self.step % self.plan.every == 0 or self.ending is not None:
            self._note()

    def _note(self) -> None:
        """Put the last look on record."""
        if not self.checks or self.checks[-1].step != self.last.step:
            self.checks.append(self.last)
            self.say("", self.last.loss)

    def _spend(self, spent: Cost, piece: int | None = None, dearest: dict[str, float] | None = None) -> None:
        """Start counting from `spent`."""
        self.meter = Meter(self.plan.budget, clock=self.watch.clock, spent=spent)
        self.looks = Looks(self.problem, self.meter, self.say)
        self.looks.piece = piece
        self.looks.dearest |= dearest or {}

    def _kept(self) -> Checkpoint:
        numbers = {
            "identity": self._identity(),
            "step": self.step,
            "best": None if self.best is None else self.best.plain(),
            "done": self.done,
            "ending": self.ending,
            "losses": [list(point) for point in self.losses],
            "checks": [check.plain() for check in self.checks],
            "spent": asdict(self.meter.spent),
            "piece": self.looks.piece,
            "dearest": dict(self.looks.dearest),
        }
        return Checkpoint({"ids": self.ids.clone(), "best_ids": self.best_ids.clone()}, numbers)

    def _identity(self) -> dict[str, Any]:
        """What has to be the same for a search to be taken up; plain values."""
        problem = self.problem
        asked = hashlib.sha256(repr((problem.sampler, problem.judged)).encode()).hexdigest()
        return {
            "steps": self.plan.steps,
            "seed": self.plan.seed,
            "key": self.plan.key,
            "every": self.plan.every,
            "optimizer": repr(problem.optimizer),
            "loss": repr(problem.loss),
            "suffix": repr(self.reader.suffix),
            "models": [reader.id for reader in problem.readers],
            "asked": asked,
        }


def _last_of_each(met: list[tuple[Pair, ...]]) -> list[tuple[Pair, ...]]:
    """Pairs with the same prompts once, where they were met last."""
    last = {tuple(pair.prompt for pair in pairs): place for place, pairs in enumerate(met)}
    return [met[place] for place in sorted(last.values())]
