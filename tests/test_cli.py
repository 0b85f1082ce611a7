"""The command line as a user meets it: help, lists, cards, one-line errors, a run and its resumption."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from sightline import terminal
from sightline.cli import main
from sightline.testbed.weights import SHIPPED, find, names

QUICK = """
study: cli
benchmarks: [testbed_requests]
targets: [scripted/typographic]
attacks: [none, {name: figstep, preset: testbed}]
judges: [{name: refusal_prefix, phrases: testbed}]
limit: 12
"""


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Done]


@pytest.fixture
def sightline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """The command in this process (a process of its own costs seconds), in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(terminal, "console", Console(width=200))  # made at import, at whatever width that was

    def call(*words: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["sightline", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        return Done(code if isinstance(code, int) else 0, *capfd.readouterr())

    return call


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(QUICK)
    return path


def test_help_teaches(sightline: Command) -> None:
    done = sightline("--help")
    assert done.returncode == 0
    for command in ("run", "craft", "answer", "judge", "report", "list", "show", "testbed"):
        assert command in done.stdout
    assert "resume" in sightline("run", "--help").stdout.lower()


def test_lists_name_every_method(sightline: Command) -> None:
    done = sightline("list")
    assert done.returncode == 0, done.stderr
    for name in ("figstep", "mm_safetybench", "self_moderation", "refusal_prefix", "vlm/"):
        assert name in done.stdout
    assert "Did you mean 'attacks'" in sightline("list", "atacks").stderr


def test_a_card_shows_paper_threat_model_and_settings(sightline: Command) -> None:
    done = sightline("show", "figstep")
    for text in ("2311.05608", "attacker", "black", "canvas_px", "760", "preset fit"):
        assert text in done.stdout, text
    assert "Did you mean 'figstep'" in sightline("show", "fig_step").stderr


def test_testbed_models_are_listed_with_what_they_are(
    sightline: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (("list",), ("list", "targets")):
        shown = sightline(*words).stdout
        lines = {line.split()[0]: line.partition("  ")[2].strip() for line in shown.splitlines() if line}
        for name in names():
            about = find(name).about if "@" in name else f"variant {find(name).variant}"
            assert about in lines[f"testbed/{name}"], name
    assert "testbed/linear@vit" not in sightline("list", "judges").stdout
    monkeypatch.setattr("sightline.testbed.weights.roots", lambda: (SHIPPED,))
    shown = sightline("list", "targets").stdout
    assert "queries, cross_attention, linear-0.5m, linear-1.2m and more variants of linear: `pip" in shown
    assert "testbed/queries" not in shown
    wanting = sightline("show", "testbed/queries")
    assert (wanting.returncode, wanting.stdout) == (2, "")
    assert "optional package: `pip install sightline-testbed`" in wanting.stderr
    monkeypatch.setattr("sightline.testbed.weights.roots", lambda: (SHIPPED, SHIPPED.parent))
    assert "pip install" not in sightline("list", "targets").stdout


def test_a_testbed_model_is_shown(sightline: Command) -> None:
    done = sightline("show", "testbed/linear")
    assert done.returncode == 0, done.stderr
    for text in ("linear@victim", find("linear").about, "LlavaForConditional", "width 192", "CARD.md"):
        assert text in done.stdout, text
    assert find("linear@vit").about in sightline("show", "testbed/linear@vit").stdout
    assert "Did you mean 'linear@vit'" in sightline("show", "testbed/linear@vti").stderr


def test_check_reads_the_folder_of_a_build(
    sightline: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    asked: list[object] = []

    def check(name: str, roots: object, say: object) -> list[object]:
        asked.append((name, roots))
        return []

    monkeypatch.setattr("sightline.testbed.check.check", check)
    done = sightline("testbed", "check", "linear@vit", "--weights", str(tmp_path))
    assert done.returncode == 2
    assert "no model is in it" in done.stderr
    (tmp_path / "main").mkdir()
    shutil.copytree(SHIPPED / "linear", tmp_path / "main" / "linear")
    assert sightline("testbed", "check", "linear@vit", "--weights", str(tmp_path)).returncode == 0
    assert sightline("testbed", "check").returncode == 0
    assert asked == [("linear@vit", (tmp_path / "main",)), ("linear", None)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "nowhere.yaml"), "no such study file"),
        (("craft", "."), "not a run folder"),
        (("verify", "."), "not a run folder"),
        (("verify", ".", "--jpeg", "0"), "jpeg=0 is out of range"),
        (("show", "nothing_like_it"), "unknown method"),
        (("show", "vlm"), "a kind of target"),
        (("testbed", "check", "cubic"), "unknown testbed model"),
    ],
)
def test_errors_are_one_line_without_a_traceback(
    sightline: Command, words: tuple[str, ...], message: str
) -> None:
    done = sightline(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_plan_run_and_resume(sightline: Command, study: Path, tmp_path: Path) -> None:
    plan = sightline("run", str(study), "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "24" in plan.stdout
    assert not (tmp_path / "runs").exists()

    done = sightline("run", str(study))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "cli"
    assert {"study.lock.yaml", "results.parquet", "report.html"} <= {path.name for path in folder.iterdir()}

    again = sightline("run", str(study))
    assert "nothing to do" in again.stdout
    for stage in ("craft", "answer", "judge", "report"):
        assert sightline(stage, "runs/cli").returncode == 0

    page = folder / "report.html"
    os.utime(page, ns=(0, 0))  # as if the table had been written again without the page
    sightline("run", str(study))
    assert page.stat().st_mtime_ns > (folder / "results.parquet").stat().st_mtime_ns

    study.write_text(QUICK.replace("limit: 12", "limit: 14"))
    drifted = sightline("run", str(study))
    assert drifted.returncode == 2
    assert "different study" in drifted.stderr
    assert sightline("run", str(study), "--extend").returncode == 0


def test_verify_tells_what_survives_and_what_is_damaged(
    sightline: Command, study: Path, tmp_path: Path
) -> None:
    assert sightline("run", str(study)).returncode == 0
    folder = tmp_path / "runs" / "cli"
    pages = len(list((folder / "blobs").glob("*/*")))
    done = sightline("verify", "runs/cli", "--jpeg", "75", "--limit", "6")
    assert done.returncode == 0, done.stderr
    assert "All 24 artifacts are what the run recorded." in done.stdout
    for text in ("figstep", "as written", "PNG", "JPEG 75", "resize 0.5", "verify.html"):
        assert text in done.stdout, text
    assert "JPEG 50" not in done.stdout
    assert {"verify.parquet", "verify.html"} <= {path.name for path in folder.iterdir()}
    assert "Did you mean 'figstep'" in sightline("verify", "runs/cli", "--attack", "figstap").stderr

    page = max((folder / "blobs").glob("*/*"), key=lambda path: path.stat().st_mtime_ns)
    page.unlink()  # of a re-encoding: made again
    assert sightline("verify", "runs/cli", "--jpeg", "75", "--limit", "6").returncode == 0
    assert page.exists()
    for path in (folder / "blobs").glob("*/*"):
        path.write_bytes(path.read_bytes() + b"x")
    damaged = sightline("verify", "runs/cli", "--limit", "6")
    assert damaged.returncode == 2
    assert "12 artifacts are not what the run recorded" in damaged.stderr
    assert damaged.stdout.count("changed file: ") == pages < 12  # told once per file
    assert "Traceback" not in damaged.stderr


def test_without_torch_a_local_target_says_what_to_install(
    sightline: Command, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "torch" else real(name, *more)
    )
    study.write_text(QUICK.replace("scripted/typographic", "testbed/linear"))
    done = sightline("run", str(study))
    assert done.returncode == 2
    assert "pip install 'sightline[local]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_as_a_process_of_its_own() -> None:
    done = subprocess.run([sys.executable, "-m", "sightline", "--version"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("sightline ")
