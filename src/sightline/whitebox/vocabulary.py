"""Tokens of an attacked text: which may be used, what they decode to, and which survive decode and encode.

The target gets text. Tokens are worth scoring only if the text that they make has the same tokens again. Two
checks, from coarse to exact: every pair of neighbors has to survive decoding and encoding (remembered, so a
search asks the tokenizer only for new pairs), and the one candidate that is chosen is read in its prompts as
the target would read it (`Prompts.read`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.errors import UsageError, nearest

Allowed = Literal["ascii", "words"]
"""Tokens of printable ASCII; or only those of them that are a whole word after a space."""

#: texts after which tokens are decoded; the first that a tokenizer gives back unchanged
_ANCHORS = ("a", "the", "A", "!", ".")

Ids = NDArray[np.int64]


class TokenVocabulary:
    """The tokens of one tokenizer as text.

    Args:
        tokenizer: of the library, with `decode` and `__call__`.
        name: of the model, for messages.

    Raises:
        UsageError: for a tokenizer that gives no plain text back.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        self._tokenizer = tokenizer
        self.size = len(tokenizer)
        for text in _ANCHORS:
            ids = self.ids(text)
            if ids and self._decoded([ids]) == [text]:
                self._anchor, self._shown = ids, text
                break
        else:
            raise UsageError(
                f"{name}: its tokenizer does not give plain text back: text attacks cannot use it"
            )
        self._known: Ids = np.empty(0, np.int64)
        self._good: NDArray[np.bool_] = np.empty(0, np.bool_)

    def ids(self, text: str) -> list[int]:
        """Tokens of a text, with nothing added."""
        found: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def decoded_after_text(self, ids: Sequence[int]) -> str:
        """What tokens decode to after other text, with the space between the two if there is one."""
        return self._decoded([[*self._anchor, *ids]])[0].removeprefix(self._shown)

    def decoded_first(self, ids: Sequence[int]) -> str:
        """What tokens decode to at the beginning of a text."""
        return self._decoded([list(ids)])[0].strip()

    def allowed(self, kind: Allowed) -> Tensor:
        """Which tokens may be used, bool (size,).

        Raises:
            UsageError: for an unknown kind.
        """
        if kind not in get_args(Allowed):
            raise UsageError(nearest(kind, get_args(Allowed), "kind of allowed tokens"))
        return torch.from_numpy(self._ascii if kind == "ascii" else self._words)

    def survive(self, left: Ids, right: Ids) -> NDArray[np.bool_]:
        """Whether neighbors, left and right, survive decoding and encoding; arrays of one shape."""
        keys = left.astype(np.int64) * self.size + right
        asked = np.unique(keys)
        fresh = asked[~np.isin(asked, self._known, assume_unique=True)]
        if len(fresh):
            known = np.concatenate([self._known, fresh])
            order = known.argsort(kind="stable")
            self._good = np.concatenate([self._good, self._surviving(fresh)])[order]
            self._known = known[order]
        found: NDArray[np.bool_] = self._good[np.searchsorted(self._known, keys)]
        return found

    def phrase_mask(self, ids: Sequence[int], phrase: str) -> tuple[bool, ...]:
        """Which tokens of a text belong to a phrase in it, at any place; letter case does not count."""
        rows = [[*self._anchor, *ids[:count]] for count in range(len(ids) + 1)]
        texts = self._decoded(rows)
        whole, wanted = texts[-1].lower(), phrase.strip().lower()
        ends = [len(text) for text in texts]
        found = [False] * len(ids)
        start = whole.find(wanted, ends[0]) if wanted else -1
        while start >= 0:
            for place in range(len(ids)):
                found[place] |= ends[place] < start + len(wanted) and ends[place + 1] > start
            start = whole.find(wanted, start + 1)
        return tuple(found)

    @property
    def checked_pairs(self) -> int:
        """Pairs of neighbors that were looked up in the tokenizer."""
        return len(self._known)

    def _surviving(self, keys: Ids) -> NDArray[np.bool_]:
        pairs = np.stack(np.divmod(keys, self.size), axis=1).tolist()
        texts = self._decoded([[*self._anchor, *pair] for pair in pairs])
        read = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return np.array([ids[-2:] == pair for ids, pair in zip(read, pairs, strict=True)], np.bool_)

    @cached_property
    def _texts(self) -> list[str]:
        """What every token decodes to after other text."""
        whole = self._decoded([[*self._anchor, token] for token in range(self.size)])
        return [text.removeprefix(self._shown) for text in whole]

    @cached_property
    def special(self) -> frozenset[int]:
        """Tokens that are no text."""
        added = self._tokenizer.added_tokens_encoder.values()
        return frozenset({*self._tokenizer.all_special_ids, *added})

    @cached_property
    def _ascii(self) -> NDArray[np.bool_]:
        return np.array(
            [
                token not in self.special and text.isascii() and text.isprintable() and text.strip() != ""
                for token, text in enumerate(self._texts)
            ],
            np.bool_,
        )

    @cached_property
    def _words(self) -> NDArray[np.bool_]:
        found = np.zeros(self.size, np.bool_)
        some = [
            token
            for token in self._ascii.nonzero()[0].tolist()
            if self._texts[token].startswith(" ") and " " not in self._texts[token][1:]
        ]
        if some:
            read = self._tokenizer([self._shown + self._texts[t] for t in some], add_special_tokens=False)
            for token, ids in zip(some, read["input_ids"], strict=True):
                found[token] = ids == [*self._anchor, token]
        return found

    def _decoded(self, rows: list[list[int]]) -> list[str]:
        settings = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        return [str(self._tokenizer.decode(row, **settings)) for row in rows]
