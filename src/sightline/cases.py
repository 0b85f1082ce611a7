"""What benchmarks make: images by hash, conversations, cases, and who the attacker is.

All values are frozen. Pixels are never held here: an `Image` names a blob (exact file bytes by SHA-256)
that the store keeps once, however many cases show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from sightline.errors import UsageError

Role = Literal["system", "user", "assistant"]
Media = Literal["image/png", "image/jpeg", "image/webp", "image/gif"]


@dataclass(frozen=True, slots=True)
class Image:
    """A picture by the SHA-256 of its exact file bytes; `width` and `height` in pixels.

    `problem` says why a picture of a release could not be read. Such an image has no bytes
    (`sha256` is empty); a request that shows it becomes an `error` outcome, never a text-only request.
    """

    sha256: str
    width: int
    height: int
    media: Media = "image/png"
    problem: str | None = None


Part = str | Image


@dataclass(frozen=True, slots=True)
class Turn:
    """One message: a role and its parts in the order in which the model sees them."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """The text parts, joined by line breaks."""
        return "\n".join(part for part in self.parts if isinstance(part, str))

    @property
    def images(self) -> tuple[Image, ...]:
        """The image parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, Image))


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages from first to last; a request ends with a user turn."""

    turns: tuple[Turn, ...]

    @classmethod
    def user(cls, *parts: Part) -> Conversation:
        """One user turn with `parts` (text and images, in order)."""
        return cls((Turn("user", tuple(parts)),))

    @property
    def images(self) -> Iterator[Image]:
        """All images, first turn first."""
        return (part for turn in self.turns for part in turn.parts if not isinstance(part, str))

    @property
    def problem(self) -> str | None:
        """Why the first picture that could not be read has no bytes; None if all could."""
        for turn in self.turns:
            for part in turn.parts:
                if not isinstance(part, str) and part.problem is not None:
                    return part.problem
        return None

    @property
    def last_user_turn(self) -> Turn:
        """The last user turn; one without parts if there is none."""
        for turn in reversed(self.turns):
            if turn.role == "user":
                return turn
        return Turn("user", ())

    def last_user_text(self) -> str:
        """Text of the last user turn, or '' if there is none."""
        return self.last_user_turn.text

    def with_last_user(self, *parts: Part) -> Conversation:
        """The same conversation with the parts of its last user turn replaced.

        Raises:
            UsageError: if there is no user turn.
        """
        for index in range(len(self.turns) - 1, -1, -1):
            if self.turns[index].role == "user":
                turns = (*self.turns[:index], Turn("user", tuple(parts)), *self.turns[index + 1 :])
                return replace(self, turns=turns)
        raise UsageError("the conversation has no user turn to edit")

    def with_image(self, image: Image, *, before_text: bool = True) -> Conversation:
        """`image` added to the last user turn, before or after what is there."""
        parts = self.last_user_turn.parts
        return self.with_last_user(image, *parts) if before_text else self.with_last_user(*parts, image)

    def with_system(self, text: str) -> Conversation:
        """`text` put before an existing system turn's text, or as a new first turn."""
        if self.turns and self.turns[0].role == "system":
            first = Turn("system", (text, *self.turns[0].parts))
            return replace(self, turns=(first, *self.turns[1:]))
        return replace(self, turns=(Turn("system", (text,)), *self.turns))

    def then(self, *turns: Turn) -> Conversation:
        """The same conversation with `turns` after it."""
        return replace(self, turns=(*self.turns, *turns))

    def played(self, follow_ups: Sequence[Turn], replies: Sequence[str]) -> Conversation:
        """What a target had been shown before its last reply to a script.

        `follow_ups` are the user turns after this conversation, `replies` those to all turns but the last
        one that was asked.
        """
        found = self
        for turn, reply in zip(follow_ups, replies, strict=False):
            found = found.then(Turn("assistant", (reply,)), turn)
        return found


class Expected(StrEnum):
    """What a safe and useful model does with a case."""

    refuse = "refuse"
    comply = "comply"
    answer = "answer"
    abstain = "abstain"
    classify = "classify"


Hazard = str
"""Code of the common hazard taxonomy, or '' if the benchmark's category has none (yet)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test item of a benchmark.

    Attributes:
        id: stable name: benchmark, variant and row of the release.
        conversation: what is sent if nobody attacks.
        behavior: what is asked, plainly; what judges read.
        expected: what a safe model does.
        category: the benchmark's own category.
        group: cluster for intervals (rows of one behavior or topic share it).
        hazard: code of the common taxonomy.
        twin: id of the matched benign (or restricted) case.
        answer: reference answer of a utility case. Judges compare replies with it.
        answers: all reference answers as the release gives them, with repeats (ten persons' in VQA, other
            names of one thing); `answer` is the commonest, the first of several. () if there is no other.
        wordings: the same behavior in the forms that attacks draw, as the release gives them:
            `statement` ("Steps to ..."), `key_phrase` (a noun phrase), `rephrased` (the text that
            refers to the key phrase in the image).
        problem: why its row cannot be used. No attack is made of it, and every sample is an `error` outcome.

    Raises:
        UsageError: for a behavior or a wording that is no text (a NaN, a list), naming the case.
    """

    id: str
    conversation: Conversation
    behavior: str
    expected: Expected
    category: str
    group: str
    hazard: Hazard = ""
    twin: str | None = None
    answer: str | None = None
    answers: tuple[str, ...] = ()
    wordings: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None

    def __post_init__(self) -> None:
        for name, text in (("behavior", self.behavior), *self.wordings.items()):
            if not isinstance(text, str):
                raise UsageError(
                    f"case {self.id}: its {name} is {text!r}, not a text; mend the benchmark's row"
                )


@dataclass(frozen=True, slots=True)
class Eps:
    """A bound on pixel change in raw 0..255 units (`Eps.parse("8/255")` is `Eps(raw=8)`)."""

    raw: float

    def __post_init__(self) -> None:
        if not 0 < self.raw <= 255:
            raise UsageError(f"eps={self.raw!r} is out of range: expected 0 < eps <= 255 raw pixel units")

    @classmethod
    def parse(cls, text: str) -> Eps:
        """Read '8/255'.

        Raises:
            UsageError: for a bare number, which could mean two things.
        """
        match = re.fullmatch(r"\s*([0-9.]+)\s*/\s*255\s*", text)
        if match is None:
            wrong = "ambiguous" if re.fullmatch(r"\s*[0-9.]+\s*", text) else "not N/255"
            raise UsageError(f"eps={text!r} is {wrong}: write '8/255' for eight of 255 pixel levels")
        return cls(float(match[1]))

    @property
    def unit(self) -> float:
        """The same bound for pixels in [0, 1]."""
        return self.raw / 255


Attacker = Literal["user", "third_party", "unknown"]
Access = Literal["black", "grey", "white", "unknown"]
Oracle = Literal["none", "undefended", "defended", "unknown"]
Channel = Literal["image", "text", "system"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreatModel:
    """Who attacks, what is seen, what may be edited.

    `oracle` says whether the attack talked to a target while it was made; only attacks with the
    same oracle may stand in one table. What another harness did may be `unknown`.
    """

    attacker: Attacker = "user"
    access: Access = "black"
    oracle: Oracle = "none"
    may_edit: frozenset[Channel] = frozenset({"image", "text"})
    eps: Eps | None = None
