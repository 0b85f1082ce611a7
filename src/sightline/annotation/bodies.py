"""Bodies of requests: small, flat, and of the types that are expected, or refused with a sentence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request

from sightline.annotation.refusals import RefusedError

MOST_NOTE = 4_000
DEEPEST = 3
_REQUEST = re.compile(r"[A-Za-z0-9_-]{8,64}")
_DAY_MS = 86_400_000
T = TypeVar("T")


class Fields:
    """The fields of one body; each is asked for with its type, and what was not asked for is refused."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = dict(found)
        self._asked: set[str] = {"tab"}

    def _one(self, name: str, kind: type[T], default: T | None) -> T:
        self._asked.add(name)
        value = self._found.get(name, default)
        if value is None and default is not None:
            return default
        if type(value) is not kind:
            raise RefusedError(400, f"field {name}: expected {kind.__name__}")
        return value

    def text(self, name: str, default: str | None = None, *, most: int = 200) -> str:
        """A text of at most so many characters."""
        value = self._one(name, str, default)
        if len(value) > most:
            raise RefusedError(400, f"field {name}: at most {most:,} characters")
        return value

    def request(self) -> str:
        """The id that the client made for this request."""
        value = self.text("request")
        if _REQUEST.fullmatch(value) is None:
            raise RefusedError(400, "field request: 8 to 64 of A-Z a-z 0-9 _ -")
        return value

    def whole(self, name: str, most: int = _DAY_MS) -> int:
        """A whole number from 0 to `most`; 0 if it is absent."""
        value = self._one(name, int, 0)
        if not 0 <= value <= most:
            raise RefusedError(400, f"field {name}: expected 0 to {most:,}")
        return value

    def flag(self, name: str, default: bool | None = None) -> bool:
        """A truth value."""
        return self._one(name, bool, default)

    def texts(self, name: str, most: int = 200) -> list[str]:
        """A list of short texts; none if it is absent."""
        value = self._one(name, list, [])
        if len(value) > most or not all(isinstance(each, str) and len(each) <= 200 for each in value):
            raise RefusedError(400, f"field {name}: expected a list of short texts")
        return value

    def mapping(self, name: str) -> dict[str, str]:
        """Short texts by name."""
        value = self._one(name, dict, None)
        if not all(isinstance(each, str) and len(each) <= 200 for each in value.values()):
            raise RefusedError(400, f"field {name}: expected short texts by name")
        return value

    def done(self) -> None:
        """Make sure that nothing else was sent.

        Raises:
            RefusedError: naming what was.
        """
        unknown = sorted(set(self._found) - self._asked)
        if unknown:
            raise RefusedError(400, f"unknown field {unknown[0][:40]!r}")


async def json_fields(request: Request) -> Fields:
    """The fields of a JSON object; its size is limited by `security.Guard`.

    Raises:
        RefusedError: if it is none, not UTF-8, or nested deeper than our requests are.
    """
    data = await request.body()
    try:
        found = orjson.loads(data)
    except ValueError:  # also for what is not UTF-8, and for nesting beyond its own limit
        raise RefusedError(400, "the body is no JSON in UTF-8") from None
    if not isinstance(found, dict):
        raise RefusedError(400, "the body has to be a JSON object")
    if _depth(found) > DEEPEST:
        raise RefusedError(400, "the body is nested too deep")
    return Fields(found)


def _depth(value: Any) -> int:
    """Levels of lists and objects, by levels and not by recursion."""
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            break
        level = [one for each in level for one in (each.values() if isinstance(each, dict) else each)]
    return depth


async def form_fields(request: Request) -> dict[str, str]:
    """The fields of a form, as texts.

    Raises:
        RefusedError: if it is none, or names a field twice.
    """
    data = await request.body()
    try:
        pairs = parse_qsl(
            data.decode("ascii"), keep_blank_values=True, strict_parsing=bool(data), errors="strict",
            max_num_fields=100,
        )  # fmt: skip
    except ValueError:
        raise RefusedError(400, "the body is no form in UTF-8") from None
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RefusedError(400, "a field stands twice in the form")
    return found
