"""What the coordinator's page asks the server for: numbers, disputed items with their content, rulings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from sightline.annotation.adjudication import adjudicate, open_disputes
from sightline.annotation.ballots import AnnotationFiles
from sightline.annotation.contents import Content
from sightline.annotation.plan import FOLDER
from sightline.annotation.progress import progress
from sightline.annotation.refusals import RefusedError
from sightline.errors import DamageError, UsageError


class Coordinating:
    """Answers for one run. `content` reads an item by its id."""

    def __init__(self, run: Path, content: Callable[[str], Content]) -> None:
        self._run, self._folder, self._content = run, run / FOLDER, content
        self._files = AnnotationFiles(self._folder)
        self._lock = Lock()
        self._files.read()

    def numbers(self) -> Mapping[str, Any]:
        """See `progress`."""
        with self._lock:
            return progress(self._run, found=self._files.read())

    def queue(self, picture: Callable[[str], str]) -> Sequence[Mapping[str, Any]]:
        """Disputed items: what was shown, labels without names in an order by chance, notes.

        Args:
            picture: names a picture for the coordinator, by its SHA-256.
        """
        with self._lock:
            waiting = open_disputes(self._files.read())
        return [
            {
                "item": each.item,
                "why": each.why,
                "labels": list(each.labels),
                "notes": list(each.notes),
                **shown(self._content(each.item), picture),
            }
            for each in waiting
        ]

    def adjudicate(self, request: str, item: str, outcome: str, note: str) -> Mapping[str, Any]:
        """Record a ruling, once per request.

        Raises:
            RefusedError: for an unknown item or outcome.
        """
        with self._lock:
            try:
                event = adjudicate(self._folder, item, outcome, note, request=request)
            except DamageError:
                raise
            except UsageError as wrong:
                raise RefusedError(400, str(wrong)) from None
        return {"saved": True, "seq": event.seq}


def shown(content: Content, picture: Callable[[str], str]) -> dict[str, Any]:
    """An item's content as a page shows it."""
    request = [
        {"role": turn.role, "text": turn.text, "pictures": [picture(name) for name in turn.pictures]}
        for turn in content.request
    ]
    return {
        "behavior": content.behavior,
        "request": request,
        "reply": content.reply,
        "thought": content.thought,
        "language": content.language,
    }
