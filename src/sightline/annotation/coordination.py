"""What the coordinator's page asks for besides counts: the queue of adjudication, and rulings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sightline.annotation.adjudication import adjudicate, open_disputes
from sightline.annotation.ballots import AnnotationFiles
from sightline.annotation.desk import Desk
from sightline.annotation.plan import FOLDER, Place
from sightline.annotation.progress import progress
from sightline.annotation.refusals import RefusedError
from sightline.annotation.server import Coordination
from sightline.errors import DamageError, UsageError

Numbers = Callable[[Path], Mapping[str, Any]]
MOST_QUEUED = 200
"""Items that one look at the page gets; the next ones come when these are decided."""
COORDINATOR = ""
"""Whose names of pictures the coordinator gets."""


def coordination(run: Path, desk: Desk, numbers: Numbers | None = None) -> Coordination:
    """What the coordinator can do in a run's annotation; `numbers` are those of its progress.

    What the desk has read is not read again, and of the raters' files only what was added.
    """
    folder, lock = run / FOLDER, threading.Lock()
    files = AnnotationFiles(folder)
    files.know(desk.plan, desk.questions, desk.read_so_far())

    def counted() -> Mapping[str, Any]:
        with lock:
            return numbers(run) if numbers else progress(run, found=files.read())

    def queued() -> Sequence[Mapping[str, Any]]:
        with lock:
            waiting = open_disputes(files.read())
        return [
            {**asdict(each), **desk.shown(Place(each.item, False), COORDINATOR)}
            for each in waiting[:MOST_QUEUED]
        ]

    def ruled(request: str, item: str, outcome: str, note: str) -> Mapping[str, Any]:
        try:
            with lock:
                event = adjudicate(folder, item, outcome, note, request=request, found=files.read())
        except DamageError:
            raise
        except UsageError as refused:
            raise RefusedError(400, str(refused)) from None
        return {"saved": True, "seq": event.seq}

    return Coordination(counted, queued, ruled)
