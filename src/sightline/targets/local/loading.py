"""Weights from a model folder, all of them and all finite, or one sentence that says what is wrong there.

A folder is foreign: its configuration may describe another model than its files hold, name an attention that
is fetched from the hub, or be of shapes that no memory takes. What is loaded is what the files hold.
"""

from __future__ import annotations

import copy
import importlib
import re
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoConfig

from sightline.errors import UsageError
from sightline.targets.local.processors import first_line, quiet

LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_CURE = "take the folder from where it was saved, whole"
#: what of a configuration says how often something is built
_REPEATED = re.compile(r"num_(hidden_)?layers|n_layers?|(en|de)coder_layers|depths?")
#: most parameters and buffers per byte of the files: four bits each, and tied weights that are built twice
_PER_BYTE = 4
_SMALL = 1_000_000

#: a configuration of our own, which transformers does not know until its module is imported
_OURS = '"sightline_reader"'

_loaded: weakref.WeakValueDictionary[tuple[str, ...], Any] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


@contextmanager
def one_sentence(folder: Path, what: str) -> Iterator[None]:
    """Whatever fails while a foreign folder is loaded becomes a UsageError: `FOLDER: WHAT: reason`.

    The libraries that read it raise what they like: KeyError, TypeError, SafetensorError, a bare Exception.
    """
    try:
        with quiet():
            yield
    except UsageError:
        raise
    except torch.OutOfMemoryError as full:
        raise UsageError(f"{folder}: {what}: {first_line(full)}") from None
    except Exception as broken:
        raise UsageError(f"{folder}: {what}: {first_line(broken)}") from broken


def load_config(folder: Path, kind: Any = AutoConfig) -> Any:
    """The configuration in a folder, read by the class `kind`, without the attention that it may name.

    Raises:
        UsageError: if there is none that can be read.
    """
    with one_sentence(folder, "its config.json cannot be read"):
        if _OURS in (folder / "config.json").read_text("utf-8"):
            importlib.import_module("sightline.testbed.smol.eyes.tower")
        config = kind.from_pretrained(folder, **LOCAL)
        config._attn_implementation = None  # also of its parts: the library's own choice
        return config


def load_weights(kind: Any, folder: Path, what: str, *, dtype: str, device: str, config: Any) -> Any:
    """A model of the class `kind` with the weights in `folder`, on `device`.

    Args:
        kind: a model class of transformers.
        folder: where config.json and the safetensors are.
        what: what it is loaded as, for messages.
        dtype: name of the number format.
        device: where it is to run.
        config: from `load_config`.

    Raises:
        UsageError: if the folder cannot be loaded, or weights are missing, of another shape, or not finite.
    """
    with one_sentence(folder, f"cannot be loaded as {what}"):
        described(kind, folder, config)
        model, loading = kind.from_pretrained(
            folder,
            config=config,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # they are told below, by name
            output_loading_info=True,
            **LOCAL,
        )
        other = {name for name, *_ in loading["mismatched_keys"]}
        absent = sorted(other.union(loading["missing_keys"]))
        if absent:
            raise UsageError(
                f"{folder}: {len(absent)} weights of {type(model).__name__} are not in the files "
                f"({len(other)} have another shape there), such as {absent[0]}: what it does would be left "
                f"to chance; {_CURE}"
            )
        model = model.to(device)
        damaged = list(_not_finite(model.state_dict().items()))
    if damaged:
        raise UsageError(
            f"{folder}: {len(damaged)} weights are not finite (NaN or infinite) in {dtype}, such as "
            f"{damaged[0]}: its answers would mean nothing; {_CURE}"
        )
    return model


def shared_model(
    kind: Any, folder: Path, what: str, *, digest: str, dtype: str, device: str, config: Any
) -> Any:
    """As `load_weights`; weights that are in memory already are not loaded again.

    `digest` names the weights. Every caller gets a model of its own, as `same_weights` makes it; when the
    last one is dropped, the weights are.
    """
    key = (str(kind.__name__), digest, dtype, device)
    with _sharing:
        first = _loaded.get(key)
        if first is None:
            with torch.inference_mode(False):
                first = load_weights(kind, folder, what, dtype=dtype, device=device, config=config)
            _loaded[key] = first
        return same_weights(first)


def same_weights(model: Any) -> Any:
    """A frozen model with modules and settings of its own, whose weights are those of the given one.

    What is done to its modules, and to whether its weights want a gradient, leaves the given model alone.
    """
    with torch.inference_mode(False):
        memo: dict[int, Any] = {
            id(weight): torch.nn.Parameter(weight.detach(), requires_grad=False)
            for weight in model.parameters()
            if type(weight) is torch.nn.Parameter
        }
        found = copy.deepcopy(model, memo).eval().requires_grad_(False)
    vars(found)["_weights_of"] = model  # no submodule: only keeps it from being dropped
    return found


def _not_finite(weights: Iterable[tuple[str, Any]]) -> Iterator[str]:
    """Names of those that hold a NaN or an infinity; one pass over each, without a copy."""
    for name, weight in weights:
        plain = weight.is_floating_point() and weight.numel() and weight.element_size() > 1
        if plain and not bool(torch.stack(torch.aminmax(weight)).isfinite().all()):
            yield name


def described(kind: Any, folder: Path, config: Any) -> Any:
    """The model that a configuration describes, without weights.

    Raises:
        UsageError: if that is far more than the files hold, before anything of it is built.
    """
    files = list(folder.glob("*.safetensors"))
    tensors, size = 0, sum(path.stat().st_size for path in files)
    quantized = getattr(config, "quantization_config", None) is not None
    for path in files:
        with one_sentence(path, "not a whole safetensors file"), safe_open(path, "pt") as file:
            names = file.keys()
            tensors += len(names)
            odd = [] if quantized else [name for name in names if _is_no_number_format(file, name)]
        if odd:
            raise UsageError(
                f"{path}: {len(odd)} weights are stored as {_stored_as(path, odd[0])}, such as {odd[0]}, "
                f"though config.json names no quantization: read as numbers they would mean nothing; {_CURE}"
            )
    most = max((count for count in _repeated(config.to_dict())), default=0)
    if most > tensors:
        raise UsageError(
            f"{folder}: config.json describes {most:,} layers, the files hold {tensors:,} tensors; {_CURE}"
        )
    build = getattr(kind, "_from_config", None) or kind.from_config
    with torch.device("meta"):
        model = build(config)
    numbers = sum(value.numel() for value in (*model.parameters(), *model.buffers()))
    if numbers > _PER_BYTE * size + _SMALL:
        raise UsageError(
            f"{folder}: config.json describes {numbers:,} numbers, the files hold {size:,} bytes; {_CURE}"
        )
    return model


def _stored_as(path: Path, name: str) -> str:
    with safe_open(path, "pt") as file:
        return str(file.get_slice(name).get_dtype())


def _is_no_number_format(file: Any, name: str) -> bool:
    """Whether a weight is stored as whole numbers, truth values or complex numbers."""
    return name.endswith(".weight") and not str(file.get_slice(name).get_dtype()).startswith(("F", "BF"))


def _repeated(plain: Any) -> Iterator[int]:
    """Numbers of layers in a configuration, at any depth."""
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from _repeated(value)
        elif isinstance(value, int) and _REPEATED.fullmatch(str(key)):
            yield value
        elif isinstance(value, list) and _REPEATED.fullmatch(str(key)):
            yield from (each for each in value if isinstance(each, int))
