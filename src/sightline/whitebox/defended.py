"""Models behind defenses, opened for gradients: what `through` makes. All satisfy `Victim`.

`Changed` changes requests before they are answered, `Contrasted` changes scores. Their cost is that of the
passes that they run: a victim that draws k times is k passes of the model behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.whitebox.shapes import Images
from sightline.whitebox.through import DRAWS, Chance, drawing, passes_of
from sightline.whitebox.victim import Pair, Rows, Victim


@dataclass(frozen=True, slots=True, eq=False)
class Changed:
    """A model behind a defense that changes prompts or pictures; see `through.changed`."""

    name: str
    inner: Victim
    prompt: Callable[..., Conversation] | None
    pixels: Callable[[Pixels, Any], Pixels] | None
    like: Callable[[Tensor, Any], Tensor] | None
    kept: bool = field(kw_only=True, default=False)
    random: tuple[bool, bool] = field(kw_only=True, default=(False, False))
    chance: Chance = field(kw_only=True, default=Chance())

    @property
    def id(self) -> str:
        """See `Victim.id`."""
        return f"defended/{self.name}:{self.inner.id}"

    @property
    def device(self) -> torch.device:
        """See `Victim.device`."""
        return self.inner.device

    @property
    def draws(self) -> int:
        """How often it draws for a picture: once, if nothing is random."""
        return DRAWS if any(self.random) else 1

    @property
    def looks(self) -> int:
        """See `ManyPasses`."""
        return self.draws * passes_of(self.inner)

    def drawing(self, chance: Chance) -> Changed:
        """See `Drawing`."""
        return replace(self, chance=chance)

    def rows(self, x: Images, pairs: Sequence[Pair], *, perturbations: Sequence[Tensor | None] = ()) -> Rows:
        """See `Victim.rows`: of every picture `draws` rows."""
        if not self.random[0]:  # one pass for all draws
            return self._rows(self._shown(x, range(self.draws)), pairs, perturbations, 0, self.draws)
        found = [
            self._rows(self._shown(x, [draw]), pairs, perturbations, draw, 1) for draw in range(self.draws)
        ]
        if any(not torch.equal(rows.ids, found[0].ids) for rows in found):
            raise UsageError(
                f"{self.id}: the tokens of a target differ with what the defense does to its prompt"
            )
        logits = torch.stack([rows.logits for rows in found], dim=1).flatten(0, 1)
        given = [rows.penalty for rows in found if rows.penalty is not None]
        penalty = torch.stack(given, dim=1).flatten(0, 1) if given else None
        return replace(found[0], logits=logits, draws=self.draws, penalty=penalty)

    def prompt_width(self, prompt: Conversation) -> tuple[int, int]:
        """See `Victim.prompt_width`.

        Raises:
            UsageError: if prompts are changed at random.
        """
        if self.random[0]:
            raise UsageError(
                f"{self.id}: the defense changes prompts at random: perturbations of their embeddings "
                "have no fixed shape: attack it without them"
            )
        return self.inner.prompt_width(self._asked(prompt, 0))

    def changed(self, x: Images) -> Tensor:
        """What the target is shown for pictures, `draws` of each, one after the other; see `through`."""
        return self._shown(x, range(self.draws))

    def _asked(self, prompt: Conversation, draw: int) -> Conversation:
        if self.prompt is None:
            return prompt
        return self.prompt(prompt, self.chance.for_prompts(draw)) if self.random[0] else self.prompt(prompt)

    def _rows(
        self, x: Tensor, pairs: Sequence[Pair], moved: Sequence[Tensor | None], draw: int, draws: int
    ) -> Rows:
        asked = {pair.prompt: self._asked(pair.prompt, draw) for pair in dict.fromkeys(pairs)}
        shown = [replace(pair, prompt=asked[pair.prompt]) for pair in pairs]
        again: dict[int, Tensor | None] = {
            id(each): each.repeat_interleave(draws, 0) if each is not None and each.dim() == 3 else each
            for each in moved
        }
        victim = drawing(self.inner, self._for_inner(len(x) // draws, draw, draws))
        rows = victim.rows(x, shown, perturbations=[again[id(each)] for each in moved])
        return replace(rows, draws=rows.draws * draws)

    def _for_inner(self, count: int, draw: int, draws: int) -> Chance:
        """What a random defense behind this one draws from: other numbers for every draw of this one."""
        whose = self.chance.pictures or tuple((number, 0) for number in range(count))
        numbers = [(key, sample * self.draws + draw + i) for key, sample in whose for i in range(draws)]
        return Chance(self.chance.seed, (*self.chance.place, 1, draw), tuple(numbers))

    def _shown(self, x: Images, draws: Sequence[int]) -> Tensor:
        """Pictures as the target is shown them: exactly forward, like the stand-in backward."""
        if self.pixels is None:
            return x.repeat_interleave(len(draws), 0) if len(draws) > 1 else x
        levels = (x.detach() * 255).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return torch.stack(
            [
                self._one(x[number], np.ascontiguousarray(levels[number]), number, draw)
                for number in range(len(x))
                for draw in draws
            ]
        )

    def _one(self, x: Tensor, levels: Pixels, number: int, draw: int) -> Tensor:
        assert self.pixels is not None
        after = self.pixels(levels, self.chance.for_picture(number, draw))
        exact = torch.from_numpy(np.array(after)).to(x.device).permute(2, 0, 1).to(x.dtype) / 255
        like = x if self.like is None else self.like(x, self.chance.for_picture(number, draw))
        if self.kept:
            same = torch.from_numpy((after == levels).all(2)).to(x.device)
            like = torch.where(same, like, like.detach())
        return exact + (like - like.detach())


@dataclass(frozen=True, slots=True, eq=False)
class Contrasted:
    """A model whose scores are moved away from those without a principle; see `through.contrasted`."""

    name: str
    inner: Victim
    principle: Callable[[Conversation], Conversation]
    weight: float

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
        """See `ManyPasses`: with the principle and without it."""
        return 2 * passes_of(self.inner)

    def drawing(self, chance: Chance) -> Contrasted:
        """See `Drawing`."""
        return replace(self, inner=drawing(self.inner, chance))

    def rows(self, x: Images, pairs: Sequence[Pair], *, perturbations: Sequence[Tensor | None] = ()) -> Rows:
        """See `Victim.rows`.

        Raises:
            UsageError: for perturbations: the prompts with the principle and without it have other tokens.
        """
        if any(each is not None for each in perturbations):
            raise UsageError(f"{self.id} reads every prompt in two forms: attack it without perturbations")
        asked = [replace(pair, prompt=self.principle(pair.prompt)) for pair in pairs]
        both = self.inner.rows(x, [*asked, *pairs])
        half = int((both.pair < len(pairs)).sum())
        if not torch.equal(both.ids[:half], both.ids[half:]):
            raise UsageError(f"{self.id}: the tokens of a target differ with the principle before its prompt")
        moved, plain = both.logits[:, :half].float(), both.logits[:, half:].float()
        penalty = None if both.penalty is None else both.penalty[:, : len(pairs)]
        logits = moved + self.weight * (moved - plain)
        return Rows(logits, both.ids[:half], both.pair[:half], both.draws, penalty)

    def prompt_width(self, prompt: Conversation) -> tuple[int, int]:
        """See `Victim.prompt_width`."""
        return self.inner.prompt_width(self.principle(prompt))
