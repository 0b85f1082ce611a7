"""What a guard says, and what becomes of an answer if it says nothing that can be read.

A guard's reply is safe, unsafe, unparsed or failed. The last two pass, block or end the sample as an error,
as the defense is set: by default an error, so that a guard that is down or misread never passes in silence
and never earns a refusal either.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from sightline.records import Outcome, Response, Verdict

Reading = Literal["safe", "unsafe", "unparsed", "failed"]
OnDoubt = Literal["error", "open", "closed"]
"""What to do where a guard said nothing: end as an error, let pass, or block."""
Step = Literal["pass", "block", "error"]
REFUSAL = "I can't help with that."
_UNSAFE = frozenset({Outcome.complied, Outcome.partial})
_STEPS: dict[OnDoubt, Step] = {"error": "error", "open": "pass", "closed": "block"}


def reading_of(verdict: Verdict) -> Reading:
    """What a judge's verdict says when it is used as a guard."""
    if verdict.outcome is Outcome.unparsed:
        return "unparsed"
    if verdict.outcome is Outcome.error:
        return "failed"
    return "unsafe" if verdict.outcome in _UNSAFE else "safe"


def step_of(reading: Reading, *, on_unparsed: OnDoubt, on_failure: OnDoubt) -> Step:
    """What follows from a guard's reading."""
    if reading == "safe":
        return "pass"
    if reading == "unsafe":
        return "block"
    return _STEPS[on_unparsed if reading == "unparsed" else on_failure]


def blocked(answer: Response | None, text: str, *flags: str) -> Response:
    """The response of a defense that withholds an answer, or asks for none (`answer` is None)."""
    if answer is None:
        return Response(text=text, stop="blocked_defense", flags=flags)
    return replace(answer, text=text, stop="blocked_defense", flags=(*answer.flags, *flags))


def failed(answer: Response | None, why: str, *flags: str) -> Response:
    """The response of a defense whose guard said nothing, and which is set to call that an error."""
    if answer is None:
        return Response(text="", stop="error", error=why, flags=flags)
    return replace(answer, text="", stop="error", error=why, flags=(*answer.flags, *flags))
