"""An interrupted search on disk: any turned bit is seen, and the search starts anew."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sightline.errors import DamageError
from sightline.whitebox.checkpoint import Checkpoint, CheckpointFile, load_state, save_state


def test_every_turned_bit_of_a_checkpoint_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "run"
    kept = Checkpoint({"x": torch.arange(6.0).reshape(2, 3), "n": torch.tensor([3])}, {"step": 7})
    save_state(kept, path)
    again = load_state(path)
    assert again.numbers == kept.numbers
    assert {name: value.tolist() for name, value in again.tensors.items()} == {
        name: value.tolist() for name, value in kept.tensors.items()
    }
    data = path.read_bytes()
    for place, byte in enumerate(data):
        path.write_bytes(data[:place] + bytes([byte ^ 1 << place % 8]) + data[place + 1 :])
        with pytest.raises(DamageError, match=r"run: damaged .*; delete it to start anew$"):
            load_state(path)
    assert CheckpointFile(path).load() is None
