"""Small files for weights: half floats, 8 bits per weight, or 4 bits for the difference to other weights.

``fp16``    every tensor as half floats: an ordinary safetensors file.
``int8``    matrices as integers -127..127 times one half-float scale per row; vectors as half floats.
``delta4``  the difference to a base: matrices as integers -8..7 times one half-float scale per 64 weights,
            the scale of least squared error from a small grid; vectors as half-float differences; what
            equals the base is left out.

A tensor with at most one axis longer than 1 is a vector; the rows of any other run along its first such axis.
Scales lie beside their tensor as ``NAME:scale``. What a file holds stands in its metadata: the way, the shape
of every tensor, and for ``delta4`` a hash of the base, because 4 bits mean nothing on other weights.
Decoding multiplies and adds once in float32 and so gives the same bits everywhere.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from sightline.errors import ContractError, require

How = Literal["fp16", "int8", "delta4"]
Array = np.ndarray[Any, np.dtype[Any]]
Floats = np.ndarray[Any, np.dtype[np.float32]]

HOWS: tuple[str, ...] = get_args(How)
GROUP = 64
SCALE = ":scale"
_META = "sightline"
_LARGEST = float(np.finfo(np.float16).max)
_CLIPS = tuple(1 - step / 25 for step in range(11))  # 1.00, 0.96, ..., 0.60 of the largest difference


def encode(state: Mapping[str, Any], how: How, base: Mapping[str, Any] | None = None) -> dict[str, Array]:
    """Return the arrays of a file that stands for `state`.

    Args:
        state: name -> array of floats (NumPy, or anything that `numpy.asarray` takes).
        how: see the head of this file.
        base: for `delta4` only: what `load` will be given, under the same names; it may hold more.

    Raises:
        UsageError: for an unknown `how`.
        ContractError: naming a tensor that cannot be stored: not of floats, not finite, too large for half
            floats, or without a counterpart in the base.
    """
    require(how in HOWS, "how", how, f"one of {', '.join(HOWS)}")
    found: dict[str, Array] = {}
    for name, value in state.items():
        exact = _floats(name, value)
        if how == "delta4":
            under = _counterpart(name, exact.shape, base)
            if np.array_equal(exact, under):
                continue
            found |= _delta4(name, exact - under)
        elif how == "int8" and not _is_vector(exact.shape):
            found |= _int8(name, exact)
        else:
            found[name] = _half(name, exact)
    return found


def save(path: Path, state: Mapping[str, Any], how: How, base: Mapping[str, Any] | None = None) -> None:
    """Write `state` as one file; the same arguments give the same bytes.

    Raises:
        UsageError, ContractError: as `encode`; nothing is written then.
    """
    from safetensors.numpy import save_file

    arrays = encode(state, how, base)
    facts: dict[str, Any] = {
        "how": how,
        "tensors": {name: list(np.shape(state[name])) for name in sorted(state)},
    }
    if how == "delta4":
        facts["base"] = _fingerprint({name: _floats(name, (base or {})[name]) for name in state})
    # one entry only: safetensors writes several in no fixed order
    save_file(arrays, path, metadata={_META: json.dumps(facts, separators=(",", ":"))})
    path.chmod(0o644)  # safetensors makes files for the owner only


def load(
    path: Path, base: Mapping[str, Floats] | None = None, rename: Callable[[str], str] = str
) -> dict[str, Floats]:
    """Return the tensors that a file stands for, as float32.

    Args:
        path: written by `save`, or any safetensors file of floats.
        base: for `delta4`: the weights it changes, under their new names; further ones are ignored.
        rename: gives the new name of a tensor from its name in the file.

    Raises:
        ContractError: naming file and tensor, if the file is damaged, of an unknown way, or of another base.
    """
    arrays, facts = _read(path)
    if facts is None:
        return {rename(name): _from_half(path, name, value) for name, value in arrays.items()}
    how, shapes = facts["how"], facts["tensors"]
    strays = sorted(set(arrays) - set(shapes) - {name + SCALE for name in shapes})
    if strays:
        raise ContractError(f"{path}: tensor {strays[0]!r} is not among those its header names")
    if how == "delta4":
        return _changed(path, arrays, facts, base, rename)
    found: dict[str, Floats] = {}
    for name, shape in shapes.items():
        value = _array(path, arrays, name)
        if value.shape != shape:
            raise ContractError(f"{path}: tensor {name!r} has the shape {value.shape}, not {shape}")
        scaled = how == "int8" and not _is_vector(shape)
        decoded = _from_int8(path, name, arrays) if scaled else _from_half(path, name, value)
        found[rename(name)] = _finite(path, name, decoded)
    return found


# Shapes and checks ------------------------------------------------------------------------------------


def _is_vector(shape: tuple[int, ...]) -> bool:
    return math.prod(shape) == 0 or sum(size > 1 for size in shape) <= 1


def _rows(shape: tuple[int, ...]) -> int:
    """Number of rows of a tensor that is no vector."""
    return next(size for size in shape if size > 1)


def _floats(name: str, value: Any) -> Floats:
    array = np.asarray(value)
    if array.dtype.kind != "f":
        raise ContractError(f"tensor {name!r} is of {array.dtype}, not of floats: leave it out")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
    if not np.isfinite(array).all():
        raise ContractError(f"tensor {name!r} holds values that are not finite")
    return array


def _counterpart(name: str, shape: tuple[int, ...], base: Mapping[str, Any] | None) -> Floats:
    if base is None or name not in base:
        raise ContractError(f"tensor {name!r} is not in the base: a difference needs one")
    under = _floats(name, base[name])
    if under.shape != shape:
        raise ContractError(f"tensor {name!r} has the shape {under.shape} in the base, here {shape}")
    return under


def _fingerprint(tensors: Mapping[str, Floats]) -> str:
    """Hash of float32 tensors with their names."""
    whole = hashlib.sha256()
    for name in sorted(tensors):
        whole.update(f"{name}{tensors[name].shape}".encode())
        whole.update(np.ascontiguousarray(tensors[name], dtype="<f4").tobytes())
    return whole.hexdigest()[:32]


# Writing --------------------------------------------------------------------------------------------


def _half(name: str, exact: Floats) -> Array:
    if exact.size and float(np.abs(exact).max()) > _LARGEST:
        raise ContractError(f"tensor {name!r} holds values beyond {_LARGEST:.0f}, the largest half float")
    return exact.astype(np.float16)


def _int8(name: str, exact: Floats) -> dict[str, Array]:
    rows = exact.reshape(_rows(exact.shape), -1)
    wanted = np.abs(rows).max(axis=1) / np.float32(127)
    scale = _half(name + SCALE, wanted)
    low = scale.astype(np.float32) < wanted  # rounded up, so that the largest weight still fits
    scale[low] = np.nextafter(scale[low], np.float16(np.inf))
    steps = np.where(scale == 0, 1, scale.astype(np.float32))[:, None]
    whole = np.clip(np.rint(rows / steps), -127, 127).astype(np.int8)
    return {name: whole.reshape(exact.shape), name + SCALE: scale}


def _delta4(name: str, difference: Floats) -> dict[str, Array]:
    if _is_vector(difference.shape):
        return {name: _half(name, difference)}
    groups = _padded(difference.ravel(), GROUP).reshape(-1, GROUP)
    largest = groups[np.arange(len(groups)), np.abs(groups).argmax(axis=1)][:, None]
    _half(name + SCALE, largest)  # must fit
    best = np.zeros_like(largest)
    least = np.square(groups).sum(axis=1, keepdims=True)
    for clip in _CLIPS:
        for end in (7, -8):  # the largest difference lies at either end of the range
            scale = (largest * np.float32(clip / end)).astype(np.float16).astype(np.float32)
            error = np.square(groups - _levels(groups, scale) * scale).sum(axis=1, keepdims=True)
            better = error < least
            least, best = np.where(better, error, least), np.where(better, scale, best)
    levels = (_levels(groups, best).ravel() + 8).astype(np.uint8)[: difference.size + difference.size % 2]
    return {name: levels[0::2] | levels[1::2] << 4, name + SCALE: best.ravel().astype(np.float16)}


def _levels(groups: Floats, scale: Floats) -> Floats:
    """Nearest of -8..7 for each value over its group's scale."""
    return np.clip(np.rint(groups / np.where(scale == 0, np.float32(1), scale)), -8, 7)


