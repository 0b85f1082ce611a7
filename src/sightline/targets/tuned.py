"""Trained targets: `tuned/RECIPE@DIGEST:BASE`, folders in the cache that `sightline train` wrote.

    CACHE/tuned/RECIPE@DIGEST/recipe.json     what was done to which model, and what it cost
    CACHE/tuned/RECIPE@DIGEST/final/          a model folder as any other
    CACHE/tuned/RECIPE@DIGEST/step-20/        the same at a checkpoint: `tuned/RECIPE@DIGEST/step-20:BASE`

DIGEST says all that decides the weights. A folder gets its name when it is whole; before, it is not a target.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from sightline.digests import digest
from sightline.documents import refuse_special
from sightline.errors import DamageError, UsageError
from sightline.store import cache_folder
from sightline.targets._names import Tuned, split, split_tuned
from sightline.targets.local.files import weights_digest

RECORD = "recipe.json"
SEAL = "sealed"
"""Key of the record's own digest."""
FINAL = "final"
TRAINABLE = ("vlm", "testbed", "tuned")
"""Kinds of targets whose weights are at hand."""
_AGAIN = "delete the folder and run `sightline train` again"


class TunedFolder(NamedTuple):
    """Where a trained target lies: its own folder, and the record of how it was made."""

    folder: Path
    record: dict[str, Any]


def home() -> Path:
    """Folder of all trained targets."""
    return cache_folder() / "tuned"


def name_of(recipe: str, digest: str, base: str, step: int | None = None) -> str:
    """The string of a trained target, or of one of its checkpoints."""
    at = "" if step is None else f"/step-{step}"
    return f"tuned/{recipe}@{digest}{at}:{base}"


def find(rest: str) -> TunedFolder:
    """What lies behind `tuned/REST`.

    Raises:
        UsageError: if it was not trained on this machine, lacks the checkpoint, or has another base.
    """
    named = split_tuned(rest)
    place = home() / named.key
    if not (place / RECORD).exists():
        raise UsageError(
            f"target 'tuned/{rest}' is not on this machine ({place} is not there): train it with `sightline "
            f"train "
            f"{named.recipe} {named.base} --on ...`, which prints its name"
        )
    record = read_record(place)
    if record.get("base") != named.base:
        raise UsageError(f"target 'tuned/{rest}': it was made of {record.get('base')}, not of {named.base}")
    folder = place / (named.checkpoint or FINAL)
    if not folder.is_dir() and not named.checkpoint:
        raise DamageError(folder, "is missing", _AGAIN)
    if not folder.is_dir():
        there = sorted((each.name for each in place.iterdir() if each.name.startswith("step-")), key=_number)
        kept = f"there are {', '.join(there)}" if there else "it kept none"
        raise UsageError(f"target 'tuned/{rest}': no checkpoint {named.checkpoint!r}; {kept}")
    if record["weights"].get(folder.name) != weights_digest(folder):
        raise DamageError(folder, "its files are not those that were trained", _AGAIN)
    return TunedFolder(folder, record)


def read_record(place: Path) -> dict[str, Any]:
    """The record of a trained target.

    Raises:
        DamageError: if it is not what was written.
    """
    refuse_special(place / RECORD, _AGAIN)
    try:
        found = json.loads((place / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        raise DamageError(place / RECORD, "cannot be read", _AGAIN) from None
    if not isinstance(found, dict):
        raise DamageError(place / RECORD, "holds no record", _AGAIN)
    if found.get(SEAL) != digest({name: value for name, value in found.items() if name != SEAL}):
        raise DamageError(place / RECORD, "is not what was written", _AGAIN)
    return found


def check_trainable(name: str) -> None:
    """Make sure that a target's weights are at hand.

    Raises:
        UsageError: for a provider's model, a defended one, recorded answers and the like.
    """
    if split(name).kind not in TRAINABLE:
        raise UsageError(
            f"target {name!r} cannot be trained: training needs a model that runs here (vlm/FOLDER, "
            f"testbed/NAME "
            "or tuned/...), without a defense; put defenses around the trained target"
        )


def _number(step: str) -> int:
    return int(re.sub(r"\D", "", step) or 0)


__all__ = [
    "FINAL",
    "RECORD",
    "Tuned",
    "TunedFolder",
    "check_trainable",
    "find",
    "home",
    "name_of",
    "read_record",
]
