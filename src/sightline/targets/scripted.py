"""`scripted/FILE`: a target that follows a YAML list of rules, for tests and benchmarks.

The first rule that fits a request answers it::

    rules:
      - user: "recipe of .*"      # regular expression, anywhere in the last user text, any letter case
        system: "be safe"         # the same in the system turns
        image: true               # whether a picture is shown in the last user turn
        turns: 3                  # number of turns of the conversation
        times: 2                  # the rule is used up after so many answers
        reply: "{user}"           # the last user text stands for {user}
        stop: stop                # stop | length | content_filter | error
        delay_ms: 5               # before the answer
        raises: rate_limit        # rate_limit | server | timeout: a TransientError instead of an answer

A relative FILE of a study is looked for beside the study file, then where the command runs.

`echo`, `refuse` and `typographic` come with Sightline. `ScriptedTarget.calls` counts requests.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from sightline.cases import Conversation, Turn
from sightline.closure import with_code
from sightline.contracts import Decoding
from sightline.digests import digest
from sightline.documents import MOST_BYTES, read_text, read_yaml
from sightline.errors import TransientError, UsageError
from sightline.records import Cost, Response, Stop
from sightline.targets._asked import checked
from sightline.targets._places import beside, sought
from sightline.untrusted import sanitized, sanitized_row

_FAILURES = {
    "rate_limit": "429 too many requests (scripted)",
    "server": "500 internal server error (scripted)",
    "timeout": "the request timed out (scripted)",
}


class RuleEntry(BaseModel):
    """One rule as written; see the module's documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    user: str | None = None
    system: str | None = None
    image: bool | None = None
    turns: int | None = None
    times: int | None = None
    reply: str = ""
    stop: Literal["stop", "length", "content_filter", "error"] = "stop"
    delay_ms: float = 0
    raises: Literal["rate_limit", "server", "timeout"] | None = None


@dataclass(slots=True)
class _Rule:
    """A rule with its patterns compiled; `used` counts its answers."""

    entry: RuleEntry
    user: re.Pattern[str] | None
    system: re.Pattern[str] | None
    plain: bool
    quick: bool
    used: int = 0

    def fits(self, conversation: Conversation, last: Turn) -> bool:
        entry = self.entry
        if entry.times is not None and self.used >= entry.times:
            return False
        if entry.turns is not None and entry.turns != len(conversation.turns):
            return False
        if entry.image is not None and entry.image != bool(last.images):
            return False
        if self.user is not None and self.user.search(last.text) is None:
            return False
        if self.system is None:
            return True
        system = "\n".join(turn.text for turn in conversation.turns if turn.role == "system")
        return self.system.search(system) is not None


class ScriptedTarget:
    """Answers by rules, in the order in which they are written; `folder` is that of a study.

    Raises:
        UsageError: naming file and rule, if the file cannot be read.
    """

    def __init__(self, name: str, file: str | Path, folder: Path | None = None) -> None:
        where, text = _source(name, str(file), folder)
        self._rules = [_rule(entry, f"{where}, rule {number}") for number, entry in _entries(where, text)]
        self.calls = 0
        rules = digest([sanitized_row(rule.entry.model_dump()) for rule in self._rules])
        self.id = with_code(f"{name}#{rules[:16]}", __name__)

    def __repr__(self) -> str:
        return f"ScriptedTarget({self.id!r})"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """The first fitting rule's answer; tokens are counted as words.

        Raises:
            TransientError: if the rule says so.
            UsageError: if no rule fits.
        """
        last = checked(conversation).turns[-1]
        self.calls += 1
        for rule in self._rules:
            if rule.quick or rule.fits(conversation, last):
                rule.used += 1
                return await _answer(rule, last, decoding)
        raise UsageError(
            f"{self.id}: no rule fits the request with digest {digest(last.text)} "
            f"({len(last.text)} characters); add a last rule without conditions"
        )


async def _answer(rule: _Rule, last: Turn, decoding: Decoding) -> Response:
    entry = rule.entry
    if entry.delay_ms:
        await asyncio.sleep(entry.delay_ms / 1000)
    if entry.raises is not None:
        raise TransientError(_FAILURES[entry.raises])
    asked = last.text
    if entry.stop == "error":
        error = entry.reply or "error (scripted)"
        return sanitized(Response(text="", stop="error", error=error, cost=Cost(calls_target=1)))
    text = entry.reply if rule.plain else entry.reply.replace("{user}", asked)
    words = text.split()
    stop: Stop = entry.stop
    most = decoding.max_new_tokens
    if len(words) > most:
        text, stop = " ".join(words[:most]), "length"
    tokens = min(len(words), most)
    return sanitized(Response(text=text, stop=stop, cost=Cost(1, 0, 0, len(asked.split()), tokens)))


def _source(name: str, file: str, folder: Path | None) -> tuple[str, str]:
    """Where a script lies, and its text: one that comes with Sightline, or a file."""
    shipped = resources.files("sightline.targets") / "scripts"
    if re.fullmatch(r"[a-z_]+", file) and (shipped / f"{file}.yaml").is_file():
        return name, (shipped / f"{file}.yaml").read_text("utf-8")
    try:
        path = beside(folder, file)
        return str(path), read_text(path, MOST_BYTES)  # replies may be long
    except OSError as absent:
        known = sorted(entry.name.removesuffix(".yaml") for entry in shipped.iterdir())
        raise UsageError(
            f"target {name!r}: cannot read {file} ({absent.strerror}){sought(folder)}; "
            f"name a YAML file or one of {', '.join(known)}"
        ) from None


def _entries(where: str, text: str) -> list[tuple[int, Any]]:
    found = read_yaml(text, where)
    if not isinstance(found, dict) or set(found) != {"rules"} or not isinstance(found["rules"], list):
        raise UsageError(f"{where}: write a mapping with one key, 'rules', that holds a list")
    return list(enumerate(found["rules"], start=1))


def _rule(entry: Any, where: str) -> _Rule:
    try:
        rule = RuleEntry.model_validate(entry)
        user = re.compile(rule.user, re.IGNORECASE) if rule.user is not None else None
        system = re.compile(rule.system, re.IGNORECASE) if rule.system is not None else None
    except ValidationError as invalid:
        first = invalid.errors()[0]
        raise UsageError(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except re.error as invalid:
        raise UsageError(f"{where}: not a regular expression: {invalid}") from None
    conditions = (rule.user, rule.system, rule.image, rule.turns, rule.times)
    quick = all(condition is None for condition in conditions)
    return _Rule(rule, user, system, plain="{user}" not in rule.reply, quick=quick)
