"""VQA accuracy with the official normalization: agreement of a short answer with those of several persons.

Facts from GT-Vision-Lab/VQA (vqaEval.py): the order of steps, marks, number words and contractions; the code
is our own. Its contractions with a capital letter never match there, since words are in lower case by then.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ARTICLES = frozenset({"a", "an", "the"})
_DIGITS = {"none": "0", "zero": "0"} | {
    word: str(number)
    for number, word in enumerate(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 1
    )
}
_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_MOST_FULL_STOPS = 32  # the official call passes a flag (re.UNICODE) as the number of replacements
_CONTRACTED = """
    'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've
    hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
    mightn't've must've mustn't needn't not've o'clock oughtn't shan't she'd've should've shouldn't
    shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's something'd
    something'd've something'll that's there'd there'd've there're there's they'd they'd've they'll they're
    they've wasn't we'd've we've weren't what'll what're what's what've when's where'd where's where've who'd
    who'd've who'll who's who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'd've
    y'all'll you'd you'd've you'll you're you've
"""
_CONTRACTIONS = {
    word[:place] + word[place + 1 :]: word
    for word in _CONTRACTED.split()
    for place in range(len(word))
    if word[place] == "'"
} | {"somebody'd": "somebodyd"}
"""Words that lack one apostrophe, and the official table's one entry that drops one."""


def vqa_normalized(answer: str) -> str:
    """An answer as the official evaluation compares it.

    Lower case, without articles; marks are dropped next to a space (all of them, where the answer holds a
    number with a comma) and become spaces elsewhere; full stops are dropped unless a digit follows; number
    words up to ten become digits; apostrophes that contractions lack are put in.
    """
    text = answer.replace("\n", " ").replace("\t", " ").strip()
    drop_all = _COMMA_IN_NUMBER.search(text) is not None
    clean = text
    for mark in _MARKS:
        beside_space = f"{mark} " in text or f" {mark}" in text
        clean = clean.replace(mark, "" if beside_space or drop_all else " ")
    clean = _FULL_STOP.sub("", clean, count=_MOST_FULL_STOPS)
    words = (_DIGITS.get(word, word) for word in clean.lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def _matches(reply: str, answers: Sequence[str]) -> list[bool]:
    if len({answer.replace("\n", " ").replace("\t", " ").strip() for answer in answers}) > 1:
        said, right = vqa_normalized(reply), [vqa_normalized(answer) for answer in answers]
    else:  # the official evaluation normalizes neither side where all persons say the same
        said = reply.replace("\n", " ").replace("\t", " ").strip()
        right = [answer.replace("\n", " ").replace("\t", " ").strip() for answer in answers]
    return [said == answer for answer in right]


def vqa_accuracy(reply: str, answers: Sequence[str]) -> float | None:
    """Mean over persons left out of min(matches among the others / 3, 1), in [0, 1].

    Official for VQAv2 and OK-VQA (Antol et al. 2015), with ten persons per question. Where all of them say
    the same, neither side is normalized, as in the official code: an upper-case reply is then wrong. None
    without answers.
    """
    same = _matches(reply, answers)
    if not same:
        return None
    total = sum(same)
    return sum(min((total - own) / 3, 1.0) for own in same) / len(same)


def vqa_quick_accuracy(reply: str, answers: Sequence[str]) -> float | None:
    """min(matches / 3, 1) over the normalized answers, in [0, 1]: the quick form, never below `vqa_accuracy`.

    Both sides are normalized always. With ten answers it exceeds the official form by up to .1 (one match:
    .333 and .3; two: .667 and .6; three: 1 and .9). None without answers.
    """
    if not answers:
        return None
    said = vqa_normalized(reply)
    return min(sum(said == vqa_normalized(answer) for answer in answers) / 3, 1.0)
