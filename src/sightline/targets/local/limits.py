"""A model folder's chat template and tokenizer under limits of time and memory, in a process of their own.

Both are programs of whoever made the folder: a template can loop for ever or write gigabytes, a regular
expression in tokenizer.json can take longer than the universe on twenty letters, and neither can be stopped
inside this process. So templates are only rendered in the child; and what the tokenizer is to read here, the
child has read before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from sightline.errors import UsageError
from sightline.targets._asked import UnfitError
from sightline.targets.local import foreign_text

#: a child whose system counts no processor time is ended after so many seconds by the clock
CLOCK_SECONDS = 1200.0
#: of one request: more fits into no model's context, and a tokenizer would need minutes for it
MOST_LETTERS = 1_000_000
_SPELLED = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


class ForeignText:
    """Template and tokenizer of one folder. Once a bound is broken, every request says so."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tokenizer = folder / "tokenizer.json"
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._broken = ""

    def render(self, template: str, messages: Sequence[Mapping[str, Any]], tokens: Mapping[str, str]) -> str:
        """The prompt that a chat template makes of messages, ready for the model's answer.

        Raises:
            TemplateError: from the template.
            UsageError: if it takes too much time or memory.
        """
        fixed = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True}
        reply = self._ask("chat template", {"template": template, "variables": {**tokens, **fixed}})
        if "error" in reply:
            raise TemplateError(reply["error"])
        return str(reply["text"])

    def check_tokenizer(self) -> None:
        """Make sure that the tokenizer can be loaded, with every token that the folder adds to it.

        Raises:
            UsageError: if it cannot, or takes too much time or memory.
        """
        if not self._tokenizer.is_file():
            return
        texts = [text for name in ("tokenizer.json", *_SPELLED) for text in _spelled(self._folder / name)]
        reply = self._ask("tokenizer.json", {"path": str(self._tokenizer.resolve()), "texts": texts})
        if "error" in reply:
            raise UsageError(f"{self._tokenizer}: cannot be loaded ({reply['error']})")

    def check_text(self, text: str) -> None:
        """Make sure that the tokenizer reads a text, in bounded time.

        Raises:
            UnfitError: if it fails on this one, or the text is longer than any context holds.
            UsageError: if it takes too much time or memory.
        """
        if len(text) > MOST_LETTERS:
            raise UnfitError(
                f"the request has {len(text):,} characters; no more than {MOST_LETTERS:,} are read"
            )
        if not self._tokenizer.is_file():
            return
        reply = self._ask("tokenizer.json", {"path": str(self._tokenizer.resolve()), "texts": [text]})
        if "error" in reply:
            raise UnfitError(f"{self._tokenizer}: cannot read this request ({reply['error']})")

    def _ask(self, what: str, request: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._broken:
                raise UsageError(self._broken)
            child = self._child = self._child or _started(self)
            assert child.stdin is not None
            assert child.stdout is not None
            alarm = threading.Timer(CLOCK_SECONDS, child.kill)
            alarm.start()
            try:
                child.stdin.write(json.dumps(request) + "\n")
                child.stdin.flush()
                line = child.stdout.readline()
            except BrokenPipeError:
                line = ""
            finally:
                alarm.cancel()
            if not line.endswith("\n"):
                _end(child)
                self._broken = (
                    f"{self._folder}: its {what} takes more than {foreign_text.SECONDS} seconds of "
                    f"processor time or {foreign_text.MEMORY_BYTES // 10**9} GB for one request; "
                    "take the folder from those who made the model"
                )
                raise UsageError(self._broken)
            found: dict[str, Any] = json.loads(line)
            return found


def _started(owner: ForeignText) -> subprocess.Popen[str]:
    """A child that ends with its owner, or with this process."""
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-P", foreign_text.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="ascii",
        env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
    )
    weakref.finalize(owner, _end, child)
    return child


def _end(child: subprocess.Popen[str]) -> None:
    child.kill()
    with suppress(ValueError, BrokenPipeError):  # ended before
        child.communicate()


def _spelled(path: Path) -> Iterator[str]:
    """Texts of tokens that a JSON file adds or names."""
    try:
        found = json.loads(path.read_bytes())
        if path.name == "tokenizer.json" and isinstance(found, dict):
            found = found.get("added_tokens")
        yield from _texts(found)
    except (OSError, ValueError, RecursionError):
        return  # what cannot be read is told when the folder is loaded


def _texts(value: Any) -> Iterator[str]:
    """Short texts at any depth: keys of a mapping of added tokens, and contents."""
    if isinstance(value, str) and len(value) <= 1000:
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
