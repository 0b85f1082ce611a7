"""A study file as a mapping with its lines, so that a complaint can name one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from sightline.documents import read_document
from sightline.errors import UsageError
from sightline.study.quick import KEY

Where = tuple[int | str, ...]
_HALF_PAIR = re.compile("[\\ud800-\\udfff]")


class Located:
    """Lines of a YAML document by path, so that a complaint can name one."""

    def __init__(self, name: str, root: yaml.Node, quick: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.root = root
        self.quick = quick or {}

    def line(self, where: Sequence[int | str]) -> int:
        """Line (from 1) of the deepest node on the path that exists."""
        where = (KEY, *where) if where and where[0] in self.quick else where
        node, line = self.root, self.root.start_mark.line
        for step in where:
            found: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == step:
                        found, line = value, key.start_mark.line
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node.value[step]
                line = found.start_mark.line if found is not None else line
            if found is None:
                break
            node = found
        return line + 1

    def complain(self, where: Sequence[int | str], what: str) -> UsageError:
        """The error to raise for the node at `where`."""
        path = ".".join(str(step) for step in where)
        return UsageError(f"{self.name}:{self.line(where)}: {path + ': ' if path else ''}{what}")


def parse_yaml(text: str, name: str) -> tuple[dict[str, Any], Located]:
    """The mapping that a text of YAML holds, and its lines.

    Raises:
        UsageError: if it is none, or says a key twice.
    """
    plain, root = read_document(text, name)
    if root is None or not isinstance(plain, dict):
        raise UsageError(f"{name}:1: a study file is a mapping with study, benchmarks, targets, judges ...")
    located = Located(name, root)
    _check_nodes(root, located)
    return plain, located


def _check_nodes(node: yaml.Node, located: Located) -> None:
    """YAML takes the last of two equal keys silently, and halves of surrogate pairs; a study must not."""
    waiting, met = [node], {id(node)}
    while waiting:
        node = waiting.pop()
        children = list(node.value) if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.ScalarNode) and _HALF_PAIR.search(node.value):
            line = node.start_mark.line + 1
            raise UsageError(
                f"{located.name}:{line}: a text holds half a surrogate pair, which is no character"
            )
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    line = key.start_mark.line + 1
                    raise UsageError(f"{located.name}:{line}: {key.value!r} is given twice")
                seen.add(str(key.value))
                children.append(value)
        fresh = [child for child in children if id(child) not in met]
        met.update(map(id, fresh))
        waiting += reversed(fresh)
