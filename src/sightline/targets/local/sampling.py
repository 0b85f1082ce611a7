"""Sampled decoding whose draws do not depend on the batch.

Each row draws its next token by inverse transform from its own generator and its own scores, so that
one batch may hold rows of any seed, and a row's reply is the same in any company (up to the rounding
of the matrix products, which the batch-invariance check bounds).
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from typing import Any

import torch

from sightline.contracts import Decoding


class EndedError(Exception):
    """Python exits, so the rest of a reply is not written."""


class RowSampler:
    """A logits processor that draws each row's next token by inverse transform from its own generator.

    Rows at temperature 0 pass unchanged. Counts the steps, since not every family returns the prompt.
    Raises EndedError at the first step after `ending` was set.
    """

    def __init__(
        self, decoding: Decoding, seeds: Sequence[int], *, keep: bool, ending: threading.Event | None = None
    ) -> None:
        self.steps = 0
        self._ending = ending
        self._keep: list[Any] | None = [] if keep else None
        self._best: list[Any] = []
        self._temperature = decoding.sampling_temperature
        self._top_p = decoding.top_p
        self._draws = [random.Random(seed) for seed in seeds]

    def kept(self, row: int) -> Any:
        """Raw scores of a row, (steps, vocabulary), fp32 on the CPU; None if not kept."""
        return None if self._keep is None else torch.stack([step[row] for step in self._keep])

    def finite(self, row: int, steps: int) -> bool:
        """Whether the best score of each of a row's first `steps` tokens was a number.

        One NaN or infinity among the scores shows in the largest; single tokens may be ruled out (-infinity).
        """
        return bool(torch.stack([best[row] for best in self._best[:steps]]).isfinite().all())

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: ARG002
        """Scores in which only the drawn token is possible; as they are when decoding is greedy."""
        if self._ending is not None and self._ending.is_set():
            raise EndedError
        self.steps += 1
        if self._keep is not None:
            self._keep.append(scores.detach().float().cpu().clone())
        self._best.append(scores.amax(dim=-1))
        if self._temperature <= 0:
            return scores
        ordered, tokens = (scores.double() / self._temperature).softmax(dim=-1).sort(dim=-1, descending=True)
        total = ordered.cumsum(dim=-1)
        inside = total - ordered < self._top_p
        mass = (ordered * inside).sum(dim=-1, keepdim=True)
        draw = torch.tensor([[rng.random()] for rng in self._draws], dtype=mass.dtype, device=mass.device)
        place = torch.searchsorted((ordered * inside).cumsum(dim=-1), draw * mass, right=True)
        last = (inside.sum(dim=-1, keepdim=True) - 1).clamp(min=0)  # of scores that are NaN none is inside
        chosen = tokens.gather(1, torch.minimum(place, last))
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen, 0.0)
