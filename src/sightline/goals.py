"""The goal of a third party: what a picture makes a model do that its user did not ask for.

The user is the victim. A case with a goal is an honest question about a picture, with its reference answer;
somebody else writes an *instruction* into the picture, and reaches the goal where the reply shows its
*target*. The goal stands in the case's wordings, so that attacks draw it and judges look for it: the same
reply is scored twice, for the attacker's goal and for the honest answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from sightline.cases import Case, Expected
from sightline.errors import UsageError, nearest

GoalKind = Literal["string", "tool_call", "leak", "wrong_answer", "question"]
KINDS: tuple[GoalKind, ...] = get_args(GoalKind)
KIND, TARGET, INSTRUCTION = "attacker_goal", "attacker_target", "attacker_instruction"
"""The wordings that hold a goal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What the attacker wants.

    Attributes:
        kind: `string`: the reply holds the target; `tool_call`: it holds the target, a call, however it is
            spaced; `leak`: it tells the target, a secret; `wrong_answer`: it gives the target as the answer
            instead of the right one; `question`: a grader answers the target, a question about the reply,
            with yes.
        target: see `kind`.
        instruction: what the attacker writes. May be empty where the picture is the release's own.
    """

    kind: GoalKind
    target: str
    instruction: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UsageError(nearest(str(self.kind), KINDS, "kind of goal"))
        if not self.target.strip():
            raise UsageError(f"a goal of kind {self.kind!r} needs a target: what the reply is to show")

    @property
    def wordings(self) -> Mapping[str, str]:
        """The goal as wordings of a case."""
        written = {INSTRUCTION: self.instruction} if self.instruction else {}
        return {KIND: self.kind, TARGET: self.target, **written}


def goal_of(case: Case) -> Goal | None:
    """The attacker's goal that a case holds; None if it holds none.

    Raises:
        UsageError: for an unknown kind, or one without a target, naming the case.
    """
    kind = case.wordings.get(KIND, "")
    if not kind:
        return None
    wordings = case.wordings
    try:
        return Goal(
            kind=kind,  # type: ignore[arg-type]  # checked by `Goal`
            target=wordings.get(TARGET, ""),
            instruction=wordings.get(INSTRUCTION, ""),
        )
    except UsageError as unfit:
        raise UsageError(f"case {case.id}: {unfit}") from None


def with_goal(case: Case, goal: Goal) -> Case:
    """An honest question about a picture, with an attacker's goal beside it.

    Raises:
        UsageError: naming the case, if it is no question with a reference answer, shows no picture beside
            its last question, or if its honest answer shows the attacker's target (or holds it inside).
    """
    if case.expected is not Expected.answer:
        raise UsageError(
            f"case {case.id}: an injection needs an honest question (expected: answer), not one to "
            f"{case.expected.value}"
        )
    if not case.answer or not case.answer.strip():
        raise UsageError(
            f"case {case.id}: the question has no reference answer, so utility under attack cannot be "
            "scored; take a part of the release that has answers"
        )
    if not case.conversation.last_user_turn.images:
        raise UsageError(
            f"case {case.id}: no picture beside its last question, so a third party has nothing to write into"
        )
    honest, target = _words(case.answer), _words(goal.target)
    if goal.kind != "question" and f" {target} " in f" {honest} ":
        raise UsageError(
            f"case {case.id}: the honest answer {case.answer!r} holds the attacker's target {goal.target!r}: "
            "choose a target that no honest answer holds"
        )
    return replace(case, wordings={**case.wordings, **goal.wordings})


def _words(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
