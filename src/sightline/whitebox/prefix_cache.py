"""Rows of tokens run behind a beginning that is run once: its keys and values are shared by all rows.

All prompts and targets are one tree (`packing`). Its nodes before the attacked tokens never change: their
keys and values are computed once and expanded, not copied, for every candidate. The cache of the library
grows in place, so every pass gets a fresh one around the same tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from sightline.errors import ContractError, UsageError
from sightline.targets.local.processors import Fields
from sightline.whitebox.families import Family, Packed
from sightline.whitebox.families.cross_attention import CrossAttention
from sightline.whitebox.families.llava import Linear, Qwen
from sightline.whitebox.families.qformer import Queries
from sightline.whitebox.packing import visible
from sightline.whitebox.victim import Rows

Layer = tuple[Tensor, Tensor]
"""Keys and values."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What was run already.

    Attributes:
        nodes: which nodes of the tree, in the order of the keys; int64 on the CPU.
        layers: keys and values, (1, heads, nodes, size); those of a layer that looks at a picture are the
            picture's, or None without picture.
        extra: what further passes are told of the picture, first dimension 1.
    """

    nodes: Tensor
    layers: tuple[Layer | None, ...]
    extra: Fields

    def cache(self, rows: int) -> DynamicCache:
        """A cache of so many rows that begins with the held nodes; a pass may write into it."""
        found = DynamicCache()
        for place, layer in enumerate(self.layers):
            if layer is not None:
                found.update(*(states.expand(rows, -1, -1, -1) for states in layer), place)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """Nodes that are run together behind others; tensors on the model's device unless said otherwise.

    Attributes:
        nodes: which, int64 on the CPU.
        ids: (nodes,), their tokens; those of open places are to be replaced.
        where: (prompts x open,), the places of open tokens among them.
        mask: what is added to attention scores, (1, 1, nodes, held + nodes).
        positions: (axes, nodes).
        looks: (nodes, ...), what each sees of the picture, for cross-attention; else None.
        read: (t,), places whose predictions are wanted.
    """

    nodes: Tensor
    ids: Tensor
    where: Tensor
    mask: Tensor
    positions: Tensor
    looks: Tensor | None
    read: Tensor


class Pass(NamedTuple):
    """One run of a span with embeddings (rows, nodes, width), behind held nodes or nothing.

    `keep` says whether keys and values are wanted afterwards.
    """

    span: Span
    embeds: Tensor
    held: Held | None
    keep: bool

    def cache(self) -> DynamicCache | None:
        """What to continue."""
        if self.held is not None:
            return self.held.cache(len(self.embeds))
        return DynamicCache() if self.keep else None


Run = Callable[[Any, Pass, Fields | None], tuple[Tensor, Any, Fields]]
"""(family, pass, pixels or None) -> logits (rows, t, vocabulary), the cache, what to tell of the picture."""


def _plainly(module: Any, given: Pass) -> tuple[Tensor, Any, Fields]:
    """A language model, or a model whose picture features stand among the embeddings."""
    rows = len(given.embeds)
    positions = given.span.positions[:, None].expand(-1, rows, -1)
    cache = given.cache()
    logits = module(
        inputs_embeds=given.embeds,
        attention_mask=given.span.mask,
        position_ids=positions[0] if len(positions) == 1 else positions,
        past_key_values=cache,
        logits_to_keep=given.span.read,
        use_cache=cache is not None,
    ).logits
    return logits, cache, {}


def _linear(family: Linear, given: Pass, pixels: Fields | None) -> tuple[Tensor, Any, Fields]:  # noqa: ARG001
    return _plainly(family.model, given)


def _queries(family: Queries, given: Pass, pixels: Fields | None) -> tuple[Tensor, Any, Fields]:  # noqa: ARG001
    return _plainly(family.model.language_model, given)


def _looking(family: CrossAttention, given: Pass, pixels: Fields | None) -> tuple[Tensor, Any, Fields]:
    rows, extra, cache = len(given.embeds), dict[str, Any](), given.cache()
    assert given.span.looks is not None
    seen = given.span.looks.expand(rows, *given.span.looks.shape)
    mllama = str(family.model.config.model_type) == "mllama"
    if given.held is not None:
        extra = given.held.extra
        if mllama:  # the library cuts what was run before off a longer mask
            seen = torch.cat([seen.new_zeros(rows, len(given.held.nodes), *seen.shape[2:]), seen], dim=1)
    elif pixels is None:
        extra = {} if mllama else {"image_encoder_embeddings": _blank(family.model)}
    elif not mllama:
        extra = family.encoded(pixels, 1)
    told: dict[str, Any] = {key: value.expand(rows, *value.shape[1:]) for key, value in extra.items()}
    if mllama and given.held is None and pixels is not None:
        told = dict(pixels)
    if not mllama or pixels is not None:
        told[family._mask] = seen
    logits = family.model(
        inputs_embeds=given.embeds,
        attention_mask=given.span.mask,
        position_ids=given.span.positions.expand(rows, -1),
        past_key_values=cache,
        logits_to_keep=given.span.read,
        use_cache=cache is not None,
        **told,
    ).logits
    return logits, cache, extra


def _blank(model: Any) -> Tensor:
    """One feature of zeros, which nothing attends to."""
    width = int(model.config.vision_config.embed_dim)
    return torch.zeros(1, 1, 1, width, dtype=model.dtype, device=model.device)


_RUNS: Mapping[type, Any] = {
    Linear: _linear,
    Qwen: _linear,
    Queries: _queries,
    CrossAttention: _looking,
}


def run_of(family: Family) -> Run:
    """How a family's rows are run behind a beginning.

    Raises:
        UsageError: for InstructBLIP, whose Q-Former reads the attacked text with the picture.
    """
    if type(family) not in _RUNS:
        raise UsageError(
            "InstructBLIP's Q-Former reads the user's text as well, in tokens of its own: its text cannot be "
            "attacked token by token; craft on another model and transfer"
        )
    found: Run = _RUNS[type(family)]
    return found


class Behind:
    """Prompts and targets of one model with some tokens left open, run for many fillings at once.

    Args:
        family: of the model.
        embedding: of its tokens.
        packed: prompts and targets as a tree, tensors on the CPU; `nudged` marks the open tokens, one entry
            per beginning: prompts that agree before them share theirs.
        pixels: of the one picture that all prompts show, in the model's number format; None for none.
        device: of the model.

    Raises:
        UsageError: for a picture behind the open tokens, or a family that cannot be run like this.
    """

    def __init__(
        self, family: Family, embedding: Any, packed: Packed, pixels: Fields | None, device: torch.device
    ) -> None:
        self._family, self._embedding, self._packed = family, embedding, packed
        self._pixels, self._device, self._run = pixels, device, run_of(family)
        self.slots = torch.stack([nodes for _, nodes in packed.nudged])
        """The nodes of the open tokens, (beginnings, open)."""
        late = torch.zeros(len(packed.ids), dtype=torch.bool)
        for first in self.slots[:, 0].tolist():
            late[first : int(packed.end[first])] = True
        if bool(late[packed.places].any()):
            raise UsageError("the picture stands behind the attacked tokens: show it before the text")
        self._late = late.nonzero()[:, 0]
        self._early = (~late).nonzero()[:, 0]
        self._sees = visible(packed.end)
        self._targets, self._pair = packed.targets.to(device), packed.pair.to(device)
        self._base: Held | None = None
        self._walked: tuple[Tensor, Held] | None = None
        self._spans: dict[int, Span] = {}

    def terms(self, unchanged: int | None) -> tuple[float, ...]:
        """1, tokens, tokens times what they look at, rows of logits: the cost of a pass is linear in them."""
        early, late, scored = len(self._early), len(self._late), len(self._targets)
        if unchanged is None:
            return 1.0, early, early * early
        run = late - unchanged * len(self.slots)
        return 1.0, run, run * (early + late), scored

    @property
    def beginning(self) -> Hashable:
        """What has to be the same for two to share their `Held` beginning."""
        early = self._early
        return (
            tuple(self._packed.ids[early].tolist()),
            tuple(self._packed.positions[:, early].flatten().tolist()),
            self._sees[early][:, early].numpy().tobytes(),
        )

    def begin(self, held: Held | None = None) -> Held:
        """Run all that stands before the open tokens, once; `held` is what another with the same found."""
        if self._base is None and held is not None:
            self._base = Held(self._early, held.layers, held.extra)
        if self._base is None:
            self._base = self.first()
        return self._base

    def first(self) -> Held:
        """Run the beginning."""
        with torch.inference_mode(False), torch.no_grad():
            span = self._span_of(self._early, None)
            embeds = self._embedding(span.ids)[None]
            if len(self._packed.places):
                embeds = self._shown(embeds)
            _, cache, extra = self._run(self._family, Pass(span, embeds, None, True), self._pixels)
            return Held(self._early, _layers(cache), extra)

    def rows(self, fillings: Tensor, *, unchanged: int = 0) -> Rows:
        """Predictions at all targets for each filling (c, open); without gradient.

        The first `unchanged` tokens are those of the filling that `slope` was last given: their keys and
        values are used again.

        Raises:
            ContractError: if they are not.
        """
        base = self.begin()
        if unchanged:
            self._check(fillings[:, :unchanged])
        span, held = self._span(unchanged), base if unchanged == 0 else self._ahead(unchanged)
        with torch.no_grad():
            embeds = self._filled(fillings, span, unchanged)
            logits, _, _ = self._run(self._family, Pass(span, embeds, held, False), self._pixels)
        return Rows(logits, self._targets, self._pair)

    def slope(
        self, filling: Tensor, loss: Callable[[Rows], Tensor], nudge: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Rows]:
        """Loss of one filling (open,), its gradient to the embeddings (beginnings, open, width), predictions.

        Args:
            filling: tokens.
            loss: of predictions, (1,).
            nudge: what is added to the embeddings, (beginnings, open, width).
        """
        span, held = self._span(0), self.begin()
        shape = (*self.slots.shape, int(self._embedding.weight.shape[-1]))
        with torch.inference_mode(False), torch.enable_grad():
            start = torch.zeros(shape, device=self._device) if nudge is None else nudge.detach().clone()
            moved = start.requires_grad_(True)
            embeds = self._filled(filling[None], span, 0)
            embeds = embeds.index_add(1, span.where, moved.flatten(0, 1)[None].to(embeds.dtype))
            logits, cache, _ = self._run(self._family, Pass(span, embeds, held, True), self._pixels)
            found = loss(Rows(logits, self._targets, self._pair))
            (grad,) = torch.autograd.grad(found.sum(), moved)
        walked = Held(torch.cat([held.nodes, span.nodes]), _layers(cache), held.extra)
        self._walked = (filling, walked) if nudge is None else None
        return found.detach(), grad, Rows(logits.detach(), self._targets, self._pair)

    def _check(self, same: Tensor) -> None:
        """Check that what is said not to change is what `slope` last met."""
        known = None if self._walked is None else self._walked[0][: same.shape[1]]
        if known is None or (not same.is_meta and not torch.equal(same, known.expand_as(same))):
            raise ContractError("candidates are said to begin like the last slope's filling, but do not")

    def _shown(self, embeds: Tensor) -> Tensor:
        """Embeddings of the beginning (1, nodes, width) with picture features in their places."""
        assert self._pixels is not None
        slots, features = self._packed.slots, self._family.encoded(self._pixels, 1)
        features = features if slots is None else features.index_select(1, slots.to(self._device))
        places = torch.searchsorted(self._early, self._packed.places).to(self._device)
        found: Tensor = embeds.index_copy(1, places, features.to(embeds.dtype))
        return found

    def _ahead(self, unchanged: int) -> Held:
        """The beginning, and the first open tokens of every prompt as `slope` last met them."""
        assert self._base is not None
        assert self._walked is not None
        walked, count = self._walked[1], len(self._base.nodes)
        slots = self.slots[:, :unchanged].flatten().contiguous()
        places = torch.cat([torch.arange(count), torch.searchsorted(self._late, slots.contiguous()) + count])
        where = places.to(self._device)

        def chosen(now: Layer | None, before: Layer | None) -> Layer | None:
            if now is None or before is None or now[0].shape[-2] == before[0].shape[-2]:
                return now  # of a picture
            return now[0].index_select(-2, where), now[1].index_select(-2, where)

        layers = tuple(map(chosen, walked.layers, self._base.layers))
        return Held(torch.cat([self._base.nodes, slots]), layers, walked.extra)

    def _filled(self, fillings: Tensor, span: Span, unchanged: int) -> Tensor:
        """Embeddings of a span's nodes for each filling (c, open), (c, nodes, width)."""
        wanted = fillings.to(self._device)[:, unchanged:].repeat(1, len(self.slots))
        ids = span.ids.expand(len(fillings), -1).index_copy(1, span.where, wanted)
        found: Tensor = self._embedding(ids)
        return found

    def _span(self, unchanged: int) -> Span:
        """All nodes from the first changed token of every prompt on."""
        if unchanged not in self._spans:
            same = self.slots[:, :unchanged].flatten()
            nodes = self._late[~torch.isin(self._late, same)]
            before = torch.cat([self._early, same])
            self._spans[unchanged] = self._span_of(nodes, before, self.slots[:, unchanged:].flatten())
        return self._spans[unchanged]

    def _span_of(self, nodes: Tensor, before: Tensor | None, slots: Tensor | None = None) -> Span:
        packed, here = self._packed, self._device
        dtype = self._embedding.weight.dtype
        columns = nodes if before is None else torch.cat([before, nodes])
        hidden = ~self._sees[nodes][:, columns]
        mask = torch.zeros(1, 1, *hidden.shape, dtype=dtype).masked_fill_(hidden, torch.finfo(dtype).min)
        read = (
            torch.searchsorted(nodes, packed.read) if before is not None else torch.zeros(1, dtype=torch.long)
        )
        where = torch.empty(0, dtype=torch.long)
        if slots is not None:
            where = torch.searchsorted(nodes, slots.contiguous())
        return Span(
            nodes=nodes,
            ids=packed.ids[nodes].to(here),
            where=where.to(here),
            mask=mask.to(here),
            positions=packed.positions[:, nodes].to(here),
            looks=None if packed.looks is None else packed.looks[nodes].to(here),
            read=read.to(here),
        )


def _layers(cache: Any) -> tuple[Layer | None, ...]:
    """Keys and values of a cache's layers; None for one that was not used."""
    return tuple(
        (layer.keys.detach(), layer.values.detach()) if layer.is_initialized else None
        for layer in cache.layers
    )
