"""An interrupted run on disk: tensors as safetensors, numbers as JSON in the same file."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sightline.budget import Clock
from sightline.errors import UsageError

KEY = "sightline.run"
PAUSE = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run between two steps.

    Attributes:
        tensors: by name; any device.
        numbers: values that JSON can hold.
    """

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]


class Resumable(Protocol):
    """What can go on from a checkpoint."""

    def restore(self, kept: Checkpoint) -> None:
        """Take it up. Raises OtherRunError, before anything is changed, for one of other settings."""
        ...


class OtherRunError(UsageError):
    """A checkpoint that belongs to a run of other settings."""


def check_same(kept: Checkpoint, identity: Mapping[str, Any], what: str) -> None:
    """Make sure that a checkpoint is of a run with these settings; `what` names the kind of run.

    Raises:
        OtherRunError: naming the first setting that differs.
    """
    before = kept.numbers.get("identity", {})
    for name, value in identity.items():
        if before.get(name) != value:
            raise OtherRunError(
                f"this is the state of another {what}: {name} was {before.get(name)!r}, now it is {value!r}; "
                f"start without `resume`, or with the settings of that {what}"
            )


class Bench:
    """One file in which a long run is kept, so that it goes on after a crash.

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

    def taken_up(self, device: Any = "cpu") -> Checkpoint | None:
        """The run that was interrupted; None if there is none that can be read."""
        try:
            return load_state(self._path, device)
        except UsageError:
            return None

    def resume(self, run: Resumable, device: Any = "cpu") -> None:
        """Let a run take up what is kept, if that is of its settings."""
        kept = self.taken_up(device)
        if kept is not None:
            with suppress(OtherRunError):
                run.restore(kept)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Save a run, unless that was done a moment ago."""
        if self._clock() - self._last >= self._pause:
            save_state(checkpoint, self._path)
            self._last = self._clock()


def save_state(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint; a crash leaves the old file or the new one, never a part."""
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in checkpoint.tensors.items()}
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(save(tensors, metadata={KEY: json.dumps(checkpoint.numbers)}))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def load_state(path: Path, device: Any = "cpu") -> Checkpoint:
    """Read what `save_state` wrote.

    Raises:
        UsageError: for a file that is not there, damaged or not a run's.
    """
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            numbers = json.loads((file.metadata() or {})[KEY])
            return Checkpoint({name: file.get_tensor(name) for name in file.keys()}, numbers)  # noqa: SIM118
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no run to take up; start without `resume`") from None
    except (SafetensorError, KeyError, ValueError) as broken:
        raise UsageError(
            f"{path}: not a run that can be taken up ({broken}); delete it to start anew"
        ) from None
