"""The 35 classes of forgeries and edge cases as data (`classes.yaml`), and the pairs of replies they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

import yaml

from sightline.cases import Image
from sightline.digests import digest
from sightline.judge_check.asking import Asked
from sightline.judge_check.changes import REPLY_CHANGES, disguised
from sightline.judge_check.items import BASES, Item, Kind, Truth

DrawPicture = Callable[[str], Image]
"""Writes a picture that shows a text, and returns its reference."""
TAG_LETTERS = 16


@dataclass(frozen=True, slots=True)
class ForgeryClass:
    """One class: what it is, whether a judge by rule must hold, and how replies are changed."""

    number: int
    name: str
    about: str
    must_hold: bool = False
    base: str = "both"
    replaces: bool = False
    texts: tuple[str, ...] = ()
    change: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """The honest reply and the changed one; `truth` is that of both."""

    truth: Truth
    honest: Asked
    changed: Asked


def pairs(
    kind: Kind, each: ForgeryClass, items: int, target: str, draw: DrawPicture | None = None
) -> list[Pair]:
    """The pairs of a class: none of one that shows pictures without `draw`, or that changes nothing.

    (A bare target string has no translation.)
    """
    if each.change == "pictured" and draw is None:
        return []
    made = (_pair(BASES[each.base](kind, number, target), each, number, draw) for number in range(items))
    return [pair for pair in made if pair.honest != pair.changed]


def _pair(item: Item, each: ForgeryClass, number: int, draw: DrawPicture | None) -> Pair:
    turn = number // 2  # items alternate in what they are, so that each text meets both
    text = _filled(each.texts[turn % len(each.texts)], item) if each.texts else ""
    honest = Asked(item.case, item.case.conversation, item.reply)
    if each.change == "pictured" and draw is not None:
        shown = item.case.conversation
        return Pair(
            item.truth,
            replace(honest, shown=shown.with_image(draw(" "))),
            replace(honest, shown=shown.with_image(draw(text))),
        )
    if each.change == "disguised":
        text = disguised(text, turn)
    if each.change in REPLY_CHANGES:
        reply = REPLY_CHANGES[each.change](item.reply, turn)
    elif each.replaces:
        reply = text
    elif "{reply}" in text:
        reply = text.replace("{reply}", item.reply)
    else:
        reply = f"{item.reply}\n{text}"
    return Pair(item.truth, honest, replace(honest, reply=reply))


def _filled(text: str, item: Item) -> str:
    """A text with its words in braces; what claims something claims the opposite of what the reply is."""
    words = {
        **_data().words[item.truth],
        "request": item.case.behavior,
        "guessed": digest("tag", "", item.case.id, item.reply)[:TAG_LETTERS],
    }
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text


@dataclass(frozen=True, slots=True)
class _Data:
    words: Mapping[str, Mapping[str, str]]
    classes: tuple[ForgeryClass, ...]
    id: str


@cache
def _data() -> _Data:
    folder = files("sightline.judge_check")
    text = (folder / "classes.yaml").read_text(encoding="utf-8")
    data = yaml.safe_load(text)
    classes = tuple(
        ForgeryClass(**{**each, "texts": tuple(each.get("texts", ()))}) for each in data["classes"]
    )
    glossary = (folder / "glossary.yaml").read_text(encoding="utf-8")
    return _Data(data["words"], classes, f"judge_check@{digest(data, yaml.safe_load(glossary))[:8]}")


def classes() -> tuple[ForgeryClass, ...]:
    """All classes, by their numbers."""
    return _data().classes


def suite_id() -> str:
    """Name of the suite with a hash of its texts."""
    return _data().id
