"""What defenses that look inside do in a pass with gradients: gates and steering, leaning towards refusal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.inside import final_norm, language_blocks
from sightline.whitebox.within import Nodes, OpenWithin, Within

BETA = 1.0
"""Weight of what a detector sees beside the loss of an attack."""


def gated(kept: Mapping[int, tuple[Any, Any, Any]], alpha: float) -> OpenWithin:
    """Gates that an attacker wants shut: by block, gate, vector and bias.

    Args:
        kept: see above.
        alpha: with which vectors are added at the tokens of the reply where the gate is open; 0 for a
            penalty alone.
    """

    def opened(nodes: Nodes, model: Any) -> Within:
        weight = next(model.parameters())

        def tensor(values: Any) -> Tensor:
            return torch.tensor(values, dtype=weight.dtype, device=weight.device)

        return _Gated(nodes, {n: (tensor(s), tensor(t), float(b)) for n, (s, t, b) in kept.items()}, alpha)

    return opened


@dataclass(slots=True)
class _Gated:
    """Satisfies `Within`."""

    nodes: Nodes
    kept: Mapping[int, tuple[Tensor, Tensor, float]]
    alpha: float
    excess: list[Tensor] = field(default_factory=list)

    def block(self, number: int, state: Tensor) -> Tensor | None:
        """See `Within.block`."""
        if number not in self.kept:
            return None
        gate, vector, bias = self.kept[number]
        projected = state @ gate + bias
        self.excess.append(projected[:, self.nodes.last].float().relu())
        if not self.alpha:
            return None
        open_ = ((projected > 0) & self.nodes.reply).unsqueeze(-1)
        return state + open_ * (self.alpha * vector)

    def penalty(self) -> Tensor | None:
        """The sum of relu(a . s + b) over blocks, at the last token of each prompt."""
        return BETA * torch.stack(self.excess).sum(0) if self.excess else None


def leaning_towards(tokens: Sequence[int], blocks: Collection[int], threshold: float) -> OpenWithin:
    """What the area under the cosine with some tokens exceeds a threshold by, over a range of blocks."""

    def opened(nodes: Nodes, model: Any) -> Within:
        head = model.get_output_embeddings()
        size = len(head.weight)
        if max(tokens) >= size:
            raise UsageError(f"token {max(tokens)} is none of the {size} that this model has")
        _, around = language_blocks(model, type(model).__name__)
        return _Leaning(nodes, around, head, list(tokens), frozenset(blocks), threshold)

    return opened


@dataclass(slots=True)
class _Leaning:
    """Satisfies `Within`."""

    nodes: Nodes
    around: Any
    head: Any
    tokens: list[int]
    blocks: frozenset[int]
    threshold: float
    seen: list[Tensor] = field(default_factory=list)

    def block(self, number: int, state: Tensor) -> Tensor | None:
        """See `Within.block`."""
        if number in self.blocks:
            scores = self.head(final_norm(self.around, state[:, self.nodes.last])).float()
            length = scores.norm(dim=-1).clamp_min(1e-12) * len(self.tokens) ** 0.5
            self.seen.append(scores[..., self.tokens].sum(-1) / length)
        return None

    def penalty(self) -> Tensor | None:
        """relu(score - threshold)."""
        if not self.seen:
            return None
        rows = torch.stack(self.seen)
        score = rows[0] if len(rows) == 1 else torch.trapezoid(rows, dim=0)
        return BETA * (score - self.threshold).relu()
