"""Who says whether an answer is harmful: a trained head in a folder, or a helper that is asked.

The texts are those of `texts/mllm_protector.yaml`, for every defense that has a detector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, Protocol

from sightline.cards import Card
from sightline.cases import Conversation, Turn
from sightline.contracts import Defending
from sightline.defenses._guarding import Reading
from sightline.defenses._heads import TextHead
from sightline.defenses._texts import deciding_word, filled, without_pictures, wording
from sightline.errors import UsageError
from sightline.judges._rubrics import BRACKETS
from sightline.records import Response

ROLE = "detector"
Form = Literal["as_trained", "as_released"]
Means = Literal["harmless", "harmful"]
SAID = frozenset({"stop", "length"})


class Detected(NamedTuple):
    """What a detector says of an answer.

    Attributes:
        reading: as of a guard.
        harmless: the head's chance that the answer is harmless; of a helper 1 or 0, 0 where it said nothing.
        word: for a flag.
        why: what to tell where it said nothing.
    """

    reading: Reading
    harmless: float
    word: str
    why: str


class Detects(Protocol):
    """The settings of a defense that has a detector; see those that do for what each says."""

    card: ClassVar[Card]

    @property
    def head(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def means(self) -> Means: ...
    @property
    def threshold(self) -> float: ...
    @property
    def detector(self) -> str: ...
    @property
    def form(self) -> Form: ...
    @property
    def wording(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Detector:
    """Reads answers, as the settings of a defense say."""

    settings: Detects

    def check(self) -> None:
        """Make sure of what can be known before a run.

        Raises:
            UsageError: for an unknown wording, or both a head and a helper.
        """
        name = self.settings.card.name
        wording("mllm_protector", self.settings.wording, f"wording of defense {name!r}")
        if self.settings.head and self.settings.detector:
            raise UsageError(f"defense {name!r}: set head (a folder) or detector (a target), not both")

    @property
    def helpers(self) -> Mapping[str, str]:
        """The helper, where one is asked."""
        return {} if self.settings.head else {ROLE: self.settings.detector}

    def resolved(self) -> Mapping[str, str]:
        """The digest of the trained head.

        Raises:
            UsageError: for a folder that holds none.
        """
        return {"head": self._head().digest} if self.settings.head else {}

    @property
    def texts(self) -> Mapping[str, str]:
        """The wording."""
        return wording("mllm_protector", self.settings.wording, "wording")

    async def read(
        self, conversation: Conversation, answer: Response, ctx: Defending, purpose: str = "detect"
    ) -> Detected:
        """What it says of an answer."""
        if self.settings.head:
            chance = await self._head().chance(self.about("head", conversation, answer))
            harmless = chance if self.settings.means == "harmless" else 1 - chance
            reading: Reading = "unsafe" if harmless < self.settings.threshold else "safe"
            return Detected(reading, harmless, f"{harmless:.3g}", "")
        said = await ctx.ask(ROLE, self._asked(conversation, answer), purpose=purpose)
        if said.stop not in SAID:
            return Detected("failed", 0.0, "failed", said.error or f"stopped by {said.stop}")
        word = deciding_word(said.text, self.texts)
        if word is None:
            return Detected("unparsed", 0.0, "unparsed", f"its reply is neither word: {said.text[:80]!r}")
        safe = word == self.texts["safe"]
        return Detected("safe" if safe else "unsafe", float(safe), word, "")

    def about(self, name: str, conversation: Conversation, answer: Response) -> str:
        """A text of the wording about request and answer, which hold no token of a chat template."""
        request, reply = (text.translate(BRACKETS) for text in (conversation.last_user_text(), answer.text))
        return filled(self.texts[self._form(name)], request=request, reply=reply)

    def _asked(self, conversation: Conversation, answer: Response) -> Conversation:
        """The question: beside the answer, or as a turn behind it; in text alone."""
        question = self.texts[self._form("detect")]
        if "{reply}" in question:
            return Conversation.user(self.about("detect", conversation, answer))
        reply = answer.text.translate(BRACKETS)
        request = conversation.last_user_text().translate(BRACKETS)
        return without_pictures(Conversation.user(request), request).then(
            Turn("assistant", (reply,)), Turn("user", (question,))
        )

    def _form(self, name: str) -> str:
        return name if self.settings.form == "as_trained" else f"{name}_released"

    def _head(self) -> TextHead:
        worst: Literal["least", "most"] = "least" if self.settings.means == "harmless" else "most"
        return TextHead(self.settings.head, self.settings.label, worst)
