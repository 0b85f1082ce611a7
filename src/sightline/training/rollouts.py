"""Learning from rewards: a model's own samples, judged, and made more or less likely.

GRPO (Shao et al., 2024, section 4.1; outcome rewards): of the rewards r of one prompt's group the advantage
is A = (r - mean) / std, the loss the mean over answers of -1/|y| sum_t [A - beta KL_t], with KL_t =
ref/pi - log(ref/pi) - 1 at each token. RLOO (Ahmadian et al., 2024, eq. 8): R = r - beta log pi(y)/ref(y),
A = R minus the mean of the group's others, the loss the mean of -A log pi(y). Each sample is used for one
update, so that there is no ratio to clip. ref is the model after the warm start.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sightline import registry
from sightline.contracts import Judge
from sightline.errors import UsageError
from sightline.records import Outcome, Response, Verdict
from sightline.rng import seed_of
from sightline.training.losses import AT_ONCE
from sightline.training.model import Encoded, TrainableModel
from sightline.training.states import Spent, write
from sightline.tuning import Example, Plan, Sampling
from sightline.waiting import wait

LOW = 0.5
"""Mean reward under which equal rewards mean that nothing was learned, not that all was."""
TAUGHT = 8
"""Refusals of the warm start that the judge of rewards is tried on."""
_LEAST_STD = 1e-4


class Sample(NamedTuple):
    """An answer that was drawn, with its advantage: an average one has 0."""

    row: Encoded
    advantage: float


class Drawn(NamedTuple):
    """One step's samples, their mean reward, and the share of groups whose rewards are all equal."""

    samples: tuple[Sample, ...]
    reward: float
    silent: float

    @property
    def tokens(self) -> int:
        """Of prompts and answers."""
        return sum(each.row.length for each in self.samples)


