"""Token rows packed as a prefix tree, so that what rows have in common is run once.

    rows    s i i p a b        tree    s i i p a b      the last token of a row is never fed:
            s i i p a c                            c      nothing is predicted after it
            s i i q d                      q d

Nodes stand in depth-first order, so the tokens behind a node are the nodes from it to `end`: a token is
visible from a node exactly if the node lies in that stretch. One sequence with this mask, each token at the
position that it has in its row, gives every row's own predictions. It covers many targets behind one prompt,
many prompts behind one picture, and both.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.errors import ContractError


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Rows as one sequence of nodes. All tensors are int64, on the CPU unless moved.

    Attributes:
        source: (nodes,), which fed token a node stands for, counting through all rows (`fed` tokens each).
        depth: (nodes,), its place in its row, from 0.
        end: (nodes,), one past the last node behind it.
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
    """Which nodes are seen from each node, bool (nodes, nodes), given where the stretches behind them end."""
    place = torch.arange(len(end), device=end.device)
    found: Tensor = (place[None, :] <= place[:, None]) & (place[:, None] < end[None, :])
    return found


def pack(rows: Sequence[Sequence[Hashable]], scored: Sequence[int]) -> Tree:
    """Merge rows from their beginnings for as long as they agree.

    Args:
        rows: a key per token, prompt and target; equal keys after equal beginnings become one node.
        scored: per row, how many of its last tokens are predicted; at least one token stands before them.

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
