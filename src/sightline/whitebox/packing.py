"""Prompts and targets packed as a prefix tree, so that what they have in common is run once; rows of each.

    rows    s i i p a b        tree    s i i p a b      the last token of a row is never fed:
            s i i p a c                            c      nothing is predicted after it
            s i i q d                      q d

Nodes are in depth-first order, so the tokens after a node are the nodes from it to `end`: a token is
visible from a node exactly if the node lies in that stretch. One sequence with this mask, each token at the
position that it has in its row, gives every row's own predictions. It covers many targets after one prompt,
many prompts after one picture, and both.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from sightline.errors import ContractError
from sightline.targets.local.processors import Fields
from sightline.whitebox.prompts import PromptTokens
from sightline.whitebox.victim import Pair, Rows, Victim, joined

if TYPE_CHECKING:
    from sightline.whitebox.families import Family
    from sightline.whitebox.objectives import RowTerm


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Rows as one sequence of nodes. All tensors are int64, on the CPU unless moved.

    Attributes:
        source: (nodes,), which fed token a node is, counting through all rows (`fed` tokens each).
        depth: (nodes,), its place in its row, from 0.
        end: (nodes,), one past its last descendant.
        read: (t,), the node that predicts each scored token; rows one after the other.
        pair: (t,), the row of each scored token.
        paths: per row, the nodes of its fed tokens.
    """

    source: Tensor
    depth: Tensor
    end: Tensor
    read: Tensor
    pair: Tensor
    paths: tuple[tuple[int, ...], ...]

    @property
    def common(self) -> int:
        """Nodes that all rows begin with."""
        return int((self.end == len(self.end)).long().cumprod(0).sum()) if len(self.paths) > 1 else 0

    @property
    def visible(self) -> Tensor:
        """Whether a node (row) sees another (column): itself and its ancestors, bool (nodes, nodes)."""
        return visible(self.end)


def visible(end: Tensor) -> Tensor:
    """Which nodes are seen from each node, bool (nodes, nodes), given where their descendants end."""
    place = torch.arange(len(end), device=end.device)
    found: Tensor = (place[None, :] <= place[:, None]) & (place[:, None] < end[None, :])
    return found


def pack(rows: Sequence[Sequence[Hashable]], scored: Sequence[int]) -> Tree:
    """Merge rows from their beginnings for as long as they agree.

    Args:
        rows: a key per token, prompt and target; equal keys after equal beginnings become one node.
        scored: per row, how many of its last tokens are predicted; at least one token precedes them.

    Raises:
        ContractError: for no rows, or a row without a scored token or without one before it.
    """
    if not rows or any(not 1 <= count < len(row) for row, count in zip(rows, scored, strict=True)):
        raise ContractError("a tree needs rows, each with a prompt and at least one token to predict")
    known: dict[tuple[int, Hashable], int] = {}
    parents, depths, sources = list[int](), list[int](), list[int]()
    paths: list[list[int]] = []
    start = 0
    for row in rows:
        node, path = -1, list[int]()
        for place, key in enumerate(row[:-1]):
            parent, node = node, known.setdefault((node, key), len(parents))
            if node == len(parents):
                parents.append(parent)
                depths.append(place)
                sources.append(start + place)
            path.append(node)
        paths.append(path)
        start += len(row) - 1
    order, ends = _depth_first(parents)
    inverse = sorted(range(len(order)), key=order.__getitem__)
    read = [order[node] for path, count in zip(paths, scored, strict=True) for node in path[-count:]]
    return Tree(
        source=torch.tensor([sources[node] for node in inverse]),
        depth=torch.tensor([depths[node] for node in inverse]),
        end=torch.tensor([ends[node] for node in inverse]),
        read=torch.tensor(read),
        pair=torch.tensor([row for row, count in enumerate(scored) for _ in range(count)]),
        paths=tuple(tuple(order[node] for node in path) for path in paths),
    )


def _depth_first(parents: Sequence[int]) -> tuple[list[int], list[int]]:
    """Places in depth-first order and where subtrees end, for nodes whose parents come before them."""
    sizes = [1] * len(parents)
    for node in range(len(parents) - 1, -1, -1):
        if parents[node] >= 0:
            sizes[parents[node]] += sizes[node]
    order, free, top = [0] * len(parents), [0] * len(parents), 0
    for node, parent in enumerate(parents):
        if parent < 0:
            order[node], top = top, top + sizes[node]
        else:
            order[node] = free[parent]
            free[parent] += sizes[node]
        free[node] = order[node] + 1
    return order, [order[node] + sizes[node] for node in range(len(parents))]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedPrompts:
    """Prompts and targets as one tree of tokens (`Tree`). Integer tensors unless stated otherwise.

    Attributes:
        ids: (nodes,), tokens.
        positions: (axes, nodes), as the family counts them.
        end: (nodes,), one past the last descendant of each.
        places: (shown,), the nodes of picture features.
        slots: (shown,), which feature each of them is; None if simply the first, second, ...
        picture_mask: (nodes, ...), what each node sees of the picture, for cross-attention; else None.
        readings: fields of the prompts whose picture is encoded differently; one entry for most families.
        read: (t,), the node that predicts each target token.
        targets: (t,), target tokens.
        pair: (t,), the pair that each belongs to.
        marked: per stretch of marked tokens: the mark, and its nodes, (tokens,).
        common: how many of the first nodes all pairs share; 0 for one pair alone.
        constant: tokens of the first nodes, if all rows begin with them and neither pixels nor a mark change
            what the model makes of them.
    """

    ids: Tensor
    positions: Tensor
    end: Tensor
    places: Tensor
    slots: Tensor | None
    picture_mask: Tensor | None
    readings: tuple[Fields, ...]
    read: Tensor
    targets: Tensor
    pair: Tensor
    marked: tuple[tuple[int, Tensor], ...]
    common: int
    constant: tuple[int, ...]

    def mask(self, dtype: torch.dtype) -> Tensor:
        """What is added to attention scores, (1, 1, nodes, nodes): 0 for what is seen, else the lowest."""
        return score_mask(visible(self.end), dtype)

    def with_features(self, embeds: Tensor, features: Tensor) -> Tensor:
        """Embeddings (n, nodes, width) with picture features (n, features, width) in their places."""
        return spliced(embeds, features, self.places, self.slots)


