"""P(unsafe) from the probabilities of a guard's first word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from sightline.cases import Conversation
from sightline.contracts import Decoding

LEAST_TOLD = 0.5
"""Share of the probability that the two words must hold together, else the guard says something else."""


@runtime_checkable
class GivesFirstToken(Protocol):
    """A target that tells how likely its reply begins with which token."""

    async def first_token(self, conversation: Conversation, decoding: Decoding) -> Mapping[str, float]:
        """Probabilities of the likeliest first visible tokens, by text; empty where none are told."""
        ...


def share_unsafe(tokens: Mapping[str, float], words: Mapping[str, str]) -> float | None:
    """The unsafe word's share of the probability of both; None if both together hold too little.

    A token counts for a word that begins with it, in any letter case, if the other word does not.
    """
    told = {"unsafe": 0.0, "safe": 0.0}
    for token, probability in tokens.items():
        start = token.strip().lower()
        begun = [name for name in told if start and words[name].startswith(start)]
        if len(begun) == 1:
            told[begun[0]] += probability
    both = sum(told.values())
    return told["unsafe"] / both if both >= LEAST_TOLD else None
