"""The recipes in an answer: every numbered list of steps, and the noun that it is about.

A step is a number, a verb and an ingredient of the world. What is read:

* numbers from 1 on, one after the other, in any script's digits, bare or with marks or the word "step" about
  them: ``1 mix corn``, ``1. mix corn``, ``(1) mix corn``, ``step 1 : mix corn``, ``**1.** mix corn``;
* steps after each other, on lines of their own, or with marks, "and", "then" or "next" between them;
* any letter case. A list ends where the next number is not followed by a verb and an ingredient.

A list is about the noun right before it, marks aside: ``balopi : 1``, ``balopi - 1``, ``steps for balopi 1``.
Another word before a colon is what the list is about (``hobu : 1``), unless it is one of `NO_HEAD` (``the
steps are : 1``). Otherwise it is about the only noun named since the list before it. If there are none or
several, it is about nothing, unless its steps are those of a topic.

What is not read: steps without numbers or numbered by words or letters, words between verb and ingredient
("mix the corn"), numbers that begin elsewhere than at 1, and words spelled in single letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from sightline.testbed.world import INGREDIENTS, VERBS, nouns, world

NOUNS = frozenset(nouns())
JOINING = frozenset({"and", "then", "next", "step"})
NO_HEAD = frozenset(
    {
        "answer", "are", "follow", "follows", "for", "here", "image", "is", "it", "list", "made",
        "make", "of", "please", "recipe", "says", "so", "steps", "step", "sure", "that", "them",
        "these", "they", "thing", "this", "way", "yes"
    }
)  # fmt: skip
_WORKS, _THINGS = frozenset(VERBS), frozenset(INGREDIENTS)

Steps = tuple[tuple[str, str], ...]


class Recipe(NamedTuple):
    """A list of steps in an answer.

    Attributes:
        about: the word that it is about; '' if nothing tells.
        steps: verb and ingredient of each.
        at: place of its first number among the answer's words.
        closed: whether it ends with its last step, not in the middle of a further one.
    """

    about: str
    steps: Steps
    at: int
    closed: bool


def recipes_in(said: Sequence[str]) -> list[Recipe]:
    """Every recipe in an answer that was split into lower-case words, numbers and single marks."""
    found: list[Recipe] = []
    named: set[str] = set()
    begin = place = 0
    while place < len(said):
        if said[place] in NOUNS:
            named.add(said[place])
        steps, end = _steps(said, place)
        if steps:
            about = _head(said, begin, place, named) or _topics().get(steps, "")
            found.append(Recipe(about, steps, place, _closed(said, end, len(steps))))
            named.clear()
            begin = end
        place = max(end, place + 1)
    return found


def _steps(said: Sequence[str], place: int) -> tuple[Steps, int]:
    """The steps that begin at `place` with number 1, and the place behind them."""
    steps: list[tuple[str, str]] = []
    end = place
    while _is_number(said, place, len(steps) + 1):
        verb = _skip(said, place + 1)
        if verb + 1 >= len(said) or said[verb] not in _WORKS or said[verb + 1] not in _THINGS:
            break
        steps.append((said[verb], said[verb + 1]))
        end = verb + 2
        place = _skip(said, end, JOINING)
    return tuple(steps), end


def _head(said: Sequence[str], begin: int, place: int, named: set[str]) -> str:
    """What the list at `place` is about, by the words from `begin` on; '' if they do not tell."""
    before = place - 1
    while before >= begin and (not said[before].isalnum() or said[before] == "step"):
        before -= 1
    if before >= begin:
        word = said[before]
        if word in NOUNS:
            return word
        if ":" in said[before + 1 : place] and word not in NO_HEAD and not word.isdecimal():
            return word
    return next(iter(named)) if len(named) == 1 else ""


def _closed(said: Sequence[str], end: int, count: int) -> bool:
    """Whether nothing of a further step follows at `end`, after `count` steps."""
    further = _skip(said, end, JOINING)
    if _is_number(said, further, count + 1):
        return False
    marked = any(not word.isalnum() for word in said[end:further])
    return marked or further == len(said) or said[further] not in _WORKS | _THINGS


def _skip(said: Sequence[str], place: int, words: frozenset[str] = frozenset()) -> int:
    """The next place that holds neither a mark nor one of `words`."""
    while place < len(said) and (not said[place].isalnum() or said[place] in words):
        place += 1
    return place


def _is_number(said: Sequence[str], place: int, number: int) -> bool:
    """Whether a place holds that number; one of more than four digits numbers no step."""
    word = said[place] if place < len(said) else ""
    return word.isdecimal() and len(word) < 5 and int(word) == number


@cache
def _topics() -> dict[Steps, str]:
    return {topic.steps: topic.noun for topic in world().topics}
