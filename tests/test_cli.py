"""The command line as a user meets it: help, lists, cards, one-line errors, a run and its resumption."""

from __future__ import annotations

import errno
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from apart import printed
from markupsafe import escape
from rich.progress import Progress
from rich.table import Table as RichTable

from sightline import registry, terminal
from sightline.cli import main
from sightline.console import BarProgress, LineProgress, SafeConsole
from sightline.store import write_note
from sightline.tables import Table
from sightline.testbed.weights import SHIPPED, find, names

FORMAT_1 = Path(__file__).parent / "fixtures" / "run_format_1"
"""A run of two cases as version 0.1 left it, without its report."""
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
    monkeypatch.setattr(
        terminal, "console", SafeConsole(width=200)
    )  # made at import, at whatever width that was

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


def test_a_card_of_an_attack_that_converses_says_whom_it_asks(sightline: Command) -> None:
    shown = " ".join(sightline("show", "pair").stdout.split())
    assert "oracle undefended" in shown
    calls = registry.make("attack", "pair").calls
    assert ", ".join(f"{role} {most}x" for role, most in calls.items()) in shown
    assert "asks nobody by default" in " ".join(sightline("show", "chain").stdout.split())
    assert "asks" not in sightline("show", "figstep").stdout


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

    monkeypatch.setattr("sightline_testbed.evaluation.check.check", check)
    done = sightline("testbed", "check", "linear@vit", "--weights", str(tmp_path))
    assert done.returncode == 2
    assert "no model is in it" in done.stderr
    (tmp_path / "main").mkdir()
    shutil.copytree(SHIPPED / "linear", tmp_path / "main" / "linear")
    assert sightline("testbed", "check", "linear@vit", "--weights", str(tmp_path)).returncode == 0
    assert sightline("testbed", "check").returncode == 0
    assert asked == [("linear@vit", (tmp_path / "main",)), ("linear", None)]


@pytest.mark.parametrize("command", ["build", "check", "curves"])
def test_without_the_testbed_package_its_commands_say_how_to_get_it(
    sightline: Command, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "sightline_testbed" else find_spec(name)
    )
    done = sightline("testbed", command)
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert f"testbed {command} needs the package sightline-testbed: `pip install sightline-testbed`" in said


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


