"""Keys and values of tokens that are run once: the constant text of a prompt, or all that precedes a suffix.

All prompts and targets are one tree (`packing`). Nodes before the first changed token never change: their
keys and values are computed once and expanded, not copied, for every candidate. The library's cache grows in
place, so every pass gets a fresh one around the same tensors.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sightline.errors import ContractError, UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.families import Family, ForwardInputs
from sightline.whitebox.packing import PackedPrompts, score_mask, spliced, visible
from sightline.whitebox.victim import Rows

Layer = tuple[Tensor, Tensor]
"""Keys and values, (1, heads, tokens, size)."""


class Prefix(NamedTuple):
    """Tokens that were run already.

    Attributes:
        length: how many.
        layers: keys and values; those of a layer that looks at a picture are the picture's, or None without
            picture.
        picture: what of the picture later passes need; see `Family.kept`.
    """

    length: int
    layers: tuple[Layer | None, ...]
    picture: Any = None

    @classmethod
    def of(cls, length: int, cache: Any, picture: Any = None) -> Prefix:
        """What a pass left in a cache of the library."""
        layers = tuple(
            (layer.keys.detach(), layer.values.detach()) if layer.is_initialized else None
            for layer in cache.layers
        )
        return cls(length, layers, picture)

    def expanded(self, rows: int) -> DynamicCache:
        """A cache of so many rows that begins with these tokens; a pass may write into it."""
        found = DynamicCache()
        for place, layer in enumerate(self.layers):
            if layer is not None:
                found.update(*(states.expand(rows, -1, -1, -1) for states in layer), place)
        return found


class PrefixCache:
    """Prefixes of one model by what decides them; the least recently used go first.

    Attributes:
        computed: how many were computed.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: OrderedDict[Hashable, Prefix] = OrderedDict()
        self.computed = 0

    def __contains__(self, key: Hashable) -> bool:
        return key in self._known

    def get(self, key: Hashable, compute: Callable[[], Prefix]) -> Prefix:
        """A prefix, computed without gradient if it is not known."""
        if key not in self._known:
            with torch.inference_mode(False), torch.no_grad():  # a later pass may want a gradient
                self._known[key] = compute()
            self.computed += 1
        self._known.move_to_end(key)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)
        return self._known[key]


def text_prefix(family: Family, embedding: Any, ids: tuple[int, ...]) -> Prefix:
    """Text that a prompt begins with."""
    tokens = torch.tensor([ids], device=embedding.weight.device)
    cache = DynamicCache()
    family.forward(
        ForwardInputs(
            embeds=embedding(tokens),
            mask=None,
            positions=torch.arange(len(ids), device=tokens.device)[None],
            picture_mask=None,
            read=torch.zeros(1, dtype=torch.long, device=tokens.device),
            picture=None,
            cache=cache,
        )
    )
    return Prefix.of(len(ids), cache)


@dataclass(frozen=True, slots=True, eq=False)
class _Span:
    """Nodes that are run together after others; tensors on the model's device unless stated otherwise.

    Attributes:
        nodes: which, int64 on the CPU.
        ids: (nodes,), their tokens; those of open places are to be replaced.
        where: (prefixes x open,), the places of open tokens among them.
        mask: what is added to attention scores, (1, 1, nodes, cached + nodes).
        positions: (axes, nodes).
        picture_mask: (nodes, ...), what each sees of the picture, for cross-attention; else None.
        read: (t,), places whose predictions are wanted.
    """

    nodes: Tensor
    ids: Tensor
    where: Tensor
    mask: Tensor
    positions: Tensor
    picture_mask: Tensor | None
    read: Tensor


