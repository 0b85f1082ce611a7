"""Turn shipped (or locally built) weights into an ordinary Hugging Face folder.

Variants of a testbed model share one file for vision tower and projector and have one file each for the
language model, all in fp16. `materialize` joins the two, as float32 (what the models compute in), in a cache
folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sightline.digests import sha256_file
from sightline.errors import ContractError, UsageError, nearest
from sightline.store import cache_folder

SHIPPED = Path(__file__).resolve().parent / "weights"
MANIFEST = "manifest.json"
JOINED = "model.safetensors"
_SEAL = "sightline.json"


def names(root: Path = SHIPPED) -> tuple[str, ...]:
    """Return every name `materialize` knows: ``linear``, ``linear@vit``, ..."""
    found: list[str] = []
    for manifest in sorted(root.glob(f"*/{MANIFEST}")):
        found.append(manifest.parent.name)
        found += [
            f"{manifest.parent.name}@{variant}" for variant in read_manifest(manifest.parent)["variants"]
        ]
    return tuple(found)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of weights."""
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    return manifest


def materialize(name: str = "linear", *, root: Path = SHIPPED, cache: Path | None = None) -> Path:
    """Return a Hugging Face folder with the weights of ``<model>`` or ``<model>@<variant>``.

    Args:
        name: such as ``linear`` (its default variant) or ``linear@vit``.
        root: folder of model folders; the shipped ones by default.
        cache: where to put the joined folder; `cache_folder()` by default.

    Raises:
        UsageError: for an unknown name.
        ContractError: if a file of the weights is not the one the manifest names.
    """
    known = names(root)
    if name not in known:
        raise UsageError(nearest(name, known, "testbed model"))
    model, _, variant = name.partition("@")
    source = root / model
    manifest = read_manifest(source)
    variant = variant or str(manifest["default"])
    identity = hashlib.sha256((source / MANIFEST).read_bytes()).hexdigest()[:12]
    target = (cache or cache_folder()) / "testbed" / f"{model}@{variant}-{identity}"
    if _sealed(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        _join(source, manifest, variant, partial)
        if target.exists() and not _sealed(target):
            shutil.rmtree(target)
        try:
            partial.rename(target)
        except OSError:  # another process was faster
            if not _sealed(target):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _sealed(folder: Path) -> bool:
    """Whether a joined folder is complete and unchanged."""
    seal, joined = folder / _SEAL, folder / JOINED
    if not (seal.is_file() and joined.is_file()):
        return False
    return bool(json.loads(seal.read_text("utf-8"))["sha256"] == sha256_file(joined))


def verify(source: Path, manifest: dict[str, Any]) -> None:
    """Compare every file of a folder of weights with its manifest.

    Raises:
        ContractError: naming the first file that differs or is missing.
    """
    for file, facts in manifest["files"].items():
        path = source / file
        if not path.is_file():
            raise ContractError(f"{path} is missing: reinstall sightline, or run `sightline testbed build`")
        if sha256_file(path) != facts["sha256"]:
            raise ContractError(f"{path} is not the file its manifest names: reinstall sightline")


def _join(source: Path, manifest: dict[str, Any], variant: str, target: Path) -> None:
    """Write shared files and the joined weights of one variant."""
    from safetensors.numpy import load_file, save_file

    verify(source, manifest)
    parts = manifest["variants"][variant]
    for file in manifest["files"]:
        if not file.endswith(".safetensors"):
            shutil.copyfile(source / file, target / file)
    tensors: dict[str, np.ndarray[Any, np.dtype[np.float32]]] = {}
    for part in parts:
        tensors |= {key: value.astype(np.float32) for key, value in load_file(source / part).items()}
    save_file(tensors, target / JOINED, metadata={"format": "pt"})
    (target / JOINED).chmod(0o644)
    seal = {"model": manifest["name"], "variant": variant, "sha256": sha256_file(target / JOINED)}
    (target / _SEAL).write_text(json.dumps(seal, indent=2) + "\n", "utf-8")
