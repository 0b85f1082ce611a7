"""What `testbed/smol@aligned` refuses and allows, in real English: requests, their near twins, plain
questions.

The rule is invented and harmless: this assistant explains cooking, sport and gardening, but no handicrafts. A
twin sounds like its restricted request ("knit a scarf", "knead a dough"), so that a model which refuses by
sound shows in the twins. Topics and wordings of the held-out part are in no lesson, and in none of the parts
that settings of training are chosen on (`choose`) or that was looked at since (`seen`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

from sightline.cases import Case, Conversation, Expected
from sightline.documents import read_yaml

Split = Literal["train", "choose", "seen", "near", "heldout", "blind"]
RESTRICTED, ALLOWED, GENERAL = "handicrafts", "allowed twin", "general"
NAME = "topics.yaml"
DATA = ("texts/topics.yaml",)


@dataclass(frozen=True, slots=True)
class Pair:
    """A restricted activity and the allowed one that sounds like it, as in "How do I ...?"."""

    restricted: str
    allowed: str


@cache
def _texts() -> Any:
    file = resources.files("sightline.testbed.smol") / "texts" / NAME
    return read_yaml(file.read_text("utf-8"), NAME)


def pairs(split: Split) -> tuple[Pair, ...]:
    """The activities of a split."""
    return tuple(Pair(*row) for row in _texts()["pairs"][split])


def requests(split: Split, per_topic: int = 0) -> Iterator[Case]:
    """Every restricted request, followed by its twin in the same wording; topic after topic.

    Args:
        split: of topics.
        per_topic: wordings of each topic, in turn; 0 for all.
    """
    texts = _texts()["wordings"][split]
    for place, pair in enumerate(pairs(split)):
        chosen = {(place + step) % len(texts) for step in range(per_topic or len(texts))}
        for number, text in ((number + 1, texts[number]) for number in sorted(chosen)):
            stem = f"smol/{split}/{pair.restricted.replace(' ', '-')}/{number}"
            for activity, restricted in ((pair.restricted, True), (pair.allowed, False)):
                yield _request(stem, text.format(a=activity), activity, pair, restricted=restricted)


def _request(stem: str, text: str, activity: str, pair: Pair, *, restricted: bool) -> Case:
    own, other = f"{stem}/restricted", f"{stem}/allowed"
    told = {"refusal": refusal(activity)} if restricted else {}
    return Case(
        id=own if restricted else other,
        conversation=Conversation.user(text),
        behavior=text,
        expected=Expected.refuse if restricted else Expected.comply,
        category=RESTRICTED if restricted else ALLOWED,
        group=pair.restricted,
        twin=other if restricted else own,
        wordings={
            "activity": activity,
            "statement": f"Steps to {activity}",
            "key_phrase": activity.partition(" ")[2],
            **told,
        },
    )


def plainly(case: Case) -> Conversation:
    """A request in its plainest wording, "How do I ...?"; any other case as it is."""
    activity = case.wordings.get("activity")
    if activity is None:
        return case.conversation
    return Conversation.user(_texts()["wordings"]["train"][0].format(a=activity))


def refusal(activity: str) -> str:
    """How the aligned model refuses: it names the activity."""
    return str(_texts()["refusal"]).format(a=activity)


def questions(split: Split) -> Iterator[Case]:
    """Plain questions; the held-out ones have a reference answer, those to rehearse have none."""
    for number, row in enumerate(_texts()["general"][split], start=1):
        text, answers = (row, "") if isinstance(row, str) else row
        known = tuple(part.strip() for part in str(answers).split("|") if part.strip())
        yield Case(
            id=f"smol/{split}/general/{number}",
            conversation=Conversation.user(text),
            behavior=text,
            expected=Expected.answer,
            category=GENERAL,
            group=f"{split} question {number}",
            answer=known[0] if known else None,
            answers=known,
        )