class CachedPrefixModel:
    """Prompts and targets of one model with some tokens left open, run for many candidates on one prefix.

    Args:
        family: of the model.
        embedding: of its tokens.
        packed: prompts and targets as a tree, tensors on the CPU; `marked` are the open tokens, one entry
            per prefix: prompts that agree before them share theirs.
        pixels: of the one picture that all prompts show, in the model's number format; None for none.
        device: of the model.

    Raises:
        UsageError: for a picture after the open tokens, or a family whose picture encoder reads them.
    """

    def __init__(
        self,
        family: Family,
        embedding: Any,
        packed: PackedPrompts,
        pixels: Fields | None,
        device: torch.device,
    ) -> None:
        if family.reads_text:
            raise UsageError(
                "InstructBLIP's Q-Former reads the user's text as well, in tokens of its own: its text "
                "cannot be attacked token by token; craft on another model and transfer"
            )
        self._family, self._embedding, self._packed = family, embedding, packed
        self._pixels, self._device = pixels, device
        self.slots = torch.stack([nodes for _, nodes in packed.marked])
        """The nodes of the open tokens, (prefixes, open)."""
        late = torch.zeros(len(packed.ids), dtype=torch.bool)
        for first in self.slots[:, 0].tolist():
            late[first : int(packed.end[first])] = True
        if bool(late[packed.places].any()):
            raise UsageError("the picture comes after the attacked tokens: show it before the text")
        self._late = late.nonzero()[:, 0]
        self._early = (~late).nonzero()[:, 0]
        self._sees = visible(packed.end)
        self._targets, self._pair = packed.targets.to(device), packed.pair.to(device)
        self._prefix: Prefix | None = None
        self._last: tuple[Tensor, Prefix] | None = None
        self._spans: dict[int, _Span] = {}

    def terms(self, unchanged: int | None) -> tuple[float, ...]:
        """1, tokens, tokens times what they look at, rows of logits: the cost of a pass is linear in them."""
        early, late, scored = len(self._early), len(self._late), len(self._targets)
        if unchanged is None:
            return 1.0, early, early * early
        run = late - unchanged * len(self.slots)
        return 1.0, run, run * (early + late), scored

    @property
    def prefix_key(self) -> Hashable:
        """What has to be the same for two to share their prefix."""
        early = self._early
        return (
            tuple(self._packed.ids[early].tolist()),
            tuple(self._packed.positions[:, early].flatten().tolist()),
            self._sees[early][:, early].numpy().tobytes(),
        )

    def prefill(self, cache: PrefixCache | None = None) -> Prefix:
        """Run all that precedes the open tokens, once; `cache` has the prefixes of others."""
        if cache is not None:
            self._prefix = cache.get(self.prefix_key, lambda: self._prefix or self.run_prefix())
        elif self._prefix is None:
            self._prefix = PrefixCache(1).get((), self.run_prefix)
        return self._prefix

    def run_prefix(self) -> Prefix:
        """Run it; nothing is kept."""
        packed, span, cache = self._packed, self._span_of(self._early, None), DynamicCache()
        with torch.inference_mode(False), torch.no_grad():
            embeds, encoded = self._embedding(span.ids)[None], None
            shown = len(packed.places) > 0
            if self._pixels is not None and (shown or packed.picture_mask is not None):
                encoded = self._family.encode(self._pixels, 1)
            if shown:
                places = torch.searchsorted(self._early, packed.places).to(self._device)
                slots = None if packed.slots is None else packed.slots.to(self._device)
                embeds = spliced(embeds, self._family.features(encoded, ()), places, slots)
            self._forward(span, embeds, encoded, cache, 0)
            return Prefix.of(len(self._early), cache, self._family.kept(encoded))

    def rows(self, candidates: Tensor, *, unchanged: int = 0) -> Rows:
        """Predictions at all targets for each candidate (c, open); without gradient.

        The first `unchanged` tokens are those of the candidate that `loss_and_grad` was last given: their
        keys and values are used again.

        Raises:
            ContractError: if they are not.
        """
        prefix = self.prefill()
        if unchanged:
            self._check(candidates[:, :unchanged])
            prefix = self._extended(prefix, unchanged)
        span = self._span(unchanged)
        with torch.no_grad():
            embeds = self._filled(candidates, span, unchanged)
            cache = prefix.expanded(len(embeds))
            logits = self._forward(span, embeds, prefix.picture, cache, prefix.length)
        return Rows(logits, self._targets, self._pair)

    def loss_and_grad(
        self, candidate: Tensor, loss: Callable[[Rows], Tensor], shift: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Rows]:
        """Loss of one candidate (open,), its gradient to the embeddings (prefixes, open, width), predictions.

        Args:
            candidate: tokens.
            loss: of predictions, (1,).
            shift: what is added to the embeddings, (prefixes, open, width).
        """
        span, prefix = self._span(0), self.prefill()
        shape = (*self.slots.shape, int(self._embedding.weight.shape[-1]))
        with torch.inference_mode(False), torch.enable_grad():
            start = torch.zeros(shape, device=self._device) if shift is None else shift.detach().clone()
            moved = start.requires_grad_(True)
            embeds = self._filled(candidate[None], span, 0)
            embeds = embeds.index_add(1, span.where, moved.flatten(0, 1)[None].to(embeds.dtype))
            cache = prefix.expanded(1)
            logits = self._forward(span, embeds, prefix.picture, cache, prefix.length)
            found = loss(Rows(logits, self._targets, self._pair))
            (grad,) = torch.autograd.grad(found.sum(), moved)
        whole = Prefix.of(prefix.length + len(span.nodes), cache, prefix.picture)
        self._last = (candidate, whole) if shift is None else None
        return found.detach(), grad, Rows(logits.detach(), self._targets, self._pair)

    def _forward(self, span: _Span, embeds: Tensor, picture: Any, cache: Any, cached: int) -> Tensor:
        return self._family.forward(
            ForwardInputs(
                embeds=embeds,
                mask=span.mask,
                positions=span.positions,
                picture_mask=span.picture_mask,
                read=span.read,
                picture=picture,
                cache=cache,
                cached=cached,
            )
        )

    def _check(self, same: Tensor) -> None:
        """Check that the unchanged tokens are those that `loss_and_grad` was last given."""
        known = None if self._last is None else self._last[0][: same.shape[1]]
        if known is None or (not same.is_meta and not torch.equal(same, known.expand_as(same))):
            raise ContractError("candidates do not begin with the tokens of the last gradient's candidate")

    def _extended(self, prefix: Prefix, unchanged: int) -> Prefix:
        """The prefix, and the first open tokens of every prompt as `loss_and_grad` last ran them."""
        assert self._last is not None
        whole, slots = self._last[1], self.slots[:, :unchanged].flatten().contiguous()
        places = torch.cat(
            [torch.arange(prefix.length), torch.searchsorted(self._late, slots) + prefix.length]
        )
        where = places.to(self._device)

        def chosen(now: Layer | None, before: Layer | None) -> Layer | None:
            if now is None or before is None or now[0].shape[-2] == before[0].shape[-2]:
                return now  # of a picture
            return now[0].index_select(-2, where), now[1].index_select(-2, where)

        layers = tuple(map(chosen, whole.layers, prefix.layers))
        return Prefix(prefix.length + len(slots), layers, whole.picture)

    def _filled(self, candidates: Tensor, span: _Span, unchanged: int) -> Tensor:
        """Embeddings of a span's nodes for each candidate (c, open), (c, nodes, width)."""
        wanted = candidates.to(self._device)[:, unchanged:].repeat(1, len(self.slots))
        ids = span.ids.expand(len(candidates), -1).index_copy(1, span.where, wanted)
        found: Tensor = self._embedding(ids)
        return found

    def _span(self, unchanged: int) -> _Span:
        """All nodes from the first changed token of every prompt on."""
        if unchanged not in self._spans:
            same = self.slots[:, :unchanged].flatten()
            nodes = self._late[~torch.isin(self._late, same)]
            before = torch.cat([self._early, same])
            self._spans[unchanged] = self._span_of(nodes, before, self.slots[:, unchanged:].flatten())
        return self._spans[unchanged]

    def _span_of(self, nodes: Tensor, before: Tensor | None, slots: Tensor | None = None) -> _Span:
        packed, here = self._packed, self._device
        columns = nodes if before is None else torch.cat([before, nodes])
        mask = score_mask(self._sees[nodes][:, columns], self._embedding.weight.dtype)
        read = (
            torch.searchsorted(nodes, packed.read) if before is not None else torch.zeros(1, dtype=torch.long)
        )
        where = torch.empty(0, dtype=torch.long)
        if slots is not None:
            where = torch.searchsorted(nodes, slots.contiguous())
        return _Span(
            nodes=nodes,
            ids=packed.ids[nodes].to(here),
            where=where.to(here),
            mask=mask.to(here),
            positions=packed.positions[:, nodes].to(here),
            picture_mask=None if packed.picture_mask is None else packed.picture_mask[nodes].to(here),
            read=read.to(here),
        )
