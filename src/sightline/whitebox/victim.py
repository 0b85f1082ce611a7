"""What the engine optimizes against: a multimodal model, or an encoder, opened for gradients.

A picture `x` is float32 in [0, 1], (n, 3, h, w), at the size its file will have: n pictures that are made
independently of each other (images, seeds, restarts). What the model's processor does to a file (resize,
crop, tile, patchify, normalize) happens inside the victim, in the graph.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from sightline.cases import Conversation
from sightline.whitebox.shapes import Features, Images, Logits, PairFlags, TokenFlags, TokenIds, TokenLosses


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A prompt, and the answer whose likelihood is asked for.

    Attributes:
        prompt: ends with a user turn; its only picture, in any turn, stands for the attacked one.
        target: the assistant's answer, or its beginning; white space around it does not count, but for that
            at the end of a beginning.
        closed: whether the target ends the turn, so that the end token is scored as well.
    """

    prompt: Conversation
    target: str
    closed: bool = True


@dataclass(frozen=True, slots=True)
class Rows:
    """What a model predicts at the target tokens of some pairs, one pair after the other.

        tokens       [p0 .. pk | y0 y1 y2]
        rows read          pk y0 y1      -> predict y0 y1 y2

    Attributes:
        logits: (n, t, vocabulary), any float dtype.
        ids: (t,), the target tokens.
        pair: (t,), the index of the pair that a token belongs to; not decreasing, none left out.
        draws: rows of each picture, one after the other: a victim that draws at random answers for several
            draws, and n is that many times the pictures. Losses are averaged over them, and a target counts
            as written if it is in every draw.
        penalty: float32 (n, pairs) or None: what an objective adds to the loss, once per victim and not per
            term, as the mean over an artifact's own pairs.
    """

    logits: Logits
    ids: TokenIds
    pair: TokenIds
    draws: int = 1
    penalty: Tensor | None = None

    @property
    def nll(self) -> TokenLosses:
        """Negative log-likelihood of every target token, float32 (n, t)."""
        flat = self.logits.float().transpose(1, 2)
        ids = self.ids.expand(self.logits.shape[0], -1)
        found: Tensor = torch.nn.functional.cross_entropy(flat, ids, reduction="none")
        return found

    @property
    def first(self) -> TokenFlags:
        """Whether each target token is the likeliest one, bool (n, t)."""
        found: Tensor = self.logits.argmax(-1) == self.ids
        return found

    @property
    def target_is_greedy(self) -> PairFlags:
        """Whether greedy decoding would write the target, bool (n, pairs)."""
        missed = torch.zeros(self.logits.shape[0], self.pairs, dtype=torch.int32, device=self.ids.device)
        return missed.index_add_(1, self.pair, (~self.first).to(torch.int32)) == 0

    @property
    def pairs(self) -> int:
        """How many pairs were scored."""
        return int(self.pair[-1]) + 1


def joined(parts: Sequence[Rows], pairs: Sequence[int]) -> Rows:
    """The rows of pairs that were run apart, in order; `pairs` are the pairs of each part."""
    if len(parts) == 1:
        return parts[0]
    ends = itertools.accumulate(pairs, initial=0)
    penalty = None
    if any(part.penalty is not None for part in parts):
        none = (
            torch.zeros(len(part.logits), count, device=part.ids.device)
            for part, count in zip(parts, pairs, strict=True)
        )
        given = (zero if p.penalty is None else p.penalty for p, zero in zip(parts, none, strict=True))
        penalty = torch.cat(list(given), dim=1)
    return Rows(
        torch.cat([part.logits for part in parts], dim=1),
        torch.cat([part.ids for part in parts]),
        torch.cat([part.pair + before for part, before in zip(parts, ends, strict=False)]),
        parts[0].draws,
        penalty,
    )


class Victim(Protocol):
    """A multimodal model with frozen weights. Cost is counted in forward and backward passes and FLOPs."""

    @property
    def id(self) -> str:
        """The target's string with the digest of the weights and the number format."""
        ...

    @property
    def device(self) -> torch.device:
        """Where pictures and thetas have to be."""
        ...

    def rows(self, x: Images, pairs: Sequence[Pair], *, perturbations: Sequence[Tensor | None] = ()) -> Rows:
        """Predictions at all target tokens of all pairs for each picture, in one packed pass.

        Args:
            x: float32 in [0, 1], (n, 3, h, w).
            pairs: prompts and targets; what they have in common is run once.
            perturbations: per pair, what is added to the embeddings of its last user turn, from the picture
                to the answer, (tokens, width) or (n, tokens, width); pairs that share a prompt share the
                tensor.
        """
        ...

    def prompt_width(self, prompt: Conversation) -> tuple[int, int]:
        """Tokens from the picture to the answer, and their embeddings' width: a perturbation's shape."""
        ...


Kind = Literal["pooled", "projected", "patches", "scores"]
"""Of features: see `encoders` for which encoder has which, and what they are."""


class Encoder(Protocol):
    """A vision tower, a CLIP-like model, a detector or a classifier: pictures in, features or scores out."""

    @property
    def id(self) -> str:
        """Name and digest of the weights."""
        ...

    @property
    def device(self) -> torch.device:
        """Where pictures have to be."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """What `scores` tell of, in their order; empty for an encoder without scores."""
        ...

    def features(self, x: Images, kind: Kind = "pooled") -> Features:
        """Features of pictures, float32: (n, width), or (n, patches, width) for `patches`.

        `scores`, (n, labels), are the log-odds of each label; more than 0 is seen rather than not.

        Raises:
            UsageError: for a kind that this encoder does not have.
        """
        ...

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Features of texts in the space of `projected` ones, float32 (texts, width); without gradient.

        Raises:
            UsageError: for an encoder without a text tower, or a text that is too long for it.
        """
        ...

    def unnormalized(self) -> Encoder:
        """The same encoder fed pixels in [0, 1] as they are: a known mistake of released code, for audits.

        Raises:
            UsageError: for an encoder inside a multimodal model, whose preprocessing is that model's.
        """
        ...
