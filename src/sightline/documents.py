"""YAML that others wrote, within bounds: bytes, depth, values with aliases written out, 64-bit integers.

A file of a few hundred bytes can stand for more values than memory holds, or nest deeper than Python's stack.
Here it is one sentence with file and line, before anything is built from it.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from sightline.errors import DamageError, UsageError

MOST_STUDY_BYTES = 500_000
MOST_BYTES = 2_000_000
"""Of any text: a lock holds the text of its study, a script whole replies."""
MOST_NODES = 20_000
MOST_VALUES = 200_000
DEEPEST = 50
_INTEGER = "tag:yaml.org,2002:int"


class Document(NamedTuple):
    """A YAML document as plain values, and as nodes that know their lines; both None for an empty one."""

    plain: Any
    root: yaml.Node | None


class _Loader(yaml.SafeLoader):
    """Composes nodes no deeper than `DEEPEST`, and no more than `MOST_NODES`."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._nodes += 1
        if self._nodes > MOST_NODES:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_NODES:,} values", problem_mark=mark)
        if self._depth > DEEPEST:
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem=f"more than {DEEPEST} levels stand in each other", problem_mark=mark
            )
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def read_document(text: str, name: str) -> Document:
    """The YAML document of `text`; `name` is what a complaint calls it.

    Raises:
        UsageError: with `name`, line and cause, for what is no YAML or out of bounds.
    """
    if len(text) > MOST_BYTES:
        raise UsageError(f"{name}: {len(text):,} characters are too many; at most {MOST_BYTES:,} are read")
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return Document(None, None)
        _measure(root, name, {}, ())
        return Document(loader.construct_document(root), root)
    except yaml.MarkedYAMLError as broken:
        mark = broken.problem_mark or broken.context_mark
        line = mark.line + 1 if mark else 1
        raise UsageError(f"{name}:{line}: not valid YAML: {broken.problem or broken.context}") from None
    except UsageError:
        raise
    except Exception as broken:  # PyYAML raises almost anything over `!!int abc` or the date 2024-13-45
        what = " ".join(str(broken).split())[:300] or type(broken).__name__
        raise UsageError(f"{name}:1: not valid YAML: {what}") from None


def refuse_special(path: Path, cure: str) -> None:
    """Make sure that a file, if it is there, is one on a disk: reading a pipe or a device may never end.

    Raises:
        DamageError: for a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # absent, or no name at all: whoever reads it tells
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise DamageError(path, f"is {kind} and no regular file", cure)


def read_text(path: Path, most: int = MOST_STUDY_BYTES) -> str:
    """The text of a YAML file; of a longer one than `most` bytes no more than that is read.

    Raises:
        OSError: if the file cannot be read.
        UsageError: if it is too long, or no UTF-8.
    """
    refuse_special(path, "name a regular file")
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"{path}: more than the {most:,} bytes that are read of such a file")
    try:
        return data.decode()
    except UnicodeDecodeError as unfit:
        raise UsageError(f"{path}: cannot be read: not UTF-8 (byte {unfit.start:,})") from None


def read_yaml(text: str, name: str) -> Any:
    """The plain values of a YAML document. Raises UsageError as `read_document`."""
    return read_document(text, name).plain


def _measure(node: yaml.Node, name: str, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values a node stands for, aliases written out; each node is looked into once.

    Raises:
        UsageError: for too many, for an alias inside of what it names, and for an integer beyond 64 bits.
    """
    where = f"{name}:{node.start_mark.line + 1}"
    if id(node) in above:
        raise UsageError(f"{where}: an alias stands inside of what it names; write the value out")
    if id(node) not in sizes:
        inside = _children(node)
        if node.tag == _INTEGER and not _is_64_bits(node.value):
            raise UsageError(
                f"{where}: {node.value[:24]} is no number of at most 64 bits; write a smaller one"
            )
        sizes[id(node)] = 1 + sum(_measure(child, name, sizes, (*above, id(node))) for child in inside)
    if sizes[id(node)] > MOST_VALUES:
        raise UsageError(
            f"{where}: with its aliases written out it stands for more than {MOST_VALUES:,} values"
        )
    return sizes[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _is_64_bits(text: str) -> bool:
    """Whether an integer as YAML 1.1 writes it (`12`, `1_000`, `0x1f`, `190:20:30`) fits into 64 bits."""
    if len(text) > 72:
        return False
    value = yaml.SafeLoader("").construct_yaml_int(yaml.ScalarNode(_INTEGER, text))
    return -(2**63) <= value < 2**64
