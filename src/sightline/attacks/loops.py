"""What attacks that try again share: the attacker's side of the talk, attempts at once, the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sightline.attacks.answers import Parts
from sightline.attacks.dialogue import Dialogue, judged, progress, put, script, settled
from sightline.attacks.templates import asked
from sightline.attacks.wordings import request
from sightline.budget import SpentError
from sightline.cases import Case, Conversation, Image, Turn
from sightline.contracts import converses
from sightline.craft import Craft
from sightline.errors import ContractError, UsageError, require
from sightline.records import Draft, Outcome, Response, Verdict

RESULTS = {
    Outcome.complied: "it did what the request asks",
    Outcome.partial: "it did a part of what the request asks",
    Outcome.refused: "it refused",
    Outcome.off_topic: "it did not refuse, and did not do what the request asks either",
    Outcome.blocked_provider: "a filter before or behind the model stopped it",
    Outcome.blocked_defense: "a filter before or behind the model stopped it",
}
UNKNOWN = "nobody could tell what it did"


def shown_reply(reply: Response) -> str:
    """The target's reply as a helper reads it."""
    return reply.text if reply.text.strip() else "(there is no text)"


def result(verdict: Verdict) -> str:
    """What a reply did, in words for a helper, with the in-loop judge's reason if it gave one."""
    said = RESULTS.get(verdict.outcome, UNKNOWN)
    return f"{said} ({verdict.reason})" if verdict.reason else said


def goal_slots(case: Case) -> dict[str, str]:
    """What every text may say of a case: the request, how it stands in the case, and whether a picture does.

    Raises:
        UsageError: if nothing is asked.
    """
    goal = request(case)
    pictures = len(case.conversation.last_user_turn.images)
    beside = ("is a picture", "are pictures")[pictures > 1]
    return {
        "goal": goal,
        "asked": asked(case),
        "picture": f"There {beside} beside the message, which you cannot change." if pictures else "",
    }


@dataclass(frozen=True, slots=True)
class Attacker:
    """A helper on one branch: what it is to do, and what it was told and answered so far, in pairs."""

    system: str
    history: tuple[Turn, ...] = ()

    def asked(self, question: str, *pictures: Image) -> Conversation:
        """What it is asked next, pictures before the text."""
        now = Turn("user", (*pictures, question))
        return Conversation((Turn("system", (self.system,)), *self.history, now))

    def after(
        self, question: str, answer: str, keep_last: int = 0, pictures: Sequence[Image] = ()
    ) -> Attacker:
        """The same after its answer; with `keep_last`, with so many of the last pairs alone."""
        pair = (Turn("user", (*pictures, question)), Turn("assistant", (answer,)))
        return replace(self, history=(*self.history, *pair)[-2 * keep_last :])


def written(answer: Parts) -> str:
    """What a helper answered, in the form that was asked for."""
    return "\n".join(f"<{name}>{text}</{name}>" for name, text in answer.items())


class Drawn(NamedTuple):
    """Pictures that a turn shows, the sentence that belongs beside them, and what is to be known of them."""

    pictures: tuple[Image, ...] = ()
    sentence: str = ""
    note: str = ""


def drawn_by(attack: Any, case: Case, ctx: Craft) -> Drawn:
    """What an attack draws of a case, kept as files that turns can show.

    Raises:
        UsageError: if it draws nothing.
    """
    (draft,) = attack.craft([case], ctx)
    pixels = (draft.image,) if draft.image is not None else draft.images
    if not pixels:
        raise UsageError(f"case {case.id}: {attack.card.name} draws no picture for {ctx.attack} to show")
    return Drawn(tuple(put(ctx, each) for each in pixels), draft.text or "", draft.note)


def check_draws(attack: Any, outer: str, setting: str) -> None:
    """Make sure that an attack can draw one case by itself.

    Raises:
        UsageError: for one that is crafted on gradients, asks models, or makes one thing for all cases.
    """
    card = attack.card
    if card.surrogate or card.scope == "universal" or converses(attack):
        raise UsageError(
            f"{outer}, setting {setting!r}: {card.name} does not draw one case by itself: name one such "
            "as figstep or mm_typography"
        )


class Attempt(NamedTuple):
    """A dialogue with the target whose last reply was judged."""

    dialogue: Dialogue
    verdict: Verdict

    @property
    def reply(self) -> Response:
        """The last one."""
        return self.dialogue.exchanges[-1].reply


