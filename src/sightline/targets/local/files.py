"""Model folders on disk: where they are, what they weigh in SHA-256, and what we refuse to load."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

import orjson

from sightline.digests import file_stamp, sha256_file
from sightline.errors import AbsentExtraError, UsageError
from sightline.store import cache_folder, refuse_pointer, write_atomically

_DIGESTED = frozenset({".safetensors", ".json", ".jinja", ".model", ".txt", ".tiktoken"})
MAX_TEXT_BYTES = 200_000_000
"""Of a configuration, template or vocabulary; the largest tokenizers take 35 megabytes."""
_PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_DOWNLOADED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.tiktoken"]


def need_local(what: str, modules: Iterable[str] = ("torch", "transformers", "safetensors")) -> None:
    """Check that the extra `local` is installed, without importing it.

    Raises:
        AbsentExtraError: naming the first absent package and the cure.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise AbsentExtraError(what, "local", module)


def model_folder(
    name: str, *, allow_download: bool = False, kind: str = "AutoModelForImageTextToText"
) -> Path:
    """Folder of a model given as a path, or as a hub id whose files are already in the local hub cache.

    `kind` is the class of transformers that would read a pickle of it, for the cure.

    Raises:
        UsageError: if there is no such folder, it holds no model, only pickled weights, or Git-LFS pointers.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        folder = _hub_snapshot(name, allow_download=allow_download)
    if not (folder / "config.json").is_file():
        raise UsageError(
            f"{folder}: no config.json there, so this is not a Hugging Face model folder; "
            "name the folder that `save_pretrained` wrote"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = next((path.name for pattern in _PICKLED for path in folder.glob(pattern)), None)
        if pickled is not None:
            raise UsageError(
                f"{folder}: {pickled} is a pickle, which can run code when it is loaded, so it is refused. "
                "Take its safetensors revision, or convert it where you trust it: "
                f"{kind}.from_pretrained(...).save_pretrained(FOLDER)"
            )
        raise UsageError(f"{folder}: no *.safetensors file there; name a folder that holds the weights")
    for path in folder.iterdir():
        if path.suffix not in _DIGESTED or not path.is_file():
            continue
        with path.open("rb") as file:
            refuse_pointer(file.read(100), path)
        size = path.stat().st_size
        if path.suffix != ".safetensors" and size > MAX_TEXT_BYTES:
            raise UsageError(f"{path}: {size} bytes, more than the {MAX_TEXT_BYTES} of any model's settings")
    return folder


def _hub_snapshot(name: str, *, allow_download: bool) -> Path:
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise UsageError(f"{name}: no such folder; name a local model folder or a hub id (owner/model)")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        found = snapshot_download(name, local_files_only=not allow_download, allow_patterns=_DOWNLOADED)
    except (LocalEntryNotFoundError, HFValidationError, OSError) as absent:
        raise UsageError(
            f"model {name!r} is neither a folder nor in the local hub cache; nothing is downloaded unasked. "
            f"Run `hf download {name}` first, or set SIGHTLINE_ALLOW_DOWNLOAD=1. ({type(absent).__name__})"
        ) from None
    return Path(found)


def weights_digest(folder: Path) -> str:
    """SHA-256 over names and contents of a model's weights, configuration and tokenizer files.

    Hashes of single files are kept in the cache folder by path and `file_stamp`, so that a large model is
    read once; `forget_hashes` has all of them read again.
    """
    known_path = _hashes()
    known = read_json(known_path)
    total = hashlib.sha256()
    fresh = False
    for path in sorted(folder.rglob("*")):
        if path.suffix not in _DIGESTED or not path.is_file():
            continue
        stamp = list(file_stamp(path))
        entry = known.get(str(path.resolve()))
        if not (isinstance(entry, list) and entry[:-1] == stamp):
            entry = [*stamp, sha256_file(path)]
            known[str(path.resolve())] = entry
            fresh = True
        total.update(f"{path.relative_to(folder).as_posix()}\0{entry[-1]}\n".encode())
    if fresh:
        write_json(known_path, known)
    return total.hexdigest()


def forget_hashes() -> None:
    """Forget what files of weights were found to hold: each is read again when it is next asked for."""
    _hashes().unlink(missing_ok=True)


def _hashes() -> Path:
    return cache_folder() / "file-hashes.json"


def read_json(path: Path) -> dict[str, object]:
    """A mapping kept in the cache folder; empty if there is none or it is damaged (it only saves time)."""
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, values: dict[str, object]) -> None:
    """Keep a mapping in the cache folder; a folder that cannot be written costs time, nothing else."""
    try:
        write_atomically(path, orjson.dumps(values))
    except OSError:
        return
