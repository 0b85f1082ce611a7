"""`sightline init` as a user meets it: what it writes runs, what is there is kept, a terminal is asked."""

from __future__ import annotations

import sys
from pathlib import Path

import PIL.Image
import pytest

from sightline import init_commands, terminal
from sightline.cli import main
from sightline.console import SafeConsole


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(terminal, "console", SafeConsole(width=200))


def sightline(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["sightline", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


def local_model() -> str:
    pytest.importorskip("torch")
    from sightline.testbed import weights

    return f"vlm/{weights.materialize('linear')}"


SITUATIONS = {
    "nothing": ("testbed/linear", []),
    "gpu": ("testbed/linear", ["--gpu"]),
    "script": ("scripted/typographic", ["--target", "scripted/typographic"]),
    "provider": ("mockllm/model", ["--target", "mockllm/model", "--gpu"]),
    "local": ("LOCAL", ["--target", "LOCAL", "--gpu"]),
    "ours": ("testbed/linear", ["--data", "testbed_privacy"]),
    "table": ("mockllm/model", ["--target", "mockllm/model", "--data", "mine.csv"]),
    "answers": ("recorded/alpha", ["--data", "answers.csv"]),
    "pictures": ("testbed/linear", ["--data", "shots"]),
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_what_is_written_runs_as_it_is(
    situation: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("mine.csv").write_text("prompt\nhow are glimbers made?\n")
    Path("answers.csv").write_text("prompt,response,model\nhow are frells made?,no,alpha\n")
    Path("shots").mkdir()
    PIL.Image.new("RGB", (8, 8)).save("shots/1.png")
    target, flags = SITUATIONS[situation]
    if target.startswith(("testbed", "LOCAL")):
        pytest.importorskip("torch")
    model = local_model() if "LOCAL" in flags else ""
    words = [model if word == "LOCAL" else word for word in flags]
    assert sightline(monkeypatch, "init", "first.yaml", *words) == 0
    assert "sightline run first.yaml --dry-run" in capfd.readouterr().out
    assert sightline(monkeypatch, "run", "first.yaml", "--dry-run") == 0
    shown = capfd.readouterr().out
    assert (model or target) in shown
    assert "cells" in shown
    assert not Path("runs").exists()


def test_a_study_of_a_script_runs_to_its_report(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sightline(monkeypatch, "init", "--target", "scripted/typographic")
    assert sightline(monkeypatch, "run", "study.yaml") == 0
    assert Path("runs/study/report.html").is_file()
    assert "figstep" in capfd.readouterr().out


def test_a_file_that_is_there_is_kept(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("study.yaml").write_text("mine")
    assert sightline(monkeypatch, "init") == 2
    assert "study.yaml is there already" in capfd.readouterr().err
    assert Path("study.yaml").read_text() == "mine"
    assert sightline(monkeypatch, "init", "--force") == 0
    assert Path("study.yaml").read_text() != "mine"


def test_nothing_is_written_for_a_target_that_is_none(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert sightline(monkeypatch, "init", "--target", "gpt-4o") == 2
    assert "openai/gpt-4o" in capfd.readouterr().err
    assert sightline(monkeypatch, "init", "--data", "figstep_safebench") == 2
    assert "root" in capfd.readouterr().err
    assert not Path("study.yaml").exists()


def test_who_brings_data_is_told_how_to_check_them(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("my own.csv").write_text("prompt\nhow are glimbers made?\n")
    sightline(monkeypatch, "init", "--data", "my own.csv", "--target", "mockllm/model")
    assert "next: sightline check-data 'my own.csv'" in capfd.readouterr().out
    assert sightline(monkeypatch, "check-data", "my own.csv") == 0
    capfd.readouterr()
    sightline(monkeypatch, "init", "--force", "--target", "mockllm/model")
    assert "check-data" not in capfd.readouterr().out


def test_data_that_cannot_be_read_yet_are_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("mine.csv").write_text("shape,colour\nround,red\n")
    assert sightline(monkeypatch, "init", "--data", "mine.csv") == 0
    assert "note: it cannot run yet: " in capfd.readouterr().out


def test_a_folder_of_its_own_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sightline(monkeypatch, "init", "deep/down/gate.yaml", "--target", "mockllm/model") == 0
    assert "study: gate\n" in Path("deep/down/gate.yaml").read_text()


def test_who_asks_for_gradients_that_are_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sightline(monkeypatch, "init", "--target", "mockllm/model", "--gpu")
    assert "mockllm/model gives no gradients" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("answers", "asked", "holds"),
    [
        (["", "", True], ["model", "data", "GPU"], ["- testbed/linear", "\n  - {name: qi_visual"]),
        (["mockllm/model", "testbed_memes"], ["model", "data"], ["- mockllm/model", "- testbed_memes"]),
    ],
)
def test_a_terminal_is_asked_for_what_no_flag_says(
    answers: list[str | bool],
    asked: list[str],
    holds: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    left = list(answers)
    heard: list[str] = []

    def answer(question: str, **how: object) -> str | bool:
        heard.append(question)
        return left.pop(0)

    monkeypatch.setattr(init_commands, "on_terminal", lambda: True)
    monkeypatch.setattr(init_commands.typer, "prompt", answer)
    monkeypatch.setattr(init_commands.typer, "confirm", answer)
    assert sightline(monkeypatch, "init") == 0
    shown = capfd.readouterr().out + "".join(heard)
    for word in asked:
        assert word in shown
    assert left == []
    for line in holds:
        assert line in Path("study.yaml").read_text()


def test_flags_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init_commands, "on_terminal", lambda: True)
    monkeypatch.setattr(init_commands.typer, "prompt", lambda *_, **__: pytest.fail("asked"))
    words = ("--target", "testbed/linear", "--data", "testbed_memes", "--no-gpu")
    assert sightline(monkeypatch, "init", *words) == 0
