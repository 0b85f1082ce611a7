"""Compiled templates: read back where Python keeps byte code, compiled anew where that does not fit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader, Environment

from sightline.report import compiled

TEMPLATE = "Hello {{ who }}"


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder below which byte code is kept; nothing is in it, nor in memory."""
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "kept"))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(compiled, "_compiled", {})
    return tmp_path / "kept"


def rendered(template: str = TEMPLATE, **options: Any) -> str:
    """The template, in an environment of its own."""
    environment = Environment(
        loader=DictLoader({"page": template}), bytecode_cache=compiled.CompiledTemplates(), **options
    )
    return environment.get_template("page").render(who="<b>")


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.j2c"))


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that begins: nothing is in memory, and what is compiled now is an error."""
    monkeypatch.setattr(compiled, "_compiled", {})
    monkeypatch.setattr(Environment, "_generate", lambda *_, **__: pytest.fail("compiled again"))


def test_another_process_compiles_nothing(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = rendered(trim_blocks=True)
    assert len(files(kept)) == 1
    forget(monkeypatch)
    assert rendered(trim_blocks=True) == first == "Hello <b>"


@pytest.mark.parametrize("change", ["source", "options", "sightline", "jinja"])
def test_code_of_something_else_is_not_used(kept: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    assert rendered(trim_blocks=False) == "Hello <b>"
    if change == "sightline":
        monkeypatch.setattr(compiled, "__version__", "0.0.0")
    if change == "jinja":
        monkeypatch.setattr(compiled.jinja2, "__version__", "0.0.0")
    forget(monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="compiled again"):
        rendered(TEMPLATE + "!" if change == "source" else TEMPLATE, trim_blocks=change == "options")


@pytest.mark.parametrize("content", [b"", b"no byte code", None])
def test_a_damaged_file_is_written_anew(
    kept: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    first = rendered()
    (path,) = files(kept)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] if content is None else content)
    monkeypatch.setattr(compiled, "_compiled", {})
    assert rendered() == first
    assert path.read_bytes() == whole


def test_nothing_is_written_where_python_may_not(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert rendered() == "Hello <b>"
    assert not kept.exists()
    forget(monkeypatch)
    with pytest.raises(pytest.fail.Exception, match="compiled again"):
        rendered()


def test_a_folder_that_cannot_be_made_costs_nothing_else(kept: Path) -> None:
    kept.write_text("in its place")
    assert rendered() == rendered() == "Hello <b>"


def test_one_process_compiles_once(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    first = rendered()
    monkeypatch.setattr(Environment, "_generate", lambda *_, **__: pytest.fail("compiled again"))
    assert rendered() == first
