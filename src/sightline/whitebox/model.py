"""A loaded multimodal model as a victim: pixels in, predictions at target tokens out, with a gradient.

Every call packs its pairs into a tree (`packing`), or several where that costs less (`compute`), encodes
each picture once, and asks for logits at target rows only. n pictures are n rows of the same tree. Weights
are frozen; `x` and the loss are float32, whatever the model computes in.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from sightline.cases import Conversation
from sightline.errors import ContractError, UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.compute import PassCost, packs
from sightline.whitebox.families import Packed, family_of
from sightline.whitebox.packing import Tree, pack
from sightline.whitebox.prompts import Asked, Prompts, Size
from sightline.whitebox.victim import Pair, Rows, joined

ToFields = Callable[[Tensor], Fields]
"""Pictures (n, 3, h, w) in [0, 1] -> what the model's processor makes of such files, with a gradient."""

Nudged = list[tuple[int, tuple[int, ...]]]
"""Per stretch of nudged tokens: which nudge, and its nodes."""

#: packs of tokens that are remembered
LIMIT = 256
#: constant tokens before the picture that are worth a cache
FEWEST = 8


class MultimodalVictim:
    """A multimodal model of one of `families.KNOWN`; satisfies `Victim`. `opening.open_victim` makes one.

    Args:
        model: with a language-model head; its weights are frozen here.
        prompts: its tokens.
        preprocess: its picture processor, in the graph.
        name: its identity: target string, digest of the weights, number format.
        hold: whether what the model makes of the text before the picture is computed once only.

    Raises:
        UsageError: if its family has no adapter.
    """

    def __init__(
        self, model: Any, prompts: Prompts, preprocess: ToFields, name: str, *, hold: bool = True
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.prompts = prompts
        self.id = name
        self.family = family_of(model)
        self.dtype: torch.dtype = model.dtype
        self._preprocess = preprocess
        self._hold = hold
        self._embedding = model.get_input_embeddings()
        self._patch = _patch_size(model.config)
        text = model.config.get_text_config()
        self._context = int(getattr(text, "max_position_embeddings", 0) or 0)
        self._window = int(getattr(text, "sliding_window", 0) or 0)
        self._cost = PassCost.of(model)
        outside = torch.inference_mode(False)  # held: a later pass may want a gradient
        self._remembered = lru_cache(maxsize=LIMIT)(outside(self._packs))

    def __repr__(self) -> str:
        return f"MultimodalVictim({self.id!r})"

    @property
    def device(self) -> torch.device:
        """Where pictures and thetas have to be."""
        device: torch.device = self.model.device
        return device

    def rows(self, x: Tensor, pairs: Sequence[Pair], *, nudges: Sequence[Tensor | None] = ()) -> Rows:
        """See `Victim.rows`. A nudge may also differ by picture, (n, tokens, width).

        Raises:
            UsageError: for a picture smaller than a patch, a prompt or target that does not fit the model, or
                a nudge of another shape than `prompt_width` says.
        """
        size = self._size(x)
        given = list(nudges) or [None] * len(pairs)
        numbers = {id(nudge): nudge for nudge in given if nudge is not None}
        distinct, places = list(numbers.values()), list(numbers)
        marks = tuple(None if nudge is None else places.index(id(nudge)) for nudge in given)
        encoded = self.family.encoded(self.pixels(x), len(x))
        parts, counts = list[Rows](), list[int]()
        for count, packed in self._remembered(tuple(pairs), marks, size):
            logits = self.family.logits(encoded, packed, self._embedded(packed, len(x), distinct))
            parts.append(Rows(logits, packed.targets, packed.pair))
            counts.append(count)
        return joined(parts, counts)

    def pixels(self, x: Tensor) -> Fields:
        """What the model's processor makes of pictures, in the model's number format."""
        found = self._preprocess(x)
        return {
            key: value.to(self.dtype) if value.is_floating_point() else value for key, value in found.items()
        }

    def prompt_width(self, prompt: Conversation) -> tuple[int, int]:
        """See `Victim.prompt_width`."""
        picture = next(iter(prompt.images), None)
        side = self._patch if picture is None else 0
        size = (side, side) if picture is None else (picture.height, picture.width)
        width = int(self._embedding.weight.shape[-1])
        return len(self.prompts.prompt(prompt, size).turn), width

    def tokens(self, pair: Pair, size: Size) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Tokens of a pair's prompt and target for a picture of a height and width."""
        return self.prompts.prompt(pair.prompt, size).ids, self.prompts.target(pair, size)

    def _size(self, x: Tensor) -> Size:
        """Height and width of the pictures, checked."""
        if x.dim() != 4 or x.shape[1] != 3 or not x.is_floating_point():
            raise ContractError(
                f"pictures are floats (n, 3, h, w) in [0, 1]; these are {tuple(x.shape)} {x.dtype}"
            )
        height, width = int(x.shape[2]), int(x.shape[3])
        if min(height, width) < self._patch:
            raise UsageError(
                f"a picture of {width} x {height} pixels is smaller than a patch of {self.id} "
                f"({self._patch} x {self._patch}): enlarge it before it is attacked"
            )
        return height, width

    def _embedded(self, packed: Packed, count: int, nudges: Sequence[Tensor]) -> Tensor:
        """Embeddings of a pack's tokens, nudged, (count, nodes, width)."""
        embeds: Tensor = self._embedding(packed.ids)[None].expand(count, -1, -1)
        for mark, nodes in packed.nudged:
            nudge = nudges[mark]
            if nudge.shape[-2:] != (len(nodes), embeds.shape[-1]):
                raise UsageError(
                    f"a nudge has the shape {tuple(nudge.shape)}, but the last turn of its prompt has "
                    f"{len(nodes)} tokens of width {embeds.shape[-1]}"
                )
            embeds = embeds.index_add(1, nodes, nudge.to(embeds.dtype).expand(count, -1, -1))
        return embeds

    def _packs(
        self, pairs: tuple[Pair, ...], marks: tuple[int | None, ...], size: Size
    ) -> tuple[tuple[int, Packed], ...]:
        """The tokens of pairs, in order, as one tree or as several that cost less; pairs of each."""
        whole = self._packed(pairs, marks, size)
        count = packs(whole, len(pairs), self._cost)
        if count == 1:
            return ((len(pairs), whole),)
        ends = [len(pairs) * number // count for number in range(count + 1)]
        return tuple(
            (last - first, self._packed(pairs[first:last], marks[first:last], size))
            for first, last in pairwise(ends)
        )

    def _packed(self, pairs: tuple[Pair, ...], marks: tuple[int | None, ...], size: Size) -> Packed:
        """The tokens of pairs as one tree; `marks` says which nudge moves a pair's text, if any."""
        asked = [self.prompts.prompt(pair.prompt, size) for pair in pairs]
        asked = [replace(prompt, said=prompt.turn) for prompt in asked]  # what a nudge moves
        targets = [self.prompts.target(pair, size) for pair in pairs]
        self._check_length(pairs, asked, targets)
        return self.packed(asked, targets, marks, self.device)

    def packed(
        self,
        asked: Sequence[Asked],
        targets: Sequence[tuple[int, ...]],
        marks: Sequence[int | None],
        here: torch.device,
    ) -> Packed:
        """Prompts and their targets, given as tokens, as one tree whose tensors are on the device `here`.

        A mark says which nudge moves a prompt's text, if any; prompts of different marks share no text.
        """
        readings: dict[Hashable, Asked] = {}
        for prompt in asked:
            readings.setdefault(self.family.reading(prompt), prompt)
        numbers = {reading: number for number, reading in enumerate(readings)}
        rows, slots = [], list[int]()
        for prompt, target, mark in zip(asked, targets, marks, strict=True):
            keys, shown = self._keys(prompt, numbers[self.family.reading(prompt)], mark)
            rows.append((*keys, *target))
            slots += [*shown, *[-1] * (len(target) - 1)]
        tree = pack(rows, [len(target) for target in targets])
        fed = [(prompt, len(row) - 1) for prompt, row in zip(asked, rows, strict=True)]
        tokens = [token for p, t in zip(asked, targets, strict=True) for token in (*p.ids, *t[:-1])]
        ids = torch.tensor(tokens)[tree.source]
        slot = torch.tensor(slots)[tree.source]
        positions = torch.cat([self.family.positions(prompt, length) for prompt, length in fed], dim=1)
        looks = [look for prompt, length in fed if (look := self.family.looks(prompt, length)) is not None]
        places = (slot >= 0).nonzero()[:, 0]
        in_order = torch.equal(slot[places], torch.arange(len(places)))
        nudged = _nudged(asked, marks, tree.paths)
        return Packed(
            ids=ids.to(here),
            positions=positions[:, tree.source].to(here),
            end=tree.end.to(here),
            places=places.to(here),
            slots=None if in_order else slot[places].to(here),
            looks=torch.cat(looks)[tree.source].to(here) if looks else None,
            readings=tuple(prompt.fields for prompt in readings.values()),
            read=tree.read.to(here),
            targets=torch.tensor([token for target in targets for token in target]).to(here),
            pair=tree.pair.to(here),
            nudged=tuple((mark, torch.tensor(nodes).to(here)) for mark, nodes in nudged),
            common=tree.common,
            constant=self._constant(ids, slot, tree, nudged),
        )

    def _constant(self, ids: Tensor, slot: Tensor, tree: Tree, nudged: Nudged) -> tuple[int, ...]:
        """The tokens that every row begins with, before the picture and before a nudge."""
        same = (tree.end == len(ids)) & (slot < 0)
        for _, nodes in nudged:
            same[list(nodes)] = False
        count = int(same.long().cumprod(0).sum())
        held = self._hold and self.family.picture_id is not None and count >= FEWEST
        return tuple(ids[:count].tolist()) if held else ()

    def _keys(self, prompt: Asked, reading: int, mark: int | None) -> tuple[list[Any], list[int]]:
        """A prompt's tokens as keys of the tree, and which picture feature each stands for (-1 for text)."""
        picture = self.family.picture_id
        count = sum(token == picture for token in prompt.ids)
        keys: list[Any] = list(prompt.ids)
        slots = [-1] * len(keys)
        following = reading * count
        for place, token in enumerate(prompt.ids):
            if token == picture:
                keys[place] = (token, following)
                slots[place], following = following, following + 1
        if mark is not None:
            for place in prompt.said:
                keys[place] = (keys[place], "nudged", mark)
        return keys, slots

    def _check_length(
        self, pairs: Sequence[Pair], asked: Sequence[Asked], targets: Sequence[tuple[int, ...]]
    ) -> None:
        most = min((limit for limit in (self._context, self._window) if limit), default=0)
        for pair, prompt, target in zip(pairs, asked, targets, strict=True):
            if most and len(prompt.ids) + len(target) - 1 > most:
                raise UsageError(
                    f"{self.id}: prompt and target have {len(prompt.ids)} + {len(target)} tokens, and a "
                    f"token can look at no more than {most}: shorten {pair.target[:60]!r} or its prompt"
                )


def _nudged(asked: Sequence[Asked], marks: Sequence[int | None], paths: Sequence[tuple[int, ...]]) -> Nudged:
    """Which nodes a nudge moves: one entry per nudge and stretch of nodes."""
    found = [
        (mark, tuple(path[place] for place in prompt.said))
        for prompt, mark, path in zip(asked, marks, paths, strict=True)
        if mark is not None
    ]
    return list(dict.fromkeys(found))


def _patch_size(config: Any) -> int:
    """Side of a patch of the vision tower in pixels."""
    return int(config.vision_config.patch_size)
