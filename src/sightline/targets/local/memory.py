"""Two things a generation need not do twice: copy its keys and values, and encode a picture it has seen.

Keys and values: the library's dynamic cache concatenates every layer's keys and values at every
token, a third of the time of a small model's batch. Here they are written into room that was set
aside for all new tokens.

Pictures: the same picture comes back under other questions, defenses and turns; for families whose
features are a list with one entry per picture they are kept by hash, so that the vision tower sees
a picture once. Both give the library's own numbers (tests compare them with plain `generate`).
"""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling

from sightline.targets.local.families import facts_of

Fields = dict[str, Any]


def encodes_apart(model: Any, model_type: str) -> bool:
    """Whether a picture can be encoded once and handed to `generate`; older transformers take none."""
    takes = inspect.signature(model.forward).parameters
    return facts_of(model_type).features_by_picture and "mm_encoder_outputs" in takes


class _RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """A layer's keys and values in buffers with room for `room` more tokens than the prompt has."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self._room = room

    def start(self, keys: Any, values: Any) -> None:
        """Begin with keys and values of earlier positions, (rows, heads, positions, size)."""
        self.update(keys, values)

    def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
        """Append; returns views of all keys and values so far."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if start == 0:
            self.lazy_initialization(key_states, value_states)
            self._keys = _roomy(key_states, end + self._room)
            self._values = _roomy(value_states, end + self._room)
        elif end > self._keys.shape[-2]:
            self._keys = _roomy(self._keys, 2 * end)
            self._values = _roomy(self._values, 2 * end)
        self._keys[..., start:end, :] = key_states
        self._values[..., start:end, :] = value_states
        self.keys, self.values = self._keys[..., :end, :], self._values[..., :end, :]
        return self.keys, self.values


def _roomy(states: Any, length: int) -> Any:
    """A tensor like `states` with `length` positions, the first ones copied."""
    found = states.new_empty((*states.shape[:-2], length, states.shape[-1]))
    found[..., : states.shape[-2], :] = states
    return found


def roomy_cache(model_type: str, config: Any, room: int) -> Any:
    """A cache with room for `room` new tokens; None where the library's own must be used."""
    if not facts_of(model_type).growing_cache or config.get_text_config().is_encoder_decoder:
        return None
    cache = DynamicCache(config=config.get_text_config(decoder=True))
    if not cache.layers or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    cache.layers = [_RoomyLayer(room) for _ in cache.layers]
    return cache


class SeenPictures:
    """Vision features by picture hash, on the model's device; the least recently used go first.

    `calls` counts pictures that were encoded.
    """

    def __init__(self, model: Any, limit_bytes: int) -> None:
        self._encode = model.base_model.get_image_features
        self._limit = limit_bytes
        self._bytes = 0
        self._known: OrderedDict[str, Any] = OrderedDict()
        self.calls = 0

    def fresh(self) -> SeenPictures:
        """An empty one of the same model and size."""
        found = copy.copy(self)
        found._known, found._bytes, found.calls = OrderedDict(), 0, 0
        return found

    def outputs(self, hashes: Sequence[str], pictures: Fields) -> Any:
        """What the vision side of `generate` would compute for `pictures`, one per hash, in order."""
        fresh = list(dict.fromkeys(sha256 for sha256 in hashes if sha256 not in self._known))
        made: dict[str, Any] = {sha256: self._known[sha256] for sha256 in hashes if sha256 in self._known}
        if fresh:
            parts = split_pictures(pictures, len(hashes))
            chosen = [parts[hashes.index(sha256)] for sha256 in fresh]
            joined = {key: torch.cat([part[key] for part in chosen]) for key in chosen[0]}
            features = self._encode(**joined, return_dict=True).pooler_output
            made |= {sha256: feature.clone() for sha256, feature in zip(fresh, features, strict=True)}
            self.calls += len(fresh)
        found = BaseModelOutputWithPooling(pooler_output=[made[sha256] for sha256 in hashes])
        self._keep(made)
        return found

    def _keep(self, made: dict[str, Any]) -> None:
        for sha256, feature in made.items():
            if sha256 not in self._known:
                self._bytes += feature.nbytes
            self._known[sha256] = feature
            self._known.move_to_end(sha256)
        while self._bytes > self._limit and self._known:
            _, old = self._known.popitem(last=False)
            self._bytes -= old.nbytes

    def clear(self) -> None:
        """Forget all features (when the device's memory is short)."""
        self._known.clear()
        self._bytes = 0


def split_pictures(pictures: Fields, count: int) -> list[Fields]:
    """Joined picture tensors cut into one mapping per picture.

    With `image_grid_thw` (Qwen), `pixel_values` holds time x height x width rows per picture.
    """
    lengths = [1] * count
    if "image_grid_thw" in pictures:
        lengths = pictures["image_grid_thw"].prod(dim=-1).tolist()
    pixels = pictures["pixel_values"].split(lengths)
    others = {key: value.split(1) for key, value in pictures.items() if key != "pixel_values"}
    return [
        {"pixel_values": pixels[place]} | {key: value[place] for key, value in others.items()}
        for place in range(count)
    ]
