"""Rewrite a whole text by moving its embeddings and reading the nearest tokens (T-PGD's kind of search).

    delta <- delta + rate * gradient / |gradient|,  in places that may change, without projection
    text  <- in each place the token whose embedding points most nearly where embedding + delta does

The gradient is that of ``task + beta * reconstruction``: the task is the margin between answers to be avoided
and answers to be reached; the reconstruction is the cross-entropy of the moved embeddings to the tokens that
they were (`beta` is negative, which keeps it low). A rewriting that keeps more of the text than the best one
until now is tried, by one forward pass.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.nn import functional

from sightline.budget import UNLIMITED, Budget, Meter, SpentError
from sightline.cases import Conversation
from sightline.errors import UsageError, require
from sightline.records import Cost
from sightline.rng import numpy_rng
from sightline.whitebox._look import Looks
from sightline.whitebox._problem import CURVE_POINTS, Check, Ending, Progress, Watch
from sightline.whitebox._text_problem import FoundText, TextProblem
from sightline.whitebox.compute import Draws
from sightline.whitebox.samplers import FixedPairs
from sightline.whitebox.suffix import SuffixReader
from sightline.whitebox.token_optimizers import HotFlip
from sightline.whitebox.victim import Pair, Rows
from sightline.whitebox.vocabulary import Allowed

#: draws of a control until one reads back as it is
_TRIES = 50


@dataclass(frozen=True, slots=True)
class Margin:
    """Mean loss of pairs to be reached minus that of pairs to be avoided; a `RowTerm`. `signs`: 1 or -1."""

    signs: tuple[int, ...]

    def losses(self, rows: Rows, pairs: tuple[Pair, ...]) -> Tensor:
        """See `RowTerm`."""
        member = (rows.pair[:, None] == torch.arange(len(pairs), device=rows.pair.device)).float()
        means = (rows.nll @ member) / member.sum(0)
        return means @ torch.tensor(self.signs, dtype=means.dtype, device=means.device)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rewriting:
    """What is rewritten, towards what, and how far.

    Attributes:
        reader: of a suffix that is the whole text (`whole_text`); its prompt's own text is empty.
        prompt: that prompt.
        avoid: answers to drive away from.
        reach: answers to drive towards; () is the untargeted attack.
        kept: a phrase whose tokens may not change.
        beta: of the reconstruction; not positive.
        rate: length of a step, times the text's length over `usual_length`.
        usual_length: tokens.
        start_length: of the random start, divided by length and width of the text.
        allowed: which tokens may be put in.
        least: similarity to the text below which a round is given up.
        most: similarity at which the search ends.
    """

    reader: SuffixReader
    prompt: Conversation
    avoid: tuple[str, ...]
    reach: tuple[str, ...] = ()
    kept: str = ""
    beta: float = -0.5
    rate: float = 5.0
    usual_length: float = 20.0
    start_length: float = 3.0
    allowed: Allowed = "words"
    least: float = 0.3
    most: float = 0.95
    margin: Margin = field(init=False)

    def __post_init__(self) -> None:
        require(self.beta <= 0, "beta", self.beta, "at most 0: it keeps the text as it was")
        require(self.rate > 0, "rate", self.rate, "more than 0")
        require(-1 <= self.least <= self.most <= 1, "least", self.least, "-1 to `most`, which is at most 1")
        if not self.avoid and not self.reach:
            raise UsageError("a rewriting needs an answer to avoid, or one to reach")
        object.__setattr__(self, "margin", Margin((1,) * len(self.reach) + (-1,) * len(self.avoid)))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """What is to be reached, then what is to be avoided."""
        return tuple(
            Pair(prompt=self.prompt, target=text, closed=False) for text in (*self.reach, *self.avoid)
        )


class Round:
    """One rewriting under way; see `rewrite`."""

    def __init__(self, problem: Rewriting, seed: int, key: int, budget: Budget, watch: Watch) -> None:
        self.problem, self.watch, self.seed, self.key = problem, watch, seed, key
        reader = problem.reader
        self.ids = reader.start(problem.prompt, seed)
        self.best_ids, self.best, self.likeness = self.ids, Check(0, math.inf, 0.0), -1.0
        asks = TextProblem(
            readers=(reader,), optimizer=HotFlip(), sampler=FixedPairs(problem.pairs), loss=problem.margin
        )
        self.meter = Meter(budget, clock=watch.clock)
        self.looks = Looks(asks, self.meter, lambda _: None)
        self.looks.pairs = problem.pairs
        self.weight = reader.embeddings()
        here = self.weight.device
        kept = torch.tensor(reader.vocabulary.phrase_mask(self.ids.tolist(), problem.kept))
        self.free = (~kept).to(here)
        if not bool(self.free.any()):
            raise UsageError(f"nothing of {reader.text(self.ids.tolist())!r} may change: keep less of it")
        self.original = self.weight[self.ids.to(here)]
        self.names = functional.normalize(self.weight, dim=1)
        allowed = self.looks.allowed().clone()
        self.banned = ~(allowed & reader.vocabulary.allowed(problem.allowed)[: len(allowed)]).to(here)
        self.tried: set[tuple[int, ...]] = {tuple(self.ids.tolist())}
        self.losses: list[tuple[int, float]] = []
        self.checks: list[Check] = []
        self.step = 0

    def judge_start(self) -> bool:
        """Look at the text as it is; whether there is nothing to do."""
        scores = self.looks.score(self.ids[None])
        self.best = Check(0, float(scores.loss[0]), float(self._works(scores.forced[0])))
        self.checks.append(self.best)
        return bool(self.best.forced)

    def fresh(self, segment: int) -> Tensor:
        """A random start (length, width); one free place, another for each segment, begins as no word."""
        draws = Draws(seed=self.seed, keys=(self.key,), place=(segment,))
        shape = self.original.shape
        delta = (2 * draws.uniform(shape)[0] - 1).to(self.original.device)
        delta = delta * self.problem.start_length / (shape[0] * shape[1]) * self.free[:, None]
        places = self.free.nonzero()[:, 0]
        masked = places[int(draws.uniform((1,))[0] * len(places))]
        delta[masked] += self.weight.mean(0) - self.original[masked]
        return delta

    def moved(self, delta: Tensor, every: int) -> Tensor:
        """One step along the gradient, of a set length."""
        problem = self.problem
        scores, grad = self.looks.push(self.ids, delta)
        with torch.enable_grad():
            leaf = delta.detach().clone().requires_grad_(True)
            logits = (self.original + leaf) @ self.weight.t()
            rebuilt = functional.cross_entropy(logits, self.ids.to(logits.device))
            (pull,) = torch.autograd.grad(rebuilt, leaf)
        rise = (-grad + problem.beta * pull) * self.free[:, None]
        if self.step % every == 0:
            self.losses.append((self.step, float(scores.loss[0])))
        self.step += 1
        size = problem.rate * len(self.ids) / problem.usual_length
        step: Tensor = size * rise / rise.norm().clamp_min(torch.finfo(torch.float32).tiny)
        return delta + step

    def read(self, delta: Tensor) -> Tensor:
        """The tokens nearest in direction, (length,)."""
        near = functional.normalize(self.original + delta, dim=1) @ self.names.t()
        near = near.masked_fill(self.banned, -math.inf)
        own = self.ids.to(near.device)
        stays = near.max(1).values <= functional.cosine_similarity(self.original + delta, self.original)
        return torch.where(self.free & ~stays, near.argmax(1), own).cpu()

    def alike(self, ids: Tensor) -> float:
        """Cosine of the mean embeddings of a rewriting and the text."""
        mean = self.weight[ids.to(self.weight.device)].mean(0)
        return float(functional.cosine_similarity(mean, self.original.mean(0), dim=0))

    def tries(self, ids: Tensor, likeness: float) -> None:
        """Ask whether a new rewriting works, if it keeps more of the text than the best one."""
        known = tuple(ids.tolist())
        if known in self.tried or likeness <= self.likeness or not self.looks.reads(ids):
            return
        self.tried.add(known)
        scores = self.looks.score(ids[None])
        works = self._works(scores.forced[0])
        check = Check(self.step, float(scores.loss[0]), float(works))
        self.checks.append(check)
        if works:
            self.best_ids, self.best, self.likeness = ids, check, likeness

    def check_paid(self) -> None:
        """Make sure that the FLOPs of the start, or of the first step and its try, fit: nothing tells before.

        Raises:
            SpentError: if they do not.
        """
        if self.step <= 1:
            owed = Cost(flops=self.looks.dearest["rows"] * self.step)
            limit = self.meter.budget.exceeded(replace(self.meter.spent + owed, seconds=0.0))
            if limit is not None:
                raise _too_poor(self.meter.budget, limit)

    def price(self) -> Cost:
        """What a step and a try cost at most."""
        dear = self.looks.dearest
        return Cost(forwards=3, backwards=1, flops=dear["slope"] + dear["rows"] + dear["begin"])

    def found(self, ending: Ending) -> FoundText:
        """What was found; the text itself if nothing was."""
        ids = tuple(self.best_ids.tolist())
        return FoundText(
            ids=ids,
            text=self.problem.reader.text(ids),
            best=self.best,
            ending=ending,
            losses=tuple(self.losses),
            checks=tuple(self.checks),
            cost=self.meter.spent,
        )

    def _works(self, forced: Tensor) -> bool:
        """Whether an answer to be reached is written; without one, whether none to be avoided is."""
        count = len(self.problem.reach)
        return bool(forced[:count].any()) if count else not bool(forced.any())


def _too_poor(budget: Budget, limit: str) -> SpentError:
    return SpentError(
        f"budget.{limit}={getattr(budget, limit):g} does not pay for a look at the text and one step"
    )


def rewrite(
    problem: Rewriting,
    *,
    segments: int = 100,
    steps: int = 20,
    seed: int = 0,
    key: int = 0,
    budget: Budget = UNLIMITED,
    watch: Watch | None = None,
) -> FoundText:
    """Rewrite a text until a model answers otherwise, as like the text as can be.

    Args:
        problem: what, towards what, how far.
        segments: random starts at most.
        steps: of each.
        seed: of all random numbers.
        key: names the text's random numbers.
        budget: of the artifact; never exceeded, but that the first pass's FLOPs are not known before.
        watch: the world outside; nothing is kept of a search that is interrupted, texts are short.

    Raises:
        UsageError: for settings out of range, a text of which nothing may change or that is read otherwise
            by the target, or a budget too small for one step.
    """
    require(segments >= 1, "segments", segments, "at least 1")
    require(steps >= 1, "steps", steps, "at least 1")
    watch = watch or Watch()
    run = Round(problem, seed, key, budget, watch)
    limit = run.meter.forbids(run.price())
    if limit is not None:
        raise _too_poor(budget, limit)
    done = run.judge_start()
    run.check_paid()
    if done:
        return run.found("stopped")
    every = math.ceil(segments * steps / CURVE_POINTS)
    for segment in range(segments):
        delta = run.fresh(segment)
        for _ in range(steps):
            limit = run.meter.forbids(run.price())
            if limit is not None and run.step == 0:
                raise _too_poor(budget, limit)
            if limit is not None:
                return run.found("budget")
            delta = run.moved(delta, every)
            run.check_paid()
            ids = run.read(delta)
            likeness = run.alike(ids)
            if likeness < problem.least:
                break
            run.tries(ids, likeness)
            if run.likeness >= problem.most:
                return run.found("stopped")
        progress = Progress(
            step=run.step,
            steps=segments * steps,
            loss=run.checks[-1].loss,
            at_work=1,
            cost=run.meter.spent,
        )
        watch.report(progress)
    return run.found("steps")


def scrambled(problem: Rewriting, *, seed: int = 0, key: int = 0) -> str:
    """The control of `rewrite`: a random token in every place that may change, as text.

    Raises:
        UsageError: if no draw of random tokens reads back as it is.
    """
    reader = problem.reader
    ids = reader.start(problem.prompt, seed)
    kept = torch.tensor(reader.vocabulary.phrase_mask(ids.tolist(), problem.kept))
    pool = reader.vocabulary.allowed(problem.allowed)[: reader.vocabulary_size].nonzero()[:, 0].numpy()
    for attempt in range(_TRIES):
        drawn = torch.from_numpy(numpy_rng("scrambled", seed, key, attempt).choice(pool, len(ids)))
        found = torch.where(kept, ids, drawn).tolist()
        if reader.reads(problem.prompt, found):
            return reader.text(found)
    raise UsageError(f"{reader.id}: random tokens in place of {reader.text(ids.tolist())!r} do not read back")
