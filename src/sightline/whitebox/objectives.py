"""Towards what: weighted terms over victims and pictures, one loss per artifact, lower is better.

Two kinds of terms. Terms on rows read what a victim predicts at the target tokens of a step's pairs
(`TargetNLL`, `SoftLogits`); all of them share one pass. Terms on pictures look at the picture itself or at an
encoder's features of it (`FeatureDistance`, `ImageRegularizer`). Several victims are summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from sightline.errors import ContractError, UsageError, nearest, require
from sightline.whitebox.packing import SampleRows, membership, per_sample, rows_in_chunks
from sightline.whitebox.shapes import Images, Losses
from sightline.whitebox.through import passes_of
from sightline.whitebox.victim import Encoder, Kind, Pair, Rows, Victim

Reduction = Literal["token_mean", "pair_mean", "sum"]
"""Over the target tokens of a step: mean (long targets weigh more), mean of the pairs' means, sum."""

Metric = Literal["l2", "l2_squared", "cosine"]
Sign = Literal[1, -1]


class Tokens(NamedTuple):
    """Where target tokens stand; all tensors are (t,) and on the victim's device.

    Attributes:
        position: of a token in its target, from 0.
        length: of its target.
        pair: the index of its pair.
        pairs: the pairs of the step.
    """

    position: Tensor
    length: Tensor
    pair: Tensor
    pairs: tuple[Pair, ...]


Weights = Callable[[Tokens], Tensor]


def prefix_weights(tokens: Tokens) -> Tensor:
    """Weights that make a sum over tokens the sum over all prefixes of the prefix's mean.

    One pass then has the gradient of Bagdasaryan et al.'s T passes at one picture:
    w_t = sum over j >= t of 1 / (j + 1).
    """
    steps = torch.arange(1, len(tokens.position) + 1, device=tokens.position.device)
    harmonic = torch.cat([torch.zeros(1, device=steps.device), (1 / steps).cumsum(0)])
    return harmonic[tokens.length] - harmonic[tokens.position]


class RowTerm(Protocol):
    """A loss on what a victim predicts."""

    def losses(self, rows: Rows, pairs: tuple[Pair, ...]) -> Losses:
        """One loss per artifact, float32 (n,), with sign and weight."""
        ...


class PictureTerm(Protocol):
    """A loss on pictures. `passes` is how many models look at each of them: 0 or 1."""

    @property
    def passes(self) -> int:
        """See above."""
        ...

    def losses(self, x: Images) -> Losses:
        """One loss per artifact, float32 (n,), with sign and weight."""
        ...

    def scaled(self, factor: float) -> PictureTerm:
        """The same term at `factor` times the weight."""
        ...

    def take(self, index: Sequence[int]) -> PictureTerm:
        """The same term for some of the artifacts (repeats allowed)."""
        ...


def _known(value: str, allowed: Any, what: str) -> None:
    if value not in get_args(allowed):
        raise UsageError(nearest(value, get_args(allowed), what))


