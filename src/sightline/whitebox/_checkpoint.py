"""An interrupted run on disk: tensors as safetensors, numbers as JSON in the same file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from sightline.errors import UsageError

KEY = "sightline.run"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run between two steps.

    Attributes:
        tensors: by name; any device.
        numbers: values that JSON can hold.
    """

    tensors: Mapping[str, Tensor]
    numbers: Mapping[str, Any]


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
