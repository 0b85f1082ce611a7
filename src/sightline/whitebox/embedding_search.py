"""Search in embeddings: `rewrite` moves those of a whole text and reads the nearest tokens (as T-PGD).

    delta <- delta + rate * gradient / |gradient|,  in places that may change, without projection
    text  <- in each place the token whose embedding points most nearly where embedding + delta does

The gradient is that of ``task + beta * reconstruction``: the task is the margin between answers to be avoided
and answers to be reached; the reconstruction is the cross-entropy of the moved embeddings to the tokens that
they were (`beta` is negative, which keeps it low). A rewriting that keeps more of the text than the best one
until now is tried, by one forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sightline.budget import UNLIMITED, Budget
from sightline.cases import Conversation
from sightline.errors import UsageError, require
from sightline.records import Cost
from sightline.rng import numpy_rng
from sightline.whitebox.candidates import ModelEvaluator
from sightline.whitebox.checkpoint import Checkpoint, CheckpointFile, digest_of
from sightline.whitebox.objectives import Scores
from sightline.whitebox.search import Callbacks, Check, Search, SearchPlan
from sightline.whitebox.suffix import SuffixReader
from sightline.whitebox.token_search import TokenSearchResult
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
        min_similarity: to the text, below which a random start is given up.
        max_similarity: to the text, at which the search ends.
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
    min_similarity: float = 0.3
    max_similarity: float = 0.95
    margin: Margin = field(init=False)

    def __post_init__(self) -> None:
        require(self.beta <= 0, "beta", self.beta, "at most 0: it keeps the text as it was")
        require(self.rate > 0, "rate", self.rate, "more than 0")
        low, high = self.min_similarity, self.max_similarity
        require(-1 <= low <= high <= 1, "min_similarity", low, "-1 to `max_similarity`, which is at most 1")
        if not self.avoid and not self.reach:
            raise UsageError("a rewriting needs an answer to avoid, or one to reach")
        object.__setattr__(self, "margin", Margin((1,) * len(self.reach) + (-1,) * len(self.avoid)))

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """What is to be reached, then what is to be avoided."""
        return tuple(
            Pair(prompt=self.prompt, target=text, closed=False) for text in (*self.reach, *self.avoid)
        )


class EmbeddingSearch(Search):
    """A text under way: random starts one after the other, each moved for some steps at most."""

    def __init__(self, problem: Rewriting, plan: SearchPlan, restarts: int, callbacks: Callbacks) -> None:
        super().__init__(plan, callbacks, self._is_enough)
        reader = problem.reader
        self.problem, self.restarts = problem, restarts
        self.evaluator = ModelEvaluator((reader,), problem.margin, problem.pairs, self.meter, self.say)
        self.ids = self.best_ids = reader.start(problem.prompt, plan.seed)
        self.similarity = -1.0
        self.restart, self.inner_step = 0, 0
        self.delta: Tensor | None = None
        self.embeddings = reader.embeddings()
        here = self.embeddings.device
        kept = torch.tensor(reader.vocabulary.phrase_mask(self.ids.tolist(), problem.kept))
        self.free = (~kept).to(here)
        if not bool(self.free.any()):
            raise UsageError(f"nothing of {reader.text(self.ids.tolist())!r} may change: keep less of it")
        self.original = self.embeddings[self.ids.to(here)]
        self.directions = functional.normalize(self.embeddings, dim=1)
        allowed = self.evaluator.allowed().clone()
        self.banned = ~(allowed & reader.vocabulary.allowed(problem.allowed)[: len(allowed)]).to(here)
        self.tried: set[tuple[int, ...]] = {tuple(self.ids.tolist())}
        self._candidate = self.ids, self.similarity

    @property
    def price(self) -> Cost:
        most = self.evaluator.max_cost
        return Cost(forwards=3, backwards=1, flops=most["gradient"] + most["rows"] + most["prefill"])

    @property
    def check_due_flops(self) -> float:
        return self.evaluator.max_cost["rows"]

    @property
    def exhausted(self) -> bool:
        return self.restart >= self.restarts

    @property
    def check_is_due(self) -> bool:
        return False  # what is worth a check is checked at once

    def move(self) -> Tensor:
        """One step along the gradient, of a set length."""
        delta = self.random_start() if self.delta is None else self.delta
        scores, self.delta = self.stepped(delta)
        return scores.loss[:1]

    def moved(self) -> None:
        """Read the nearest tokens; check them if they keep more of the text than the best ones."""
        assert self.delta is not None
        ids = self.nearest_tokens(self.delta)
        similarity = self.similarity_of(ids)
        self.inner_step += 1
        too_far = similarity < self.problem.min_similarity
        new = similarity > self.similarity and tuple(ids.tolist()) not in self.tried
        if not too_far and new and self.evaluator.reads(ids):
            self._candidate = ids, similarity
            self.check()
        if self.active and (too_far or self.inner_step == self.plan.steps // self.restarts):
            self.restart, self.inner_step, self.delta = self.restart + 1, 0, None
            self.say("", self.checks[0][-1].loss)
            self._read_losses()
            self.save()
        self.checked = self.step  # nothing is left to be checked

    def random_start(self) -> Tensor:
        """A random start (length, width); one free place, another for each restart, begins as no word."""
        rng = self.rng(self.restart)
        shape = self.original.shape
        delta = (2 * rng.uniform(shape)[0] - 1).to(self.original.device)
        delta = delta * self.problem.start_length / (shape[0] * shape[1]) * self.free[:, None]
        places = self.free.nonzero()[:, 0]
        masked = places[int(rng.uniform((1,))[0] * len(places))]
        delta[masked] += self.embeddings.mean(0) - self.original[masked]
        return delta

    def stepped(self, delta: Tensor) -> tuple[Scores, Tensor]:
        """Scores at a change of the embeddings, and the change after a step along the gradient."""
        problem = self.problem
        scores, grad = self.evaluator.embedding_gradient(self.ids, delta)
        with torch.enable_grad():
            leaf = delta.detach().clone().requires_grad_(True)
            logits = (self.original + leaf) @ self.embeddings.t()
            reconstruction = functional.cross_entropy(logits, self.ids.to(logits.device))
            (pull,) = torch.autograd.grad(reconstruction, leaf)
        rise = (-grad + problem.beta * pull) * self.free[:, None]
        size = problem.rate * len(self.ids) / problem.usual_length
        return scores, delta + size * rise / rise.norm().clamp_min(torch.finfo(torch.float32).tiny)

    def nearest_tokens(self, delta: Tensor) -> Tensor:
        """The tokens nearest in direction, (length,)."""
        near = functional.normalize(self.original + delta, dim=1) @ self.directions.t()
        near = near.masked_fill(self.banned, -math.inf)
        own = self.ids.to(near.device)
        stays = near.max(1).values <= functional.cosine_similarity(self.original + delta, self.original)
        return torch.where(self.free & ~stays, near.argmax(1), own).cpu()

    def similarity_of(self, ids: Tensor) -> float:
        """Cosine of the mean embeddings of a rewriting and the text."""
        mean = self.embeddings[ids.to(self.embeddings.device)].mean(0)
        return float(functional.cosine_similarity(mean, self.original.mean(0), dim=0))

    def probe(self) -> Scores:
        """Whether the candidate works: an answer to reach is written; without one, none to avoid is."""
        ids, _ = self._candidate
        self.tried.add(tuple(ids.tolist()))
        scores = self.evaluator.score(ids[None])
        greedy, count = scores.target_is_greedy, len(self.problem.reach)
        works = greedy[:, :count].any(1) if count else ~greedy.any(1)
        return Scores(scores.loss, works[:, None])

    def improves(self, artifact: int, check: Check, done: bool) -> bool:  # noqa: ARG002
        """Whether it works; the text itself is the best until then."""
        return self.best[artifact] is None or check.greedy_share == 1

    def keep(self, artifact: int, row: int) -> None:  # noqa: ARG002
        self.best_ids, self.similarity = self._candidate

    def identity(self) -> dict[str, Any]:
        names = (each.name for each in fields(self.problem) if each.name != "reader")
        asked = digest_of(*(getattr(self.problem, name) for name in names))
        return {"restarts": self.restarts, "models": [self.problem.reader.id], "asked": asked}

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {"best_ids": self.best_ids.clone()}
        if self.delta is not None:
            tensors["delta"] = self.delta
        own = {
            "restart": self.restart,
            "inner_step": self.inner_step,
            "similarity": self.similarity,
            "tried": sorted(self.tried),
        }
        return tensors, own | self.evaluator.state()

    def set_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        self.best_ids, self.delta = tensors["best_ids"].cpu(), tensors.get("delta")
        self.restart, self.inner_step = numbers["restart"], numbers["inner_step"]
        self.similarity, self.tried = numbers["similarity"], set(map(tuple, numbers["tried"]))
        self.evaluator.set_state(self.meter, numbers)
        self.problem.reader.prefill(self.problem.pairs)  # paid for before

    def _is_enough(self, scores: Scores) -> Tensor:
        """Done where the text works as it is, or a rewriting that works is similar enough."""
        near = self.step == 0 or self._candidate[1] >= self.problem.max_similarity
        return scores.target_is_greedy[:, 0] & near


def rewrite(
    problem: Rewriting,
    *,
    restarts: int = 100,
    steps: int = 20,
    seed: int = 0,
    key: int = 0,
    budget: Budget = UNLIMITED,
    callbacks: Callbacks | None = None,
    resume: Checkpoint | None = None,
    checkpoint_file: CheckpointFile | None = None,
) -> TokenSearchResult:
    """Rewrite a text until a model answers otherwise, as like the text as can be.

    Args:
        problem: what, towards what, how far.
        restarts: random starts at most.
        steps: of each.
        seed: of all random numbers.
        key: names the text's random numbers.
        budget: of the artifact; never exceeded, but that the first pass's FLOPs are not known before.
        callbacks: progress, saving, clock.
        resume: a search of the same settings, which goes on at the restart where it was saved.
        checkpoint_file: saves the search and resumes it by itself; another search's state is overwritten.

    Raises:
        UsageError: for settings out of range, a text of which nothing may change or that is read otherwise
            by the target, or a budget too small for one step.
    """
    require(restarts >= 1, "restarts", restarts, "at least 1")
    require(steps >= 1, "steps", steps, "at least 1")
    plan = SearchPlan(restarts * steps, seed, 1, budget, (key,))
    search = EmbeddingSearch(problem, plan, restarts, callbacks or Callbacks())
    search.run(resume, checkpoint_file)
    return TokenSearchResult.of(search, problem.reader, search.best_ids)


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
