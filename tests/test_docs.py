"""Docs stay true: their Python runs, their links exist, the methods page is what the code says."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from sightline import cards, registry

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_to_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
@pytest.mark.slow
def test_code_in_docs_is_right(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in cards.KINDS:
        for name in registry.names(kind):
            registry.card(kind, name)  # ours are registered for good, whatever a page imports first
    monkeypatch.setattr(registry, "_cards", dict(registry._cards))  # what a page registers goes with it
    monkeypatch.chdir(tmp_path)
    for number, (language, code) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
        if language == "python":
            module = f"docs_{page.stem}_{number}"
            path = tmp_path / f"{module}.py"
            path.write_text(code, encoding="utf-8")
            spec = importlib.util.spec_from_file_location(module, path)
            assert spec is not None
            assert spec.loader is not None
            loaded = importlib.util.module_from_spec(spec)
            monkeypatch.setitem(sys.modules, module, loaded)
            spec.loader.exec_module(loaded)
        elif language == "yaml":
            yaml.safe_load(code)


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/add_*.md")), ids=name_of)
def test_how_to_pages_stay_short(page: Path) -> None:
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 50


def script(name: str) -> ModuleType:
    """A script of the docs folder as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_methods_page_is_what_the_code_says() -> None:
    written = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert written == script("write_methods").text(), "run `make docs-write`"


def test_a_trained_target_is_counted_by_label_seed_and_step():
    runs = [
        {"label": "sft", "base": "b", "seed": 1, "steps": 9, "target": "t9", "checkpoints": [[3, "t3"]]},
        {"label": "more", "base": "t9", "seed": 0, "steps": 2, "target": "u", "checkpoints": []},
    ]
    assert script("count_results").places({"trained": runs}) == {
        "b": ("base", "", "0"),
        "t3": ("sft", "1", "3"),
        "t9": ("sft", "1", "9"),
        "u": ("more", "0", "2"),
    }
    assert script("count_results").places({}) == {}


def test_taxonomy_page_is_what_the_crosswalk_says() -> None:
    written = (ROOT / "docs" / "taxonomy.md").read_text(encoding="utf-8")
    assert written == script("write_taxonomy").text(), "run `make docs-write`"


def test_study_file_page_is_what_the_schema_says() -> None:
    written = (ROOT / "docs" / "study_file.md").read_text(encoding="utf-8")
    assert written == script("write_study_file").text(), "run `make docs-write`"


def test_the_example_of_the_study_file_page_is_a_study() -> None:
    from sightline.study.config import parse

    example = script("write_study_file").HEAD.split("```yaml\n", 1)[1].split("```", 1)[0]
    study = parse(example)
    assert [column.label for column in study.attacks][:2] == ["none", "figstep"]
    assert parse(example, quickly=True).name == "every-section-quick"


def test_results_page_is_what_the_schema_says() -> None:
    written = (ROOT / "docs" / "results_table.md").read_text(encoding="utf-8")
    assert written == script("write_results").text(), "run `make docs-write`"


def test_testbed_page_is_what_the_cards_say() -> None:
    written = (ROOT / "docs" / "testbed.md").read_text(encoding="utf-8")
    assert written == script("write_testbed").page(written), "run `make docs-write`"


def test_ready_studies_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    from sightline.study.config import load

    monkeypatch.chdir(ROOT)  # states that defenses learned are named from there
    for path in (ROOT / "studies").glob("*.yaml"):
        assert load(path).sources
        if "\nquick:" in path.read_text(encoding="utf-8"):
            assert load(path, quickly=True).sources


@pytest.mark.parametrize(
    ("page", "section"), [("README.md", "## Measured"), ("docs/measured.md", "## Speed and cost")]
)
def test_every_figure_names_its_command(page: str, section: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    table = text.split(section, 1)[1].split("\n## ", 1)[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    for row in rows:
        assert row.count("`") >= 2, f"no command in {row!r}"
