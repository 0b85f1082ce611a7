"""The optional data package: found by its entry point, tied to our version, small enough together with us."""

from __future__ import annotations

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest
from apart import printed

import sightline
from sightline.errors import UsageError
from sightline.testbed import weights
from sightline.testbed.weights import (
    MANIFEST,
    SHIPPED,
    find,
    materialize,
    names,
    read_manifest,
    roots,
    verify,
)

PACKAGE = Path(__file__).parents[2] / "packages" / "testbed"
DATA = PACKAGE / "src" / "sightline_testbed"
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))["project"]
FOLDERS = sorted(path.parent for root in (SHIPPED, DATA) for path in root.glob(f"*/{MANIFEST}"))


def bytes_of(root: Path) -> int:
    files = (path for path in root.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"})
    return sum(path.stat().st_size for path in files)


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Make the interpreter see one data package, whose entry point is `value`, and no other."""
    point = importlib.metadata.EntryPoint("weights", value, weights.ENTRY_POINTS)
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] * (group == point.group))
    monkeypatch.syspath_prepend(folder)


# The package itself ---------------------------------------------------------------------------------


def test_its_version_is_tied_to_ours() -> None:
    assert PROJECT["name"] == weights.DATA_PACKAGE
    assert PROJECT["version"] == sightline.__version__
    assert PROJECT["dependencies"] == [f"sightline=={sightline.__version__}"]


def test_its_entry_point_leads_to_its_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(PROJECT["entry-points"]) == [weights.ENTRY_POINTS]
    (value,) = PROJECT["entry-points"][weights.ENTRY_POINTS].values()
    pretend(DATA.parent, monkeypatch, value)
    assert roots() == (SHIPPED, DATA)


def test_it_is_installed_beside_us() -> None:
    """As `make test` does it; the quickstart compares its families with ours."""
    found = importlib.metadata.entry_points(group=weights.ENTRY_POINTS)
    assert [(point.name, point.value) for point in found] == [("weights", "sightline_testbed")], (
        "install the data package too: pip install -e packages/testbed"
    )
    assert importlib.metadata.version(weights.DATA_PACKAGE) == sightline.__version__
    assert roots() == (SHIPPED, DATA)


def test_looking_for_it_loads_no_model_library() -> None:
    code = (
        "import sys; from sightline.testbed import weights; weights.names()\n"
        "print(sorted({'torch', 'transformers', 'safetensors'} & set(sys.modules)))"
    )
    assert printed(code) == "[]"


def test_all_weights_together_are_small() -> None:
    assert bytes_of(SHIPPED) <= 14_000_000
    assert bytes_of(SHIPPED) + bytes_of(DATA) <= 47_000_000


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_files_are_those_of_the_manifests(folder: Path) -> None:
    manifest = read_manifest(folder)
    verify(folder, manifest)
    assert manifest["name"] == folder.name
    assert {path.name for path in folder.iterdir()} - {MANIFEST, "CARD.md", "card.json"} == set(
        manifest["files"]
    )
    assert all((folder / name).stat().st_size == facts["bytes"] for name, facts in manifest["files"].items())
    assert manifest["bytes"] == sum(facts["bytes"] for facts in manifest["files"].values())


def test_every_name_of_both_packages_has_its_files() -> None:
    known = names([SHIPPED, DATA])
    assert len(known) >= 4
    for name in known:
        assert all(part.path.is_file() for part in find(name, [SHIPPED, DATA]).parts)


# With it, without it, and broken ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["queries", "cross_attention@vit", "linear@safetuned", weights.OPTIONAL_MODELS[-1]]
)
def test_without_it_the_cure_is_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [])
    with pytest.raises(UsageError, match=f"testbed/{name} is in an optional package") as told:
        materialize(name)
    assert "`pip install sightline-testbed`" in str(told.value)
    assert "`pip install -e packages/testbed`" in str(told.value)
    with pytest.raises(UsageError, match="unknown testbed model 'linear@nosuch'"):
        materialize("linear@nosuch")


def test_every_name_of_it_is_known_to_be_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [])
    for name in set(names([SHIPPED, DATA])) - set(names(SHIPPED)):
        with pytest.raises(UsageError, match="is in an optional package"):
            find(name)


def test_with_it_an_unknown_name_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data_a").mkdir()
    (tmp_path / "data_a" / "__init__.py").write_text("")
    pretend(tmp_path, monkeypatch, "data_a")
    assert roots() == (SHIPPED, tmp_path / "data_a")
    with pytest.raises(UsageError, match="unknown testbed model 'queries@nosuch'"):
        find("queries@nosuch")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("import a_module_that_is_not_there", r"ModuleNotFoundError: No module named 'a_module_that"),
        ("raise RuntimeError('two\\nlines')", r"\(RuntimeError: two lines\)"),
        ("x = (", "SyntaxError"),
    ],
)
def test_a_broken_one_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, why: str
) -> None:
    (tmp_path / "data_b.py").write_text(content)
    monkeypatch.delitem(sys.modules, "data_b", raising=False)
    pretend(tmp_path, monkeypatch, "data_b")
    with pytest.raises(UsageError, match=why) as told:
        materialize("linear")
    assert "testbed data package 'data_b' cannot be loaded" in str(told.value)
    assert "\n" not in str(told.value)


def test_a_value_that_is_no_module_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(tmp_path, monkeypatch, "pathlib:Path")
    with pytest.raises(UsageError, match="'pathlib:Path' is not a module with a folder"):
        roots()
    (tmp_path / "data_namespace").mkdir()
    pretend(tmp_path, monkeypatch, "data_namespace")
    with pytest.raises(UsageError, match="'data_namespace' is not a module with a folder"):
        roots()
