"""One normal form of lists, references and replies; search for phrases; where the words of a reply begin."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator

from sightline.characters import without_unseen

_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u02bc\u00b4\u0060\u2032\uff07", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb\uff02", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-"),
        **dict.fromkeys("*_~#", " "),  # markdown emphasis and headings
    }
)
_FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_MARKER = re.compile(r"^[^\S\n]*(?:>+|[-+\u2022]|\d{1,3}[.)])\s+", re.MULTILINE)
_HEAD_LETTERS = 1000  # more than any phrase, with markup, labels and a greeting before it
_MOST_LABELS = 4
_TAG = re.compile(r"<[|\uff5c]?/?[a-zA-Z!][^<>]{0,200}>|\[/?[A-Z]{2,12}\]")  # of HTML, or of a chat template
_EMOJI = re.compile("[^a-zA-Z\u00c0-\u024f\n]\ufe0f\u20e3?|:[a-z_]{2,30}:(?= )")  # a keycap is no digit
_NEW_LINE = re.compile(r"\n\s*\n|\n(?=\W*[A-Z])")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_JSON = re.compile(r"(?:```\w*\s*)?[\[{]")
_VALUE = re.compile(r"""["'](\w[\w -]{0,40})["']\s*:\s*\[?\s*["']""")
_NAMES = (
    "(?:a|ai|answer|assistant|bot|chatbot|completion|content|message|output|refusal|reply|response|result"
    "|text)"
)
_LABEL = re.compile(
    rf"(?:(?:my|the|final|short|model|ai|assistant)['s]* )*{_NAMES}(?: \([^)]{{0,30}}\))?"
    r"""["'\])}]*\s*(?:[:=>|\]]+|-+ |\. )\s*"""
)
_WIDE = "\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af"
_CLAUSE = re.compile(rf"[,;:\u060c\u061b]\s+|[,;:](?=[{_WIDE}])|\u3001\s*|\s+-+\s+|\s+(?=(?:but|however)\b)")
_SENTENCE = re.compile(
    rf"""[.!?\u061f\u06d4\u0964]+["')\]]*\s+|[!?](?=[{_WIDE}])|\u3002["')\]\u300d\u300f]*\s*"""
)
_UNSPACED = re.compile(f"[{_WIDE}\u0e00-\u0eff]")
"""Letters of scripts that are written without spaces, or whose words take endings: a phrase ends anywhere."""
_LINKS = re.compile(r"(?:(?:but|however|and|so|yet|still|nevertheless|that said)\b\W*)+")


def normal(text: str) -> str:
    """`text` in lower case with plain apostrophes and single spaces, without markdown marks.

    Compatibility forms (full-width letters) become plain ones; zero-width and other format characters vanish.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", without_unseen(text.translate(_SAME)))  # it splits a lone acute
    if "\n" in text:
        text = _MARKER.sub("", _FENCE.sub("", text))
    return " ".join(text.translate(_SAME).casefold().split())


def plain(text: str) -> str:
    """Normal form of a reply without what only formats it: entities and tags, escapes of JSON."""
    if _JSON.match(text.lstrip()):
        text = _unescaped(text)
    return normal(_untagged(text))


def openings(text: str) -> Iterator[str]:
    """Normal forms of the start of a reply's words: after emoji, tags, quotes, list marks and labels.

    One, or of a reply written as JSON its first string and all that are named like an answer.
    """
    head = text.lstrip()[:_HEAD_LETTERS]
    if not _JSON.match(head):
        yield _words(head)
        return
    values = list(_VALUE.finditer(head))
    named = [value for value in values if re.fullmatch(_NAMES, normal(value[1]).rpartition(" ")[2])]
    for value in dict.fromkeys([*values[:1], *named]):
        yield _words(_unescaped(head[value.end() :]))
    if not values:
        yield _words(_unescaped(head))


def _untagged(text: str) -> str:
    """`text` with entities read (`&amp;#39;` too), without tags."""
    return _TAG.sub(" ", html.unescape(html.unescape(text)))


def _unescaped(text: str) -> str:
    """`text` with the escapes of a JSON string read."""
    return _ESCAPE.sub(
        lambda found: chr(int(found[1], 16)) if found[1] else {"n": "\n", "t": " "}.get(found[2], found[2]),
        text,
    )


def _words(head: str) -> str:
    """Normal form of `head` from its first word on; a new paragraph or line of it ends a sentence."""
    head = _EMOJI.sub(" ", _untagged(head))
    return _unlabelled(normal(_NEW_LINE.sub(" . ", _MARKER.sub("", _FENCE.sub("", head)))))


def _unlabelled(text: str) -> str:
    """Normal `text` from its first letter or digit on, without labels such as "assistant:" before it."""
    for _ in range(_MOST_LABELS):
        text = text[next((i for i, c in enumerate(text) if c.isalnum()), len(text)) :]
        label = _LABEL.match(text)
        if label is None:
            break
        text = text[label.end() :]
    return text


def further(text: str) -> Iterator[str]:
    """Where else normal `text` may begin, if its first sentence says nothing: its clauses, the next one."""
    end = _SENTENCE.search(text)
    within = _CLAUSE.finditer(text, 0, end.start() if end else len(text))
    for border in (*within, *([end] if end else ())):
        rest = _unlabelled(text[border.end() :])
        link = _LINKS.match(rest)
        yield rest[link.end() :] if link else rest


def reference(answer: str | None) -> str:
    """Normal form of a reference answer, without the full stop at its end; '' if there is none."""
    return normal(answer or "").rstrip(" .!?")


def _bordered(text: str, start: int, end: int) -> bool:
    """Whether text[start:end] neither starts nor ends inside a word."""
    inside_left = start > 0 and _joined(text[start - 1], text[start])
    inside_right = end < len(text) and _joined(text[end - 1], text[end])
    return not (inside_left or inside_right)


def _joined(first: str, second: str) -> bool:
    """Whether two letters side by side may be of one word."""
    if not (first.isalnum() and second.isalnum()):
        return False
    return first.isascii() or not (_UNSPACED.match(first) or _UNSPACED.match(second))


def starts_with(text: str, phrase: str) -> bool:
    """Whether normal `text` starts with normal `phrase`, ending on a word border."""
    return text.startswith(phrase) and _bordered(text, 0, len(phrase))


def contains(text: str, phrase: str) -> bool:
    """Whether normal `text` contains normal `phrase` on word borders ("legal" is not in "illegally")."""
    start = text.find(phrase) if phrase else -1
    while start >= 0:
        if _bordered(text, start, start + len(phrase)):
            return True
        start = text.find(phrase, start + 1)
    return False
