"""Perturb the letters of the request at random: words scrambled inside, capitals, neighbors in ASCII.

The text perturbations of Hughes et al., "Best-of-N Jailbreaking", arXiv:2412.03556, to be drawn many times
(`best_of_n`). Official: jplhughes/bon-jailbreaking, bon/attacks/run_text_bon.py, commit c118210. Verified
there: strength sigma 0.4; in this order: with probability sqrt(sigma) per word of more than three
characters its inner ones are shuffled; with probability sqrt(sigma) per letter its case is changed; with
probability sigma cubed per character it is moved by one in ASCII, as far as that can be printed.

Deviations. Spaces and line breaks stay as they are (the official code joins words by single spaces), letters
of other scripts change case too where they have two, and only ASCII characters are moved.

Where the case has a text, that is what is perturbed; its pictures stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.attacks.templates import asked
from sightline.attacks.wordings import request
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import numpy_rng

SHORTEST = 4
"""Characters of a word that is scrambled, at least."""
FIRST, LAST = 32, 126
"""ASCII characters that can be printed."""


@attack(
    "augment",
    paper="arXiv:2412.03556",
    source="jplhughes/bon-jailbreaking: bon/attacks/run_text_bon.py",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    presets={"capitals": {"scramble": False, "noise": False}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Augment(Attack):
    """Settings.

    Attributes:
        sigma: strength, 0 (nothing changes) to 1.
        scramble: whether the inner characters of words are shuffled.
        capitalize: whether letters change case.
        noise: whether characters are moved by one.
    """

    sigma: float = 0.4
    scramble: bool = True
    capitalize: bool = True
    noise: bool = True

    def __post_init__(self) -> None:
        require(0 <= self.sigma <= 1, "sigma", self.sigma, "0..1")

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Each request, perturbed by its own random numbers."""
        for case in cases:
            request(case)
            rng = numpy_rng("augment", ctx.seed, case.id)
            yield Draft(case=case, text=self.perturbed(asked(case), rng))

    def perturbed(self, text: str, rng: np.random.Generator) -> str:
        """The text with all perturbations that are switched on."""
        often, rarely = self.sigma**0.5, self.sigma**3
        if self.scramble:
            text = re.sub(r"\S+", lambda word: _scrambled(word[0], often, rng), text)
        if self.capitalize:
            text = "".join(_swapped(sign) if rng.random() < often else sign for sign in text)
        if self.noise:
            text = "".join(_moved(sign, rng) if rng.random() < rarely else sign for sign in text)
        return text


def _scrambled(word: str, probability: float, rng: np.random.Generator) -> str:
    if len(word) < SHORTEST or rng.random() >= probability:
        return word
    inner = [word[1:-1][place] for place in rng.permutation(len(word) - 2)]
    return "".join([word[0], *inner, word[-1]])


def _swapped(letter: str) -> str:
    """A letter in its other case, where that is one letter that leads back."""
    other = letter.swapcase()
    return other if len(other) == 1 and other.swapcase() == letter else letter


def _moved(sign: str, rng: np.random.Generator) -> str:
    """The character before or after one in ASCII, where that can be printed."""
    other = ord(sign) + (1 if rng.random() < 0.5 else -1)
    return chr(other) if FIRST <= ord(sign) <= LAST and FIRST <= other <= LAST else sign
