"""Add a shield to the request: examine the image, then the instruction, and refuse with a fixed sentence.

AdaShield-S (Wang et al., ECCV 2024, arXiv 2403.09513): a fixed text in the user turn. Official form: request,
shield, request again (`placement: between`); `after` leaves the repetition out. No further target calls. Of
the adaptive form, retrieval: `pool` holds shields with the requests that they were made for, and the one of
the nearest request is taken, or the fixed one if none is near. Nearness is ours: the cosine of the texts'
runs of three letters (the paper: CLIP, text and picture), so `nearness` is **not verified**. Shields are not
refined here. Watch over-refusal of benign pictures that hold instructions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending, Defense
from sightline.defenses._shield_pool import shield_pool
from sightline.defenses._texts import wording
from sightline.errors import require
from sightline.records import Response
from sightline.whitebox import through

if TYPE_CHECKING:
    from sightline.whitebox.victim import Victim


@registry.defense(
    "adashield",
    paper="arXiv:2403.09513",
    source="SaFoLab-WISC/AdaShield, inference_attack_code (placement); own texts",
    data=("texts/adashield.yaml",),
    presets={"testbed": {"wording": "testbed", "placement": "after"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Adashield(Defense):
    """Settings.

    Attributes:
        wording: name of a shield in `texts/adashield.yaml`.
        placement: `between` repeats the request behind the shield; `after` does not.
        pool: a YAML file, a list of `request` and `shield`; '' for the fixed shield alone.
        nearness: the least cosine, 0..1, at which a shield of the pool is taken.
    """

    wording: str = "natural"
    placement: Literal["between", "after"] = "between"
    pool: str = ""
    nearness: float = 0.7

    def __post_init__(self) -> None:
        require(0 <= self.nearness <= 1, "nearness", self.nearness, "0..1")
        wording("adashield", self.wording, "wording of defense 'adashield'")

    @property
    def calls(self) -> int:
        """One: the request itself."""
        return 1

    def resolved(self) -> Mapping[str, str]:
        """The digest of the pool.

        Raises:
            UsageError: for a file that holds none.
        """
        return {"pool": shield_pool(self.pool).digest} if self.pool else {}

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Ask once, with the shield in place."""
        return await ctx.generate(self._shielded(conversation))

    def through(self, victim: Victim) -> Victim:
        """See `through.PassesGradients`: the shield is known, and the gradient exact."""
        return through.changed(self, victim, prompt=self._shielded)

    def _shielded(self, conversation: Conversation) -> Conversation:
        """The conversation that the target sees."""
        shield = wording("adashield", self.wording, "wording")["shield"]
        if self.pool:
            near, kept = shield_pool(self.pool).nearest(conversation.last_user_text())
            shield = kept if near >= self.nearness else shield
        parts = conversation.last_user_turn.parts
        again = tuple(part for part in parts if isinstance(part, str)) if self.placement == "between" else ()
        return conversation.with_last_user(*parts, shield, *again)
