"""Search for pictures: `minimize` moves the thetas of a batch of artifacts towards an objective.

Results do not depend on batch composition: losses, states, random numbers and stops are an artifact's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sightline.budget import UNLIMITED, Budget
from sightline.errors import UsageError, require
from sightline.records import Cost, Pixels
from sightline.whitebox.batches import BatchExecutor, Perturbations, expanded
from sightline.whitebox.checkpoint import Checkpoint, CheckpointFile, digest_of
from sightline.whitebox.constraints import Constraint
from sightline.whitebox.model import MultimodalVictim, check_tokens
from sightline.whitebox.objectives import Objective, Scores
from sightline.whitebox.optimizers import LossAndGrad, Optimizer, select_rows, state_tensors
from sightline.whitebox.pixels import as_pixels, unit
from sightline.whitebox.samplers import Sampler
from sightline.whitebox.search import PROBE_PAIRS, Callbacks, Check, Search, SearchPlan, StopReason
from sightline.whitebox.stops import Stop
from sightline.whitebox.victim import Pair

START, GUARD, PROBE = -1, -2, -3
NOISE, SAME = 0.1, 1e-6
"""Deviation of the noise that has to change the loss, and the relative change that counts as none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedBox:
    """Bounds of what is added to a prompt's token embeddings (CroPA's text perturbation); starts at 0."""

    low: float = -0.23
    high: float = 0.27

    def __post_init__(self) -> None:
        require(self.low <= 0 <= self.high, "low, high", (self.low, self.high), "low <= 0 <= high")
        require(self.low < self.high, "low, high", (self.low, self.high), "low < high")

    def project(self, perturbations: Tensor) -> Tensor:
        """Values brought inside the bounds."""
        return perturbations.clamp(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptAdversary:
    """The inner maximum of a min-max: prompt perturbations that raise the loss (CroPA).

    perturbation <- box(perturbation + alpha * sign(gradient)), in the same pass as the picture's step, at the
    steps `every`, 2 `every`, ... up to `until`, where steps count from 0 (as in CroPA's release). Only the
    prompts of that step move, in every token from behind the picture to the answer. Perturbations of the
    embeddings start at 0, and the probe batch is scored without them.
    """

    alpha: float
    every: int = 1
    until: int | None = None
    box: EmbedBox = field(default_factory=EmbedBox)

    def __post_init__(self) -> None:
        require(self.alpha > 0, "alpha", self.alpha, "more than 0")
        require(self.every >= 1, "every", self.every, "at least 1 step")
        require(self.until is None or self.until >= 1, "until", self.until, "at least 1 step, or None")

    def due(self, step: int) -> bool:
        """Whether perturbations move at this step."""
        return step > 0 and step % self.every == 0 and (self.until is None or step <= self.until)

    def moved(self, perturbations: Tensor, grad: Tensor) -> Tensor:
        """The next perturbations; the gradient is that of the loss which the picture lowers."""
        return self.box.project(perturbations + self.alpha * grad.sign())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What is minimized, over what, and how.

    Attributes:
        objective: towards what.
        constraint: over which pictures.
        optimizer: how.
        sampler: with which pairs at each step.
        probe: the pairs on which the best theta is chosen and success is judged, always the same; None
            takes the first 16 of the sampler's pool.
        stop: when an artifact is done; None goes on to the end.
        adversary: of a min-max.
        eval_constraints: other constraints on the same thetas, under which the probe batch is scored in place
            of `constraint`, such as a moving patch at several places: losses are averaged over them, and
            every target counts once for each of them.

    Raises:
        UsageError: for an adversary with more than one victim.
    """

    objective: Objective
    constraint: Constraint
    optimizer: Optimizer[Any]
    sampler: Sampler
    probe: tuple[Pair, ...] | None = None
    stop: Stop | None = None
    adversary: PromptAdversary | None = None
    eval_constraints: tuple[Constraint, ...] = ()

    def __post_init__(self) -> None:
        if self.adversary is not None and len(self.objective.victims) != 1:
            raise UsageError(
                f"prompt perturbations belong to one victim's embeddings, the objective has "
                f"{len(self.objective.victims)}: give it one, or leave `adversary` out"
            )

    @property
    def probe_pairs(self) -> tuple[Pair, ...]:
        """The pairs of the probe batch."""
        return self.sampler.pool[:PROBE_PAIRS] if self.probe is None else self.probe


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SearchResult:
    """The result of `minimize`; every tuple has one entry per artifact.

    Attributes:
        theta: the best ones, (n, ...).
        pixels: what the files are to hold.
        best: the check at which the best theta was found.
        stop_reasons: why it ended.
        losses: training loss by step, at most 200 points.
        checks: probe loss and success by step.
        costs: of each artifact; seconds are its share of the batch's time.
    """

    theta: Tensor
    pixels: tuple[Pixels, ...]
    best: tuple[Check, ...]
    stop_reasons: tuple[StopReason, ...]
    losses: tuple[tuple[tuple[int, float], ...], ...]
    checks: tuple[tuple[Check, ...], ...]
    costs: tuple[Cost, ...]


class ImageSearch(Search):
    """A batch of pictures under way."""

    def __init__(self, problem: Problem, plan: SearchPlan, callbacks: Callbacks) -> None:
        self.problem = problem
        self.device = problem.constraint.clean.device
        self.probe_pairs = problem.probe_pairs
        super().__init__(plan, callbacks, problem.stop)
        self.executor = BatchExecutor(self.meter, self.say)
        theta = problem.constraint.start(self.rng(START))
        self.best_theta = theta.clone()
        self.optimizer_state: Any = problem.optimizer.start(theta)
        self.perturbations: Tensor | None = None
        self.spans: dict[Any, tuple[int, int]] = {}
        if problem.adversary is not None:
            self.perturbations, self.spans = _no_perturbations(problem, len(theta), self.device)
        self._set_active(self.active)

    @property
    def price(self) -> Cost:
        objective = self.problem.objective
        passes = objective.passes * self.problem.constraint.samples
        step = Cost(forwards=passes, backwards=passes, flops=self.step_flops)
        return step + Cost(forwards=objective.passes * len(self.eval_constraints), flops=self.check_flops)

    @property
    def start_price(self) -> Cost:
        return Cost(forwards=self.problem.objective.passes * (len(self.eval_constraints) + 1))

    def move(self) -> Tensor:
        problem, oracle = self.problem, _StepOracle(self)
        project = self.constraint.project
        step = problem.optimizer.step(self.optimizer_state, oracle, project, self.step, self.plan.steps)
        self.optimizer_state = step.state
        grad = oracle.perturbation_grad
        if problem.adversary is not None and self.perturbations is not None and grad is not None:
            self.perturbations = problem.adversary.moved(self.perturbations, grad)
        return step.loss

    def probe(self) -> Scores:
        """Scores as files, under all constraints of the evaluation taken together."""
        self._theta = self.problem.optimizer.proposal(self.optimizer_state)
        seen = [self._probed(constraint.finalize(self._theta)) for constraint in self.eval_constraints]
        return Scores(
            torch.stack([probed.loss for probed in seen]).mean(0),
            torch.cat([probed.target_is_greedy for probed in seen], dim=1),
        )

    def keep(self, artifact: int, row: int) -> None:
        self.best_theta[artifact] = self._theta[row]

    def select(self, rows: Sequence[int]) -> None:
        self.optimizer_state = select_rows(self.optimizer_state, rows)
        self.perturbations = None if self.perturbations is None else self.perturbations[list(rows)]
        self._set_active([self.active[row] for row in rows])

    def verify_prompts(self) -> None:
        """Make sure that generation will read what the loss reads."""
        for victim in self.problem.objective.victims:
            if isinstance(victim, MultimodalVictim):
                check_tokens(victim, unit(self._start_levels()[:1]), self.probe_pairs)

    def verify_start(self) -> None:
        """Make sure that noise on the start changes the loss of some artifact."""
        if not self.active:
            return
        levels = self._start_levels().float()
        noise = 255 * NOISE * self.rng(GUARD).normal(levels.shape[1:])
        noisy = (levels + noise).round().clamp(0, 255).to(torch.uint8)
        found = self._probed(noisy).loss.tolist()
        before = [self.checks[i][0].loss for i in self.active]
        if all(abs(a - b) <= SAME * max(1.0, abs(b)) for a, b in zip(found, before, strict=True)):
            raise UsageError(
                "the loss does not change with the picture (it is the same for noise): the objective is "
                "constant, or the model does not see the picture"
            )

    def identity(self) -> dict[str, Any]:
        problem = self.problem
        return {
            "optimizer": repr(problem.optimizer),
            "adversary": repr(problem.adversary),
            "constraint": type(problem.constraint).__name__,
            "victims": list(problem.objective.ids),
            "asked": digest_of(problem.sampler, self.probe_pairs),
            "clean": hashlib.sha256(problem.constraint.clean.cpu().numpy().tobytes()).hexdigest(),
        }

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors = {f"state.{name}": value for name, value in state_tensors(self.optimizer_state).items()}
        if self.perturbations is not None:
            tensors["perturbations"] = self.perturbations
        return {**tensors, "best_theta": self.best_theta.clone()}, self.executor.state()

    def set_state(self, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        self.executor.set_state(self.meter, numbers)
        self.best_theta = tensors["best_theta"].to(self.device)
        names = state_tensors(self.optimizer_state)
        fields = {name: tensors[f"state.{name}"].to(self.device) for name in names}
        self.optimizer_state = type(self.optimizer_state)(**fields)
        if "perturbations" in tensors:
            self.perturbations = tensors["perturbations"].to(self.device)
        self._set_active(self.active)

    def result(self) -> SearchResult:
        """The result, once the search has ended."""
        return SearchResult(
            theta=self.best_theta,
            pixels=tuple(as_pixels(self.problem.constraint.finalize(self.best_theta))),
            best=tuple(best or checks[0] for best, checks in zip(self.best, self.checks, strict=True)),
            stop_reasons=tuple(reason or "steps" for reason in self.stop_reasons),
            losses=tuple(map(tuple, self.losses)),
            checks=tuple(map(tuple, self.checks)),
            costs=tuple(self.costs),
        )

    def _set_active(self, active: list[int]) -> None:
        """Restrict constraint and objective to these artifacts."""
        problem, whole = self.problem, len(active) == len(self.plan.keys)
        self.constraint = problem.constraint if whole else problem.constraint.take(active)
        self.objective = problem.objective if whole else problem.objective.take(active)
        self.eval_constraints = tuple(
            constraint if whole else constraint.take(active) for constraint in problem.eval_constraints
        ) or (self.constraint,)
        self.trained = expanded(self.objective, self.constraint)
        self.parts = self.trained.parts

    def _probed(self, levels: Tensor) -> Scores:
        """Scores of files; what victims draw at random is the same at every check."""
        return self.executor.probe(self.objective, levels, self.probe_pairs, self.rng(PROBE))

    def _start_levels(self) -> Tensor:
        return self.constraint.finalize(self.problem.optimizer.proposal(self.optimizer_state))


class _StepOracle:
    """The gradients of one step, a `GradientOracle`; every call draws its own random numbers."""

    def __init__(self, search: ImageSearch) -> None:
        self.search = search
        self.pairs = search.problem.sampler.draw(search.step, search.plan.seed)
        self.calls = 0
        self.perturbation_grad: Tensor | None = None

    @property
    def parts(self) -> int:
        return len(self.search.parts)

    def __call__(self, theta: Tensor, part: int | None = None) -> LossAndGrad:
        search, first = self.search, self.calls == 0
        rng = search.rng(search.step, self.calls)
        self.calls += 1
        perturbations = None
        if search.problem.adversary is not None and search.perturbations is not None:
            spans = tuple(search.spans[pair.prompt] for pair in self.pairs)
            free = first and search.problem.adversary.due(search.step)
            perturbations = Perturbations(search.perturbations, spans, free)
        objective = search.trained if part is None else search.parts[part]
        found, perturbation_grad = search.executor.gradient(
            (objective, search.constraint), theta, self.pairs, rng, perturbations=perturbations, part=part
        )
        self.perturbation_grad = perturbation_grad if first else self.perturbation_grad
        if first and search.step == 0 and not bool(found.grad.any()):
            raise UsageError(
                "the gradient of the loss is exactly zero at the start: either the model gives none, or the "
                "start is an extremum, such as a distance from the clean picture itself; set init='ball'"
            )
        return found


def minimize(
    problem: Problem,
    *,
    steps: int,
    seed: int = 0,
    keys: Sequence[int] | None = None,
    every: int = 25,
    budget: Budget = UNLIMITED,
    callbacks: Callbacks | None = None,
    resume: Checkpoint | None = None,
    checkpoint_file: CheckpointFile | None = None,
) -> SearchResult:
    """Minimize the objective over each artifact's theta.

    Args:
        problem: what, over what, how.
        steps: of the optimizer.
        seed: of all random numbers and of the sampler.
        keys: name the artifacts' random numbers; default 0, 1, ...: give them to make the same artifact
            in another batch.
        every: steps from check to check; a check costs one forward pass.
        budget: of one artifact; never exceeded, but that the first step's FLOPs are not known before.
        callbacks: progress, saving, clock.
        resume: a search of the same settings, which goes on where it was saved.
        checkpoint_file: saves the search and resumes it by itself; another search's state is overwritten.

    Raises:
        UsageError: for settings out of range, a budget too small for one step, a loss that does not depend on
            the picture or has no gradient, one picture too large for memory, or a search of other settings.
    """
    n = len(problem.constraint.clean)
    keys = tuple(range(n)) if keys is None else tuple(keys)
    require(len(keys) == n, "keys", keys, f"{n} keys, one per artifact")
    search = ImageSearch(problem, SearchPlan(steps, seed, every, budget, keys), callbacks or Callbacks())
    search.run(resume, checkpoint_file)
    return search.result()


def _no_perturbations(
    problem: Problem, n: int, device: torch.device
) -> tuple[Tensor, dict[Any, tuple[int, int]]]:
    """Zeros for all prompts, (n, prompts, tokens, width), and each prompt's place in them and tokens."""
    (victim,) = problem.objective.victims
    prompts = list(dict.fromkeys(pair.prompt for pair in problem.sampler.pool))
    shapes = [victim.prompt_width(prompt) for prompt in prompts]
    spans = {prompt: (place, shapes[place][0]) for place, prompt in enumerate(prompts)}
    longest, width = max(tokens for tokens, _ in shapes), shapes[0][1]
    return torch.zeros(n, len(prompts), longest, width, device=device), spans
