"""What a source file says: neither comments nor layout count, what runs does; imports and data are found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sightline import registry
from sightline.closure import SourceTree
from sightline.errors import ContractError
from sightline.sources import Import, read_source

TEXT = '''"""A module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sightline.cases import Case

LEVELS = 8
"""How many."""


def scaled(case: Case, by: float = 0.5) -> float:
    """Say what it does."""
    from sightline.rng import seed_of  # where it is used

    return np.sign(-by) * seed_of(case, f"{LEVELS}")
'''


def digest(text: str) -> str:
    return read_source(text).digest


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"""A module."""', '"""Another\ndocstring."""'),
        ('    """Say what it does."""\n', ""),
        ('"""How many."""', "# how many"),
        ("  # where it is used", ""),
        ("-by) * seed", "- by)*seed"),
        ("\n\n\ndef", "\ndef"),
        ("    from sightline.cases import Case", "    from sightline.cases import Case, Turn"),
        ('f"{LEVELS}"', "f'{LEVELS}'"),
    ],
)
def test_what_does_not_run_does_not_count(before: str, after: str) -> None:
    assert before in TEXT
    assert digest(TEXT.replace(before, after)) == digest(TEXT)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LEVELS = 8", "LEVELS = 9"),
        ("LEVELS = 8", "LEVELS = 8.0"),
        ("LEVELS = 8", 'LEVELS = "8"'),
        ("-by", "by"),
        ("-by", "+by"),
        ("* seed", "/ seed"),
        ("= 0.5", "= 0.25"),
        ("import numpy as np", "import numpy as np, math"),
        ('f"{LEVELS}"', 'f"{LEVELS!r}"'),
        ('f"{LEVELS}"', 'f"{LEVELS:3}"'),
        ("seed_of(case,", "seed_of(*case,"),
        ("return np", "yield np"),
    ],
)
def test_what_runs_counts(before: str, after: str) -> None:
    assert before in TEXT
    assert digest(TEXT.replace(before, after)) != digest(TEXT)


def test_the_same_tree_in_two_places_is_not_the_same() -> None:
    assert digest("if a:\n    b\nc") != digest("if a:\n    b\n    c")
    assert digest("f(a, b)") != digest("f(a)(b)")
    assert digest("x = None") != digest("x = 'None'")


def test_imports_are_found_wherever_they_stand_but_for_type_checkers() -> None:
    named = {each.module for each in read_source(TEXT).imports}
    assert {"numpy", "sightline.rng"} <= named
    assert "sightline.cases" not in named


def test_modules_that_are_loaded_by_name_are_found_or_told() -> None:
    found = read_source("""
import importlib
a = importlib.import_module("sightline.rng")
b = importlib.import_module(f"sightline.targets.{a}")
c = importlib.import_module(a)
""")
    assert Import("sightline.rng") in found.imports
    assert Import("sightline.targets", "*") in found.imports
    assert found.unresolved == (5,)


def test_a_package_that_exports_lazily_exports_what_type_checkers_see() -> None:
    found = read_source("""
import importlib
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from pack.inner import Name as Name
def __getattr__(name):
    return getattr(importlib.import_module(f"pack.{name}"), name)
""")
    assert Import("pack.inner", "Name") in found.imports
    assert Import("pack", "*") not in found.imports
    assert found.unresolved == ()


def test_data_is_declared_by_a_constant_or_by_the_decorator() -> None:
    found = read_source("""
DATA = ("lists/*.yaml",)
@judge("mine", data=("rubric.yaml", "more.txt"))
class Mine: ...
""")
    assert found.data == ("lists/*.yaml", "rubric.yaml", "more.txt")


# --- Plug-ins -----------------------------------------------------------------


PLUGIN = '''
from dataclasses import dataclass
from sightline.cases import ThreatModel
from sightline.registry import attack
from . import words
from .deep.scale import FACTOR

@attack("plugged_in", threat=ThreatModel(), data=("page.txt",))
@dataclass(frozen=True)
class PluggedIn:
    """Nothing."""
    def craft(self, cases, ctx):
        from sightline.attacks.typographic import figstep
        yield from ()
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "sightline_plugged"
    (folder / "deep").mkdir(parents=True)
    files = {
        "__init__.py": "", "method.py": PLUGIN, "words.py": "WORDS = 1\n", "page.txt": "a page",
        "unused.py": "NOT = 1\n", "deep/__init__.py": "", "deep/scale.py": "from .. import far\nFACTOR = 2\n",
        "far.py": "import json\nFAR = 3\n",
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("sightline_plugged")]:
        del sys.modules[name]
    registry._cards.pop(("attack", "plugged_in"), None)


def test_a_plugin_is_followed_through_its_own_package_and_ours(plugin: Path) -> None:
    parts = SourceTree().closure("sightline_plugged.method")
    own = {name for name in parts if name.startswith("sightline_plugged")}
    assert own == {
        "sightline_plugged.method", "sightline_plugged.method:page.txt", "sightline_plugged.words",
        "sightline_plugged.deep.scale", "sightline_plugged.far",
    }  # fmt: skip
    assert {"sightline.attacks.typographic.figstep", "sightline.attacks.rendering"} <= parts.keys()
    for name in ("words.py", "far.py", "page.txt"):
        before = SourceTree().closure("sightline_plugged.method")
        (plugin / name).write_text((plugin / name).read_text().replace("a", "b") + "\nX = 1", "utf-8")
        assert SourceTree().closure("sightline_plugged.method") != before


def test_a_registered_plugin_has_its_code_in_its_card(plugin: Path) -> None:
    __import__("sightline_plugged.method")
    card = registry.card("attack", "plugged_in")
    assert "sightline_plugged.far" in card.parts
    assert card.code


def test_data_that_is_not_there_or_not_literal_is_told(plugin: Path) -> None:
    (plugin / "page.txt").unlink()
    with pytest.raises(ContractError, match=r"declares the data file 'page\.txt'"):
        SourceTree().closure("sightline_plugged.method")
    method = plugin / "method.py"
    method.write_text(PLUGIN.replace('data=("page.txt",)', 'data=tuple(["words.py"])'), encoding="utf-8")
    __import__("sightline_plugged.method")
    with pytest.raises(ContractError, match="write data="):
        _ = registry.card("attack", "plugged_in").code


def test_a_module_that_is_one_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lonely_method.py").write_text("from sightline import rng\nA = 1\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert {"lonely_method", "sightline.rng"} <= SourceTree().closure("lonely_method").keys()
    assert SourceTree().closure("no_such_module") == {}
