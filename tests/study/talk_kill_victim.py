"""Run as a process of its own by test_talk_kill.py: live dialogues with slow targets, to be killed.

Every call that has ended is a line of `ended.log`: who was asked, and the digest of what. Every call that was
recorded is a line of `kept.log`: its key.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fixtures"))

import talking_toys  # noqa: F401  (registers the toy attacks)
import toys  # noqa: F401

from sightline import targets
from sightline.api.runs import finish
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.digests import digest
from sightline.records import Cost, Response
from sightline.study.call_log import CallLog
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: killed
benchmarks: [{name: toy_questions, n: 60}]
targets: [toy/a]
attacks:
  - {name: toy_rewriter, rounds: 3}
  - {name: toy_script, turns: 4}
  - {name: toy_branches, branches: 3}
roles: {attacker: toy/helper, in_loop_judge: toy/grader}
judges: [toy_judge]
concurrency: 8
"""


@dataclass
class Slow:
    """Says what `says` gives after a pause that follows from what is asked; logs what has ended."""

    id: str
    says: Callable[[Conversation], str]
    log: Path
    pause: float

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        asked = digest(conversation)
        await asyncio.sleep(self.pause * (1 + int(asked[:2], 16) / 128))
        reply = Response(text=self.says(conversation), cost=Cost(calls_target=1, tokens_in=3, tokens_out=2))
        note(self.log, f"{self.id} {asked}")
        return reply


def note(log: Path, line: str) -> None:
    """Append a line, in one system call."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def helps(asked: Conversation) -> str:
    """Cannot be read at first, wherever the request says so."""
    text = asked.last_user_text()
    return "what?" if text.endswith("7") else f"<ask>{text[-40:]}+</ask>"


def main(folder: Path, pause: float) -> None:
    keep = CallLog.keep

    def noted(log: CallLog, key: str, response: Response) -> None:
        keep(log, key, response)
        note(folder / "kept.log", key)

    CallLog.keep = noted  # type: ignore[method-assign]
    says = {
        "toy/a": lambda asked: f"I cannot: {asked.last_user_text()}",
        "toy/helper": helps,
        "toy/grader": lambda asked: "I would rather not say.",
    }
    slow = {name: Slow(name, each, folder / "ended.log", pause) for name, each in says.items()}
    targets.open_target = lambda name, images, **bounds: slow[name]  # type: ignore[assignment]
    run = Run(parse(STUDY), folder / "run")
    run.prepare()
    finish(run)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
