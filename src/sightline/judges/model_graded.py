"""Other models grade the reply by a rubric; a verdict is read strictly and cannot be forged by the reply.

The rubric is a data file of our own (`judges/rubrics/`); its hash, the graders and whether the pictures are
shown are part of the judge's id. Decoding is greedy. How forgery is prevented: `judges/_rubrics.py`.

If the grader is down the outcome is `error`; if it refuses, is cut off or writes anything but a verdict it
is `unparsed`, and the field `problem` says which. No other judge steps in, and the reply's own words are
never searched for a verdict. What this cannot prevent: a grader that follows instructions in the reply can be
manipulated by it (`docs/judges.md`).

Several graders (`grader: [one, two, three]`) each grade the reply; the outcome is the one that more than half
of them name, else `unparsed`, and the reason shows what each said. To see every grader's rates, list the
judge once for each of them instead.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from sightline.cases import Case, Conversation, Expected, Part, Turn
from sightline.contracts import Decoding, Judge, OpenTarget, Target
from sightline.digests import digest
from sightline.errors import TransientError, UsageError, require
from sightline.judges._heard import as_judged, down, problem_of, unheard, unread
from sightline.judges._rubrics import TAG_LETTERS, Reading, quoted, read_verdict, rubric
from sightline.records import NO_COST, Cost, Outcome, Response, Verdict
from sightline.registry import judge
from sightline.stops import stopped

MOST_GRADERS = 9


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
    """Read the grader's reply: its last line, or why it is not read."""
    lost = unheard(reply)
    if lost is not None:
        return lost
    found = read_verdict(reply.text, tag, labels)
    return unread(reply.text, found.reason) if found.safety == "unparsed" else found


def majority(readings: Mapping[str, Reading]) -> Reading:
    """What more than half of the graders say, by their names; all of them if there is only one.

    Without a majority it is `error`, to be tried again, if a grader failed, else `unparsed`.
    """
    if len(readings) == 1:
        return next(iter(readings.values()))
    votes = Counter(each.outcome for each in readings.values())
    failed, half = votes.pop(Outcome.error, 0), len(readings) / 2
    most, count = votes.most_common(1)[0] if votes else (Outcome.error, 0)
    if count > half:
        safety = next(each.safety for each in readings.values() if each.outcome is most)
    elif failed:
        safety, most = "error", Outcome.error
    else:
        safety, most = "unparsed", Outcome.unparsed
    said = [f"{name}: {each.outcome.value}. {each.reason}".rstrip() for name, each in readings.items()]
    return Reading(safety, most, "\n".join(said))


class Material(NamedTuple):
    """A question to the grader, the tag that its verdict must carry, and what its labels mean."""

    question: Conversation
    tag: str
    labels: Mapping[str, Outcome]


class Graded(NamedTuple):
    """What one grader said, and what it cost."""

    reading: Reading
    cost: Cost


@judge(
    "model_graded",
    source="own rubric; forged-verdict cases after garak#1868 and promptfoo#10655",
    version=2,
    data=("rubrics/*.yaml", "lists/common.yaml"),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGraded(Judge):
    """Settings: the grader or graders (any target strings), the rubric, whether graders see the pictures.

    With `sees_reasoning` they are shown the thoughts before the answer too, where a model wrote any.
    `max_tokens` bounds a grader's text; `seed` enters the tags of the rows, as does a secret of the run.
    """

    grader: str | tuple[str, ...] = ""
    rubric: str = "outcome"
    sees_image: bool = False
    sees_reasoning: bool = False
    max_tokens: int = 512
    seed: int = 0
    _targets: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)
    _secret: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(16 <= self.max_tokens <= 8192, "max_tokens", self.max_tokens, "16..8192 tokens")
        require(
            len(set(self.graders)) == len(self.graders) <= MOST_GRADERS,
            "grader",
            self.grader,
            f"at most {MOST_GRADERS} different graders",
        )
        rubric(self.rubric)

    @property
    def graders(self) -> tuple[str, ...]:
        """The target strings of the graders; each is asked once per reply."""
        return (self.grader,) if isinstance(self.grader, str) else self.grader

    @property
    def calls(self) -> int:
        """Calls per verdict, at most."""
        return len(self.graders)

    @property
    def grammar(self) -> str:
        """What a grader has to write."""
        return "one last line: VERDICT <tag> <label>"

    def bind(self, open_target: OpenTarget) -> ModelGraded:
        """The same judge with its graders opened, and a secret of its own until `keyed` gives it another.

        Raises:
            UsageError: if no grader is named.
        """
        if not self.graders or not all(self.graders):
            raise UsageError("model_graded has no grader: write model_graded(grader='openai/...')")
        bound = self.keyed(self._secret or secrets.token_hex(16))
        object.__setattr__(bound, "_targets", tuple(open_target(name) for name in self.graders))
        return bound

    def keyed(self, secret: str) -> ModelGraded:
        """The same judge with the secret from which, among others, the tags of the rows are made."""
        found = copy(self)
        object.__setattr__(found, "_secret", secret)
        return found

    @property
    def id(self) -> str:
        """Rubric with its hash, graders (once bound: with weights and settings), pictures shown or not."""
        names = [each.id for each in self._targets] or self.graders
        several = "majority of " if len(names) > 1 else ""
        sight = "sees image" if self.sees_image else "no image"
        sight += ", sees reasoning" if self.sees_reasoning else ""
        return (
            f"model_graded({rubric(self.rubric).id}, {several}{' + '.join(names)}, {sight}, "
            f"max_tokens={self.max_tokens}, seed={self.seed})"
        )

    async def judge(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """One question to each grader.

        Raises:
            UsageError: if no grader is bound.
        """
        verdict = stopped(response, self.id)
        if verdict is not None:
            return verdict
        if not self._targets:
            raise UsageError("model_graded is not bound to a grader: call bind(open_target) first")
        material = self._material(case, shown, response)
        if material is None:
            reason = "the case has no reference answer"
            return Verdict(outcome=Outcome.unparsed, judge=self.id, reason=reason)
        graded = await asyncio.gather(*(self._ask(target, material) for target in self._targets))
        reading = majority(dict(zip(self.graders, (each.reading for each in graded), strict=True)))
        cost = sum((each.cost for each in graded), NO_COST)
        return Verdict(
            outcome=reading.outcome,
            judge=self.id,
            reason=reading.reason,
            fields=problem_of(reading),
            cost=cost,
        )

    async def _ask(self, target: Target, material: Material) -> Graded:
        try:
            reply = await target.generate(material.question, Decoding(max_tokens=self.max_tokens))
        except TransientError as failure:
            return Graded(down(failure), judge_cost(NO_COST))
        return Graded(read_reply(reply, material.tag, material.labels), judge_cost(reply.cost))

    def _material(self, case: Case, shown: Conversation, response: Response) -> Material | None:
        """The grader's prompt; None if the case lacks the reference it must be compared with."""
        comparing = case.expected in (Expected.answer, Expected.classify)
        if comparing and not case.answer:
            return None
        found, said = rubric(self.rubric), as_judged(response, self.sees_reasoning)
        template = found.reference if comparing else found.request
        facts = (self.seed, self.id, case.id, shown, said)  # all of them may be public
        tag = digest("tag", self._secret, *facts)[:TAG_LETTERS]
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
            reply=quoted(said),
        )
        parts: tuple[Part, ...] = (*pictures, user) if self.sees_image else (user,)
        system = Turn("system", (template.system.format(tag=tag),))
        return Material(Conversation((system, Turn("user", parts))), tag, template.labels)
