"""Search for text: `search_tokens` changes the tokens of one suffix towards a loss.

A search makes one artifact; what fills a pass are its candidates. A forward pass is one candidate through
one model, however many prompts and targets are packed behind it, or the prefix that all candidates share. A
candidate becomes the next suffix only if the target would read its text as the very tokens that were scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sightline.budget import UNLIMITED, Budget
from sightline.errors import UsageError
from sightline.records import Cost
from sightline.whitebox.candidates import ModelEvaluator
from sightline.whitebox.checkpoint import Checkpoint, CheckpointFile, digest_of
from sightline.whitebox.objectives import RowTerm, Scores, TargetNLL
from sightline.whitebox.samplers import Sampler
from sightline.whitebox.search import PROBE_PAIRS, Callbacks, Check, Search, SearchPlan, StopReason
from sightline.whitebox.stops import Stop
from sightline.whitebox.suffix import KEPT, SuffixReader
from sightline.whitebox.token_optimizers import TokenOptimizer
from sightline.whitebox.victim import Pair


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TextProblem:
    """What is minimized over the tokens of a suffix, and how.

    Attributes:
        readers: the models; all have the same tokens and the same suffix. Their losses are summed.
        optimizer: how.
        sampler: with which pairs at each step; prompts are without the suffix.
        loss: on what a model predicts.
        probe: the pairs on which the best suffix is chosen and success is judged, always the same; None
            takes the first 16 of the sampler's pool.
        stop: when the search is done; None goes on to the end.

    Raises:
        UsageError: without models or pairs, or for models that differ in their suffix.
    """

    readers: tuple[SuffixReader, ...]
    optimizer: TokenOptimizer
    sampler: Sampler
    loss: RowTerm = field(default_factory=TargetNLL)
    probe: tuple[Pair, ...] | None = None
    stop: Stop | None = None

    def __post_init__(self) -> None:
        if not self.readers or not self.probe_pairs:
            raise UsageError("a search for a text needs at least one model and one pair of prompt and target")
        if any(reader.suffix != self.readers[0].suffix for reader in self.readers):
            raise UsageError("models that share a suffix need the same constraint: give all readers one")

    @property
    def probe_pairs(self) -> tuple[Pair, ...]:
        """The pairs of the probe batch."""
        return self.sampler.pool[:PROBE_PAIRS] if self.probe is None else self.probe


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSearchResult:
    """The result of a search for text.

    Attributes:
        ids: the best suffix's tokens.
        text: how they read; `TokenSuffix.joined` puts it to a request.
        best: the check at which it was found.
        stop_reason: why the search ended.
        losses: loss by step on the step's pairs, at most 200 points.
        checks: probe loss and success by step.
        cost: of the search.
    """

    ids: tuple[int, ...]
    text: str
    best: Check
    stop_reason: StopReason
    losses: tuple[tuple[int, float], ...]
    checks: tuple[Check, ...]
    cost: Cost

    @classmethod
    def of(cls, search: Search, reader: SuffixReader, ids: Tensor) -> TokenSearchResult:
        """The result of a search that has ended, given the best tokens."""
        return cls(
            ids=tuple(ids.tolist()),
            text=reader.text(ids.tolist()),
            best=search.best[0] or search.checks[0][0],
            stop_reason=search.stop_reasons[0] or "steps",
            losses=tuple(search.losses[0]),
            checks=tuple(search.checks[0]),
            cost=search.costs[0],
        )


class TokenSearch(Search):
    """A suffix under way.

    Raises:
        UsageError: for a start that cannot be read back, or models with other tokens.
    """

    def __init__(self, problem: TextProblem, plan: SearchPlan, callbacks: Callbacks) -> None:
        super().__init__(plan, callbacks, problem.stop)
        self.problem, self.reader = problem, problem.readers[0]
        self.evaluator = ModelEvaluator(
            problem.readers, problem.loss, problem.probe_pairs, self.meter, self.say
        )
        prompt = problem.probe_pairs[0].prompt
        starts = [reader.start(prompt, plan.seed + plan.keys[0]) for reader in problem.readers]
        self.ids = self.best_ids = starts[0]
        self._scores: Scores | None = None
        if any(not torch.equal(self.ids, start) for start in starts):
            raise UsageError(
                "models that share a suffix have to read it as the same tokens; "
                f"{', '.join(reader.id for reader in problem.readers)} do not"
            )

    @property
    def price(self) -> Cost:
        models = len(self.problem.readers)
        forwards = self.problem.optimizer.forwards(self.reader.suffix.length)
        most = self.evaluator.max_cost
        flops = forwards * most["rows"] + most["gradient"] + 2 * most["prefill"] + most["rows"]
        return Cost(forwards=(forwards + 3) * models, backwards=models, flops=flops * models)

    @property
    def check_due_flops(self) -> float:
        models = 0 if self.evaluator.pairs == self.problem.probe_pairs else len(self.problem.readers)
        return self.evaluator.max_cost["rows"] * models

    def move(self) -> Tensor:
        self.evaluator.pairs = self.problem.sampler.draw(self.step, self.plan.seed)
        step = self.problem.optimizer.step(self.evaluator, self.ids, self.step, self.rng(self.step))
        self.ids, self._scores = step.ids, step.scores
        return step.scores.loss[:1]

    def moved(self) -> None:
        """Where a step's pairs are those of the probe, it was a check as well."""
        if self._scores is not None and self.evaluator.pairs == self.problem.probe_pairs:
            self.judge(self._scores)

    def probe(self) -> Scores:
        self.evaluator.pairs = self.problem.probe_pairs
        return self.evaluator.score(self.ids[None])

    def keep(self, artifact: int, row: int) -> None:  # noqa: ARG002
        self.best_ids = self.ids

    def identity(self) -> dict[str, Any]:
        problem = self.problem
        return {
            "optimizer": repr(problem.optimizer),
            "loss": repr(problem.loss),
            "suffix": repr(self.reader.suffix),
            "models": [reader.id for reader in problem.readers],
            "asked": digest_of(problem.sampler, problem.probe_pairs),
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return {"ids": self.ids.clone(), "best_ids": self.best_ids.clone()}, self.evaluator.state()

    def set_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        self.ids, self.best_ids = (tensors[name].cpu() for name in ("ids", "best_ids"))
        self.evaluator.set_state(self.meter, numbers)
        if self.active:
            self._prefill_after_resume()

    def _prefill_after_resume(self) -> None:
        """Run again what stands before the suffix, as far as it was cached: it was paid for before."""
        probe = self.problem.probe_pairs
        used = [probe]
        for step in range(self.step):
            used.append(self.problem.sampler.draw(step, self.plan.seed))
            used += [probe] if (step + 1) % self.plan.every == 0 else []
        latest = _last_of_each(used)[::-1]
        for reader in self.problem.readers:
            cached = list[tuple[Pair, ...]]()
            for pairs in latest:
                if len(cached) == KEPT:
                    break
                cached += [pairs] if reader.needs_prefill(pairs) else []
                reader.prefill(pairs)
            for pairs in reversed(cached):  # in the order of their use
                reader.prefill(pairs)


def search_tokens(
    problem: TextProblem,
    *,
    steps: int,
    seed: int = 0,
    key: int = 0,
    every: int = 25,
    budget: Budget = UNLIMITED,
    callbacks: Callbacks | None = None,
    resume: Checkpoint | None = None,
    checkpoint_file: CheckpointFile | None = None,
) -> TokenSearchResult:
    """Minimize the loss over the tokens of a suffix.

    Args:
        problem: what, over what, how.
        steps: of the optimizer.
        seed: of all random numbers and of the sampler.
        key: names the artifact's random numbers.
        every: steps from check to check. A check costs one forward pass, and none where every step sees the
            pairs of the probe: then each step is one, and each `every`-th is put on record.
        budget: of the artifact; never exceeded, but that the first step's FLOPs are not known before.
        callbacks: progress, saving, clock.
        resume: a search of the same settings, which goes on where it was saved.
        checkpoint_file: saves the search and resumes it by itself; another search's state is overwritten.

    Raises:
        UsageError: for settings out of range, a budget too small for one step, a start that cannot be read
            back, a loss without gradient to the text, one candidate too large for memory, or a search of
            other settings.
    """
    plan = SearchPlan(steps, seed, every, budget, (key,))
    search = TokenSearch(problem, plan, callbacks or Callbacks())
    search.run(resume, checkpoint_file)
    return TokenSearchResult.of(search, search.reader, search.best_ids)


def _last_of_each(used: Sequence[tuple[Pair, ...]]) -> list[tuple[Pair, ...]]:
    """Pairs with the same prompts once, where they were used last."""
    last = {tuple(pair.prompt for pair in pairs): place for place, pairs in enumerate(used)}
    return [used[place] for place in sorted(last.values())]
