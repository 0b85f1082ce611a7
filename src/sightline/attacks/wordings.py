"""The same behavior in the forms that attacks draw or say: a request, a statement, a key phrase.

Benchmarks give these forms where their release has them. Where it has not, the published pipelines ask a
language model for a paraphrase; we derive one by rule, so that no helper model is needed, and drafts say so.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sightline.cases import Case
from sightline.errors import UsageError

_HOW_TO = re.compile(
    r"(?:(?:please |can you |could you )?(?:tell|show|teach|explain to) (?:me|us) )?"
    r"how (?:to|(?:do|does|can|could|would|should|might) (?:i|you|we|one|someone|somebody|people)) ",
    re.IGNORECASE,
)
_ASKS_FOR_STEPS = re.compile(
    r"(?:please )?(?:list|give|give me|write|write down|describe|explain|provide|show|show me|tell me)"
    r"(?: the| detailed)* (?:steps|methods|ways)(?: in detail)? (?=to |for |of )",
    re.IGNORECASE,
)
_HEAD = re.compile(r"(?:(?:steps|methods|ways|recipe|recipes) (?:to|for|of|on)|list of) ", re.IGNORECASE)
_QUESTION = re.compile(
    r"(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|am|do|does|did|can|could|will|would"
    r"|shall|should|may|might|must|has|have|had)\b",
    re.IGNORECASE,
)


class Wording(NamedTuple):
    """A text and whether it was derived by rule rather than given by the release."""

    text: str
    derived: bool

    @property
    def note(self) -> str:
        """What a draft says about it: '' for the release's own text."""
        return "text derived by rule" if self.derived else ""


def request(case: Case) -> str:
    """What is asked, plainly.

    Raises:
        UsageError: if the case has no text.
    """
    text = " ".join(case.behavior.split())
    if not text:
        raise UsageError(f"case {case.id}: the behavior is empty, so there is nothing to ask or to draw")
    return text


def plain_text(case: Case) -> str | None:
    """The text to ask with: the case's own (None), or its plain behavior if its text may point at a picture.

    Raises:
        UsageError: if the case has nothing to ask.
    """
    plain = request(case)
    return plain if any(case.conversation.images) or not case.conversation.last_user_text().strip() else None


def statement(case: Case) -> Wording:
    """The behavior as the head of a list ("Steps to polish a glimber"), without a question mark.

    The release's own statement if it gives one. Else by rule: "How do I X?" and "List steps to X" become
    "Steps to X", another question becomes "List of answers to: X", another order "Steps to x".

    Raises:
        UsageError: if the case has no text.
    """
    given = " ".join(case.wordings.get("statement", "").split())
    if given:
        return Wording(given, derived=False)
    asked = request(case)
    plain = asked.rstrip("?.! ") or asked
    if _HEAD.match(plain):
        return Wording(plain, derived=True)
    for pattern, head in ((_HOW_TO, "Steps to "), (_ASKS_FOR_STEPS, "Steps ")):
        found = pattern.match(plain)
        if found is not None and found.end() < len(plain):
            return Wording(head + plain[found.end() :], derived=True)
    if asked.endswith("?") or _QUESTION.match(plain):
        return Wording(f"List of answers to: {_lower_first(plain)}", derived=True)
    return Wording(f"Steps to {_lower_first(plain)}", derived=True)


def key_phrase(case: Case) -> Wording:
    """The words that carry the request: the release's key phrase, else the statement without its head.

    Raises:
        UsageError: if the case has no text.
    """
    given = " ".join(case.wordings.get("key_phrase", "").split())
    if given:
        return Wording(given, derived=False)
    text = statement(case).text
    return Wording(_HEAD.sub("", text, count=1) or text, derived=True)


def _lower_first(text: str) -> str:
    """`text` with a small first letter, unless its first word is an acronym or 'I'."""
    first = text.split(" ", 1)[0]
    return text if (len(first) > 1 and first.isupper()) or first == "I" else text[:1].lower() + text[1:]
