"""Read the operations and weights of an ONNX file, without the package `onnx`.

An ONNX file is one protobuf message; field numbers are those of onnx.proto (ONNX 1.x): a model's graph is 7,
its metadata 14; a graph's nodes are 1, its initializers 5; a node's inputs, outputs, type and attributes are
1, 2, 4 and 5. Only what PaddlePaddle's exporter writes is read: initializers with raw bytes, and attributes
that are one whole number, one float or a list of whole numbers.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.errors import UsageError

_KINDS: Mapping[int, type[np.generic]] = {1: np.float32, 6: np.int32, 7: np.int64}
"""TensorProto.DataType of what is read."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation: its type, and names of what it takes and makes."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A graph in order of computation.

    Attributes:
        weights: initializers by name.
        facts: metadata, text by name.
    """

    nodes: tuple[Node, ...]
    weights: Mapping[str, NDArray[np.generic]]
    facts: Mapping[str, str]


def read_onnx(path: Path) -> OnnxFile:
    """The graph in a file.

    Raises:
        UsageError: if it is no such file.
    """
    try:
        message = list(_fields(path.read_bytes()))
        graph = next(value for number, value in message if number == 7)
        nodes: list[Node] = []
        weights: dict[str, NDArray[np.generic]] = {}
        for number, value in _fields(_bytes(graph)):
            if number == 1:
                nodes.append(_node(_bytes(value)))
            elif number == 5:
                name, tensor = _tensor(_bytes(value))
                weights[name] = tensor
        facts = (dict(_fields(_bytes(value))) for number, value in message if number == 14)
        told = {_text(fact[1]): _text(fact.get(2, b"")) for fact in facts}
    except (ValueError, IndexError, KeyError, StopIteration, OSError, struct.error) as broken:
        raise UsageError(f"{path}: cannot be read as an ONNX file ({broken!r})") from broken
    return OnnxFile(tuple(nodes), weights, told)


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Numbers and values of a message's fields: bytes, or a whole number."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            whole, at = _varint(data, at)
            yield number, whole
            continue
        if wire == 2:
            size, at = _varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + size > len(data):
            raise ValueError("cut off")
        yield number, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return found, at


def _node(data: bytes) -> Node:
    inputs: list[str] = []
    outputs: list[str] = []
    kind = ""
    for number, value in _fields(data):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            kind = _text(value)
    return Node(kind, tuple(inputs), tuple(outputs))


def _tensor(data: bytes) -> tuple[str, NDArray[np.generic]]:
    """Name and values of an initializer; one without raw bytes (a scalar constant) is empty."""
    shape: list[int] = []
    name, raw, kind = "", b"", 1
    for number, value in _fields(data):
        if number == 1:
            shape += [value] if isinstance(value, int) else list(_packed(value))
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = _text(value)
        elif number == 9:
            raw = _bytes(value)
    if not raw or kind not in _KINDS:
        return name, np.zeros(0, np.float32)
    return name, np.frombuffer(raw, _KINDS[kind]).reshape(shape)


def _packed(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        found, at = _varint(data, at)
        yield found


def _bytes(value: bytes | int) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number where a message should be")
    return value


def _text(value: bytes | int) -> str:
    return _bytes(value).decode("utf-8")
