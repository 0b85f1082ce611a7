r"""What a rater is shown of an item, read from the records of the run; where it came from is left behind.

Texts are those of the records, with characters that cannot be seen spelled out (`\u202e`): a rater has to
see what a page would obey.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from sightline.annotation.language import tag_of
from sightline.annotation.plan import Planned
from sightline.cases import Turn
from sightline.characters import printable
from sightline.errors import UsageError
from sightline.plain import conversation_of, turn_of
from sightline.report.results import current_case_tables
from sightline.run_folder import read_lock
from sightline.shards import Row
from sightline.tables import Table, compacted_rows
from sightline.untrusted import split_thoughts

Language = Callable[[str], str]
"""The language of a text as a BCP 47 tag, '' if unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTurn:
    """One turn of the request as it was sent: its role, its text, and its pictures by SHA-256."""

    role: str
    text: str
    pictures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """An item as it is shown.

    Attributes:
        item: its id.
        behavior: what is asked, plainly.
        request: the turns as they were sent, replies to earlier ones in between.
        reply: the text that the user saw.
        thought: reasoning of the model, apart from the answer; '' for none.
        raw: what the bare model wrote where an output guard acted; None else.
        language: of the reply (a BCP 47 tag), '' if unknown.
    """

    item: str
    behavior: str
    request: tuple[ShownTurn, ...]
    reply: str
    thought: str = ""
    raw: str | None = None
    language: str = ""


class Contents:
    """Reads items of a run one by one, from any thread; call `close` or use `with`."""

    def __init__(self, run: Path, language: Language = tag_of) -> None:
        self._records, self._language = run / "records", language
        tables = current_case_tables(self._records, read_lock(run))
        self._cases = {name: [path] for (name, _), path in tables.items()}
        self._other = [] if tables else sorted(self._records.glob("cases-*.parquet"))  # the lock names none
        self._behaviors: dict[str, Mapping[str, str]] = {}
        self._crafted, self._answered = (Table(self._records / stage) for stage in ("craft", "answer"))
        self._lock = Lock()

    def read(self, planned: Planned) -> Content:
        """An item as it is shown.

        Raises:
            UsageError: if records of the run are lost.
            DamageError: if they are damaged.
        """
        with self._lock:
            reply = self._answered.rows([planned.samples[0]])[0]
            artifact = None if reply is None else self._crafted.rows([reply["artifact"]])[0]
            behavior = self._behavior(planned)
        if reply is None or artifact is None:
            raise UsageError(
                f"{self._records}: records of item {planned.item} are lost: run the study again to finish it"
            )
        return _content(planned.item, behavior, artifact, reply, self._language)

    def _behavior(self, planned: Planned) -> str:
        """What a case asks. All those of a benchmark are kept: they are short, and no other text is."""
        if planned.benchmark not in self._behaviors:
            paths = self._cases.get(planned.benchmark, self._other)
            rows = (row for path in paths for row in compacted_rows(path.with_suffix("")))
            self._behaviors[planned.benchmark] = {row["id"]: row["behavior"] for row in rows}
        found = self._behaviors[planned.benchmark].get(planned.case)
        if found is None:
            raise UsageError(
                f"{self._records}: the case of item {planned.item} is not among those of benchmark "
                f"{planned.benchmark!r}: the run has changed since the plan was drawn"
            )
        return found

    def close(self) -> None:
        """Release the files."""
        self._crafted.close()
        self._answered.close()

    def __enter__(self) -> Contents:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _content(item: str, behavior: str, artifact: Row, reply: Row, language: Language) -> Content:
    follow_ups = tuple(map(turn_of, artifact.get("follow_ups", ())))
    shown = conversation_of(artifact["conversation"]).played(follow_ups, reply.get("replies", ()))
    visible = split_thoughts(reply["text"])
    written = reply.get("raw")
    bare = visible if written is None else split_thoughts(written)
    acted = written is not None and bare.answer.strip() != visible.answer.strip()
    return Content(
        item=item,
        behavior=printable(behavior),
        request=tuple(map(_turn, shown.turns)),
        reply=printable(visible.answer),
        thought=printable(visible.thoughts or bare.thoughts),
        raw=printable(bare.answer) if acted else None,
        language=language(visible.answer),
    )


def _turn(turn: Turn) -> ShownTurn:
    pictures = tuple(image.sha256 for image in turn.images if image.sha256)
    return ShownTurn(role=turn.role, text=printable(turn.text), pictures=pictures)
