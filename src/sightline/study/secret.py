"""The secret of a run: it enters the tags with which graders mark their verdicts, and nothing else.

Whoever writes a data set and guesses a reply knows all else that a tag is made of, and could write the
verdict line of a row into it. The secret is in no key, lock, table or report, so that rows stay valid if it
is lost: then a new one is made.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from sightline.contracts import Judge, NeedsSecret
from sightline.store import write_atomically

SECRET = "records/grading.secret"  # noqa: S105 - the file's name
_FORM = re.compile(r"[0-9a-f]{64}")


def keyed(judges: Sequence[Judge], folder: Path) -> list[Judge]:
    """The judges, those that need it with the secret of the run in `folder`; if there is none, it is made."""
    if not any(isinstance(judge, NeedsSecret) for judge in judges):
        return list(judges)
    secret = _secret(folder / SECRET)
    return [judge.keyed(secret) if isinstance(judge, NeedsSecret) else judge for judge in judges]


def _secret(path: Path) -> str:
    try:
        kept = path.read_text(encoding="ascii")
        if _FORM.fullmatch(kept):
            return kept
    except (FileNotFoundError, UnicodeDecodeError):
        pass
    made = secrets.token_hex(32)
    write_atomically(path, made.encode())
    return made
