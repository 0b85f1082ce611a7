"""The inner calls of answers that are being made: what a defense has asked once is not asked again.

A defended answer takes several calls, and so does one to a script of several turns. Each is recorded as it
ends, so that neither a kill nor a failed try loses a paid one. When all answers are there the record is
deleted: they hold their calls themselves. So are those of attacks that converse. Unless an answer or an
artifact failed: then the record is there for another try (`--retry-errors`).
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

from sightline.cases import Conversation, Image
from sightline.clocks import clocked, spare
from sightline.contracts import Decoding, Target
from sightline.digests import digest
from sightline.plain import plain_part, plain_response, response_of
from sightline.records import Response
from sightline.shards import Row, ShardWriter
from sightline.tables import Table


class CallLog:
    """The calls of all answers of a stage, in a folder beside its records. Use it with `with`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._table = Table(folder)
        self._writer: ShardWriter | None = None
        self.found = len(self._table) > 0
        """Whether an earlier run left a record."""
        self.needed = False
        """Whether the record stays at the end."""

    def of(self, answer: str) -> AnswerCalls:
        """The calls of one answer, by its key."""
        return AnswerCalls(self, answer)

    def find(self, key: str) -> Response | None:
        """What an earlier run recorded."""
        if not self.found:
            return None
        (row,) = self._table.rows([key])
        return None if row is None else response_of(row)

    def keep(self, key: str, response: Response) -> None:
        """Record a call; it survives `kill -9` afterwards."""
        self._append({"key": key, **plain_response(response)})

    def _append(self, row: Row) -> None:
        if self._writer is None:
            self._writer = ShardWriter(self._folder)
        self._writer.append([row])

    def picture(self, key: str) -> Image | None:
        """The picture that an earlier run recorded."""
        if not self.found:
            return None
        (row,) = self._table.rows([key])
        return None if row is None else Image(**row["picture"])

    def keep_picture(self, key: str, image: Image) -> None:
        """Record a picture that was drawn, a file of the run."""
        self._append({"key": key, "picture": plain_part(image)})

    def __enter__(self) -> CallLog:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._table.close()
        if self._writer is not None:
            self._writer.close()
        if kind is None and not self.needed:  # all answers are there
            shutil.rmtree(self._folder, ignore_errors=True)


class AnswerCalls:
    """The calls of one answer, in whatever try. Satisfies `contracts.Calls`."""

    def __init__(self, log: CallLog, answer: str) -> None:
        self._log = log
        self._answer = answer
        self._kept: dict[str, Response] = {}
        self._times: Counter[str] = Counter()

    def begin(self) -> None:
        """A try of the answer begins: its first call is that of the try before."""
        self._times.clear()

    async def ask(self, target: Target, conversation: Conversation, decoding: Decoding) -> Response:
        """The reply that was recorded, or a new one; an error is none, and is asked again."""
        asked = digest(conversation)
        key = digest("call", self._answer, asked, self._times[asked])
        self._times[asked] += 1
        found = self._kept.get(key)
        if found is None and (found := self._log.find(key)) is not None:
            self._kept[key] = found
            spare(found.cost)  # what is taken from the log took as long as it did then
        if found is None:
            with clocked() as time:
                found = await target.generate(conversation, decoding)
            cost = time.of(found.cost)
            found = replace(found, cost=replace(cost, seconds=cost.seconds or time.latency))
            if found.stop != "error":
                self._kept[key] = found
                self._log.keep(key, found)
        return found
