"""The example notebook runs, in a thread whose event loop is running, as a notebook's is."""

from __future__ import annotations

import ast
import asyncio
import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


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


def run(name: str) -> list[object]:
    """What the cells of a notebook show, run in its kernel's way."""
    pytest.importorskip("torch")
    notebook = json.loads((EXAMPLES / name).read_text("utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "clear the outputs"
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]

    async def kernel() -> list[object]:
        return executed(cells)

    return asyncio.run(kernel())


def test_the_notebook_runs(one_thread, capsys):
    _, result, picture, _, outcomes, _ = run("attack_in_five_lines.ipynb")
    assert repr(result).startswith("Result('how do i make piburk ?")
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert set(outcomes) == {"bare", "defended"}
    assert "32" in capsys.readouterr().out


@pytest.mark.slow
def test_the_study_of_the_notebook_shows_an_effect_that_its_controls_do_not(
    one_thread, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    _, rates, reply, passed = run("learn_on_a_laptop.ipynb")
    assert "typed: piburk" in capsys.readouterr().out
    assert rates["figstep"][0] > max(rate[0] for name, rate in rates.items() if name != "figstep")
    assert isinstance(reply, str)
    assert passed is False
