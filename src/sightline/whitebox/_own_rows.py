"""Artifacts with pairs of their own in one pass: what a victim predicts, artifact by artifact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sightline.whitebox.victim import Pair, Rows

if TYPE_CHECKING:
    from sightline.whitebox.objectives import RowTerm


def membership(pair: Tensor, pairs: int) -> Tensor:
    """Whether a token belongs to a pair, bool (t, pairs)."""
    return pair[:, None] == torch.arange(pairs, device=pair.device)


@dataclass(frozen=True, slots=True)
class Read:
    """What a victim predicts, artifacts with the same pairs together.

    Attributes:
        parts: artifacts, their rows, their pairs.
        order: where an artifact stands in the parts one after the other; () where there is one part.
    """

    parts: tuple[tuple[Rows, tuple[Pair, ...]], ...]
    order: tuple[int, ...] = ()

    def losses(self, term: RowTerm) -> Tensor:
        """A term's loss of each artifact, (n,)."""
        return self._in_order([term.losses(rows, pairs) for rows, pairs in self.parts])

    @property
    def target_is_greedy(self) -> Tensor:
        """Whether greedy decoding would write each artifact's targets, bool (n, pairs of each)."""
        return self._in_order([rows.target_is_greedy for rows, _ in self.parts])

    def _in_order(self, found: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(found))[list(self.order)] if self.order else found[0]


def read(rows: Rows, pairs: tuple[Pair, ...], own: tuple[tuple[int, ...], ...]) -> Read:
    """Each artifact's own rows out of the rows of all."""
    if not own:
        return Read(((rows, pairs),))
    members: dict[tuple[int, ...], list[int]] = {}
    for artifact, numbers in enumerate(own):
        members.setdefault(numbers, []).append(artifact)
    spans = _spans(rows.pair, len(pairs))
    parts = [
        (_taken(rows, artifacts, [spans[number] for number in numbers]), tuple(pairs[n] for n in numbers))
        for numbers, artifacts in members.items()
    ]
    flat = [artifact for artifacts in members.values() for artifact in artifacts]
    return Read(tuple(parts), tuple(flat.index(artifact) for artifact in range(len(own))))


def _spans(pair: Tensor, pairs: int) -> list[range]:
    """The places of every pair's tokens; read back from the device."""
    ends = membership(pair, pairs).sum(0).cumsum(0).tolist()
    return [range(first, last) for first, last in zip([0, *ends], ends, strict=False)]


def _taken(rows: Rows, artifacts: Sequence[int], spans: Sequence[range]) -> Rows:
    """The rows of some artifacts and pairs."""
    places = torch.tensor([place for span in spans for place in span], device=rows.ids.device)
    pair = torch.tensor([i for i, span in enumerate(spans) for _ in span], device=rows.ids.device)
    return Rows(rows.logits[list(artifacts)][:, places], rows.ids[places], pair)
