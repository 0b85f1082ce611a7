"""What one Python file says, apart from comments and docstrings: a digest, its imports, its data files.

The digest is of the syntax tree, so that neither layout nor a Python version's way to print it counts.
Nothing is imported to find out.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DATA = "DATA"
"""Name of the module-level tuple of the data files beside a module, or of patterns such as `lists/*.yaml`."""

_NO_MEANING = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


@dataclass(frozen=True, slots=True)
class Import:
    """A module that a file names.

    Attributes:
        module: as written; '' for `from . import name`.
        name: what is taken from it; '' for the module itself, '*' for everything in a package.
        level: dots in front of a relative import.
    """

    module: str
    name: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class ModuleSource:
    """A file as it is compiled.

    Attributes:
        digest: of the syntax tree without docstrings and without what only type checkers read.
        imports: at the top, in functions, and by `import_module` with a literal name.
        data: patterns of the data files that it declares, relative to its folder.
        unresolved: lines of `import_module` calls whose module cannot be read off the text.
    """

    digest: str
    imports: tuple[Import, ...]
    data: tuple[str, ...]
    unresolved: tuple[int, ...] = ()


def read_source(text: bytes | str) -> ModuleSource:
    """Analyze the text of a module.

    What is imported for type checkers alone counts in a package that exports names lazily (module-level
    `__getattr__`): these are the names that it exports.

    Raises:
        SyntaxError: if it is no Python.
    """
    tree = ast.parse(text)
    lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
    found = _Reading()
    found.read(tree)
    imports = found.imports + (found.for_checkers if lazy else found.by_pattern)
    data = [pattern for node in tree.body for pattern in _data_of(node)]
    return ModuleSource(
        digest=hashlib.blake2b("\0".join(found.said).encode("utf-8", "replace"), digest_size=16).hexdigest(),
        imports=tuple(dict.fromkeys(imports)),
        data=tuple(dict.fromkeys(data + found.data)),
        unresolved=() if lazy else tuple(found.unresolved),
    )


class _Reading:
    """One walk over a syntax tree. `said` is a flat form of it: equal only for trees that compile alike."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.imports: list[Import] = []
        self.for_checkers: list[Import] = []
        self.by_pattern: list[Import] = []
        self.data: list[str] = []
        self.unresolved: list[int] = []

    def read(self, node: ast.AST) -> None:
        kind = type(node)
        if kind is ast.Import or kind is ast.ImportFrom:
            self.imports += _imported(node)
        elif kind is ast.Call:
            self._called(node)
        elif kind is ast.ClassDef:
            self.data += _data_of_decorators(node)
        self.said.append(kind.__name__)
        for name in node._fields:
            child = getattr(node, name, None)
            if child is None or name in _NO_MEANING:
                continue
            self.said.append(name)
            if isinstance(child, ast.AST):
                self.read(child)
            elif isinstance(child, list):
                self._read_all(child)
            else:
                self.said.append(repr(child))
        self.said.append(")")

    def _read_all(self, nodes: list[Any]) -> None:
        self.said.append("[")
        for node in nodes:
            if _is_for_checkers(node):
                self.for_checkers += [each for inner in ast.walk(node) for each in _imported(inner)]
                self._read_all(node.orelse)
            elif isinstance(node, ast.AST):
                if not _is_docstring(node):
                    self.read(node)
            else:
                self.said.append(repr(node))
        self.said.append("]")

    def _called(self, call: Any) -> None:
        function = call.func
        if (function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")) != (
            "import_module"
        ):
            return
        found = _literal_module(call.args[0] if call.args else None)
        if found is None:
            self.unresolved.append(call.lineno)
        else:
            (self.by_pattern if found.name else self.imports).append(found)


def _is_docstring(node: ast.AST) -> bool:
    """Whether a statement is a bare string: a docstring, also one under a constant."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _is_for_checkers(node: Any) -> bool:
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return getattr(test, "id", getattr(test, "attr", "")) == "TYPE_CHECKING"


def _imported(node: Any) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(alias.name) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (Import(node.module or "", alias.name, node.level) for alias in node.names)


def _literal_module(name: ast.expr | None) -> Import | None:
    """What `import_module` names: a module, or every module of a package for `f"package.{name}"`."""
    if isinstance(name, ast.Constant) and isinstance(name.value, str):
        return Import(name.value)
    if isinstance(name, ast.JoinedStr) and isinstance(name.values[0], ast.Constant):
        package, dot, rest = str(name.values[0].value).rpartition(".")
        return Import(package, "*") if dot and not rest else None
    return None


def _data_of(node: ast.stmt) -> Iterator[str]:
    """Patterns in `DATA = (...)`."""
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    if isinstance(target, ast.Name) and target.id == DATA:
        yield from _strings(getattr(node, "value", None))


def _data_of_decorators(node: Any) -> Iterator[str]:
    """Patterns in `data=(...)` of a decorator that registers a method."""
    for decorator in node.decorator_list:
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg == "data":
                yield from _strings(keyword.value)


def _strings(node: ast.expr | None) -> Iterator[str]:
    elements = node.elts if isinstance(node, ast.Tuple | ast.List) else ()
    yield from (str(each.value) for each in elements if isinstance(each, ast.Constant))
