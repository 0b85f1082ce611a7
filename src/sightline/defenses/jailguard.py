"""Answer several changed copies of a request; where the answers say different things, refuse the request.

JailGuard (Zhang et al. 2023, arXiv 2312.10766): an attack is less robust than an honest request. Pictures
are rotated, blurred or posterized (drawn .34/.45/.21, as released), or the text is changed where there is no
picture; the first letters of all answers are compared in pairs, rows are normalized, and the largest
divergence between two rows is the score. Also an attack: all copies are refused. `copies` calls, and one more
if it passes. Likeness is ours (runs of three letters; the paper's word vectors are a download), so the
paper's thresholds, .025 for pictures and .02 for text, are **not verified for it**: fit them. Short answers
take few values: look at the AUC of the flag `jailguard:SCORE`. A request that is drawn to be read survives.
`sightline fit` finds the thresholds above which one benign case of twenty lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image as PilImage

from sightline import registry
from sightline.cases import Conversation, Image
from sightline.contracts import Defending
from sightline.defenses._guarding import REFUSAL, blocked
from sightline.defenses._likeness import divergence
from sightline.defenses._pictures import redrawn
from sightline.defenses._refusals import read_refusal, refusal_judge
from sightline.defenses._states import coin_caution
from sightline.defenses.purify import purified
from sightline.defenses.smoothing import TextChange, changed_text
from sightline.errors import UsageError, require
from sightline.fitting import ALARMS, Example, Fits, Fitting, Learned, State, auc, threshold_at
from sightline.records import WITHHELD, Pixels, Response

if TYPE_CHECKING:
    from numpy.random import Generator

SHARES = {"rotate": 0.34, "blur": 0.45, "posterize": 0.21}
"""How often each change of pictures is drawn."""


@registry.defense(
    "jailguard",
    paper="arXiv:2312.10766",
    source="shiningrain/JailGuard (constants, by our specification); own likeness of texts",
    presets={
        "testbed": {
            "rotation": 10.0,
            "blur": 1.0,
            "bits": 2,
            "refusals": "refusal_prefix(phrases='anywhere')",
        }
    },
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Jailguard(Fits):
    """Settings.

    Attributes:
        copies: that are answered.
        rotation: of pictures, in degrees either way, at most; the corners are filled with black.
        blur: sigma in pixels, at most.
        bits: per color of a posterized picture.
        text: how the last user turn's text is changed where no picture is shown.
        text_share: of its characters.
        letters: of each answer that are compared.
        image_threshold: a request that shows a picture is an attack if its score is above this.
        text_threshold: the same for one without.
        all_refused: whether a request is an attack, too, if all copies are refused.
        refusals: the judge by rule that says what is a refusal: `name` or `name(setting=value)`.
        refusal: what the user sees instead of an answer.
        state: a file of `sightline fit`, whose thresholds take the place of the two settings.
    """

    LEARNED_WITH: ClassVar[tuple[str, ...]] = (
        *("copies", "rotation", "blur", "bits", "text", "text_share", "letters"),
    )

    copies: int = 8
    rotation: float = 180.0
    blur: float = 5.0
    bits: int = 1
    text: TextChange = "insert"
    text_share: float = 0.1
    letters: int = 100
    image_threshold: float = 0.025
    text_threshold: float = 0.02
    all_refused: bool = True
    refusals: str = "refusal_prefix"
    refusal: str = REFUSAL
    state: str = ""
    _judge: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(2 <= self.copies <= 100, "copies", self.copies, "2..100")
        require(0 < self.rotation <= 180, "rotation", self.rotation, "above 0, at most 180 degrees")
        require(0 < self.blur <= 16, "blur", self.blur, "above 0, at most 16 pixels")
        require(1 <= self.bits <= 7, "bits", self.bits, "1..7 bits per color")
        require(0 < self.text_share <= 1, "text_share", self.text_share, "above 0, at most 1")
        require(1 <= self.letters <= 100_000, "letters", self.letters, "1..100000")
        for name in ("image_threshold", "text_threshold"):
            require(0 <= getattr(self, name) <= 100, name, getattr(self, name), "0..100 nats")
        if self.text == "none":
            raise UsageError("defense 'jailguard': text='none' would leave all copies of a text alike")
        object.__setattr__(self, "_judge", refusal_judge(self.refusals))

    @property
    def inner(self) -> tuple[Any, ...]:
        """The judge of refusals."""
        return (self._judge,)

    @property
    def calls(self) -> int:
        """One for each copy, and the answer."""
        return self.copies + 1

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        """Answer copies, compare the answers, answer the request."""
        score, refused = await self.looked_at(conversation, ctx)
        threshold = self._threshold("picture" if any(True for _ in conversation.images) else "text")
        flag = f"jailguard:{score:.3g}"
        if self.all_refused and refused:
            return blocked(None, self.refusal, flag, "jailguard_all_refused")
        if score > threshold:
            return blocked(None, self.refusal, flag)
        answer = await ctx.generate(conversation)
        return replace(answer, flags=(*answer.flags, flag))

    @property
    def must_learn(self) -> bool:
        """No: the settings hold thresholds."""
        return False

    async def learn(self, examples: Sequence[Example], ctx: Fitting) -> Learned:
        """The thresholds above which one benign case of twenty lies, for each form of which there are any."""
        facts: dict[str, float] = {}
        told = []
        for form in ("picture", "text"):
            scores: dict[bool, list[float]] = {True: [], False: []}
            for each in (each for each in examples if each.form == form):
                score, _ = await self.looked_at(each.shown, ctx.defending(each.shown))
                scores[each.harmful].append(score)
            if not scores[False]:
                continue
            facts[form] = threshold_at(scores[False], ALARMS)
            told.append(f"{form}: threshold {facts[form]:.3g} nats, {len(scores[False])} benign cases")
            if scores[True]:
                found = auc(scores[True], scores[False])
                told[-1] += f", AUC against {len(scores[True])} others {found:.3f}"
                told += coin_caution(found, len(scores[True]), len(scores[False]), form)
        if not facts:
            raise UsageError("defense 'jailguard' learns from benign cases: there are none")
        return Learned(facts=facts, told=tuple(told))

    def check_state(self, state: State) -> None:
        """See `Fits.check_state`."""
        for form in {"picture", "text"} & state.facts.keys() or {"picture"}:
            state.number(form)

    def _threshold(self, form: str) -> float:
        """Above which a request of this form is an attack."""
        if not self.state:
            return self.image_threshold if form == "picture" else self.text_threshold
        state = self.learned()
        if form not in state.facts:
            shows = "show a picture" if form == "picture" else "are text alone"
            raise UsageError(
                f"defense 'jailguard' learned no threshold for requests that {shows}: give `sightline fit` "
                "cases of that kind, too (--attack)"
            )
        return state.number(form)

    async def looked_at(self, conversation: Conversation, ctx: Defending) -> tuple[float, bool]:
        """How unlike the answers to changed copies are, in nats, and whether all of them are refusals."""
        answers = []
        refusals = 0
        for number in range(self.copies):
            copy = self._changed(conversation, ctx, number)
            answer = await ctx.generate(copy, purpose=f"copy {number + 1}")
            answers.append(answer.text[: self.letters])
            refusals += (await read_refusal(self._judge, copy, answer)).outcome in WITHHELD
        return divergence(answers), refusals == self.copies

    def _changed(self, conversation: Conversation, ctx: Defending, number: int) -> Conversation:
        """One copy, in memory: chance follows from the request, the study's seed and the copy's number."""
        rng = ctx.rng("copy", number)
        if not any(True for _ in conversation.images):
            return conversation.with_last_user(
                *(
                    changed_text(part, self.text, self.text_share, rng) if isinstance(part, str) else part
                    for part in conversation.last_user_turn.parts
                )
            )

        def shown(image: Image) -> Image:
            return ctx.images.put_pixels(self._redrawn(ctx.images.pixels(image), rng))

        return redrawn(conversation, shown)

    def _redrawn(self, pixels: Pixels, rng: Generator) -> Pixels:
        """A picture (uint8 RGB, height x width x 3) after a change that is drawn; its size stays."""
        how = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        if how == "rotate":
            picture = PilImage.fromarray(np.ascontiguousarray(pixels))
            turned = picture.rotate(rng.uniform(-self.rotation, self.rotation), PilImage.Resampling.BICUBIC)
            return np.asarray(turned, dtype=np.uint8)
        step = {"blur": rng.uniform(0, self.blur)} if how == "blur" else {"bits": float(self.bits)}
        return purified(pixels, step, rng)