def score_mask(sees: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to attention scores, (1, 1, rows, columns): 0 where `sees` is true, else the lowest."""
    found: Tensor = torch.zeros(1, 1, *sees.shape, dtype=dtype, device=sees.device)
    return found.masked_fill_(~sees, torch.finfo(dtype).min)


def spliced(embeds: Tensor, features: Tensor, places: Tensor, slots: Tensor | None) -> Tensor:
    """Embeddings (n, nodes, width) with features (n, features, width) of `slots` (None: all) at `places`."""
    shown = features if slots is None else features.index_select(1, slots)
    found: Tensor = embeds.index_copy(1, places, shown.to(embeds.dtype))
    return found


def pack_prompts(
    family: Family,
    prompts: Sequence[PromptTokens],
    targets: Sequence[tuple[int, ...]],
    marks: Sequence[int | None],
    device: torch.device,
) -> PackedPrompts:
    """Prompts and their targets as one tree whose tensors are on a device.

    A mark says that a prompt's `text` tokens are changed, and by which change; prompts of different marks
    share none of these tokens.
    """
    texts = [family.encoder_text(prompt) for prompt in prompts]
    number = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    readings = [prompts[texts.index(text)].fields for text in number]
    rows, slots = [], list[int]()
    for prompt, target, mark, text in zip(prompts, targets, marks, texts, strict=True):
        keys, shown = _keys(family.picture_id, prompt, number[text], mark)
        rows.append((*keys, *target))
        slots += [*shown, *[-1] * (len(target) - 1)]
    tree = pack(rows, [len(target) for target in targets])
    fed = [(prompt, len(row) - 1) for prompt, row in zip(prompts, rows, strict=True)]
    tokens = [token for p, t in zip(prompts, targets, strict=True) for token in (*p.ids, *t[:-1])]
    ids, slot = torch.tensor(tokens)[tree.source], torch.tensor(slots)[tree.source]
    positions = torch.cat([family.positions(*each) for each in fed], dim=1)
    seen = [mask for each in fed if (mask := family.picture_mask(*each)) is not None]
    places = (slot >= 0).nonzero()[:, 0]
    in_order = torch.equal(slot[places], torch.arange(len(places)))
    marked = dict.fromkeys(
        (mark, tuple(path[place] for place in prompt.text))
        for prompt, mark, path in zip(prompts, marks, tree.paths, strict=True)
        if mark is not None
    )
    same = (tree.end == len(ids)) & (slot < 0)
    for _, nodes in marked:
        same[list(nodes)] = False
    constant = int(same.long().cumprod(0).sum()) if family.picture_id is not None else 0
    return PackedPrompts(
        ids=ids.to(device),
        positions=positions[:, tree.source].to(device),
        end=tree.end.to(device),
        places=places.to(device),
        slots=None if in_order else slot[places].to(device),
        picture_mask=torch.cat(seen)[tree.source].to(device) if seen else None,
        readings=tuple(readings),
        read=tree.read.to(device),
        targets=torch.tensor([token for target in targets for token in target]).to(device),
        pair=tree.pair.to(device),
        marked=tuple((mark, torch.tensor(nodes).to(device)) for mark, nodes in marked),
        common=tree.common,
        constant=tuple(ids[:constant].tolist()),
    )


def _keys(
    picture_id: int | None, prompt: PromptTokens, reading: int, mark: int | None
) -> tuple[list[Any], list[int]]:
    """A prompt's tokens as keys of the tree, and which picture feature each is (-1 for text)."""
    keys: list[Any] = list(prompt.ids)
    slots = [-1] * len(keys)
    following = reading * keys.count(picture_id)
    for place, token in enumerate(prompt.ids):
        if token == picture_id:
            keys[place] = (token, following)
            slots[place], following = following, following + 1
    if mark is not None:
        for place in prompt.text:
            keys[place] = (keys[place], "marked", mark)
    return keys, slots


def membership(pair: Tensor, pairs: int) -> Tensor:
    """Whether a token belongs to a pair, bool (t, pairs)."""
    return pair[:, None] == torch.arange(pairs, device=pair.device)


@dataclass(frozen=True, slots=True)
class SampleRows:
    """Predictions for each artifact's own pairs, artifacts with the same pairs together.

    Attributes:
        parts: rows and pairs of some artifacts.
        order: the place of an artifact in the parts one after the other; () where there is one part.
        draws: rows of each artifact: losses are means over them.
    """

    parts: tuple[tuple[Rows, tuple[Pair, ...]], ...]
    order: tuple[int, ...] = ()
    draws: int = 1

    def losses(self, term: RowTerm) -> Tensor:
        """A term's loss of each artifact, (n,)."""
        found = self._in_order([term.losses(rows, pairs) for rows, pairs in self.parts])
        return found if self.draws == 1 else found.reshape(-1, self.draws).mean(1)

    @property
    def penalty(self) -> Tensor | None:
        """What the victim adds to the loss of each artifact, (n,)."""
        given = [rows.penalty.float().mean(1) for rows, _ in self.parts if rows.penalty is not None]
        return self._in_order(given).reshape(-1, self.draws).mean(1) if given else None

    @property
    def target_is_greedy(self) -> Tensor:
        """Whether greedy decoding would write each artifact's targets, in every draw, bool (n, pairs)."""
        found = self._in_order([rows.target_is_greedy for rows, _ in self.parts])
        return found if self.draws == 1 else found.reshape(-1, self.draws, found.shape[1]).all(1)

    def _in_order(self, found: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(found))[list(self.order)] if self.order else found[0]


def per_sample(rows: Rows, pairs: tuple[Pair, ...], own: tuple[tuple[int, ...], ...]) -> SampleRows:
    """Each artifact's own rows out of the rows of all; `own` are the numbers of its pairs, () for all."""
    if not own:
        return SampleRows(((rows, pairs),), draws=rows.draws)
    own = tuple(numbers for numbers in own for _ in range(rows.draws))
    members: dict[tuple[int, ...], list[int]] = {}
    for artifact, numbers in enumerate(own):
        members.setdefault(numbers, []).append(artifact)
    spans = _spans(rows.pair, len(pairs))
    parts = [
        (_taken(rows, artifacts, numbers, spans), tuple(pairs[n] for n in numbers))
        for numbers, artifacts in members.items()
    ]
    flat = [artifact for artifacts in members.values() for artifact in artifacts]
    return SampleRows(tuple(parts), tuple(flat.index(artifact) for artifact in range(len(own))), rows.draws)


def _spans(pair: Tensor, pairs: int) -> list[range]:
    """The places of every pair's tokens, as Python numbers."""
    ends = membership(pair, pairs).sum(0).cumsum(0).tolist()
    return [range(first, last) for first, last in zip([0, *ends], ends, strict=False)]


def _taken(rows: Rows, artifacts: Sequence[int], numbers: Sequence[int], spans: Sequence[range]) -> Rows:
    """The rows of some artifacts and the pairs of some numbers; `spans` are the places of all pairs."""
    spans = [spans[number] for number in numbers]
    places = torch.tensor([place for span in spans for place in span], device=rows.ids.device)
    pair = torch.tensor([i for i, span in enumerate(spans) for _ in span], device=rows.ids.device)
    penalty = None if rows.penalty is None else rows.penalty[list(artifacts)][:, list(numbers)]
    return Rows(rows.logits[list(artifacts)][:, places], rows.ids[places], pair, rows.draws, penalty)


def rows_in_chunks(
    victim: Victim,
    x: Tensor,
    pairs: Sequence[Pair],
    perturbations: Sequence[Tensor | None],
    at_once: int | None,
) -> Rows:
    """What `victim.rows` gives, at most `at_once` pairs at a time (None: all).

    Of the chunks only the predictions are kept. The backward pass runs each of them forward once more, so one
    chunk's activations are all that has to fit, and the loss may be any function of all predictions.
    """
    if at_once is None or len(pairs) <= at_once:
        return victim.rows(x, pairs, perturbations=perturbations)
    parts = [
        _recomputed(victim, x, pairs[first : first + at_once], perturbations[first : first + at_once])
        for first in range(0, len(pairs), at_once)
    ]
    return joined(parts, [len(pairs[first : first + at_once]) for first in range(0, len(pairs), at_once)])


def _recomputed(
    victim: Victim, x: Tensor, pairs: Sequence[Pair], perturbations: Sequence[Tensor | None]
) -> Rows:
    """Rows whose activations are computed again when the gradient is asked for."""
    labels: list[tuple[Tensor, Tensor, int]] = []

    def predicted(x: Tensor) -> tuple[Tensor, Tensor | None]:
        rows = victim.rows(x, pairs, perturbations=perturbations)
        labels.append((rows.ids, rows.pair, rows.draws))
        return rows.logits, rows.penalty

    found, penalty = checkpoint(predicted, x, use_reentrant=False, preserve_rng_state=False)
    return Rows(found, *labels[0], penalty)