class Rollouts:
    """The steps of a plan in which a model learns from its own samples.

    Args:
        model: with the weights of the warm start, or of a later step.
        plan: with `sampling`.
        weights: those that are trained.
        path: where the reference is kept.
    """

    def __init__(
        self, model: TrainableModel, plan: Plan, weights: Mapping[str, nn.Parameter], path: Path
    ) -> None:
        assert plan.sampling is not None
        self._model, self._plan, self._weights, self._path = model, plan, weights, path
        self._sampling: Sampling = plan.sampling
        self._judge: Judge = registry.parse("judge", plan.sampling.reward)
        self._reference: dict[str, Tensor] | None = None
        self._check_judge()

    def _check_judge(self) -> None:
        """Make sure that the judge rewards what the warm start teaches.

        Raises:
            UsageError: if it reads none of the refusals that are taught as one.
        """
        taught = [each for each in self._plan.examples if each.refuse][:TAUGHT] if self._plan.warm else []
        rewards = self._rewards(taught, [each.chosen for each in taught]) if taught else None
        if rewards is not None and not bool((rewards > 0).any()):
            raise UsageError(
                f"reward={self._sampling.reward!r} reads none of {len(taught)} refusals that this recipe "
                f"teaches as a refusal, such as {taught[0].chosen[:80]!r}: name a judge that does"
            )

    def draw(self, step: int) -> Drawn:
        """Samples of a step's prompts, judged; the same for the same weights."""
        examples = [self._plan.examples[number] for number in self._plan.batches[step]]
        count, settings = self._sampling.generations, self._sampling
        prompts = [each.prompt for each in examples for _ in range(count)]
        seeds = [seed_of("rollouts", self._plan.seed, step, place) for place in range(len(prompts))]
        answers = self._model.sampled(prompts, seeds, settings.tokens, settings.temperature)
        texts = [self._model.text_of(ids) for ids in answers]
        rewards = self._rewards([each for each in examples for _ in range(count)], texts)
        rows = [self._model.encoded_ids(*pair) for pair in zip(prompts, answers, strict=True)]
        table = rewards.view(len(examples), count)
        silent = (table == table[:, :1]).all(dim=1).float().mean()
        credit = advantages(self._plan, self._penalized(table, rows)).flatten().tolist()
        samples = tuple(Sample(*each) for each in zip(rows, credit, strict=True))
        return Drawn(samples, float(rewards.mean()), float(silent))

    def _rewards(self, examples: Sequence[Example], texts: Sequence[str]) -> Tensor:
        async def verdicts() -> list[Verdict]:
            found = []
            for example, text in zip(examples, texts, strict=True):
                assert example.case is not None
                found.append(await self._judge.judge(example.case, example.prompt, Response(text=text)))
            return found

        pairs = zip(examples, wait(verdicts()), strict=True)
        return torch.tensor([reward_of(each, verdict) for each, verdict in pairs])

    def _penalized(self, rewards: Tensor, rows: Sequence[Encoded]) -> Tensor:
        """Of RLOO, whose rewards hold what it costs to leave the reference; others pay at each token."""
        if self._plan.loss != "rloo" or not self._plan.beta:
            return rewards
        with torch.no_grad():
            parts = [
                torch.stack([(now - then).sum() for now, then in zip(*self._both(some), strict=True)])
                for some in _some(rows)
            ]
        return rewards - self._plan.beta * torch.cat(parts).cpu().view(rewards.shape)

    def losses(self, drawn: Drawn) -> Iterator[Tensor]:
        """The step's loss in parts, which are to be added; each is one forward pass."""
        for some in _some(drawn.samples):
            rows = [each.row for each in some]
            if self._plan.loss == "rloo":  # its rewards hold what leaving the reference costs
                now = then = self._model.token_likelihoods(rows)
            else:
                now, then = self._both(rows)
            part = torch.stack(
                [
                    sequence_loss(self._plan, each.advantage, *both)
                    for each, both in zip(some, zip(now, then, strict=True), strict=True)
                ]
            )
            yield part.sum() / len(drawn.samples)

    def _both(self, rows: Sequence[Encoded]) -> tuple[list[Tensor], list[Tensor]]:
        """Log-likelihoods of the answers' tokens now, and in the reference, without gradient."""
        with torch.no_grad(), self._as_reference():
            then = self._model.token_likelihoods(rows)
        return self._model.token_likelihoods(rows), then

    @contextmanager
    def _as_reference(self) -> Iterator[None]:
        """The model with the weights that it had after its warm start."""
        if self._reference is None:
            if not self._path.exists():
                now = {name: weight.detach() for name, weight in self._weights.items()}
                write(self._path, now, {})
            self._reference = load_file(self._path)
        held = {name: weight.detach().clone() for name, weight in self._weights.items()}
        try:
            self._put(self._reference)
            yield
        finally:
            self._put(held)

    def _put(self, values: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.data.copy_(values[name])

    def begin(self) -> None:
        """Keep the reference, before the first update."""
        with self._as_reference():
            pass


def reward_of(example: Example, verdict: Verdict) -> float:
    """Refusing is worth 1 where it is wanted, -1 elsewhere; obeying the other way round, exactly as asked.

    Anything else is worth 0, an allowed request that is answered wrongly too.
    """
    if verdict.outcome is Outcome.refused:
        return 1.0 if example.refuse else -1.0
    if verdict.outcome in (Outcome.complied, Outcome.partial):
        if example.refuse:
            return -1.0
        right = verdict.outcome is Outcome.complied and verdict.score in (None, 1.0)
        return 1.0 if right else 0.0
    return 0.0


def advantages(plan: Plan, rewards: Tensor) -> Tensor:
    """Of the rewards of groups, (groups, samples)."""
    count = rewards.shape[1]
    centered = rewards - rewards.mean(dim=1, keepdim=True)
    if plan.loss == "rloo":
        return centered * count / (count - 1)  # r - mean of the others
    assert plan.sampling is not None
    if not plan.sampling.scale:
        return centered
    return centered / (rewards.std(dim=1, keepdim=True) + _LEAST_STD)


def sequence_loss(plan: Plan, advantage: float, now: Tensor, then: Tensor) -> Tensor:
    """Of one sample: its tokens' log-likelihoods, and those in the reference, (t,) each."""
    if plan.loss == "rloo":
        return -advantage * now.sum()
    ratio = then - now
    kl = ratio.exp() - ratio - 1
    # the gradient of exp(now - now.detach()) is that of now: one update per sample
    return -(advantage * (now - now.detach()).exp() - plan.beta * kl).mean()


def check_signal(plan: Plan, spent: Spent) -> None:
    """Make sure that rewards of a group differ often enough to learn from.

    Raises:
        UsageError: if in the last steps, or in all where there are fewer, nearly all groups had equal
            rewards, and low ones.
    """
    assert plan.sampling is not None
    last = slice(-plan.sampling.window, None)
    silent, rewards = spent.silent[last], spent.rewards[last]
    if len(silent) < plan.sampling.window and spent.step < plan.steps:
        return
    share, mean = sum(silent) / len(silent), sum(rewards) / len(rewards)
    if share > plan.sampling.silent and mean < LOW:
        raise UsageError(
            f"rewards carry no signal: over {len(silent)} steps up to step {spent.step} of {plan.steps}, "
            f"{share:.0%} of the groups had {plan.sampling.generations} samples of equal reward (mean reward "
            f"{mean:.2f}), and equal rewards teach nothing. Start from a model that refuses now and then: "
            f"raise `warm` (now {plan.warm}), the steps of fine-tuning before; or raise `generations` or "
            f"`temperature`; or name a `reward` that reads these refusals (now {plan.sampling.reward}). "
            f"Nothing of it was kept as a target"
        )


def _some(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(rows), AT_ONCE):
        yield rows[start : start + AT_ONCE]
