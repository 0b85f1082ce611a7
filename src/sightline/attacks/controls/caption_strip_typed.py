"""The caption of `caption_strip` typed above the question, beside the case's own picture.

Shows what the claim does by its words alone: a model that believes it when it is typed is not misled by the
drawing. Heading and line stand above the case's own text, as the caption is read with the picture. The paper
has no such control. Give it the `key`, `values`, `heading` and `draw` of the attack that it stands beside:
the same values are drawn then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sightline.attacks import wordings
from sightline.attacks.typographic._claims import claim_of
from sightline.attacks.typographic.caption_strip import MEETS, check_claim
from sightline.cases import Case, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.records import Draft
from sightline.registry import attack


@attack(
    "caption_strip_typed",
    source="Sightline",
    threat=ThreatModel(may_edit=frozenset({"text"})),
    role="control",
    control_of="caption_strip",
    alike=("key", "values", "heading", "draw"),
    applies_to=MEETS,
    presets={"line": {"heading": ""}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionStripTyped(Attack):
    """`key`, `values`, `heading`, `draw`: as of `caption_strip`."""

    key: str = ""
    values: tuple[str, ...] = ()
    heading: str | None = None
    draw: int = 0

    def __post_init__(self) -> None:
        check_claim(self.key, self.values)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """The claim, then what the case says."""
        for case in cases:
            wordings.request(case)
            claim = claim_of(case, self.draw, heading=self.heading, key=self.key, values=self.values)
            own = case.conversation.last_user_text()
            yield Draft(case=case, text=f"{claim.text}\n\n{own}" if own else claim.text, note=claim.note)
