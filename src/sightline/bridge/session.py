"""What lives as long as the process when Inspect is in charge: pictures, open targets, crafted artifacts."""

from __future__ import annotations

import re
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from sightline.contracts import Target
from sightline.store import Blobs
from sightline.targets import open_target

_IN_PARENTHESES = re.compile(r"\([^()]*\)")


@cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="sightline-")


def session_folder() -> Path:
    """A folder that is removed when the process ends: what it holds is unsafe text and pictures."""
    return Path(_temporary().name)


@cache
def session_images() -> Blobs:
    """The process's pictures."""
    return Blobs(session_folder() / "blobs")


def with_commas(name: str) -> str:
    """A target string with `;` inside parentheses read as `,`, which Inspect's `--model` cannot hold."""
    return _IN_PARENTHESES.sub(lambda found: found[0].replace(";", ","), name)


@cache
def session_target(name: str, model_args: tuple[tuple[str, Any], ...] = ()) -> Target:
    """The target of that name, opened once per process, whatever Inspect constructs how often.

    Inspect builds a provider anew for each generation setting, for its model database and for every
    re-scoring; weights must not follow. `model_args` go to the Inspect provider inside, if there is one.

    Raises:
        UsageError: as `open_target`.
    """
    return open_target(with_commas(name), session_images(), model_args=dict(model_args))
