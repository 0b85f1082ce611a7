"""How far a run is: one narrow interface, so that the engine knows no terminal."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by the stages, shown by the command line."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins: `total` rows expected, `done` of them present from earlier runs."""
        ...

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        """`rows` more are written, `errors` of them error outcomes."""
        ...

    def within(self, text: str) -> None:
        """How far the row is that is being made; '' when it is done."""
        ...

    def finish(self) -> None:
        """The stage is complete."""
        ...

    def note(self, text: str) -> None:
        """Something the user should read (a warning, a fallback)."""
        ...


class Silent:
    """Shows nothing: for tests and for use as a library."""

    def start(self, stage: str, total: int, done: int) -> None:
        """Ignored."""

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        """Ignored."""

    def within(self, text: str) -> None:
        """Ignored."""

    def finish(self) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""
