"""Decode away from what the model would say without a safety principle: constitutional calibration.

CoCA (Gao et al. 2024, arXiv 2409.11365): scores of the next token are z + alpha (z - z0), with z under a
safety principle before the request and z0 without it, both decoded in step. It amplifies what the principle
changes; where the model is blind to the principle it does nothing. Compare it with the principle alone
(`alpha=0`). Two rows per token instead of one; needs the model from inside. alpha 4 is a toolbox's default
(by our specification; the paper was not read for it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending, Defense
from sightline.defending import Inner
from sightline.defenses._texts import wording
from sightline.errors import require
from sightline.records import Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from sightline.whitebox.victim import Victim


@registry.defense(
    "coca",
    paper="arXiv:2409.11365",
    source="paper's idea, by our specification; own texts: defenses/texts/coca.yaml",
    data=("texts/coca.yaml",),
    presets={"testbed": {"wording": "testbed"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Coca(Defense):
    """Settings.

    Attributes:
        wording: name of a principle in `texts/coca.yaml`.
        alpha: how far scores are moved; 0 is the principle alone.
    """

    wording: str = "natural"
    alpha: float = 4.0

    def __post_init__(self) -> None:
        require(0 <= self.alpha <= 100, "alpha", self.alpha, "0..100")
        wording("coca", self.wording, "wording of defense 'coca'")

    @property
    def looks_inside(self) -> bool:
        """Always: it changes scores."""
        return True

    @property
    def calls(self) -> int:
        """One, of two rows."""
        return 1

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """One answer, decoded beside the same request without the principle."""
        how = Inner(beside=conversation, weight=self.alpha)
        return await ctx.generate(self._asked(conversation), how=how)

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: both branches, exactly."""
        return through.contrasted(self, victim, principle=self._asked, weight=self.alpha)

    def _asked(self, conversation: Conversation) -> Conversation:
        return conversation.with_system(wording("coca", self.wording, "wording")["principle"])
