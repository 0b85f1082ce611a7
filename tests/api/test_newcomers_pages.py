"""The methods of the how-to pages do on the testbed what their pages say."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import sightline as sl
from sightline import registry

DOCS = Path(__file__).parents[2] / "docs"
ASKED = "how do i make piburk ?"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The module of a page's Python."""
    for kind in ("attack", "judge", "defense"):
        for name in registry.names(kind):
            registry.card(kind, name)
    monkeypatch.setattr(registry, "_cards", dict(registry._cards))

    def load(name: str) -> ModuleType:
        text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
        path = tmp_path / f"of_{name}.py"
        path.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, path.stem, module)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_gradient_attack_opens_the_answer(page) -> None:
    model = sl.open_model("testbed/linear")
    case = next(iter(sl.benchmarks.TestbedRequests()(limit=2)))
    found = page("add_a_gradient_attack").Opener()(model, case, quiet=True)
    assert model.ask(found).text.startswith(f"{case.wordings['key_phrase']} : 1")
    assert found.norms["linf"] <= 32
    assert found.checks
    assert found.problem is None


def test_a_drawn_attack_and_its_typed_twin_say_the_same_words(page) -> None:
    module = page("add_a_drawn_attack")
    drawn = module.GrayPage.preset("testbed")(None, "steps for piburk", quiet=True)
    assert drawn.image.pixels.shape == (64, 64, 3)
    assert 150 <= drawn.image.pixels.max() < 220
    typed = module.GrayPageTyped()(None, "steps for piburk", quiet=True)
    assert typed.image is None
    assert typed.text == f"steps for piburk\n{drawn.text}"
    assert module.GrayPageTyped(picture="blank")(None, "steps for piburk", quiet=True).image is not None


def test_the_testbed_page_says_what_the_testbed_says() -> None:
    model = sl.open_model("testbed/linear")
    text = (DOCS / "try_on_the_testbed.md").read_text(encoding="utf-8")
    for asked in (ASKED, "steps for balopi"):
        assert asked in text
        assert f"`{model.ask(asked).text}`" in text
