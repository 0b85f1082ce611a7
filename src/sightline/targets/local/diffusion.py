"""Text-to-image pipelines of Hugging Face diffusers in a local folder: what is loaded, how it draws.

Read against diffusers 0.42.1 (`DiffusionPipeline.from_pretrained`, the `__call__` of the Stable Diffusion and
PixArt pipelines). A folder is foreign: one with code of its own or with pickled weights is refused, nothing
is fetched, and a picture that the pipeline's own safety checker or an overflow made black is an error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.store import refuse_pointer

INDEX = "model_index.json"
_LIBRARIES = ("diffusers", "transformers")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_POINTED = (".safetensors", ".json", ".txt", ".model")
_NAME = re.compile(r"[A-Za-z_]\w*")


def check_pipeline(folder: Path) -> None:
    """Make sure that a folder holds a pipeline which can be loaded without running code of its own.

    Raises:
        UsageError: if it holds none, or modules, pickled weights or Git-LFS pointers.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name a local folder that `save_pretrained` wrote")
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".py":
            raise UsageError(
                f"{path}: the pipeline brings code of its own, which is refused: take one that diffusers has"
            )
        if path.suffix in _POINTED and path.is_file():
            with path.open("rb") as file:
                refuse_pointer(file.read(100), path)
    for part in _parts(folder):
        files = list(part.iterdir()) if part.is_dir() else []
        pickled = next((file.name for file in files if file.suffix in _PICKLED), None)
        if pickled is not None and not any(file.suffix == ".safetensors" for file in files):
            raise UsageError(
                f"{part / pickled}: a pickle, which can run code when it is loaded, so it is refused; take "
                "the pipeline's safetensors revision"
            )
    if not any(folder.rglob("*.safetensors")):
        raise UsageError(f"{folder}: no *.safetensors file there; name a folder that holds the weights")


def _parts(folder: Path) -> list[Path]:
    """The folders of the pipeline's parts, as its index names them.

    Raises:
        UsageError: for an absent or odd index.
    """
    try:
        index = orjson.loads((folder / INDEX).read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{folder}: no {INDEX} there, so this is no pipeline of diffusers; name the folder that "
            "`save_pretrained` wrote"
        ) from None
    except (OSError, orjson.JSONDecodeError) as broken:
        raise UsageError(f"{folder / INDEX}: cannot be read ({broken})") from None
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise UsageError(f"{folder / INDEX}: names no pipeline of diffusers as `_class_name`")
    found = []
    for name, part in index.items():
        if name.startswith("_") or not isinstance(part, list):
            continue
        library = part[0] if len(part) == 2 else ""
        if library is None:
            continue
        if not isinstance(library, str) or not _NAME.fullmatch(library) or not _NAME.fullmatch(name):
            raise UsageError(f"{folder / INDEX}: part {name!r} is {part!r}, not [library, class]")
        found.append(folder / name)
    return found


class Pipeline:
    """A text-to-image pipeline, loaded when its first picture is drawn; one picture at a time.

    Attributes:
        folder: checked by `check_pipeline`.
        dtype: name of the number format.
        device: where it runs.
    """

    def __init__(self, folder: Path, *, dtype: str, device: str) -> None:
        self.folder, self.dtype, self.device = folder, dtype, device
        self._loaded: Any = None
        self._lock = threading.Lock()

    def draw(self, prompt: str, *, seed: int, settings: Mapping[str, Any]) -> Pixels:
        """The picture of a prompt: uint8, height x width x 3.

        Args:
            prompt: what it is to show.
            seed: of the noise that it starts from, drawn on the CPU so that it is the same on any device.
            settings: of the pipeline's call.

        Raises:
            UsageError: if the folder cannot be loaded, the call takes no such settings, or the picture is
                withheld or black.
        """
        import numpy as np
        import torch

        from sightline.targets.local.loading import one_sentence

        with self._lock:
            pipe = self._pipe()
            with (
                one_sentence(self.folder, f"cannot draw {prompt!r} with {dict(settings)}"),
                torch.inference_mode(),
            ):
                made = pipe(
                    prompt=prompt,
                    generator=torch.Generator("cpu").manual_seed(seed),
                    output_type="pil",
                    **settings,
                )
                picture = np.array(made.images[0].convert("RGB"), dtype=np.uint8)
        withheld = getattr(made, "nsfw_content_detected", None)
        if withheld and withheld[0]:
            raise UsageError(
                f"{self.folder}: the pipeline's own safety checker withheld the picture of {prompt!r}; it "
                "would be black"
            )
        if not picture.any():
            raise UsageError(
                f"{self.folder}: the picture of {prompt!r} is all black: in {self.dtype} its numbers have "
                "likely overflowed; set SIGHTLINE_DTYPE=float32"
            )
        return picture

    def _pipe(self) -> Any:
        if self._loaded is None:
            import torch
            from diffusers import DiffusionPipeline, pipelines

            from sightline.targets.local.loading import one_sentence

            parts = {path.name for path in _parts(self.folder)}
            index = orjson.loads((self.folder / INDEX).read_bytes())
            for name in sorted(parts):
                library = index[name][0]
                if library not in _LIBRARIES and not hasattr(pipelines, library):
                    raise UsageError(
                        f"{self.folder / INDEX}: part {name!r} comes from {library!r}, which is no part of "
                        "diffusers: it is refused"
                    )
            with one_sentence(self.folder, "cannot be loaded as a pipeline of diffusers"):
                pipe = DiffusionPipeline.from_pretrained(
                    str(self.folder),
                    dtype=getattr(torch, self.dtype),
                    use_safetensors=True,
                    local_files_only=True,
                    variant=_variant(self.folder),
                )
                pipe.set_progress_bar_config(disable=True)
                self._loaded = pipe.to(self.device)
        return self._loaded


def _variant(folder: Path) -> str | None:
    """'fp16' for a folder whose weights are all of that variant."""
    names = [path.name for path in folder.rglob("*.safetensors")]
    return "fp16" if names and all(".fp16" in name for name in names) else None
