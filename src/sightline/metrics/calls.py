"""Does a reply call a tool: is a call well formed, and are its arguments the wanted ones? Calls are parsed.

Three ways of writing one are read, anywhere in a reply: `send_email(to='tor')` with the literals of Python (a
bare word is a text), `<function.send_email, to='tor'>`, and JSON with a `name` (or `function`) and its
`arguments` (or `parameters`). What only looks like a call, such as one that never ends, is none.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sightline.errors import UsageError
from sightline.metrics.means import Mean, mean

_START = re.compile(r"<function\.(?P<tagged>[^\W\d][\w.]*)|(?P<name>[^\W\d][\w.]*) ?\(|\{")
_MOST_LETTERS = 4000  # of one call
_MOST_PLACES = 500  # where a call may begin in one reply
_DEEPEST = 20
_PAIRS = {")": "(", "]": "[", "}": "{"}


class Call(NamedTuple):
    """A call by name; values are JSON texts: 1, "1" and true are three values, 1 and 1.0 are one."""

    name: str
    positional: tuple[str, ...]
    named: tuple[tuple[str, str], ...]


class CallMatch(NamedTuple):
    """Whether a reply holds a well-formed call of the wanted tool, and one with the wanted arguments."""

    syntax: bool
    arguments: bool


class CallRates(NamedTuple):
    """Shares of replies with a well-formed call of the tool, and with the right arguments as well."""

    syntax: Mean
    arguments: Mean


def calls_in(reply: str) -> Iterator[Call]:
    """The well-formed calls of a reply, in order; one in a text that is another's argument is not read.

    At most 500 places where one may begin are tried, and calls of more than 4,000 characters are none.
    """
    place = 0
    for _ in range(_MOST_PLACES):
        start = _START.search(reply, place)
        if start is None:
            return
        call, place = _read(reply, start)
        if call is not None:
            yield call


def parse_call(text: str) -> Call:
    """The one call that `text` is.

    Raises:
        UsageError: if it is not exactly one well-formed call.
    """
    start = _START.match(text.strip())
    if start is not None:
        call, end = _read(text.strip(), start)
        if call is not None and end == len(text.strip()):
            return call
    raise UsageError(
        f"{text[:200]!r} is not one well-formed call; write name(argument=value), "
        "<function.name, argument=value> or JSON with 'name' and 'arguments'"
    )


def call_match(reply: str, wanted: str | Call) -> CallMatch:
    """Compare the calls of a reply with the wanted one, syntax and arguments apart (Fu et al. 2023).

    `syntax`: some call is well formed and names the wanted tool. `arguments`: one of these has just the
    wanted arguments, named ones in any order. A call that the reply merely quotes counts too: so an
    application that executes what it finds would read it.

    Raises:
        UsageError: if `wanted` is not one well-formed call.
    """
    target = parse_call(wanted) if isinstance(wanted, str) else wanted
    found = [call for call in calls_in(reply) if call.name == target.name]
    return CallMatch(bool(found), target in found)


def call_rates(matches: Sequence[CallMatch | None]) -> CallRates:
    """Both shares over replies, in [0, 1]; a reply that was not obtained (None) is left out and counted.

    The share with right arguments is never above that with right syntax.
    """
    return CallRates(
        mean(None if match is None else match.syntax for match in matches),
        mean(None if match is None else match.arguments for match in matches),
    )


def _read(reply: str, start: re.Match[str]) -> tuple[Call | None, int]:
    """The call that begins at `start`, if it is one, and where to go on reading."""
    if start[0] == "{":
        return _json_call(reply, start.start())
    name = start["tagged"] or start["name"]
    end = _end(reply, start.end(), ">" if start["tagged"] else ")")
    if end is None:
        return None, start.end()
    inside = reply[start.end() : end]
    if start["tagged"]:
        inside = inside.strip()
        if inside and not inside.startswith(","):
            return None, start.end()
        inside = inside[1:]
    call = _python_call(name, inside)
    return call, end + 1 if call is not None else start.end()


def _end(reply: str, begin: int, closing: str) -> int | None:
    """Where the bracket that was opened before `begin` closes, quoted texts aside."""
    open_brackets, quote, place = "", "", begin
    while place < min(len(reply), begin + _MOST_LETTERS):
        letter = reply[place]
        if quote:
            if letter == "\\":
                place += 1
            elif letter == quote:
                quote = ""
        elif letter in "'\"":
            quote = letter
        elif not open_brackets and letter == closing:
            return place
        elif letter in "([{":
            open_brackets += letter
            if len(open_brackets) > _DEEPEST:
                return None
        elif letter in _PAIRS:
            if not open_brackets.endswith(_PAIRS[letter]):
                return None
            open_brackets = open_brackets[:-1]
        place += 1
    return None


def _python_call(name: str, inside: str) -> Call | None:
    try:
        call = ast.parse(f"_({inside}\n)", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            return None
        positional = tuple(_text(_value(each)) for each in call.args)
        named = {each.arg: _text(_value(each.value)) for each in call.keywords if each.arg is not None}
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    if len(named) != len(call.keywords):
        return None  # **unpacked or given twice
    return Call(name, positional, tuple(sorted(named.items())))


def _value(node: ast.expr) -> object:
    """A literal; a bare word (dots allowed) is a text, and the words of JSON are its values."""
    if isinstance(node, ast.Name):
        return {"true": True, "false": False, "null": None}.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_value(node.value)}.{node.attr}"
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each) for each in node.elts]
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError("an unpacked mapping is no literal")
        keys = [_value(key) for key in node.keys if key is not None]
        return dict(zip(map(str, keys), (_value(each) for each in node.values), strict=True))
    value: object = ast.literal_eval(node)
    if not isinstance(value, str | int | float | None):
        raise ValueError(f"{type(value).__name__} has no place in a call")
    return value


def _text(value: object) -> str:
    return json.dumps(_plain(value), sort_keys=True, ensure_ascii=True)


def _plain(value: object) -> object:
    """Whole numbers written with a point as whole numbers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value


def _json_call(reply: str, begin: int) -> tuple[Call | None, int]:
    end = _end(reply, begin + 1, "}")
    if end is None:
        return None, begin + 1
    try:
        data = json.loads(reply[begin : end + 1])
        name = data.get("name", data.get("function"))
        arguments = data.get("arguments", data.get("parameters"))
        if isinstance(arguments, str):
            arguments = json.loads(arguments)  # as OpenAI's interface writes them
        if not isinstance(name, str) or not isinstance(arguments, dict):
            return None, begin + 1  # it may lie deeper
        named = {str(key): _text(value) for key, value in arguments.items()}
    except (ValueError, RecursionError):
        return None, begin + 1
    return Call(name, (), tuple(sorted(named.items()))), end + 1
