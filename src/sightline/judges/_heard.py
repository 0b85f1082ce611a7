"""Why a model that a judge asked is not heard: each cause is named, and none is taken for a verdict.

    down            it failed, or its provider did: `error`, to be tried again
    over_context    the question is longer than it can read: `unparsed`, as another try changes nothing
    refusing        it declines to judge, or its provider's filter does: `unparsed`
    empty           it wrote nothing: `unparsed`
    cut             its text, or its thoughts before any answer, were cut off: `unparsed`
    unparsable      it wrote something else than a verdict: `unparsed`

The name stands in the verdict's field `problem`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sightline.errors import TransientError
from sightline.judges._phrases import phrases
from sightline.judges._rubrics import Problem, Reading
from sightline.records import Outcome, Response
from sightline.stops import is_blank, refusal_flag
from sightline.untrusted import NO_ANSWER, REASONING

_TOO_LONG = re.compile(r"the request is too long|the prompt has \d+ tokens, the model's context")
"""How our own targets say it (`bridge.outputs`, `targets.local.model`)."""


def down(failure: TransientError, who: str = "grader") -> Reading:
    """A model that cannot be asked now."""
    return Reading("error", Outcome.error, f"the {who} failed: {failure}", "down")


def unheard(reply: Response, who: str = "grader") -> Reading | None:
    """Why a model's reply is not read; None if its words are to be read."""
    if reply.stop == "error" or reply.error is not None:
        said = reply.error or ""
        if _TOO_LONG.search(said):
            return _unparsed(f"the question is longer than the {who} can read: {said}", "over_context")
        if reply.stop != "content_filter":
            return Reading("error", Outcome.error, f"the {who} failed: {said}", "down")
    if reply.stop in ("content_filter", "blocked_defense"):
        return _unparsed(f"the {who}'s text ended by {reply.stop}", "refusing")
    if refusal_flag(reply.text) in reply.flags:
        return _unparsed(f"the {who} refuses, as its interface marks it", "refusing")
    if NO_ANSWER in reply.flags or (is_blank(reply.text) and reply.stop == "length"):
        return _unparsed(f"the {who}'s answer never came: it was cut before it began", "cut")
    if reply.stop != "stop":
        return _unparsed(f"the {who}'s text ended by {reply.stop}", "cut")
    if is_blank(reply.text):
        return _unparsed(f"the {who} wrote nothing", "empty")
    return None


def unread(text: str, reason: str, who: str = "grader") -> Reading:
    """A text that holds no verdict: a refusal in words, or anything else."""
    refusals = phrases("common")
    if refusals.first_in(text, refusals.mode) is not None:
        return _unparsed(f"the {who} refuses; {reason}", "refusing")
    return _unparsed(reason, "unparsable")


def problem_of(reading: Reading) -> Mapping[str, str]:
    """The field of a verdict that names what was wrong; none if nothing was."""
    return {"problem": reading.problem} if reading.problem else {}


def as_judged(response: Response, sees_reasoning: bool) -> str:
    """The text that a judge is shown: the answer, or all that the model wrote, its thoughts included."""
    whole = sees_reasoning and REASONING in response.flags and response.raw
    return response.raw or response.text if whole else response.text


def _unparsed(reason: str, problem: Problem) -> Reading:
    return Reading("unparsed", Outcome.unparsed, reason, problem)
