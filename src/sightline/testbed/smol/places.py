"""Where `testbed/smol` and `testbed/smol@aligned` lie: in the cache folder, whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sightline.errors import DamageError, UsageError, nearest
from sightline.sealed import damage_reported
from sightline.store import cache_folder

MODEL, ALIGNED = "smol", "smol@aligned"
EYES, ALIGNED_EYES = "smol@eyes", "smol@eyes-aligned"
NAMES = (MODEL, ALIGNED, EYES, ALIGNED_EYES)
SOURCE = "source.json"
"""Beside the weights: package, hash, licence, digest of the converted weights."""
GET, ALIGN = "`sightline testbed get smol`", "`sightline testbed align smol`"
GET_EYES = "`sightline testbed get smol-eyes`"


def home() -> Path:
    """Folder of all that belongs to it."""
    return cache_folder() / "testbed-smol"


def model() -> Path:
    """Folder of the converted base model, there or not."""
    return home() / "base"


def pointer() -> Path:
    """File that names the target trained here behind `testbed/smol@aligned`; without it, the shipped one."""
    return home() / "aligned.json"


def eyes(name: str) -> Path:
    """Folder of a model with eyes, there or not."""
    return home() / name.partition("@")[2]


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
    if name in (EYES, ALIGNED_EYES):
        return _with_eyes(name)
    return model() if name == MODEL else _aligned()


def has_aligned() -> bool:
    """Whether `testbed/smol@aligned` can be had: trained here, or by a shipped adapter that fits the base."""
    from sightline.testbed.smol import adapter

    source = model() / SOURCE
    if pointer().is_file() or not source.is_file():
        return pointer().is_file()
    found = adapter.shipped()
    return found is not None and found.base in dict(record(source).get("sha256", {})).values()


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


def _with_eyes(name: str) -> Path:
    from sightline.testbed.smol.eyes.assembly import is_current

    folder = eyes(name)
    if not (folder / SOURCE).is_file():
        first = "" if name == EYES or has_aligned() else f"{ALIGN}, then "
        raise UsageError(f"testbed/{name} was not put together on this machine yet: run {first}{GET_EYES}")
    if not is_current(folder, find(MODEL if name == EYES else ALIGNED)):
        raise UsageError(f"testbed/{name}: its language model or our code changed: run {GET_EYES} again")
    return folder


def made_once(target: Path, is_whole: Callable[[], bool], write: Callable[[Path], None]) -> Path:
    """A folder that is there whole or not at all, made by one process while others wait for it.

    Args:
        target: the folder.
        is_whole: whether it is there as it should be.
        write: fills an empty folder, which then takes the target's place.
    """
    if is_whole():
        return target
    from sightline.training.work import alone

    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.part")
    with alone(work):
        if is_whole():  # another process was at it until now
            return target
        shutil.rmtree(work)  # what a killed process left
        work.mkdir()
        try:
            write(work)
            shutil.rmtree(target, ignore_errors=True)
            work.rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return target


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