def _padded(flat: Floats, group: int) -> Floats:
    return np.concatenate([flat, np.zeros(-flat.size % group, np.float32)])


# Reading --------------------------------------------------------------------------------------------


def _read(path: Path) -> tuple[dict[str, Array], dict[str, Any] | None]:
    """Arrays and checked facts of a file; no facts for a file that is not ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            text = (file.metadata() or {}).get(_META)
    except (SafetensorError, TypeError, KeyError, AttributeError) as broken:
        raise ContractError(f"{path} is not a safetensors file that can be read: {broken}") from broken
    if text is None:
        return arrays, None
    try:
        facts = json.loads(text)
        how = facts["how"]
        shapes = {str(name): _shape(sizes) for name, sizes in facts["tensors"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as broken:
        raise ContractError(f"{path}: its header does not say what it holds: {broken!r}") from broken
    if how not in HOWS:
        raise ContractError(f"{path}: unknown way of storing {how!r}; known: {', '.join(HOWS)}")
    return arrays, {"how": how, "tensors": shapes, "base": facts.get("base")}


def _shape(sizes: Any) -> tuple[int, ...]:
    found = tuple(sizes)
    if any(type(size) is not int or size < 0 for size in found):
        raise ValueError(f"{sizes!r} is not a shape")
    return found


def _array(path: Path, arrays: Mapping[str, Array], name: str) -> Array:
    if name not in arrays:
        raise ContractError(f"{path}: tensor {name!r} is missing")
    return arrays[name]


def _scales(path: Path, arrays: Mapping[str, Array], name: str, count: int) -> Floats:
    scale = _array(path, arrays, name + SCALE)
    if scale.dtype != np.float16 or scale.shape != (count,):
        raise ContractError(
            f"{path}: tensor {name + SCALE!r} is {scale.dtype} {scale.shape}, not float16 {(count,)}"
        )
    return scale.astype(np.float32)


def _finite(path: Path, name: str, decoded: Floats) -> Floats:
    if not np.isfinite(decoded).all():
        raise ContractError(f"{path}: tensor {name!r} holds values that are not finite")
    return decoded


def _from_half(path: Path, name: str, value: Array) -> Floats:
    if value.dtype.kind != "f":
        raise ContractError(f"{path}: tensor {name!r} is of {value.dtype}, not of floats")
    return _finite(path, name, value.astype(np.float32))


def _from_int8(path: Path, name: str, arrays: Mapping[str, Array]) -> Floats:
    whole = arrays[name]
    if whole.dtype != np.int8:
        raise ContractError(f"{path}: tensor {name!r} is of {whole.dtype}, not of int8")
    count = _rows(whole.shape)
    rows = whole.reshape(count, -1).astype(np.float32) * _scales(path, arrays, name, count)[:, None]
    return rows.reshape(whole.shape)


def _changed(
    path: Path,
    arrays: Mapping[str, Array],
    facts: Mapping[str, Any],
    base: Mapping[str, Floats] | None,
    rename: Callable[[str], str],
) -> dict[str, Floats]:
    """Base tensors of a `delta4` file with its differences added."""
    under: dict[str, Floats] = {}
    for name, shape in facts["tensors"].items():
        if base is None or rename(name) not in base:
            raise ContractError(f"{path}: tensor {name!r} changes {rename(name)!r}, which the base lacks")
        under[name] = base[rename(name)]
        if under[name].shape != shape:
            raise ContractError(f"{path}: tensor {name!r} is {shape}, in the base {under[name].shape}")
    if _fingerprint(under) != facts["base"]:
        first = next(iter(under), "")
        raise ContractError(f"{path}: its base is other weights (tensor {first!r} and others)")
    found: dict[str, Floats] = {}
    for name, tensor in under.items():
        if name not in arrays:
            found[rename(name)] = tensor
            continue
        decoded = tensor + _difference(path, name, arrays, tensor.shape)
        found[rename(name)] = _finite(path, name, decoded)
    return found


def _difference(path: Path, name: str, arrays: Mapping[str, Array], shape: tuple[int, ...]) -> Floats:
    value, size = arrays[name], math.prod(shape)
    if _is_vector(shape):
        if value.shape != shape:
            raise ContractError(f"{path}: tensor {name!r} has the shape {value.shape}, not {shape}")
        return _from_half(path, name, value)
    if value.dtype != np.uint8 or value.shape != ((size + 1) // 2,):
        raise ContractError(f"{path}: tensor {name!r} is {value.dtype} {value.shape}, not packed {shape}")
    levels = np.stack([value & 15, value >> 4], axis=1).ravel()[:size].astype(np.float32) - 8
    count = -(-size // GROUP)
    scales = np.repeat(_scales(path, arrays, name, count), GROUP)[:size]
    return (levels * scales).reshape(shape)
