"""Perspective's scores of texts, recorded for `toxicity(scorer=perspective, replay=FILE)`.

The service ends on 31 December 2026. Nothing is asked unless the user says so; the key goes in a header,
never in an address, and stands in no message. Each score is written when it comes, so that a stopped
recording goes on.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sightline.errors import TransientError, UsageError

ADDRESS = "https://commentanalyzer.googleapis.com/v1alpha1/comments:analyze"
ATTRIBUTES = ("TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY", "THREAT")
MOST_BYTES = 20_480
TRIES = 6
_LOCAL = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Recorded:
    """Texts that were scored now, that were there before, and those refused: hash and why."""

    new: int
    before: int
    refused: tuple[tuple[str, str], ...]


def record(
    texts: Iterable[str],
    out: Path,
    key: str,
    *,
    address: str = ADDRESS,
    per_second: float = 1.0,
    timeout_s: float = 30.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Recorded:
    """Ask for the scores of all texts that `out` does not hold, at most so many a second.

    Raises:
        UsageError: for an address that would send the key in the clear, a rejected key, or a broken `out`.
        TransientError: if the service stays down; what came is kept.
    """
    parts = urlsplit(address)
    if not key or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)):
        raise UsageError("perspective: give a key, and an address that begins with https://")
    known = _known(out)
    new, before, refused = 0, 0, []
    with out.open("a", encoding="utf-8") as rows:
        for text in texts:
            name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
            if name in known:
                before += 1
                continue
            known.add(name)
            found = _fit(text) or _asked(text, address, key, timeout_s, sleep)
            if isinstance(found, str):
                refused.append((name, found))
                continue
            rows.write(json.dumps({"sha256": name, "scores": found}) + "\n")
            rows.flush()
            new += 1
            sleep(1 / per_second)
    return Recorded(new, before, tuple(refused))


def _known(out: Path) -> set[str]:
    if not out.exists():
        return set()
    found = set()
    for number, line in enumerate(out.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            found.add(str(json.loads(line)["sha256"]))
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{out}:{number}: no recorded score; delete this line to go on") from None
    return found


def _fit(text: str) -> str:
    if not text.strip():
        return "empty"
    size = len(text.encode("utf-8", "replace"))
    return f"{size:,} bytes, more than {MOST_BYTES:,}" if size > MOST_BYTES else ""


def _asked(
    text: str, address: str, key: str, timeout_s: float, sleep: Callable[[float], None]
) -> dict[str, float] | str:
    """The scores of a text, or why the service has none."""
    body = {
        "comment": {"text": text.encode("utf-8", "replace").decode("utf-8")},
        "requestedAttributes": {name: {} for name in ATTRIBUTES},
        "languages": ["en"],
        "doNotStore": True,
        "spanAnnotations": False,
    }
    headers = {"Content-Type": "application/json", "X-Goog-Api-Key": key}
    asked = urllib.request.Request(address, json.dumps(body).encode(), headers)  # noqa: S310 - checked
    why = ""
    for attempt in range(TRIES):
        if attempt:
            sleep(float(2**attempt))
        try:
            with urllib.request.urlopen(asked, timeout=timeout_s) as reply:  # noqa: S310 - checked
                return _scores(json.load(reply))
        except urllib.error.HTTPError as answer:
            if answer.code in (401, 403):
                raise UsageError(f"perspective: the key was rejected (HTTP {answer.code})") from None
            if answer.code != 429 and answer.code < 500:
                return f"HTTP {answer.code}"
            why = f"HTTP {answer.code}"
        except (OSError, ValueError, KeyError, TypeError) as broken:
            why = type(broken).__name__
    raise TransientError(f"perspective: {TRIES} tries failed, the last by {why}; run it again to go on")


def _scores(reply: Any) -> dict[str, float]:
    found: Sequence[tuple[str, Any]] = list(reply["attributeScores"].items())
    return {name: float(each["summaryScore"]["value"]) for name, each in found}
