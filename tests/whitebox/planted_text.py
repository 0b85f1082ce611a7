"""A reader of a few hundred weights for which a best filling of the suffix is planted.

Place i holds token t with the value `taste[i, t]`; the model's one target token, `1` of two, has the logit of
their sum, so that every place can be judged alone and the planted filling is the only one that is forced.
The embedding is the identity: gradients to one-hot tokens are exact and have the sign of the loss's change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode

from sightline.cases import Conversation
from sightline.rng import numpy_rng
from sightline.whitebox.compute import FlopEstimator
from sightline.whitebox.suffix import TokenSuffix
from sightline.whitebox.victim import Pair, Rows

TOKENS = 40


def counting() -> bool:
    """Whether this pass is only run for its FLOPs."""
    return _get_current_dispatch_mode() is not None


@dataclass(eq=False)
class Letters:
    """All tokens may be used, but for `banned`; neighbors fit unless they are equal and `pairs` is false."""

    banned: tuple[int, ...] = ()
    pairs: bool = True
    asked: int = 0

    def allowed(self, kind: str) -> Tensor:
        found = torch.ones(TOKENS, dtype=torch.bool)
        found[list(self.banned)] = False
        return found

    def survive(self, left, right):
        self.asked += len(np.ravel(left))
        return (left != right) | self.pairs


@dataclass(eq=False)
class Planted:
    """See above. `unread` are tokens that a text with them does not read back; `full_above` is the memory."""

    suffix: TokenSuffix = field(default_factory=lambda: TokenSuffix(length=6))
    seed: int = 0
    vocabulary: Letters = field(default_factory=Letters)
    unread: tuple[int, ...] = ()
    full_above: int | None = None
    sizes: list[int] = field(default_factory=list)
    slopes: int = 0
    scored: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    tally: FlopEstimator = field(default_factory=FlopEstimator)
    vocabulary_size: int = TOKENS
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def id(self) -> str:
        return f"planted-{self.seed}"

    @property
    def taste(self) -> Tensor:
        rng = numpy_rng("taste", self.seed)
        found = rng.random((self.suffix.length, TOKENS))
        found[np.arange(self.suffix.length), self.best] = 2.0
        return torch.from_numpy(found).float()

    @property
    def best(self) -> list[int]:
        """The planted filling."""
        return numpy_rng("best", self.seed).integers(1, TOKENS, self.suffix.length).tolist()

    def start(self, prompt: Conversation, seed: int) -> Tensor:
        return torch.zeros(self.suffix.length, dtype=torch.long)

    def text(self, ids: Sequence[int]) -> str:
        return " " + " ".join(map(str, ids))

    def reads(self, prompt: Conversation, ids: Sequence[int]) -> bool:
        return not set(self.unread) & set(ids)

    def edges(self, pairs: Sequence[Pair]) -> tuple[set[int], set[int]]:
        return {TOKENS - 1}, set()

    def needs_prefill(self, pairs: tuple[Pair, ...]) -> bool:
        return False

    def prefill(self, pairs: tuple[Pair, ...]) -> None:
        """Nothing stands before the suffix."""

    def measure_prefill(self, pairs: tuple[Pair, ...]) -> None:
        """Nothing stands before the suffix."""

    def terms(self, pairs: tuple[Pair, ...], unchanged: int | None) -> tuple[float, ...]:
        return 1.0, len(pairs)

    def logits(self, whole: Tensor, pairs: Sequence[Pair]) -> Rows:
        """From one-hot fillings (n, length, TOKENS)."""
        value = (whole * self.taste).sum((1, 2)) - 2.0 * self.suffix.length + 0.1
        each = torch.stack([value * float(pair.target) for pair in pairs], dim=1)
        logits = torch.stack([-each, each], dim=2) @ torch.eye(2)  # a product, so that FLOPs are counted
        return Rows(logits, torch.ones(len(pairs), dtype=torch.long), torch.arange(len(pairs)))

    def token_gradient(self, ids, pairs, loss):
        self.slopes += not counting()
        whole = torch.nn.functional.one_hot(ids, TOKENS).float()[None].requires_grad_(True)
        rows = self.logits(whole, pairs)
        found = loss(rows)
        (grad,) = torch.autograd.grad(found.sum(), whole)
        return found.detach(), grad, rows

    def rows(self, fillings, pairs, *, unchanged=0):
        if self.full_above is not None and len(fillings) > self.full_above:
            raise torch.OutOfMemoryError("full")
        if not counting():
            self.sizes.append(len(fillings))
            self.scored += [(tuple(row), unchanged) for row in fillings.tolist()]
        return self.logits(torch.nn.functional.one_hot(fillings, TOKENS).float(), pairs)


def pair(weight: float = 1.0, text: str = "say") -> Pair:
    return Pair(prompt=Conversation.user(text), target=str(weight), closed=False)
