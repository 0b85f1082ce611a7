"""What a helper model's text says: named parts between tags, or the same as one JSON object; strictly read.

A part that is missing, empty or there twice is an error that names it, so that the helper can be told;
nothing is guessed. A model's own reasoning before `</think>` is not its answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping

_REASONING = "</think>"
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)
Parts = Mapping[str, str]


def parts(*names: str) -> Callable[[str], Parts]:
    """A reader of texts with these parts: `<name>...</name>` once each, or a JSON object with these keys.

    It raises ValueError for any other text, saying what is missing.
    """

    def read(text: str) -> Parts:
        answer = text.rpartition(_REASONING)[2]
        tagged = [name for name in names if re.search(f"</?{name}>", answer, re.IGNORECASE)]
        found = {name: _tagged(answer, name) for name in names} if tagged else _json(answer, names)
        for name, part in found.items():
            if not part.strip(" \t\r\n.\u2026"):  # '...' is our own question, repeated
                raise ValueError(f"<{name}> is empty")
        return {name: part.strip() for name, part in found.items()}

    return read


def part(name: str) -> Callable[[str], str]:
    """A reader of texts with one part; see `parts`."""
    read = parts(name)
    return lambda text: read(text)[name]


def choice(name: str, *options: str) -> Callable[[str], str]:
    """A reader of texts with one part that is one of the options, in any letter case; see `parts`."""
    read = part(name)

    def chosen(text: str) -> str:
        said = read(text).strip(" .!\"'").lower()
        if said not in options:
            raise ValueError(f"<{name}> must be {' or '.join(options)}")
        return said

    return chosen


def numbered(least: int, most: int) -> Callable[[str], tuple[str, ...]]:
    """A reader of texts that are a numbered list and nothing else: `1. ...`, one item a line, in order.

    It raises ValueError for any other text, and for fewer than `least` or more than `most` items.
    """
    wanted = str(least) if least == most else f"{least} to {most}"

    def read(text: str) -> tuple[str, ...]:
        lines = [line.strip() for line in text.rpartition(_REASONING)[2].splitlines() if line.strip()]
        items = []
        for number, line in enumerate(lines, start=1):
            found = re.fullmatch(rf"{number}[.)]\s+(.*\S)", line)
            if found is None:
                raise ValueError(f"the line {line[:60]!r} is not the numbered item {number}.")
            items.append(found[1])
        if not least <= len(items) <= most:
            raise ValueError(f"there are {len(items)} numbered items, not {wanted}")
        return tuple(items)

    return read


def _tagged(answer: str, name: str) -> str:
    opened = list(re.finditer(f"<{name}>", answer, re.IGNORECASE))
    closed = list(re.finditer(f"</{name}>", answer, re.IGNORECASE))
    if not opened or not closed:
        raise ValueError(f"there is no <{name}>...</{name}>")
    if len(opened) > 1 or len(closed) > 1:
        raise ValueError(f"<{name}> is there more than once")
    if closed[0].start() < opened[0].end():
        raise ValueError(f"</{name}> stands before <{name}>")
    return answer[opened[0].end() : closed[0].start()]


def _json(answer: str, names: tuple[str, ...]) -> dict[str, str]:
    wanted = " ".join(f"<{name}>...</{name}>" for name in names)
    fenced = _FENCE.search(answer)
    text = fenced[1] if fenced else answer.strip()
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        raise ValueError(f"there is no {wanted}") from None
    if not isinstance(found, dict):
        raise ValueError(f"there is no {wanted}")
    for name in names:
        if not isinstance(found.get(name), str):
            raise ValueError(f"the JSON object has no text {name!r}")
    return {name: found[name] for name in names}