def _known_sign(sign: int) -> None:
    require(sign in (1, -1), "sign", sign, "1 (make likely, bring near) or -1 (the opposite)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetNLL:
    """Negative log-likelihood of the targets.

    Attributes:
        weight: of the term, more than 0.
        sign: 1 makes the targets likely, -1 unlikely (untargeted).
        reduction: over the tokens of all pairs of the step; means are weighted means.
        weights: of the tokens; None weighs them alike.
    """

    weight: float = 1.0
    sign: Sign = 1
    reduction: Reduction = "token_mean"
    weights: Weights | None = None

    def __post_init__(self) -> None:
        require(self.weight > 0, "weight", self.weight, "more than 0 (the sign is a field of its own)")
        _known_sign(self.sign)
        _known(self.reduction, Reduction, "reduction")

    def losses(self, rows: Rows, pairs: tuple[Pair, ...]) -> Losses:
        found = _reduced(rows.nll, rows.pair, pairs, self.reduction, self.weights)
        return self.sign * self.weight * found


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SoftLogits:
    """Cross-entropy to given distributions at the target tokens (Bailey et al.'s prompt matching).

    Attributes:
        soft: for each pair that may be drawn, probabilities of shape (its target tokens, vocabulary).
        weight: of the term, more than 0.
        reduction: as in `TargetNLL`.
    """

    soft: Mapping[Pair, Tensor]
    weight: float = 1.0
    reduction: Reduction = "token_mean"

    def __post_init__(self) -> None:
        require(self.weight > 0, "weight", self.weight, "more than 0")
        _known(self.reduction, Reduction, "reduction")

    def losses(self, rows: Rows, pairs: tuple[Pair, ...]) -> Losses:
        """See `RowTerm`.

        Raises:
            UsageError: for a pair without distributions.
            ContractError: if their number is not that of the victim's target tokens.
        """
        missing = next((pair for pair in pairs if pair not in self.soft), None)
        if missing is not None:
            raise UsageError(f"no soft targets for the pair with target {missing.target!r}: add it to `soft`")
        wanted = torch.cat([self.soft[pair] for pair in pairs]).to(rows.logits.device)
        if wanted.shape != rows.logits.shape[1:]:
            raise ContractError(
                f"soft targets have the shape {tuple(wanted.shape)}, the victim predicts "
                f"{tuple(rows.logits.shape[1:])} (tokens, vocabulary)"
            )
        crossed = -(wanted * rows.logits.float().log_softmax(-1)).sum(-1)
        return self.weight * _reduced(crossed, rows.pair, pairs, self.reduction, None)


def _reduced(
    lost: Tensor, pair: Tensor, pairs: tuple[Pair, ...], reduction: Reduction, weights: Weights | None
) -> Tensor:
    """Token losses (n, t) as one loss per artifact, without reading anything back from the device."""
    if reduction == "token_mean" and weights is None:
        return lost.mean(1)
    weight = torch.ones_like(lost[0]) if weights is None else weights(_tokens(pair, pairs)).to(lost.dtype)
    if reduction == "sum":
        return (lost * weight).sum(1)
    if reduction == "token_mean":
        return (lost * weight).sum(1) / weight.sum()
    member = membership(pair, len(pairs)).to(lost.dtype)
    return (((lost * weight) @ member) / (weight @ member)).mean(1)


def _tokens(pair: Tensor, pairs: tuple[Pair, ...]) -> Tokens:
    counts = membership(pair, len(pairs)).sum(0)
    place = torch.arange(len(pair), device=pair.device)
    return Tokens(place - (counts.cumsum(0) - counts)[pair], counts[pair], pair, pairs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureDistance:
    """Distance of an encoder's features from given ones.

    Attributes:
        encoder: whose features are taken.
        target: (1 or n, ...) features of a picture, a text or the clean pictures.
        kind: which features.
        metric: Euclidean distance, its square, or 1 - cosine; over all values of an artifact.
        sign: 1 brings near, -1 drives away.
        weight: of the term, more than 0.
    """

    encoder: Encoder
    target: Tensor
    kind: Kind = "pooled"
    metric: Metric = "l2"
    sign: Sign = 1
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(self.weight > 0, "weight", self.weight, "more than 0")
        _known_sign(self.sign)
        _known(self.metric, Metric, "metric")

    @classmethod
    def to_picture(
        cls, encoder: Encoder, x: Tensor, *, kind: Kind = "pooled", **settings: Any
    ) -> FeatureDistance:
        """The distance from the features of pictures in [0, 1] (the clean ones, or a trigger's)."""
        with torch.no_grad():
            return cls(encoder=encoder, target=encoder.features(x, kind).float(), kind=kind, **settings)

    @property
    def passes(self) -> int:
        """One model looks."""
        return 1

    def losses(self, x: Images) -> Losses:
        """See `PictureTerm`. At distance 0 the gradient is 0."""
        found = self.encoder.features(x, self.kind).float().flatten(1)
        wanted = self.target.flatten(1)
        if found.shape[1] != wanted.shape[1] or len(wanted) not in (1, len(found)):
            raise UsageError(
                f"target features are {tuple(self.target.shape)}, {self.encoder.id} has "
                f"{found.shape[1]} values ({self.kind}) for each of {len(found)} pictures"
            )
        if self.metric == "cosine":
            distance = 1 - torch.nn.functional.cosine_similarity(found, wanted)
        else:
            distance = torch.linalg.vector_norm(found - wanted, dim=1)
            distance = distance.square() if self.metric == "l2_squared" else distance
        return self.sign * self.weight * distance

    def scaled(self, factor: float) -> FeatureDistance:
        return replace(self, weight=self.weight * factor)

    def take(self, index: Sequence[int]) -> FeatureDistance:
        return self if len(self.target) == 1 else replace(self, target=self.target[list(index)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageRegularizer:
    """Euclidean norm of the change, channel by channel, summed (Fu et al.'s picture term).

    Attributes:
        clean: float32 in [0, 1], (1 or n, 3, h, w).
        weight: of the term, more than 0.
    """

    clean: Tensor
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(self.weight > 0, "weight", self.weight, "more than 0")

    @property
    def passes(self) -> int:
        """No model looks."""
        return 0

    def losses(self, x: Images) -> Losses:
        """See `PictureTerm`. At no change the gradient is 0."""
        norms: Tensor = torch.linalg.vector_norm((x - self.clean).flatten(2), dim=2)
        return self.weight * norms.sum(1)

    def scaled(self, factor: float) -> ImageRegularizer:
        return replace(self, weight=self.weight * factor)

    def take(self, index: Sequence[int]) -> ImageRegularizer:
        return self if len(self.clean) == 1 else replace(self, clean=self.clean[list(index)])


class Scores(NamedTuple):
    """Scores of artifacts, or of candidates for one, on given pairs.

    Attributes:
        loss: (n,).
        target_is_greedy: whether greedy decoding writes a pair's target with every victim, bool (n, pairs).
    """

    loss: Tensor
    target_is_greedy: Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objective:
    """The sum of all terms; terms on rows are summed over victims.

    Attributes:
        victims: for terms on rows.
        rows: terms on what the victims predict.
        pictures: terms on pictures.
        own: for each artifact the numbers of a step's pairs that are about it, as many for all, so that
            pictures with other questions or targets share a pass; () takes all pairs for every artifact.
            Give the loop pairs in the same order for every step and for the probe batch (`FixedPairs`).
        at_once: pairs that a victim runs at a time, where all do not fit into memory; the same losses for
            one more forward pass. None runs all.

    Raises:
        UsageError: for no term at all, or rows without victims, or victims without rows.
    """

    victims: tuple[Victim, ...] = ()
    rows: tuple[RowTerm, ...] = ()
    pictures: tuple[PictureTerm, ...] = ()
    own: tuple[tuple[int, ...], ...] = ()
    at_once: int | None = None

    def __post_init__(self) -> None:
        if not self.rows and not self.pictures:
            raise UsageError("an objective needs a term, such as rows=(TargetNLL(),)")
        if bool(self.rows) != bool(self.victims):
            given, absent = ("rows", "victims") if self.rows else ("victims", "rows")
            raise UsageError(f"an objective with {given} needs {absent} as well")
        if len({len(numbers) for numbers in self.own}) > 1 or () in self.own:
            raise UsageError("`own` has to give every artifact as many pairs, and at least one")

    def __call__(
        self, x: Tensor, pairs: Sequence[Pair] = (), perturbations: Sequence[Tensor | None] = ()
    ) -> Tensor:
        """The loss of each picture, float32 (n,).

        Args:
            x: (n, 3, h, w) in [0, 1].
            pairs: of this step, for terms on rows.
            perturbations: per pair None, or what is added to its prompt's embeddings, (n, tokens, width).
        """
        found, _ = self._pass(x, tuple(pairs), perturbations)
        return found

    def probe(self, x: Tensor, pairs: Sequence[Pair] = ()) -> Scores:
        """Losses, and which targets would be written; without gradient."""
        with torch.no_grad():
            found, seen = self._pass(x, tuple(pairs), ())
        count = len(self.own[0]) if self.own else len(pairs)
        target_is_greedy = torch.ones(len(x), count if seen else 0, dtype=torch.bool, device=x.device)
        for by_artifact in seen:
            target_is_greedy = target_is_greedy & by_artifact.target_is_greedy
        return Scores(found, target_is_greedy)

    @property
    def passes(self) -> int:
        """Models that look at each picture; one that draws at random looks once per draw."""
        looks = sum(map(passes_of, self.victims))
        return looks + sum(term.passes for term in self.pictures)

    @property
    def parts(self) -> tuple[Objective, ...]:
        """One objective per model; they sum to this one. Terms without a model are shared out evenly."""
        if self.passes == 0:
            return (self,)
        free = tuple(term.scaled(1 / self.passes) for term in self.pictures if term.passes == 0)
        by_victim = [replace(self, victims=(victim,), pictures=free) for victim in self.victims]
        seeing = (term for term in self.pictures if term.passes)
        by_term = [replace(self, victims=(), rows=(), pictures=(term, *free)) for term in seeing]
        return (*by_victim, *by_term)

    @property
    def ids(self) -> tuple[str, ...]:
        """The victims."""
        return tuple(victim.id for victim in self.victims)

    def take(self, index: Sequence[int]) -> Objective:
        """The same objective for some of the artifacts (repeats allowed)."""
        pictures = tuple(term.take(index) for term in self.pictures)
        return replace(self, pictures=pictures, own=tuple(self.own[i] for i in index) if self.own else ())

    def _pass(
        self, x: Tensor, pairs: tuple[Pair, ...], perturbations: Sequence[Tensor | None]
    ) -> tuple[Tensor, list[SampleRows]]:
        if self.rows and not pairs:
            raise UsageError("terms on rows need pairs of prompt and target: the sampler gave none")
        wanted = list(range(len(pairs)))
        if self.own and self.rows:
            self._check_own(len(x), len(pairs))
            wanted = sorted({number for numbers in self.own for number in numbers})
        asked = tuple(pairs[number] for number in wanted)
        moved = [perturbations[number] for number in wanted] if perturbations else ()
        place = {number: i for i, number in enumerate(wanted)}
        own = tuple(tuple(place[number] for number in numbers) for numbers in self.own)
        seen = [
            per_sample(rows_in_chunks(victim, x, asked, moved, self.at_once), asked, own)
            for victim in self.victims
        ]
        losses = [read.losses(term) for read in seen for term in self.rows]
        losses += [read.penalty for read in seen if read.penalty is not None]
        losses += [term.losses(x) for term in self.pictures]
        return torch.stack(losses).sum(0), seen

    def _check_own(self, artifacts: int, pairs: int) -> None:
        highest = max(number for numbers in self.own for number in numbers)
        if len(self.own) != artifacts or highest >= pairs:
            raise ContractError(
                f"`own` is about {len(self.own)} artifacts and pairs up to number {highest}; the step has "
                f"{artifacts} artifacts and {pairs} pairs"
            )
