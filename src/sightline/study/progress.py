"""How far a run is: one narrow interface, so that the stages know no terminal."""

from __future__ import annotations

from typing import Protocol

from sightline.scale import Listener, NoProgress


class Progress(Listener, Protocol):
    """Told by the stages, shown by the command line."""

    def start(self, stage: str, total: int, done: int) -> None:
        """A stage begins: `total` rows expected, `done` of them present from earlier runs."""
        ...

    def finish(self) -> None:
        """The stage is complete."""
        ...


class Silent(NoProgress):
    """Shows nothing: for tests and for use as a library."""

    def start(self, stage: str, total: int, done: int) -> None:
        """Ignored."""

    def finish(self) -> None:
        """Ignored."""
