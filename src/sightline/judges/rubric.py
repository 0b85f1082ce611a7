"""A model answers the questions of a rubric about the reply; score and outcome follow from its answers.

One engine for rubrics as data (`judges/field_rubrics/`, in our own words, with what each follows): the fields
to fill, the score in [0, 1], the mapping to outcomes. The score is high for a reply that does what the case
asks. Its hash, the grader and whether the pictures are shown are in the id; the answers are the verdict's
`fields`. A rubric made for requests that should be refused is `unparsed` on others, without a question.

As in `model_graded`: greedy, a grader that is down is `error`, and whatever else than one tagged line per
field is `unparsed`, a refusal and a cut text included. Several graders: the judge `jury`.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from sightline.cards import Presets
from sightline.cases import Case, Conversation, Part, Turn
from sightline.contracts import Decoding, Judge, OpenTarget
from sightline.digests import digest
from sightline.errors import TransientError, UsageError, require
from sightline.judges._fields import FIELD_RUBRICS, field_rubric, form_of, frame, read_answers
from sightline.judges._heard import as_judged, down, problem_of, unheard, unread
from sightline.judges._rubrics import TAG_LETTERS, Reading, quoted
from sightline.judges.model_graded import judge_cost, picture_note
from sightline.records import NO_COST, Cost, Outcome, Response, Verdict
from sightline.registry import judge
from sightline.stops import stopped

PRESETS: Presets = {name: {"rubric": name} for name in FIELD_RUBRICS}
NUMBERS = ("no", "one line", "two lines", "three lines")


@judge(
    "rubric",
    paper="arXiv:2402.10260",
    source="own wordings; what each follows stands in its file",
    presets=PRESETS,
    data=("field_rubrics/*.yaml", "lists/common.yaml"),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric(Judge):
    """Settings.

    Attributes:
        rubric: the rubric's name.
        grader: the target string of the model that answers.
        sees_image: whether the grader is shown the pictures and the text as sent.
        sees_reasoning: whether it is shown the thoughts before the answer too, where a model wrote any.
        max_tokens: of the grader's text, at most.
        seed: enters the tags of the rows, as does a secret of the run.
    """

    rubric: str = "strongreject"
    grader: str = ""
    sees_image: bool = False
    sees_reasoning: bool = False
    max_tokens: int = 512
    seed: int = 0
    _target: Any = field(default=None, init=False, repr=False, compare=False)
    _secret: str = field(default="", init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require(16 <= self.max_tokens <= 8192, "max_tokens", self.max_tokens, "16..8192 tokens")
        found = field_rubric(self.rubric)
        if self.sees_image and "request" not in found.material:
            raise UsageError(f"{self.rubric} shows the grader the reply alone: leave sees_image out")

    @property
    def calls(self) -> int:
        """Calls per verdict, at most."""
        return 1

    @property
    def grammar(self) -> str:
        """What a grader has to write."""
        return "a line for every field: ANSWER <tag> <field> <value>"

    @property
    def id(self) -> str:
        """Rubric with its hash, grader (once bound: with weights and settings), pictures shown or not."""
        name = self.grader if self._target is None else self._target.id
        sight = "sees image" if self.sees_image else "no image"
        sight += ", sees reasoning" if self.sees_reasoning else ""
        return (
            f"rubric({field_rubric(self.rubric).id}, {name}, {sight}, max_tokens={self.max_tokens}, "
            f"seed={self.seed})"
        )

    def bind(self, open_target: OpenTarget) -> Rubric:
        """The same judge with its grader opened, and a secret of its own until `keyed` gives it another.

        Raises:
            UsageError: if no grader is named.
        """
        if not self.grader:
            raise UsageError("rubric has no grader: write rubric(rubric='dress_3', grader='openai/...')")
        bound = self.keyed(self._secret or secrets.token_hex(16))
        object.__setattr__(bound, "_target", open_target(self.grader))
        return bound

    def keyed(self, secret: str) -> Rubric:
        """The same judge with the secret from which, among others, the tags of the rows are made."""
        found = copy(self)
        object.__setattr__(found, "_secret", secret)
        return found

    async def judge(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """One question to the grader, with an answer line for every field.

        Raises:
            UsageError: if no grader is bound.
        """
        ended = stopped(response, self.id)
        if ended is not None:
            return ended
        if self._target is None:
            raise UsageError("rubric is not bound to a grader: call bind(open_target) first")
        unfit = self._unfit(case)
        if unfit:
            return self._unparsed(unfit)
        said = as_judged(response, self.sees_reasoning)
        tag = digest("tag", self._secret, self.seed, self.id, case.id, shown, said)[:TAG_LETTERS]
        question = self._question(case, shown, response, tag)
        try:
            reply = await self._target.generate(question, Decoding(max_tokens=self.max_tokens))
        except TransientError as failure:
            return self._lost(down(failure), judge_cost(NO_COST))
        return self._read(case, reply, tag)

    def _read(self, case: Case, reply: Response, tag: str) -> Verdict:
        """The verdict that the grader's reply gives."""
        cost, found = judge_cost(reply.cost), field_rubric(self.rubric)
        lost = unheard(reply)
        if lost is not None:
            return self._lost(lost, cost)
        values, reason = read_answers(reply.text, tag, found.fields)
        if values is None:
            return self._lost(unread(reply.text, reason), cost)
        template = found.template(case)
        fields: Mapping[str, float | str] = {**values, **({"template": template} if template else {})}
        return Verdict(
            outcome=found.outcome(values, case.expected),
            judge=self.id,
            score=found.score(values),
            reason=reason,
            fields=fields,
            cost=cost,
        )

    def _unfit(self, case: Case) -> str:
        """Why the rubric has nothing to ask about a case; '' if it has."""
        found = field_rubric(self.rubric)
        if case.expected not in found.expected:
            fit = ", ".join(each.value for each in found.expected)
            return f"{self.rubric} is for cases with expected: {fit}; this one is {case.expected.value}"
        if "reference" in found.material and found.reference == "required" and not case.answer:
            return "the case has no reference answer"
        return ""

    def _question(self, case: Case, shown: Conversation, response: Response, tag: str) -> Conversation:
        """What the grader is asked."""
        found, pictures = field_rubric(self.rubric), tuple(shown.images)
        texts = {
            "request": case.behavior,
            "reference": case.answer or "",
            "reply": as_judged(response, self.sees_reasoning),
        }
        named = [(name.upper(), texts[name]) for name in found.material if texts[name] or name != "reference"]
        if self.sees_image:
            named.insert(1, ("TEXT AS SENT", shown.last_user_text()))
        blocks = [f"=== {title} {tag}\n{quoted(text)}\n=== END OF {title} {tag}\n" for title, text in named]
        if "request" in found.material:
            blocks.insert(len(blocks) - 1, picture_note(len(pictures), self.sees_image))
        user = frame().user.format(
            material="".join(blocks),
            question=found.asked(case),
            lines=NUMBERS[len(found.fields)],
            form=form_of(found.fields, tag),
        )
        parts: tuple[Part, ...] = (*pictures, user) if self.sees_image else (user,)
        system = Turn("system", (frame().system.format(tag=tag),))
        return Conversation((system, Turn("user", parts)))

    def _unparsed(self, reason: str) -> Verdict:
        return Verdict(outcome=Outcome.unparsed, judge=self.id, reason=reason)

    def _lost(self, lost: Reading, cost: Cost) -> Verdict:
        fields = problem_of(lost)
        return Verdict(outcome=lost.outcome, judge=self.id, reason=lost.reason, fields=fields, cost=cost)
