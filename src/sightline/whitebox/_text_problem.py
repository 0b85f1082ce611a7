"""What a search for a suffix is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.records import Cost
from sightline.whitebox._problem import PROBE_PAIRS, Check, Ending, Stop
from sightline.whitebox.compute import Tally
from sightline.whitebox.objectives import RowTerm, TargetNLL
from sightline.whitebox.samplers import Sampler
from sightline.whitebox.token_optimizers import Flipper
from sightline.whitebox.victim import Pair, Rows
from sightline.whitebox.vocabulary import Allowed, Ids

Loss = Callable[[Rows], Tensor]


class Vocabulary(Protocol):
    """Tokens as text; see `TokenVocabulary`."""

    def allowed(self, kind: Allowed) -> Tensor:
        """Which tokens may be used, bool (size,)."""
        ...

    def survive(self, left: Ids, right: Ids) -> Any:
        """Whether neighbors survive decoding and encoding."""
        ...


class Open(Protocol):
    """The constraint; see `TokenSuffix`."""

    @property
    def length(self) -> int:
        """Tokens."""
        ...

    @property
    def allowed(self) -> Allowed:
        """Which tokens may be used."""
        ...

    def added_to(self, prompt: Conversation, suffix: str) -> Conversation:
        """A prompt as it is sent."""
        ...


class Reader(Protocol):
    """A model whose prompts have a suffix left open; see `SuffixReader`."""

    id: str
    device: torch.device
    tally: Tally

    @property
    def suffix(self) -> Open:
        """The constraint."""
        ...

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's tokens."""
        ...

    @property
    def vocabulary_size(self) -> int:
        """Tokens that can be used at all."""
        ...

    def start(self, prompt: Conversation, seed: int) -> Tensor:
        """The tokens that a search begins with, (length,)."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """How tokens read."""
        ...

    def reads(self, prompt: Conversation, ids: Sequence[int]) -> bool:
        """Whether the target, given the text, reads exactly these tokens."""
        ...

    def edges(self, pairs: Sequence[Pair]) -> tuple[set[int], set[int]]:
        """Tokens right before and right behind the suffix."""
        ...

    def needs_prefill(self, pairs: tuple[Pair, ...]) -> bool:
        """Whether what stands before the suffix was not run yet."""
        ...

    def prefill(self, pairs: tuple[Pair, ...]) -> None:
        """Run what stands before the suffix, if that was not done."""
        ...

    def measure_prefill(self, pairs: tuple[Pair, ...]) -> None:
        """Run it, and keep nothing of it."""
        ...

    def token_gradient(self, ids: Tensor, pairs: tuple[Pair, ...], loss: Loss) -> tuple[Tensor, Tensor, Rows]:
        """Loss (1,), gradient (prefixes, length, vocabulary) and predictions of one candidate."""
        ...

    def embedding_gradient(
        self, ids: Tensor, pairs: tuple[Pair, ...], loss: Loss, shift: Tensor
    ) -> tuple[Tensor, Tensor, Rows]:
        """Loss (1,), gradient (prefixes, length, width) and predictions of shifted embeddings."""
        ...

    def rows(self, candidates: Tensor, pairs: tuple[Pair, ...], *, unchanged: int = 0) -> Rows:
        """Predictions for candidates (n, length)."""
        ...

    def terms(self, pairs: tuple[Pair, ...], unchanged: int | None) -> tuple[float, ...]:
        """Terms in which a pass's cost is linear; for `unchanged` None, that of what stands before."""
        ...


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

    readers: tuple[Reader, ...]
    optimizer: Flipper
    sampler: Sampler
    loss: RowTerm = field(default_factory=TargetNLL)
    probe: tuple[Pair, ...] | None = None
    stop: Stop | None = None

    def __post_init__(self) -> None:
        if not self.readers or not self.judged:
            raise UsageError("a search for a text needs at least one model and one pair of prompt and target")
        if any(reader.suffix != self.readers[0].suffix for reader in self.readers):
            raise UsageError("models that share a suffix need the same constraint: give all readers one")

    @property
    def judged(self) -> tuple[Pair, ...]:
        """The pairs of the probe batch."""
        return self.sampler.pool[:PROBE_PAIRS] if self.probe is None else self.probe


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundText:
    """What a search found.

    Attributes:
        ids: the best suffix's tokens.
        text: how they read; `TokenSuffix.joined` puts it to a request.
        best: the check at which it was found.
        ending: why the search ended.
        losses: loss by step on the step's pairs, at most 200 points.
        checks: probe loss and success by step.
        cost: of the search.
    """

    ids: tuple[int, ...]
    text: str
    best: Check
    ending: Ending
    losses: tuple[tuple[int, float], ...]
    checks: tuple[Check, ...]
    cost: Cost
