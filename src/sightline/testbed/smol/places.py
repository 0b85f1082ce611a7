"""Where `testbed/smol` and `testbed/smol@aligned` lie: in the cache folder, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.errors import DamageError, UsageError, nearest
from sightline.sealed import damage_reported
from sightline.store import cache_folder

MODEL, ALIGNED = "smol", "smol@aligned"
NAMES = (MODEL, ALIGNED)
SOURCE = "source.json"
"""Beside the weights: package, hash, licence, digest of the converted weights."""
GET, ALIGN = "`sightline testbed get smol`", "`sightline testbed align smol`"


def home() -> Path:
    """Folder of all that belongs to it."""
    return cache_folder() / "testbed-smol"


def model() -> Path:
    """Folder of the converted base model, there or not."""
    return home() / "base"


def pointer() -> Path:
    """File that names the target trained here behind `testbed/smol@aligned`; without it, the shipped one."""
    return home() / "aligned.json"


def is_ours(name: str) -> bool:
    """Whether `testbed/NAME` is one of these models."""
    return name.partition("@")[0] == MODEL


def find(name: str) -> Path:
    """The model folder of `testbed/NAME`; the aligned one is merged when it is asked for first.

    Raises:
        UsageError: for an unknown variant, or one that was not fetched, or is neither shipped nor trained.
    """
    if name not in NAMES:
        raise UsageError(nearest(name, NAMES, "testbed model"))
    if not (model() / SOURCE).is_file():
        raise UsageError(
            f"testbed/{name} is not on this machine, and nothing is downloaded unasked: run {GET} (it says "
            "how large it is and under which licence, before it begins)"
        )
    return model() if name == MODEL else _aligned()


def _aligned() -> Path:
    """What was trained here, or else the base with the adapter of the data package."""
    from sightline.targets import tuned
    from sightline.testbed.smol import adapter
    from sightline.testbed.weights import HOW_TO_GET

    if pointer().is_file():
        target = str(record(pointer()).get("target", ""))
        return tuned.find(target.removeprefix("tuned/")).folder
    found = adapter.shipped()
    if found is None:
        raise UsageError(
            f"testbed/{ALIGNED} needs an adapter that is in an optional package: {HOW_TO_GET}; or train it "
            f"here: run {ALIGN}"
        )
    return adapter.merged(found, model(), home())


def record(path: Path) -> dict[str, Any]:
    """What one of our files of facts says.

    Raises:
        DamageError: if it cannot be read.
    """
    with damage_reported(path, f"delete it and run {GET} or {ALIGN} again"):
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict):
            return found
    raise DamageError(path, "holds no facts", f"delete it and run {GET} or {ALIGN} again")
