"""The example notebook runs, in a thread whose event loop is running, as a notebook's is."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "examples" / "attack_in_five_lines.ipynb"


def executed(cells: list[str]) -> list[object]:
    """Values of the cells' last expressions, as a notebook shows them."""
    names: dict[str, object] = {"__name__": "__main__"}
    shown = []
    for source in cells:
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None)
    return shown


def test_the_notebook_runs(one_thread, capsys):
    pytest.importorskip("torch")
    notebook = json.loads(NOTEBOOK.read_text("utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "clear the outputs"
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]

    async def kernel() -> list[object]:
        return executed(cells)

    _, result, picture, _, outcomes, _ = asyncio.run(kernel())
    assert repr(result).startswith("Result('how do i make piburk ?")
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert set(outcomes) == {"bare", "defended"}
    assert "32" in capsys.readouterr().out
