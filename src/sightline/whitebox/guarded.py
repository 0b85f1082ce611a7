"""A model behind a guard that reads the request, opened for gradients: the joint loss of both.

Beside the loss of an attack stands how far the guard is from its safe verdict: relu(log p(unsafe) -
log p(safe) + MARGIN), p of the verdict's word as the beginning of the guard's reply about the request with
the attacked picture. It is 0 once the guard calls the request safe with a margin; gradients go through both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sightline.cases import Conversation
from sightline.whitebox.shapes import Images
from sightline.whitebox.through import Chance, drawing, passes_of
from sightline.whitebox.victim import Pair, Rows, Victim

BETA = 1.0
"""Weight of what the guard says beside the loss of an attack."""
MARGIN = 1.0
"""In nats; the file's pixels are rounded, and its verdict must stay what it was."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """See `through.guarded`. Satisfies `Victim`.

    Attributes:
        name: of the defense.
        inner: what answers.
        guard: what reads the request; it is shown the same picture.
        question: what the guard is asked about a prompt.
        words: beginnings of its unsafe and its safe verdict.
    """

    name: str
    inner: Victim
    guard: Victim
    question: Callable[[Conversation], Conversation]
    words: tuple[str, str]

    @property
    def id(self) -> str:
        """See `Victim.id`."""
        return f"defended/{self.name}:{self.inner.id}"

    @property
    def device(self) -> torch.device:
        """See `Victim.device`."""
        return self.inner.device

    @property
    def looks(self) -> int:
        """See `ManyPasses`: one of the guard."""
        return 1 + passes_of(self.inner)

    def drawing(self, chance: Chance) -> Guarded:
        """See `Drawing`."""
        return replace(self, inner=drawing(self.inner, chance))

    def rows(self, x: Images, pairs: Sequence[Pair], *, perturbations: Sequence[Tensor | None] = ()) -> Rows:
        """See `Victim.rows`; the penalty is the guard's, besides that of what stands behind it."""
        rows = self.inner.rows(x, pairs, perturbations=perturbations)
        penalty = self._penalty(x, pairs).repeat_interleave(rows.draws, 0)
        return replace(rows, penalty=penalty if rows.penalty is None else rows.penalty + penalty)

    def prompt_width(self, prompt: Conversation) -> tuple[int, int]:
        """See `Victim.prompt_width`."""
        return self.inner.prompt_width(prompt)

    def _penalty(self, x: Images, pairs: Sequence[Pair]) -> Tensor:
        """Of each picture and pair, float32 (n, pairs); prompts that several pairs share are asked once."""
        prompts = list(dict.fromkeys(pair.prompt for pair in pairs))
        asked = [
            Pair(prompt=self.question(prompt), target=word, closed=False)
            for prompt in prompts
            for word in self.words
        ]
        read = self.guard.rows(x, asked)
        losses = torch.zeros(len(x), len(asked), device=read.ids.device).index_add(1, read.pair, read.nll)
        unsafe, safe = losses.unflatten(1, (len(prompts), 2)).unbind(2)
        penalty: Tensor = BETA * (safe - unsafe + MARGIN).relu()
        return penalty[:, torch.tensor([prompts.index(pair.prompt) for pair in pairs], device=penalty.device)]
