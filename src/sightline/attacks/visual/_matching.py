"""Losses that compare a picture's features with those of several words at once, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from sightline.whitebox.victim import Encoder, Kind

Loss = Literal["cosine", "contrast", "as_released"]

#: CLIP's logit scale at the end of its training
LOGIT_SCALE = 100.0
RELEASED_LABEL = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordMatch:
    """A term on pictures; tensors only by the methods of those that the encoder gives.

        cosine       1 - mean of the cosines with the first `wanted` words
        contrast     cross-entropy of the scaled cosines: the first `wanted` words against all
        as_released  cross-entropy of softmax(cosines), taken for logits, with label 1

    Attributes:
        encoder: whose features are compared.
        words: features of words, (words, ...).
        wanted: how many of them, from the first, are to be matched.
        kind: which features.
        loss: see above.
        weight: of the term.
    """

    encoder: Encoder
    words: Any
    wanted: int
    kind: Kind
    loss: Loss
    weight: float = 1.0

    @property
    def passes(self) -> int:
        """One model looks."""
        return 1

    def losses(self, x: Any) -> Any:
        """One loss per picture, float32 (n,)."""
        cosines = _units(self.encoder.features(x, self.kind)) @ _units(self.words).T
        if self.loss == "cosine":
            found = 1 - cosines[:, : self.wanted].mean(1)
        elif self.loss == "contrast":
            scaled = LOGIT_SCALE * cosines
            found = scaled.logsumexp(1) - scaled[:, : self.wanted].logsumexp(1)
        else:
            found = -cosines.softmax(1).log_softmax(1)[:, RELEASED_LABEL]
        return self.weight * found

    def scaled(self, factor: float) -> WordMatch:
        """The same term at `factor` times the weight."""
        return replace(self, weight=self.weight * factor)

    def take(self, _index: Sequence[int]) -> WordMatch:
        """All pictures are compared with the same words."""
        return self


def _units(features: Any) -> Any:
    """Features of length 1, (n, values)."""
    flat = features.float().flatten(1)
    return flat / flat.norm(dim=1, keepdim=True).clamp(min=1e-8)
