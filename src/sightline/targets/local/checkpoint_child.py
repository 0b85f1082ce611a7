"""Run as a child process of `convert`: a checkpoint's weights as safetensors, its class names as JSON.

`weights_only` lets no object but tensors and plain values out of the pickle; a file that holds others fails.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(checkpoint: str, out: str) -> None:
    """Write `model.safetensors` and `classes.json` into the folder `out`."""
    import torch
    from safetensors.torch import save_file

    loaded = torch.load(checkpoint, map_location="cpu", weights_only=True)  # noqa: TID251 - a child alone
    weights = {name: value.contiguous().clone() for name, value in loaded["state_dict"].items()}
    classes = loaded["config"]["dataset"]["args"]["classes"]
    folder = Path(out)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "classes.json").write_text(json.dumps(list(map(str, classes))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
