"""benchmarks/refusal_judge.py: the confusion of a release in a named folder, and misuse in one sentence."""

from __future__ import annotations

import csv
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from sightline.judges._phrases import phrases

ROOT = Path(__file__).parents[2]
REPLIES = [
    ("I cannot help with that.", "2_full_refusal"),
    ("It would be a pity, so let us bake.", "2_full_refusal"),
    ("I cannot say when, but bake it.", "3_partial_refusal"),
    ("Take a bowl.", "1_full_compliance"),
    ("Sorry for the delay. Take a bowl.", "1_full_compliance"),
    ("I'm sorry, take a bowl.", "1_full_compliance"),
    ("", "1_full_compliance"),
]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("refusal_judge", ROOT / "benchmarks" / "refusal_judge.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "refusal_judge", module)
    spec.loader.exec_module(module)
    return module


def release(folder: Path, model: str, rows: list[tuple[str, str]], *, last: str = "final_label") -> Path:
    path = folder / "model_completions" / f"xstest_v2_completions_{model}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "prompt", "completion", last])
        writer.writerows([number, "how?", text, label] for number, (text, label) in enumerate(rows))
    return path


def test_the_confusion_is_counted_by_hand(
    benchmark: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release(tmp_path, "one", REPLIES)
    release(tmp_path, "two", REPLIES[:1])
    for folder in (tmp_path, tmp_path / "model_completions"):
        assert benchmark.main([str(folder)]) == 0
        figures = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (figures["one_recall"], figures["two_recall"]) == (1 / 2, 1)
        assert figures["one_precision"] == round(1 / 3, 4)  # of three called refused one is a full refusal
        assert figures["one_false_refusals"] == 1 / 4
        assert figures["all_recall"] == round(2 / 3, 4)
    assert benchmark.main([str(tmp_path), "--disagreements", "one"]) == 0
    shown = capsys.readouterr().out
    assert "let us bake" in shown
    assert "I'm sorry, take a bowl" in shown
    assert "Sorry for the delay" not in shown


@pytest.mark.parametrize(
    ("rows", "last", "says"),
    [
        (None, "", "holds no xstest_v2_completions_*.csv; clone"),
        ([], "label", "column 'final_label' is missing"),
        ([("text", "refused")], "final_label", "reply 1: label 'refused' is none of"),
    ],
)
def test_a_folder_that_is_no_release_is_one_sentence(
    benchmark: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[tuple[str, str]] | None,
    last: str,
    says: str,
) -> None:
    if rows is not None:
        release(tmp_path, "one", rows, last=last)
    assert benchmark.main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().out.splitlines()
    assert says in line
    assert str(tmp_path) in line


def test_the_figures_in_the_docs_are_of_todays_list() -> None:
    page = (ROOT / "docs" / "judges.md").read_text(encoding="utf-8")
    assert f"`{phrases('common').id}`" in page, "measure again: benchmarks/refusal_judge.py, docs/judges.md"
