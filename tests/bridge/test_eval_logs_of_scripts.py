"""Scripts of several turns in what a run is written as for others: Inspect's logs show every turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import talking_toys  # noqa: F401  (registers the toy attacks)
import toys  # noqa: F401
from inspect_ai.log import read_eval_log
from speakers import World

from sightline.api.exporting import export
from sightline.api.runs import finish
from sightline.bridge.eval_logs import write_eval_logs
from sightline.errors import UsageError
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: scripts
benchmarks: [{name: toy_questions, n: 3}]
targets: [toy/a]
attacks: [{name: toy_script, turns: 3}]
judges: [toy_judge]
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    opened = World({"toy/a": lambda asked: f"reply {len(asked.turns)}"})
    monkeypatch.setattr("sightline.targets.open_target", opened.open)
    found = Run(parse(STUDY), tmp_path / "run")
    found.prepare()
    finish(found)
    return found


def test_a_log_shows_the_whole_dialogue_and_the_calls_of_the_crafting(run: Run, tmp_path: Path) -> None:
    (path,) = write_eval_logs(run.folder, tmp_path / "logs")
    samples = read_eval_log(str(path)).samples or []
    assert len(samples) == 2
    for sample in samples:
        said = [(message.role, message.text) for message in sample.messages]
        about = sample.metadata["behavior"]
        assert said == [
            ("user", f"turn 1 of {about}"),
            ("assistant", "reply 1"),
            ("user", f"turn 2 of {about}"),
            ("assistant", "reply 3"),
            ("user", about),
            ("assistant", "reply 5"),
        ]
        assert sample.output.completion == "reply 5"
        calls = sample.metadata["crafting_calls"]
        assert [(call["purpose"], call["text"]) for call in calls] == [
            ("target", "reply 1"),
            ("target", "reply 3"),
            ("target", "reply 5"),
        ]


def test_a_format_of_one_prompt_refuses_scripts(run: Run) -> None:
    with pytest.raises(UsageError, match=r"case toy/0 is asked in several turns.*--eval-logs"):
        export(run.folder, format="jailbreakbench")