class Attempts(NamedTuple):
    """One per prompt, in order; None for one that the budget did not pay for, and its error."""

    made: list[Attempt | None]
    spent: SpentError | None


async def attempts(ctx: Craft, case: Case, prompts: Sequence[str]) -> Attempts:
    """Each prompt beside the case's own pictures, to the target anew; then all replies to the in-loop judge.

    Raises:
        TransientError: if the target or the judge fails.
    """

    async def said(text: str) -> Dialogue:
        dialogue = Dialogue(ctx, case)
        await dialogue.say(text, *case.conversation.last_user_turn.images)
        return dialogue

    asked = await settled([said(text) for text in prompts])
    places = [place for place, each in enumerate(asked.results) if each is not None]
    dialogues = [each for each in asked.results if each is not None]
    verdicts = await settled(
        [judged(ctx, case, each.last_shown, each.exchanges[-1].reply) for each in dialogues]
    )
    made: list[Attempt | None] = [None] * len(prompts)
    for place, dialogue, verdict in zip(places, dialogues, verdicts.results, strict=True):
        made[place] = None if verdict is None else Attempt(dialogue, verdict)
    return Attempts(made, asked.spent or verdicts.spent)


@dataclass(slots=True)
class Best:
    """The best draft so far, kept whenever there is a better one. What nobody judged is the last resort."""

    ctx: Craft
    case: Case
    score: float = -1.0
    draft: Draft | None = None
    unread: int = 0

    def untried(self, text: str, note: str, pictures: Sequence[Image] | None = None) -> None:
        """Keep a prompt that was not sent yet, if there is nothing better: a budget may end here.

        Args:
            text: of the prompt.
            note: where in the loop it stands.
            pictures: beside it; None for the case's own.
        """
        if self.draft is None:
            shown = self.case.conversation.last_user_turn.images if pictures is None else pictures
            self.untried_draft(script(self.ctx, self.case, [Turn("user", (*shown, text))]), note)

    def tried(self, dialogue: Dialogue, verdict: Verdict, note: str, *, latest: bool = False) -> float:
        """Keep the script of a dialogue if its last reply goes further; how far that goes, 0 to 1.

        With `latest`, of scripts that go equally far the last one is kept.
        """
        return self.tried_draft(dialogue.draft(), verdict, note, latest=latest)

    def untried_draft(self, draft: Draft, note: str) -> None:
        """Keep a draft that the target was not shown yet, if there is nothing better."""
        if self.draft is None:
            self._keep(_noted(draft, f"{note}; not tried"), -0.5)

    def tried_draft(self, draft: Draft, verdict: Verdict, note: str, *, latest: bool = False) -> float:
        """Keep a draft if the last reply to it goes further; see `tried`."""
        score = progress(verdict)
        self.unread += verdict.outcome is Outcome.unparsed
        if score > self.score or (latest and score == self.score):
            self._keep(_noted(draft, f"{note}; in the loop: {verdict.outcome.value}"), score)
        return score

    def _keep(self, draft: Draft, score: float) -> None:
        self.score, self.draft = score, draft
        self.ctx.keep(draft)

    def found(self, note: str = "") -> Draft:
        """The best draft, with what there is to say of the whole loop.

        Raises:
            ContractError: before there is one.
        """
        if self.draft is None:
            raise ContractError(f"{self.ctx.attack}: the loop made no draft")
        unread = f"{self.unread} replies could not be judged in the loop" if self.unread else ""
        whole = "; ".join(part for part in (self.draft.note, note, unread) if part)
        return replace(self.draft, note=whole)


def _noted(draft: Draft, note: str) -> Draft:
    """The draft with a note before its own."""
    return replace(draft, note=f"{note}; {draft.note}" if draft.note else note)


def check_counts(**counts: int) -> None:
    """Make sure that settings which count something are at least 1.

    Raises:
        UsageError: naming the setting.
    """
    for name, value in counts.items():
        require(1 <= value <= 10_000, name, value, "1..10000")


def check_threshold(threshold: float) -> None:
    """Make sure that a setting says when a loop has reached its end.

    Raises:
        UsageError: if no reply, or every reply would be enough.
    """
    require(0 < threshold <= 1, "threshold", threshold, "more than 0, up to 1 (0.5: a part, 1: all of it)")
