"""The terminal: a console that shows outside text as plain text, and the progress of a run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment

from sightline.characters import printable
from sightline.study.progress import Progress as StageProgress

STEPS = 10
"""At most so many lines per stage, besides those after `PAUSE`."""
MIN_INTERVAL = 5.0
"""Seconds between two lines of one stage, at least."""
PAUSE = 30.0
"""Seconds after which a running stage prints a line in any case."""


def literal(text: str) -> str:
    """Outside text for a place that takes Rich's markup: shown as it is, control characters spelled out."""
    return escape(printable(text))


class SafeConsole(Console):
    """Spells out control characters in whatever it shows: only its own commands reach the terminal.

    Everything that Rich writes, live displays too, passes through `render`.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of `renderable`, their texts printable."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


class BarProgress:
    """Progress bars, one per stage. Satisfies `study.progress.Progress`."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: Any = None
        self._errors = 0

    def start(self, stage: str, total: int, done: int) -> None:
        """A new bar; a total of 0 means unknown."""
        self._errors = 0
        name = literal(stage)
        self._task = self._bars.add_task(name, total=total or None, completed=done, errors="", within="")

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        """Move the bar."""
        self._errors += errors
        shown = f"{self._errors} errors" if self._errors else ""
        self._bars.update(self._task, advance=rows, errors=shown)

    def within(self, text: str) -> None:
        """Show a text at the end of the bar."""
        self._bars.update(self._task, within=literal(text))

    def finish(self) -> None:
        """Complete the bar."""
        task = self._bars.tasks[self._task]
        self._bars.update(self._task, total=task.completed, completed=task.completed, within="")

    def note(self, text: str) -> None:
        """Print above the bars."""
        self._bars.console.print(f"note: {literal(text)}", highlight=False, soft_wrap=True)


class LineProgress:
    """Plain lines for a log: a stage's start and end, and its progress by tenths.

    `brief` holds the first line back until there is another one.
    """

    def __init__(
        self,
        file: IO[str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        brief: bool = False,
    ) -> None:
        self._file = file or sys.stderr
        self._clock = clock
        self._brief, self._held = brief, ""
        self._stage, self._total, self._rows, self._errors = "", 0, 0, 0
        self._within = ""
        self._next, self._since = 0, 0.0

    def start(self, stage: str, total: int, done: int) -> None:
        """The first line of a stage; a total of 0 means unknown."""
        self._stage, self._total, self._rows, self._errors = stage, total, done, 0
        self._within = ""
        line = f"{stage}: started" + (f", {total:,} rows" if total else "")
        if self._brief:
            self._held, self._since = line, self._clock()
        else:
            self._print(line)

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        """Count rows; print a line at intervals."""
        self._rows += rows
        self._errors += errors
        if self._total and self._rows >= self._total:
            return  # the last line is the end's
        waited = self._clock() - self._since
        if waited >= (MIN_INTERVAL if self._total and self._rows >= self._next else PAUSE):
            self._print(f"{self._stage}: {self._counted()}")

    def within(self, text: str) -> None:
        """Print the text if no line was printed for `PAUSE`."""
        if text and text != self._within and self._clock() - self._since >= PAUSE:
            self._print(f"{self._stage}: {self._counted()}; {text}")
        self._within = text

    def finish(self) -> None:
        """The last line of a stage."""
        if self._held:
            self._held = ""
            return
        failed = f", {self._errors:,} errors" if self._errors else ""
        self._print(f"{self._stage}: done, {self._rows:,} rows{failed}")

    def note(self, text: str) -> None:
        """A line of its own."""
        self._print(f"note: {text}")

    def _counted(self) -> str:
        of = f" of {self._total:,} ({100 * self._rows // self._total} %)" if self._total else ""
        return f"{self._rows:,}{of}" + (f", {self._errors:,} errors" if self._errors else "")

    def _print(self, line: str) -> None:
        self._since = self._clock()
        self._next = self._rows - self._rows % max(1, self._total // STEPS) + max(1, self._total // STEPS)
        held, self._held = self._held, ""
        self._file.write("".join(printable(each) + "\n" for each in (held, line) if each))
        self._file.flush()


@contextmanager
def terminal_progress(*, brief: bool = False) -> Iterator[StageProgress]:
    """Progress on standard error while the block runs: bars on a terminal, else lines.

    `brief`: no lines of a stage that ends before there is anything to say, within `PAUSE`.
    """
    console = SafeConsole(stderr=True)
    if not console.is_terminal:
        yield LineProgress(brief=brief)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<22}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("[red]{task.fields[errors]}"),
        TextColumn("[dim]{task.fields[within]}"),
    )
    with Progress(*columns, console=console, refresh_per_second=4) as bars:
        yield BarProgress(bars)
