"""Keys and values of earlier requests, continued where a later one begins the same way.

The second turn of a dialogue repeats the first and its picture, and many questions share a picture:
what the model computed for the common beginning is still right, so only the rest is run. One sequence
is kept per beginning (all tokens up to the last picture's, and the pictures), the newest. Causal
attention and rotary positions make this exact up to rounding; the batch-invariance check covers it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from sightline.digests import digest

_SHARE = 8


class _Sequence(NamedTuple):
    """A sequence: token ids (length,), and per layer keys and values (heads, length, size)."""

    ids: Any
    keys: list[Any]
    values: list[Any]
    bytes: int


class Continued(NamedTuple):
    """A batch that continues cached sequences: `past` positions are given, then come the fresh ones.

    Row layout: [padding, cached tokens | padding, fresh tokens]; the mask is 0 on both paddings.
    """

    ids: Any
    mask: Any
    past: int
    keys: list[Any]
    values: list[Any]


class Prefixes:
    """Cached sequences by prefix; the least recently used go first when `limit_bytes` is exceeded."""

    def __init__(self, limit_bytes: int, picture_id: int) -> None:
        self._limit = limit_bytes
        self._picture_id = picture_id
        self._bytes = 0
        self._known: OrderedDict[str, _Sequence] = OrderedDict()

    def fresh(self) -> Prefixes:
        """An empty one of the same size."""
        return Prefixes(self._limit, self._picture_id)

    def head(self, ids: Any, hashes: Sequence[str]) -> str:
        """Name of a request's beginning: its tokens up to the last picture token; '' without pictures."""
        places = (ids == self._picture_id).nonzero()
        if not hashes or not len(places):
            return ""
        return digest(ids[: int(places[-1]) + 1].tolist(), list(hashes))

    def length(self, head: str, ids: Any) -> int:
        """How many tokens of a request are cached; 0 if not even all of its pictures."""
        known = self._known.get(head)
        if known is None:
            return 0
        longest = min(len(known.ids), len(ids) - 1)
        different = (known.ids[:longest] != ids[:longest]).nonzero()
        found = int(different[0]) if len(different) else longest
        return 0 if bool((ids[found:] == self._picture_id).any()) else found

    def continued(self, rows: Sequence[tuple[str, Any]], pad_id: int) -> Continued | None:
        """The batch of `rows` (beginning, token ids) on top of what is cached; None if a row has nothing."""
        lengths = [self.length(head, ids) for head, ids in rows]
        if not rows or min(lengths) == 0:
            return None
        past = max(lengths)
        fresh = max(len(ids) - length for (_, ids), length in zip(rows, lengths, strict=True))
        ids = torch.full((len(rows), past + fresh), pad_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        known = [self._known[head] for head, _ in rows]
        keys = [_blank(layer, len(rows), past) for layer in known[0].keys]
        values = [_blank(layer, len(rows), past) for layer in known[0].values]
        for row, ((head, own), length) in enumerate(zip(rows, lengths, strict=True)):
            self._known.move_to_end(head)
            rest = len(own) - length
            ids[row, past - length : past] = own[:length]
            mask[row, past - length : past] = 1
            ids[row, past + fresh - rest :] = own[length:]
            mask[row, past + fresh - rest :] = 1
            for layer in range(len(keys)):
                keys[layer][row, :, past - length :] = known[row].keys[layer][:, :length]
                values[layer][row, :, past - length :] = known[row].values[layer][:, :length]
        return Continued(ids, mask, past, keys, values)

    def keep(self, head: str, ids: Any, places: Any, layers: Sequence[Any], row: int) -> None:
        """Hold the sequence `ids`, whose keys and values lie at `places` of a batch's row."""
        if not head:
            return
        sizes = sum(layer.keys[row, :, :1].nbytes + layer.values[row, :, :1].nbytes for layer in layers)
        if sizes * len(ids) * _SHARE > self._limit:
            return
        keys = [layer.keys[row].index_select(1, places) for layer in layers]
        values = [layer.values[row].index_select(1, places) for layer in layers]
        old = self._known.pop(head, None)
        self._bytes += sizes * len(ids) - (old.bytes if old is not None else 0)
        self._known[head] = _Sequence(ids, keys, values, sizes * len(ids))
        while self._bytes > self._limit and self._known:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= oldest.bytes

    def clear(self) -> None:
        """Forget all sequences."""
        self._known.clear()
        self._bytes = 0


def _blank(layer: Any, rows: int, length: int) -> Any:
    """Zeros for `rows` sequences of `length` positions, like a cached layer (heads, positions, size)."""
    return layer.new_zeros((rows, layer.shape[0], length, layer.shape[2]))
