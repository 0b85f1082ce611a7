"""Cut the request into parts, give each to a variable, and ask for the answer to their sum.

Kang et al., "Exploiting Programmatic Behavior of LLMs: Dual-Use Through Standard Security Attacks", 2023
(payload splitting, with a description of the concatenation); Wei et al., NeurIPS 2023, have a model choose
the words to be cut (`auto_payload_splitting`). From memory of both papers; no official code was found. Here
the cut is by rule: into parts of equal length, which differ by one character (or word) at most.

The parts are written as JSON strings, so that quotes, line breaks and braces of a request cannot end one
early; joined in order they are the request exactly. The sentences around them are our own, three, drawn by
seed (`texts/payload_splitting.yaml`). A request that has fewer characters (or words) than parts is an error
that names the case.

On the testbed, whose models know words and single letters, it beats nothing: `testbed/linear` answers 2 of 24
held-out restricted requests as they are, none cut between characters and 3 between words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from sightline.attacks.templates import asked, drawn_wording, filled, shipped
from sightline.cards import Presets
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, require
from sightline.records import Draft
from sightline.registry import attack

NAME = "payload_splitting"
MOST_PARTS = 26
PRESETS: Presets = {"words": {"at": "words", "parts": 3}, "eight": {"parts": 8}}


@attack(
    NAME,
    paper="arXiv:2302.05733",
    source="Sightline, own texts: attacks/textual/texts/payload_splitting.yaml",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    presets=PRESETS,
    data=("texts/payload_splitting.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadSplitting(Attack):
    """Settings.

    Attributes:
        parts: how many.
        at: cut between any two characters, or between words alone.
        instruction: a text of your own with `{parts}`, and `{join}` and `{last}` if you like; '' = ours.
    """

    parts: int = 4
    at: Literal["characters", "words"] = "characters"
    instruction: str = ""

    def __post_init__(self) -> None:
        require(2 <= self.parts < MOST_PARTS, "parts", self.parts, f"2 to {MOST_PARTS - 1}")
        if self.instruction and "{parts}" not in self.instruction:
            raise UsageError(f"{NAME}: `instruction` has no {{parts}}: write it where the parts are to stand")

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The request in parts; pictures stay."""
        *names, last = [chr(ord("a") + i) for i in range(self.parts + 1)]
        for case in cases:
            lines = [f"{name} = {quoted(part)}" for name, part in zip(names, self.split(case), strict=True)]
            around, number = drawn_wording(shipped(NAME)["around"], NAME, ctx.seed, case.id)
            said = "of the study" if self.instruction else f"around_{number}"
            text = filled(
                self.instruction or around, parts="\n".join(lines), join=" + ".join(names), last=last
            )
            yield Draft(case=case, text=text, note=f"{self.parts} parts, text {said}")

    def split(self, case: Case) -> list[str]:
        """The parts of what a case asks.

        Raises:
            UsageError: if it has fewer characters, or words, than parts.
        """
        plain = asked(case)
        units = list(plain) if self.at == "characters" else re.findall(r"\s*\S+\s*$|\s*\S+", plain)
        if len(units) < self.parts:
            raise UsageError(
                f"case {case.id}: its text has {len(units)} {self.at}, too few for {self.parts} parts; "
                "set parts lower"
            )
        cuts = [len(units) * i // self.parts for i in range(self.parts + 1)]
        return ["".join(units[start:end]) for start, end in pairwise(cuts)]


def quoted(part: str) -> str:
    """A part between quotes, as JSON writes it; characters of other scripts stay readable."""
    return json.dumps(part, ensure_ascii=False)
