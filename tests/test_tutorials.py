"""The tutorials: their commands run as they stand there, their study and the CI job's commands exist."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner

from sightline.cli import app
from sightline.study.config import parse

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """The blocks of a page in a language, indented ones too."""
    text = re.sub(
        r"^ {3}", "", (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def refuse_unknown(command: str) -> None:
    """Make sure that a command line of Sightline names a command and options that exist."""
    words = shlex.split(command, comments=True)
    shown = CliRunner().invoke(app, [words[1], "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0, command
    for option in (word for word in words if word.startswith("--")):
        assert option in shown.output, f"{option} of {command}"


def commands(text: str) -> list[str]:
    return re.findall(r"^(?:- run: )?(sightline .*?)(?: &\s+#.*)?$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("page", "number"),
    [
        ("gate_an_api", 5),
        ("table_for_a_paper", 3),
        ("learn_on_a_laptop", 3),
        ("api_targets", 1),
        ("plugins", 1),
        ("benchmark_quality", 2),
    ],
)
def test_commands_of_a_page_exist(page: str, number: int) -> None:
    found = [each for kind in ("bash", "") for block in blocks(page, kind) for each in commands(block)]
    assert len(found) == number
    for command in found:
        refuse_unknown(command)


def test_the_gate_takes_ten_commands_at_most() -> None:
    lines = [line for block in blocks("gate_an_api", "bash") for line in block.splitlines() if line.strip()]
    assert len(lines) <= 10


def test_the_job_of_the_example_runs_commands_that_exist() -> None:
    job = yaml.safe_load((ROOT / "examples" / "gate.github.yml").read_text(encoding="utf-8"))
    runs = [step["run"] for step in job["jobs"]["gate"]["steps"] if "run" in step]
    ours = [each for each in runs if each.startswith("sightline ")]
    assert [each.split()[1] for each in ours] == ["run", "run", "gate", "report"]
    for command in ours:
        refuse_unknown(command)


def test_the_study_of_the_paper_is_one() -> None:
    study = parse(blocks("table_for_a_paper", "yaml")[0])
    assert {column.label for column in study.attacks} >= {"none", "mm_typography", "mm_typography_typed"}


@pytest.mark.slow
@pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "uvicorn", "starlette", "openai")),
    reason="needs sightline[local,serve] and the client openai",
)
def test_the_gate_tutorial_runs_as_it_stands(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (tmp_path / "prompts.csv").write_text(blocks("gate_an_api", "text")[0], encoding="utf-8")
    command = tmp_path / "bin" / "sightline"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m sightline "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    script = blocks("gate_an_api", "bash")[1].replace("8123", port)
    served, rest = script.split("\n", 1)
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    source = f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    ran = subprocess.run(
        ["bash", "-c", f"{served}\nserver=$!\ntrap 'kill $server' EXIT\nset +e\n{rest}exit $?\n"],
        cwd=tmp_path, env={**os.environ, "PATH": path, "PYTHONPATH": source},
        capture_output=True, text=True, check=False, timeout=500,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "too few independent groups" in ran.stdout
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert len(list(suite.iter("testcase"))) == 7
    assert (tmp_path / "runs" / "gate" / "report.html").exists()
    assert (tmp_path / "gate.md").exists()
