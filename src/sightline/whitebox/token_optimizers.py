"""Optimizers of tokens: which candidates a step tries, and which one it goes on with.

`GCG` (Zou et al. 2023): tokens of steepest descent at all places, drawn at random, the best one taken.
`HotFlip` (Ebrahimi et al. 2018; Wallace et al. 2019): one place after the other, kept only if it is better.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from sightline.errors import UsageError, nearest, require
from sightline.whitebox.compute import RngStream
from sightline.whitebox.objectives import Scores

Places = Literal["even", "random"]
"""Which places of the text a step's candidates change: all as often, or any."""


class TokenStep(NamedTuple):
    """Where a step ends: tokens (length,) and their scores (n = 1)."""

    ids: Tensor
    scores: Scores


class CandidateEvaluator(Protocol):
    """Scores candidates for an optimizer, which sees nothing else. Candidates and masks are on the CPU."""

    def gradient(self, ids: Tensor) -> tuple[Scores, Tensor]:
        """Scores of one candidate, and the gradient of each prompt's loss to one-hot tokens.

        The gradient is float32, (models x prompts, length, vocabulary).
        """
        ...

    def score(self, candidates: Tensor, unchanged: int = 0) -> Scores:
        """Scores of candidates (n, length) whose first tokens are those of the last gradient's candidate."""
        ...

    def allowed(self) -> Tensor:
        """Which tokens may be used, bool (vocabulary,)."""
        ...

    def fits(self, ids: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        """Whether a token in a place of a candidate survives as text beside its neighbors, bool (n,)."""
        ...

    def reads(self, ids: Tensor) -> bool:
        """Whether the target reads a candidate's text as just these tokens."""
        ...


class TokenOptimizer(Protocol):
    """A rule that changes tokens; the base of an optimizer of one's own."""

    def forwards(self, length: int) -> int:
        """Forward passes of a step at most, through each model."""
        ...

    def step(self, evaluator: CandidateEvaluator, ids: Tensor, step: int, rng: RngStream, /) -> TokenStep:
        """Step number `step`, from 0. Asks for the gradient exactly once."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class GCG:
    """Greedy coordinate gradient.

    The gradient of every prompt and model is scaled to length 1 in each place, then summed. Candidates that
    do not survive as text, repeat each other or change nothing are not tried. The best one is taken even if
    it is worse than what there was.

    Attributes:
        candidates: drawn at a step.
        topk: tokens per place to draw from.
        places: which places they change.
        block: neighboring places whose candidates are run together, sharing what stands before; fewer
            tokens, more passes. 0 chooses: a quarter of the text.
    """

    candidates: int = 512
    topk: int = 256
    places: Places = "even"
    block: int = 0

    def __post_init__(self) -> None:
        require(self.candidates >= 1, "candidates", self.candidates, "at least 1")
        require(self.topk >= 1, "topk", self.topk, "at least 1")
        require(self.block >= 0, "block", self.block, "at least 1 place, or 0 to choose")
        if self.places not in get_args(Places):
            raise UsageError(nearest(self.places, get_args(Places), "way to choose places"))

    def forwards(self, length: int) -> int:  # noqa: ARG002
        return 1 + self.candidates

    def step(self, evaluator: CandidateEvaluator, ids: Tensor, step: int, rng: RngStream) -> TokenStep:  # noqa: ARG002
        here, grads = evaluator.gradient(ids)
        best = steepest(grads, evaluator.allowed(), self.topk)
        places, tokens = self._drawn(best, rng)
        good = (tokens != ids[places]) & evaluator.fits(ids, places, tokens)
        candidates = with_tokens(ids, places[good], tokens[good])
        if not len(candidates):
            return TokenStep(ids, here)
        scores = in_blocks(evaluator, candidates, places[good], self.block or math.ceil(len(ids) / 4))
        for row in scores.loss.argsort(stable=True).tolist():
            if evaluator.reads(candidates[row]):
                return TokenStep(
                    candidates[row],
                    Scores(scores.loss[row : row + 1], scores.target_is_greedy[row : row + 1]),
                )
        return TokenStep(ids, here)

    def _drawn(self, best: Tensor, rng: RngStream) -> tuple[Tensor, Tensor]:
        """Places (n,), not decreasing, and a token for each; none twice."""
        length, kept = best.shape
        where, which = (rng.uniform((2, self.candidates))[0]).cpu()
        if self.places == "even":
            places = torch.arange(self.candidates) * length // self.candidates
        else:
            places = (where * length).long()
        tokens = best[places, (which * kept).long()]
        both = torch.unique(torch.stack([places, tokens]), dim=1)
        return both[0], both[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class HotFlip:
    """One place at each step, in turn: the tokens with the best first-order change are tried.

    Attributes:
        candidates: tried at a step, of those that survive as text beside their neighbors.
    """

    candidates: int = 50

    def __post_init__(self) -> None:
        require(self.candidates >= 1, "candidates", self.candidates, "at least 1")

    def forwards(self, length: int) -> int:  # noqa: ARG002
        return 1 + self.candidates

    def step(self, evaluator: CandidateEvaluator, ids: Tensor, step: int, rng: RngStream) -> TokenStep:  # noqa: ARG002
        here, grads = evaluator.gradient(ids)
        place = step % len(ids)
        rising = grads.sum(0)[place].cpu()
        allowed = evaluator.allowed().clone()
        allowed[ids[place]] = False
        order = rising.masked_fill(~allowed, math.inf).argsort(stable=True)[: int(allowed.sum())]
        tokens = self._fitting(evaluator, ids, place, order)
        if not len(tokens):
            return TokenStep(ids, here)
        candidates = with_tokens(ids, torch.full_like(tokens, place), tokens)
        scores = evaluator.score(candidates, place)
        for row in scores.loss.argsort(stable=True).tolist():
            if scores.loss[row] >= here.loss[0]:
                break
            if evaluator.reads(candidates[row]):
                return TokenStep(
                    candidates[row],
                    Scores(scores.loss[row : row + 1], scores.target_is_greedy[row : row + 1]),
                )
        return TokenStep(ids, here)

    def _fitting(self, evaluator: CandidateEvaluator, ids: Tensor, place: int, order: Tensor) -> Tensor:
        """The first of the tokens that survive as text beside their neighbors."""
        found = order[:0]
        for some in order.split(2 * self.candidates):
            found = torch.cat([found, some[evaluator.fits(ids, torch.full_like(some, place), some)]])
            if len(found) >= self.candidates:
                break
        return found[: self.candidates]


def steepest(grads: Tensor, allowed: Tensor, topk: int) -> Tensor:
    """The allowed tokens along which the loss falls fastest in each place, best first, (length, topk).

    Args:
        grads: (n, length, vocabulary), one per prompt and model; each counts the same in every place.
        allowed: bool (vocabulary,).
        topk: tokens per place.
    """
    largest = grads.abs().amax(2, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    summed = torch.nn.functional.normalize(grads / largest, dim=2).sum(0).cpu()
    summed = summed.masked_fill(~allowed, math.inf)
    found: Tensor = summed.topk(min(topk, int(allowed.sum())), dim=1, largest=False).indices
    return found


def with_tokens(ids: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
    """Fillings (n, length) that differ from one in a place each."""
    found = ids.repeat(len(places), 1)
    found[torch.arange(len(places)), places] = tokens
    return found


def in_blocks(evaluator: CandidateEvaluator, candidates: Tensor, places: Tensor, block: int) -> Scores:
    """Scores of candidates whose changed places do not decrease, run block by block of places."""
    number = places // block
    found = [evaluator.score(candidates[number == at], at * block) for at in number.unique().tolist()]
    return Scores(
        torch.cat([some.loss for some in found]), torch.cat([some.target_is_greedy for some in found])
    )
