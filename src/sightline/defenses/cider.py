"""Refuse a request whose picture changes its meaning when it is denoised: pixels that were optimized do.

CIDER (Xu et al. 2024, arXiv 2407.21659). Each picture is denoised several times, and the drop is the most
that a cosine falls. `compares: request` is the paper's: the picture with the text of the request, before and
after (needs a CLIP or SigLIP with its text tower); `picture` is ours: the picture with its denoised copy,
from 1, in any tower, also the target's own. The paper denoises by diffusion, which is not here: steps of
`purify` stand in for it, so its threshold of .0029 is **not verified for them**: `sightline fit` finds the
one above which one benign picture of twenty lies. Only for changed pixels: what is drawn to be read stays as
it is. No call of the target is added. Measured on the testbed (docs/defenses.md), not with a CLIP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Defending
from sightline.defenses._guarding import REFUSAL, blocked
from sightline.defenses._states import coin_caution
from sightline.defenses.purify import purified, step_of
from sightline.errors import UsageError, require
from sightline.fitting import ALARMS, Example, Fits, Fitting, Learned, State, auc, threshold_at
from sightline.records import Pixels, Response
from sightline.whitebox.encoder_folders import encoder_folder

_DROP = "drop"


@registry.defense(
    "cider",
    paper="arXiv:2407.21659",
    source="PandragonXIII/CIDER (rule, by our specification); own denoisers",
    presets={"testbed": {"compares": "picture", "encoder": ""}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Cider(Fits):
    """Settings.

    Attributes:
        encoder: folder of a CLIP or SigLIP with its text tower; for `compares: picture` of any tower, or ''
            for the target's own.
        compares: the picture with the `request` (the paper's; needs `encoder`), or with its denoised
            `picture`.
        denoisers: steps of `purify`, each of which makes one copy.
        threshold: a request is refused if the drop is above this.
        refusal: what the user sees instead of an answer.
        state: a file of `sightline fit`, whose threshold takes the place of the setting.
    """

    LEARNED_WITH: ClassVar[tuple[str, ...]] = ("encoder", "compares", "denoisers")

    encoder: str = ""
    compares: Literal["request", "picture"] = "picture"
    denoisers: tuple[str, ...] = ("blur=1", "blur=2", "scale=0.5", "jpeg=50")
    threshold: float = 0.0029
    refusal: str = REFUSAL
    state: str = ""

    def __post_init__(self) -> None:
        require(0 <= self.threshold <= 2, "threshold", self.threshold, "0..2")
        if not self.denoisers:
            raise UsageError("defense 'cider' needs denoisers, such as blur=1")
        for step in self.denoisers:
            step_of(step, "cider")
        if self.compares == "request" and not self.encoder:
            raise UsageError(
                "defense 'cider' compares pictures with texts: name a CLIP or SigLIP by encoder=FOLDER, or "
                "set compares='picture'"
            )

    @property
    def calls(self) -> int:
        """One: the request itself."""
        return 1

    @property
    def looks_inside(self) -> bool:
        """Whether the target's own tower is used."""
        return not self.encoder

    @property
    def must_learn(self) -> bool:
        """No: there is a setting."""
        return False

    def resolved(self) -> Mapping[str, str]:
        """The encoder with the digest of its weights, and the digest of the state."""
        found = {"encoder": encoder_folder(self.encoder).id} if self.encoder else {}
        return found | ({"state": self.learned().digest} if self.state else {})

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Compare, then refuse or answer."""
        drop = await self.drop(conversation, ctx)
        if drop is None:
            return await ctx.generate(conversation)
        flag = f"cider:{drop:.3g}"
        if drop > (self.learned().number(_DROP) if self.state else self.threshold):
            return blocked(None, self.refusal, flag)
        answer = await ctx.generate(conversation)
        return replace(answer, flags=(*answer.flags, flag))

    async def drop(self, conversation: Conversation, ctx: Defending) -> float | None:
        """The most that cosine falls for a picture of the request; None for a request without pictures."""
        pictures = [ctx.images.pixels(image) for image in conversation.images]
        if not pictures:
            return None
        rng = ctx.rng("denoised")
        steps = [dict([step_of(step, "cider")]) for step in self.denoisers]
        copies = [[each, *(purified(each, step, rng) for step in steps)] for each in pictures]
        text = conversation.last_user_text()
        return await asyncio.to_thread(self._drop, copies, text, ctx.looks)

    def _drop(self, copies: Sequence[Sequence[Pixels]], text: str, target: Any) -> float:
        from sightline.whitebox.vectors import vectors_in, vectors_of

        vectors = vectors_of(self.encoder) if self.encoder else vectors_in(target)
        drops = []
        for each in copies:
            if self.compares == "request":
                rows, (other,) = vectors.pictures(each, "projected"), vectors.texts([text])
            else:
                rows = vectors.pictures(each, "pooled")
                other = rows[0]
            cosines = rows @ other
            drops.append(float(np.max(cosines[0] - cosines[1:])))
        return max(0.0, *drops)

    async def learn(self, examples: Sequence[Example], ctx: Fitting) -> Learned:
        """The threshold above which one benign picture of twenty lies."""
        drops: dict[bool, list[float]] = {True: [], False: []}
        for each in examples:
            drop = await self.drop(each.shown, ctx.defending(each.shown))
            if drop is not None:
                drops[each.harmful].append(drop)
        if not drops[False]:
            raise UsageError("defense 'cider' learns from benign cases that show a picture: there are none")
        found = threshold_at(drops[False], ALARMS)
        told = [f"threshold {found:.3g}, {len(drops[False])} benign cases"]
        if drops[True]:
            area = auc(drops[True], drops[False])
            told[0] += f", AUC against {len(drops[True])} others {area:.3f}"
            told += coin_caution(area, len(drops[True]), len(drops[False]), "picture")
        return Learned(facts={_DROP: found}, told=tuple(told))

    def check_state(self, state: State) -> None:
        """See `Fits.check_state`."""
        state.number(_DROP)
