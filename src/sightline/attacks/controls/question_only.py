"""The question without its picture: what is answered right all the same does not need the picture.

The control for benchmarks of questions about pictures (expected: answer or classify), which attacks on
requests leave alone. `sightline quality` reads it: a benchmark leaks through text as far as this control is
right (the point of VLSBench about multimodal benchmarks, arXiv:2411.19939; from memory).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks.wordings import plain_text
from sightline.cards import ANY_ATTACK
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "question_only",
    threat=ThreatModel(),
    role="control",
    control_of=ANY_ATTACK,
    source="Sightline",
    applies_to=frozenset({"answer", "classify"}),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionOnly(Attack):
    """Nothing to set."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The question alone."""
        for case in cases:
            yield Draft(case=case, text=plain_text(case), keep_images=False)
