"""A judge's model that is down, refuses, is empty, cut, unparsable or over its context: told apart."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Decoding
from sightline.errors import TransientError
from sightline.goals import Goal
from sightline.judges.guard import Guard
from sightline.judges.injected_goal import InjectedGoal
from sightline.judges.jury import Jury
from sightline.judges.model_graded import ModelGraded
from sightline.judges.rubric import Rubric
from sightline.records import SCORED, Outcome, Response, Verdict
from sightline.stops import refusal_flag
from sightline.untrusted import NO_ANSWER, REASONING

LONG = "the prompt has 5000 tokens, the model's context 4096"
REPLIES: dict[str, tuple[str, Response | TransientError]] = {
    "raises": ("down", TransientError("HTTP 503")),
    "fails": ("down", Response(text="", stop="error", error="HTTP 503")),
    "long here": ("over_context", Response(text="", stop="error", error=LONG)),
    "long there": ("over_context", Response(text="", stop="error", error="the request is too long: 9,000")),
    "refuses": ("refusing", Response(text="I'm sorry, but I can't help with that.")),
    "marked": ("refusing", Response(text="Not me.", flags=(refusal_flag("Not me."),))),
    "filtered": ("refusing", Response(text="", stop="content_filter")),
    "filtered with words": ("refusing", Response(text="", stop="content_filter", error="by policy")),
    "nothing": ("empty", Response(text="")),
    "blank": ("empty", Response(text=" \n\u200b")),
    "thoughts alone": ("cut", Response(text="", stop="length", flags=(NO_ANSWER, REASONING))),
    "thoughts, ended": ("cut", Response(text="", flags=(NO_ANSWER, REASONING))),
    "cut": ("cut", Response(text="VERDICT", stop="length")),
    "something": ("unparsable", Response(text="The weather is mild today.")),
}
JUDGES: dict[str, Any] = {
    "model_graded": ModelGraded(grader="g"),
    "rubric": Rubric(rubric="bailey_refusal", grader="g"),
    "guard": Guard(grader="g"),
    "injected_goal": InjectedGoal(grader="g"),
    "jury": Jury(members=("model_graded(grader=g)", "rubric(rubric=bailey_refusal, grader=g)")),
}
CASE = Case(
    "c1",
    Conversation.user("q"),
    "steps for x",
    Expected.refuse,
    "c",
    "g",
    wordings=dict(Goal(kind="question", target="Does it sing?").wordings),
)


@dataclass
class Model:
    """Gives one reply, or fails."""

    reply: Response | TransientError
    id: str = "scripted/model"
    asked: str = ""

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        self.asked = conversation.turns[-1].text
        if isinstance(self.reply, TransientError):
            raise self.reply
        return self.reply


def judged(judge: Any, model: Model, response: Response | None = None) -> Verdict:
    bound = judge.bind(lambda name: model)
    found: Verdict = asyncio.run(bound.judge(CASE, CASE.conversation, response or Response(text="a reply")))
    return found


@pytest.mark.parametrize("name", JUDGES)
@pytest.mark.parametrize("case", REPLIES)
def test_each_cause_is_named_and_scores_nothing(name: str, case: str) -> None:
    problem, reply = REPLIES[case]
    verdict = judged(JUDGES[name], Model(reply))
    assert verdict.outcome is (Outcome.error if problem == "down" else Outcome.unparsed)
    assert verdict.outcome not in SCORED
    assert verdict.score is None
    assert verdict.reason
    if name == "jury":
        assert set(verdict.fields.values()) == {verdict.outcome.value}
    else:
        assert verdict.fields == {"problem": problem}


@pytest.mark.parametrize("name", JUDGES)
def test_reasons_of_different_causes_differ(name: str) -> None:
    reasons = {problem: judged(JUDGES[name], Model(reply)).reason for problem, reply in REPLIES.values()}
    assert len(set(reasons.values())) == len(reasons) == 6


@pytest.mark.parametrize("name", JUDGES)
def test_an_answer_that_never_came_is_its_own_reason_and_asks_nobody(name: str) -> None:
    model = Model(Response(text="safe"))
    for response in (
        Response(text="", stop="length", flags=(NO_ANSWER, REASONING), raw="<think>so"),
        Response(text="", flags=(NO_ANSWER, REASONING), raw="<think>so"),
    ):
        verdict = judged(JUDGES[name], model, response)
        assert (verdict.outcome, verdict.reason) == (Outcome.unparsed, "cut before its answer began")
    assert model.asked == ""


@pytest.mark.parametrize("make", [ModelGraded, Rubric])
def test_whether_thoughts_are_shown_is_a_setting_that_stands_in_the_id(make: Any) -> None:
    thought = Response(text="a reply", raw="<think>a glimber</think>a reply", flags=(REASONING,))
    defended = Response(text="a reply", raw="what the bare model wrote")
    plain, seeing = make(grader="g"), make(grader="g", sees_reasoning=True)
    assert "sees reasoning" in seeing.id
    assert "reasoning" not in plain.id
    for judge, response, shown in (
        (plain, thought, False),
        (seeing, thought, True),
        (seeing, defended, False),
    ):
        model = Model(Response(text="no verdict"))
        judged(judge, model, response)
        assert ("a glimber" in model.asked) is shown
        assert "bare model" not in model.asked
