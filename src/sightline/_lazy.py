"""Names of a package that are imported when they are first used, so that importing the package stays cheap.

The package lists them once, as imports under `if TYPE_CHECKING:`, where type checkers and editors read them:

    if TYPE_CHECKING:
        from sightline.whitebox.constraints import LinfBall as LinfBall

    def __getattr__(name: str) -> Any:
        return getattr(importlib.import_module(_lazy.home(__name__, __file__, name)), name)
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path


@cache
def homes(file: str) -> Mapping[str, str]:
    """The module of each name that a package's file imports under `if TYPE_CHECKING:`."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    guarded = (node.body for node in tree.body if isinstance(node, ast.If) and _for_types(node.test))
    imports = (node for body in guarded for node in body if isinstance(node, ast.ImportFrom))
    return {alias.asname or alias.name: f"{node.module}" for node in imports for alias in node.names}


def home(package: str, file: str, name: str) -> str:
    """The module of a listed name, for the package's `__getattr__`.

    Raises:
        AttributeError: for any other name.
    """
    if name not in homes(file):
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    return homes(file)[name]


def _for_types(test: ast.expr) -> bool:
    return isinstance(test, ast.Name) and test.id == "TYPE_CHECKING"
