"""The state of a search on disk: tensors as safetensors, numbers as JSON in the same file."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from sightline.budget import Clock
from sightline.errors import UsageError
from sightline.sealed import damage_reported

KEY = "sightline.run"
CHECK = "sightline.sha256"
PAUSE = 10.0
#: of a checkpoint; those of other formats are of another search
FORMAT = 2


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A search between two steps.

    Attributes:
        tensors: by name; any device.
        numbers: values that JSON can hold.
    """

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]


class Resumable(Protocol):
    """A search that can go on from a checkpoint."""

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from it. Raises OtherRunError, before anything is changed, for one of other settings."""
        ...


class OtherRunError(UsageError):
    """A checkpoint that belongs to a search of other settings."""


def check_same(checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Make sure that a checkpoint is of a search with these settings.

    Raises:
        OtherRunError: naming the first setting that differs.
    """
    before = checkpoint.numbers.get("identity", {})
    for name, value in identity.items():
        if before.get(name) != value:
            raise OtherRunError(
                f"this is the state of another search: {name} was {before.get(name)!r}, now it is {value!r}; "
                "start without `resume`, or with the settings of that search"
            )


class CheckpointFile:
    """One file in which a long search is saved, so that it goes on after a crash.

    Args:
        path: of the file.
        pause: seconds of work between two savings.
        clock: seconds, from any origin.
    """

    def __init__(self, path: Path, *, pause: float = PAUSE, clock: Clock = time.monotonic) -> None:
        self._path = path
        self._pause = pause
        self._clock = clock
        self._last = clock()

    def load(self, device: Any = "cpu") -> Checkpoint | None:
        """The search that was interrupted; None if there is none that can be read."""
        try:
            return load_state(self._path, device)
        except UsageError:
            return None

    def resume(self, search: Resumable, device: Any = "cpu") -> None:
        """Let a search go on from what is saved, if that is of its settings."""
        checkpoint = self.load(device)
        if checkpoint is not None:
            with suppress(OtherRunError):
                search.restore(checkpoint)

    def save(self, checkpoint: Checkpoint) -> None:
        """Save a search, unless that was done a moment ago."""
        if self._clock() - self._last >= self._pause:
            save_state(checkpoint, self._path)
            self._last = self._clock()


def save_state(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; a crash leaves the old file or the new one, never a part."""
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in checkpoint.tensors.items()}
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        numbers = json.dumps(checkpoint.numbers)
        file.write(save(tensors, metadata={KEY: numbers, CHECK: _digest(tensors, numbers)}))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_state(path: Path, device: Any = "cpu") -> Checkpoint:
    """Read what `save_state` wrote.

    Raises:
        UsageError: for a file that is not there, damaged or not a search's.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no search to resume; start without `resume`")
    with damage_reported(path, "delete it to start anew"), safe_open(path, "pt", device=str(device)) as file:
        found = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _digest(tensors, found[KEY]) != found[CHECK]:
            raise ValueError("it is not what was written")
        return Checkpoint(tensors, json.loads(found[KEY]))


def _digest(tensors: Mapping[str, Tensor], numbers: str) -> str:
    """Of everything that a checkpoint holds: a search that goes on from a changed state is another one."""
    plain = {name: value.cpu() for name, value in tensors.items()}
    return hashlib.sha256(save(plain) + numbers.encode()).hexdigest()


def digest_of(*values: Any) -> str:
    """Digest of plain values, for the identity of a search."""
    return hashlib.sha256(repr(values).encode()).hexdigest()


def plain(value: Any) -> Any:
    """Plain values that later steps do not change."""
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value
