"""The words of `drawn_injection`, typed by the user beside the honest picture, before or after the question.

Shows what the model does if whoever it works for asks for the same. Where that is refused and the drawn words
are followed, the picture is a way around; where both are followed, the model does not tell its user from what
it looks at. For cases of CyberSecEval's visual prompt injection it types the words that their pictures show
(`picture: none`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sightline.attacks.typographic.drawn_injection import injection, wordings
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import UsageError, nearest
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "drawn_injection_typed",
    source="Sightline",
    threat=ThreatModel(attacker="user", may_edit=frozenset({"text", "image"})),
    role="control",
    control_of="drawn_injection",
    applies_to=frozenset({"answer", "refuse"}),
    alike=("instruction", "wording"),
    presets={"alone": {"place": "alone"}, "before": {"place": "before"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnInjectionTyped(Attack):
    """Settings.

    Attributes:
        place: of the words: after or before the question, or alone (nothing else is asked).
        picture: the case's own, or none (for releases whose pictures show the words already).
        wording: as of `drawn_injection`.
        instruction: as of `drawn_injection`.
    """

    place: Literal["after", "before", "alone"] = "after"
    picture: Literal["own", "none"] = "own"
    wording: str = "plain"
    instruction: str = ""

    def __post_init__(self) -> None:
        if self.wording not in wordings():
            raise UsageError(nearest(self.wording, wordings(), "wording of drawn_injection_typed"))

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The words in the text; nothing in the picture."""
        for case in cases:
            words = injection(case, self.wording, self.instruction)
            parts = {
                "after": (words.sentence, words.drawn),
                "before": (words.drawn, words.sentence),
                "alone": (words.drawn,),
            }[self.place]
            yield Draft(case=case, text="\n".join(parts), keep_images=self.picture == "own")
