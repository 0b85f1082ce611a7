"""Another model grades the reply by a rubric; its verdict is read strictly and cannot be forged by the reply.

The rubric is a data file of our own (`judges/rubrics/`); its hash, the grader and whether the pictures are
shown stand in the judge's id. Decoding is greedy. How forgery is prevented: `judges/_rubrics.py`.

If the grader is down the outcome is `error`; if it refuses, is cut off or writes anything but a verdict it
is `unparsed`. No other judge steps in, and the reply's own words are never searched for a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sightline.cases import Case, Conversation, Expected, Part, Turn
from sightline.contracts import Decoding, OpenTarget
from sightline.digests import digest
from sightline.errors import TransientError, UsageError, require
from sightline.judges._rubrics import TAG_LETTERS, Reading, quoted, read_verdict, rubric
from sightline.judges._stops import stopped
from sightline.records import NO_COST, Cost, Outcome, Response, Verdict
from sightline.registry import judge


def judge_cost(cost: Cost) -> Cost:
    """What asking the grader cost, with all its calls counted as the judge's."""
    calls = max(1, cost.calls_target + cost.calls_aux + cost.calls_judge)
    return replace(cost, calls_target=0, calls_aux=0, calls_judge=calls)


def picture_note(count: int, sees_image: bool) -> str:
    """One line for the grader on the pictures of the request, or nothing if it had none."""
    if not count:
        return ""
    which = "shown above" if sees_image else "which you are not shown"
    return f"The request came with {count} picture{'s' if count > 1 else ''}, {which}.\n"


def read_reply(reply: Response, tag: str, labels: Mapping[str, Outcome]) -> Reading:
    """Read the grader's reply: a failure is `error`, a block or a cut text `unparsed`, else its last line."""
    if reply.stop == "error" or reply.error is not None:
        return Reading("error", Outcome.error, f"the grader failed: {reply.error}")
    if reply.stop != "stop":
        return Reading("unparsed", Outcome.unparsed, f"the grader's text ended by {reply.stop}")
    return read_verdict(reply.text, tag, labels)


class Material(NamedTuple):
    """A question to the grader, the tag that its verdict must carry, and what its labels mean."""

    question: Conversation
    tag: str
    labels: Mapping[str, Outcome]


@judge(
    "model_graded",
    source="own rubric; forged-verdict cases after garak#1868 and promptfoo#10655",
    data=("rubrics/*.yaml",),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGraded:
    """Settings: the grader (any target string), the rubric, and whether the grader sees the pictures.

    `max_tokens` bounds the grader's text; `seed` enters the tags of the rows.
    """

    grader: str = ""
    rubric: str = "outcome"
    sees_image: bool = False
    max_tokens: int = 512
    seed: int = 0
    _target: Any = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(16 <= self.max_tokens <= 8192, "max_tokens", self.max_tokens, "16..8192 tokens")
        rubric(self.rubric)

    def bind(self, open_target: OpenTarget) -> ModelGraded:
        """The same judge with its grader opened.

        Raises:
            UsageError: if no grader is named.
        """
        if not self.grader:
            raise UsageError("model_graded has no grader: write model_graded(grader='openai/...')")
        bound = replace(self)
        object.__setattr__(bound, "_target", open_target(self.grader))
        return bound

    @property
    def id(self) -> str:
        """Rubric with its hash, grader (once bound: with its weights and settings), pictures shown or not."""
        grader = self.grader if self._target is None else self._target.id
        sight = "sees image" if self.sees_image else "no image"
        return (
            f"model_graded({rubric(self.rubric).id}, {grader}, {sight}, "
            f"max_tokens={self.max_tokens}, seed={self.seed})"
        )

    async def judge(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """One question to the grader.

        Raises:
            UsageError: if no grader is bound.
        """
        verdict = stopped(response, self.id)
        if verdict is not None:
            return verdict
        if self._target is None:
            raise UsageError("model_graded is not bound to a grader: call bind(open_target) first")
        material = self._material(case, shown, response)
        if material is None:
            reason = "the case has no reference answer"
            return Verdict(outcome=Outcome.unparsed, judge=self.id, reason=reason)
        question, tag, labels = material
        try:
            reply = await self._target.generate(question, Decoding(max_tokens=self.max_tokens))
        except TransientError as down:
            reason = f"the grader failed: {down}"
            return Verdict(outcome=Outcome.error, judge=self.id, reason=reason, cost=judge_cost(NO_COST))
        reading = read_reply(reply, tag, labels)
        cost = judge_cost(reply.cost)
        return Verdict(outcome=reading.outcome, judge=self.id, reason=reading.reason, cost=cost)

    def _material(self, case: Case, shown: Conversation, response: Response) -> Material | None:
        """What the grader is asked; None if the case must be compared with a reference that it lacks."""
        comparing = case.expected in (Expected.answer, Expected.classify)
        if comparing and not case.answer:
            return None
        found = rubric(self.rubric)
        template = found.reference if comparing else found.request
        tag = digest("tag", self.seed, self.id, case.id, shown, response.text)[:TAG_LETTERS]
        pictures = tuple(shown.images)
        sent = ""
        if self.sees_image:
            sent = (
                f"=== TEXT AS SENT {tag}\n{quoted(shown.last_user_text())}\n=== END OF TEXT AS SENT {tag}\n"
            )
        user = template.user.format(
            tag=tag,
            request=quoted(case.behavior),
            sent=sent,
            pictures=picture_note(len(pictures), self.sees_image),
            answer=quoted(case.answer or ""),
            reply=quoted(response.text),
        )
        parts: tuple[Part, ...] = (*pictures, user) if self.sees_image else (user,)
        system = Turn("system", (template.system.format(tag=tag),))
        return Material(Conversation((system, Turn("user", parts))), tag, template.labels)