@pytest.mark.parametrize(
    "words",
    [
        ("run", "study.yaml", "--out", "old"),
        ("run", "study.yaml", "--out", "old", "--extend"),
        ("run", "study.yaml", "--out", "old", "--dry-run"),
        ("run", "replay.yaml"),
        ("craft", "old"),
        ("answer", "old"),
        ("judge", "old"),
        ("report", "old"),
        ("report", "old", "--redacted"),
        ("verify", "old"),
    ],
    ids=" ".join,
)
def test_a_run_folder_of_an_older_format_is_told_in_one_sentence(
    sightline: Command, study: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    old = shutil.copytree(FORMAT_1, tmp_path / "old")
    (study.parent / "replay.yaml").write_text(QUICK.replace("scripted/typographic", "replay/old"))
    done = sightline(*words)
    assert done.returncode == 2
    message = done.stderr.replace("\n", " ").strip()
    assert re.search(
        r"error: .*old: written by an older version of Sightline \(format 1, this one reads 2\), whose "
        r"rows have other names and keys: run the study again with another --out, or read this one with the "
        r"version that wrote it \(`versions` in its lock\); docs/run_folders\.md tells more$",
        message,
    ), message
    before, after = (
        {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (FORMAT_1, old)
    )
    assert after == before


@pytest.mark.slow
def test_plan_run_and_resume(sightline: Command, study: Path, tmp_path: Path) -> None:
    plan = sightline("run", str(study), "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "2 cells, 12 cases; existing rows: in runs/cli" in plan.stdout
    lines = {line.split("  ")[1]: line.split()[-5:] for line in plan.stdout.splitlines()[2:]}
    assert lines["scripted/typographic"] == ["24", "0", "24", "24", "12,288"]
    assert lines["judge refusal_prefix"][-4:] == ["24", "0", "24", "0"]
    assert not (tmp_path / "runs").exists()

    done = sightline("run", str(study))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "cli"
    assert {"study.lock.yaml", "results.parquet", "report.html"} <= {path.name for path in folder.iterdir()}

    assert "ASR (restricted requests complied with), 95 % interval; testbed_requests, judge" in done.stdout
    rows = {line.partition("  ")[2].partition("  ")[0]: line for line in done.stdout.splitlines()}
    assert "100 % [" in rows["figstep"]
    assert "0 % [" in rows["no attack"]
    assert "Without an attack, scripted/typographic refuses" in done.stdout
    assert "Cautions:\n- " in done.stdout
    assert "writing report" in done.stderr
    assert "answer: started, 24 rows\n" in done.stderr
    assert "answer: done, 24 rows\n" in done.stderr
    assert "\x1b" not in done.stderr

    plan = sightline("run", str(study), "--dry-run")
    lines = {line.split("  ")[1]: line.split()[-4:] for line in plan.stdout.splitlines()[2:]}
    assert lines["scripted/typographic"] == ["24", "24", "0", "0"]
    assert lines["judge refusal_prefix"] == ["24", "24", "0", "0"]

    again = sightline("run", str(study))
    assert "nothing to do" in again.stdout
    assert "writing report" not in again.stderr
    assert again.stdout.endswith(done.stdout[done.stdout.index("results digest") :])
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
    assert "All 24 artifacts match what the run recorded." in done.stdout
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
    assert "12 artifacts differ from what the run recorded" in damaged.stderr
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


DOWN = """
study: down
benchmarks: [{name: testbed_requests, limit: 50}]
targets: [scripted/script.yaml]
judges: [refusal_prefix]
"""
FAILS = "stop: error, reply: "


def scripted(folder: Path, *rules: str) -> str:
    """A study whose target follows these rules."""
    (folder / "script.yaml").write_text("rules:\n" + "".join(f"- {{{rule}}}\n" for rule in rules))
    (folder / "down.yaml").write_text(DOWN)
    return "down.yaml"


def test_a_study_in_which_nothing_worked_exits_2_with_the_first_cause(
    sightline: Command, tmp_path: Path
) -> None:
    study = scripted(tmp_path, FAILS + r'"connection refused \e]0;owned\a by 127.0.0.1:9"')
    for _ in range(2):  # and again when there is nothing to do
        done = sightline("run", study)
        assert done.returncode == 2
        assert "error: no sample was scored: 50 of 50 verdicts are unscored." in done.stderr
        assert "First cause: connection refused \ufffd]0;owned\ufffd by 127.0.0.1:9" in done.stderr
        assert "--retry-errors" in done.stderr
        assert "report: runs/down/report.html" in done.stdout
        assert not {"\x1b", "\x07"} & {*done.stdout, *done.stderr}


def test_more_than_two_percent_unscored_is_a_warning(sightline: Command, tmp_path: Path) -> None:
    fine = "reply: 'sure , here it is'"
    study = scripted(tmp_path, FAILS + "busy, times: 2", fine)
    done = sightline("run", study)
    assert done.returncode == 0, done.stderr
    assert "warning: 2 of 50 verdicts are unscored (4%), first cause: busy" in done.stdout
    (tmp_path / "runs").rename(tmp_path / "before")
    done = sightline("run", scripted(tmp_path, FAILS + "busy, times: 1", fine))
    assert "warning" not in done.stdout
    assert "1 of 50 verdicts are unscored, first cause: busy" in done.stdout
    (tmp_path / "runs").rename(tmp_path / "then")
    assert "unscored" not in sightline("run", scripted(tmp_path, fine)).stdout


def test_a_full_disk_is_one_line(sightline: Command, study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    done = sightline("run", str(study))
    assert done.returncode == 2
    assert re.search(
        r"error: \S+/\S+: No space left on device; make room, then run the same command again", done.stderr
    )
    assert "Traceback" not in done.stderr


def test_doing_nothing_opens_no_table_and_loads_no_library(
    sightline: Command, study: Path, tmp_path: Path
) -> None:
    assert sightline("run", str(study)).returncode == 0
    shutil.copytree(tmp_path / "runs" / "cli", tmp_path / "again")  # this process holds the first
    code = (
        "import sys; from sightline import tables, cli\n"
        "def opened(*_): raise AssertionError('a table of records was opened')\n"
        "tables.Table.__init__ = opened\n"
        f"sys.argv = ['sightline', 'run', {str(study)!r}, '--out', 'again']\n"
        "try: cli.main()\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "heavy = {'torch', 'transformers', 'inspect_ai', 'duckdb', 'altair', 'jinja2', 'sklearn', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert printed(code).splitlines()[-1] == "[]"


def test_a_redacted_report_holds_no_text_of_cases(sightline: Command, study: Path, tmp_path: Path) -> None:
    assert sightline("run", str(study)).returncode == 0
    folder = tmp_path / "runs" / "cli"
    assert "sightline report runs/cli --redacted" in sightline("report", "runs/cli").stdout
    page = (folder / "report.html").read_text("utf-8")
    assert "This file contains unsafe text" in page
    done = sightline("report", "runs/cli", "--redacted")
    assert "report: runs/cli/report.redacted.html" in done.stdout
    shared = (folder / "report.redacted.html").read_text("utf-8")
    assert "This file contains unsafe text" not in shared
    asked = {
        part
        for row in Table(folder / "records" / "craft")
        for turn in row["conversation"]["turns"]
        for part in turn["parts"]
        if isinstance(part, str)
    }
    said = {row["text"] for row in Table(folder / "records" / "answer") if row["text"]}
    assert any(str(escape(text)) in page for text in asked)
    assert any(str(escape(text)) in page for text in said)
    assert not [text for text in asked | said if str(escape(text)) in shared]
    assert "data:image" in page
    assert "data:image" not in shared
    assert "characters, sha256 " in shared


def test_a_redacted_report_holds_no_settings_case_ids_or_warnings_of_releases(
    sightline: Command, study: Path, tmp_path: Path
) -> None:
    said = "gluvs of the north (and the south)"
    study.write_text(QUICK.replace("preset: testbed", f"preset: testbed, instruction: {said!r}"))
    assert sightline("run", str(study)).returncode == 0
    folder = tmp_path / "runs" / "cli"
    (memo,) = (folder / "records").glob("cases-*.json")
    facts = {name: value for name, value in orjson.loads(memo.read_bytes()).items() if name != "crc"}
    warned = "row 3 of the release asks for forbidden gluvs"
    write_note(memo, {**facts, "warnings": [warned]})
    with Table(folder / "records" / facts["folder"]) as cases:
        ids = {row["id"] for row in cases}
    assert sightline("report", "runs/cli").returncode == 0
    assert sightline("report", "runs/cli", "--redacted").returncode == 0
    page, shared = ((folder / name).read_text("utf-8") for name in ("report.html", "report.redacted.html"))
    for text in (said, warned):
        assert str(escape(text)) in page
        assert str(escape(text)) not in shared
    assert any(name in page for name in ids)
    assert not [name for name in ids if name in shared]
    assert "figstep([settings, " in shared


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("raise RuntimeError('\x1b]0;owned\x07 no licence')", r"RuntimeError: \x1b]0;owned\x07 no licence"),
        ("import sys; sys.exit('bye')", "SystemExit: bye"),
        ("def broken(:", "SyntaxError"),
        ("import no_such_package", "lacks the package 'no_such_package'"),
        ("x = 1", "does not register a judge called 'stranger'"),
    ],
)
def test_a_plug_in_that_fails_is_named_and_the_list_goes_on(
    sightline: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    (tmp_path / "strange_plugin.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "strange_plugin", raising=False)
    modules = registry._modules
    added = {"stranger": "strange_plugin"}
    monkeypatch.setattr(
        registry, "_modules", lambda kind: {**modules(kind), **(added if kind == "judge" else {})}
    )
    done = sightline("list", "judges")
    assert done.returncode == 0, done.stderr
    flat = " ".join(done.stdout.split())
    assert "strange_plugin" in flat
    assert told in flat
    assert "testbed_toxicity" in flat
    assert "\x1b" not in done.stdout
    shown = sightline("show", "stranger")
    assert shown.returncode == 2
    assert "strange_plugin" in shown.stderr
    assert "\x1b" not in shown.stderr


def test_what_others_wrote_never_commands_the_terminal() -> None:
    shown = io.StringIO()
    console = SafeConsole(file=shown, force_terminal=True, width=60, color_system="truecolor")
    table = RichTable("name")
    table.add_row("a\x1b]0;owned\x07b\u202e\x9b31m")
    console.print(table)
    console.print("[bold]x[/bold] \x1b[2Jcleared\ttab")
    text = shown.getvalue()
    assert r"a\x1b]0;owned" in text
    assert r"\x1b" in text.partition("x\x1b[0m ")[2]
    assert not re.search("\x1b(?!\\[[0-9;]*m)|[\x07\x9b\u202e]", text), "only colors of our own"
    with Progress(console=console) as bars:
        bar = BarProgress(bars)
        bar.start("read \x1b]0;owned\x07", 2, 0)
        bar.note("a label \x1b]0;owned\x07")
        bar.finish()
    assert "]0;owned\x07" not in shown.getvalue()


def test_progress_in_a_log_is_plain_lines_now_and_then() -> None:
    shown, now = io.StringIO(), [0.0]
    progress = LineProgress(shown, clock=lambda: now[0])
    progress.start("answer", 1000, 0)
    for row in range(1000):
        now[0] += 0.1
        progress.advance(1, errors=int(row == 5))
    progress.finish()
    lines = shown.getvalue().splitlines()
    assert lines[0] == "answer: started, 1,000 rows"
    assert lines[1] == "answer: 100 of 1,000 (10 %), 1 errors"
    assert lines[-1] == "answer: done, 1,000 rows, 1 errors"
    assert len(lines) == 11
    shown.truncate(0)
    progress.start("craft", 5000, 0)
    now[0] += 31
    progress.within("step 3 of 9")
    progress.advance(1)
    now[0] += 31
    progress.advance(1)
    progress.note("\x1b]0;owned\x07")
    assert "craft: 0 of 5,000 (0 %); step 3 of 9\ncraft: 2 of 5,000 (0 %)\n" in shown.getvalue()
    assert r"note: \x1b]0;owned\x07" in shown.getvalue()


def test_a_path_is_never_cut(sightline: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "console", SafeConsole(width=40))
    long = tmp_path / ("a" * 120)
    long.mkdir()
    study = long / "study.yaml"
    study.write_text(QUICK)
    done = sightline("run", str(study), "--out", str(long / "run"))
    assert f"report: {long / 'run' / 'report.html'}\n" in done.stdout
    assert (
        f"existing rows: in {long / 'run'}\n"
        in sightline("run", str(study), "--out", str(long / "run"), "--dry-run").stdout
    )
    assert f"{find('linear').folder}\n" in sightline("show", "testbed/linear").stdout


@pytest.mark.parametrize("name", ["report.txt", "results.parquet", "records/complete.json", "records/answer"])
def test_what_the_system_refuses_is_one_line_with_the_file(
    sightline: Command, study: Path, tmp_path: Path, name: str
) -> None:
    assert sightline("run", str(study)).returncode == 0
    path = tmp_path / "runs" / "cli" / name
    (path.parent / "blobs-before").mkdir()
    if path.exists():
        path.rename(path.parent / "blobs-before" / path.name)
    if name == "records/answer":
        (path / "0000000001-1-a.jsonl").mkdir(parents=True)
    else:
        path.mkdir()
    done = sightline("judge" if name == "results.parquet" else "report", "runs/cli")
    if name == "records/answer":
        done = sightline("judge", "runs/cli")
    assert done.returncode == 2, done.stderr
    assert path.name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_a_loop_of_links_is_one_line(
    sightline: Command, study: Path, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for out in ("loop", "a" * 300):
        done = sightline("run", str(study), "--out", out)
        assert done.returncode == 2
        assert "error: " in done.stderr
        assert "Traceback" not in done.stderr


def test_an_interrupt_while_it_is_loaded_is_one_word() -> None:
    code = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'sightline.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from sightline.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_a_list_fits_a_terminal_of_eighty_columns(
    sightline: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = sightline("list", "attacks").stdout
    assert "source" in wide.splitlines()[1]
    assert registry.card("attack", "figstep").paper in wide
    monkeypatch.setattr(terminal, "console", SafeConsole(width=80))
    narrow = sightline("list", "attacks").stdout
    lines = narrow.splitlines()
    assert max(map(len, lines)) <= 80
    assert "source" not in lines[1]
    assert "sightline show NAME" in lines[-1]
    listed = {line.split()[0] for line in lines[2:-1] if line[1:2].strip()}
    assert set(registry.names("attack")) <= listed, "no name is broken"
    width = 80 - lines[1].index("what it does")
    assert width > 40
    words = sum(len(registry.card("attack", name).summary) for name in registry.names("attack"))
    assert len(lines) < 2 * (len(listed) + words / width), "the summaries have the width"
