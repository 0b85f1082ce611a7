"""Scripts of several turns and the calls of attacks that converse, as the gallery shows them."""

from __future__ import annotations

from pathlib import Path

import pytest
import talking_toys  # noqa: F401  (registers the toys)

from sightline.api.runs import finish
from sightline.report.page import write
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: dialogues
benchmarks: [{name: testbed_requests, limit: 2}]
targets: [scripted/echo]
attacks: [none, toy_script, toy_rewriter]
judges: [testbed_policy]
roles: {attacker: "scripted/HELPER", in_loop_judge: refusal_prefix}
"""
HELPER = 'rules:\n  - reply: "<ask>again: <b>{user}</b></ask>"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dialogues")
    (place / "helper.yaml").write_text(HELPER)
    run = Run(parse(STUDY.replace("HELPER", str(place / "helper.yaml"))), place / "run")
    run.prepare()
    finish(run)
    return place / "run"


def test_a_dialogue_is_shown_turn_by_turn(folder: Path) -> None:
    page = write(folder).read_text("utf-8")
    assert "As attacked, 3 turns" in page
    assert page.index("turn 1 of") < page.index("turn 2 of")
    assert "assistant" in page


def test_the_attack_s_calls_are_behind_a_cover_and_escaped(folder: Path) -> None:
    page = write(folder).read_text("utf-8")
    assert "Show the attack's 3 calls to models while it was crafted" in page
    assert "&lt;b&gt;" in page
    assert "again: <b>" not in page


def test_a_redacted_copy_holds_no_word_of_them(folder: Path) -> None:
    page = write(folder, redacted=True).read_text("utf-8")
    assert "turn 1 of" not in page
    assert "again:" not in page


def test_the_target_that_a_column_talked_to_is_named(folder: Path) -> None:
    page = write(folder).read_text("utf-8")
    assert "talks to scripted/echo" in page


def test_what_an_attack_talked_to_is_no_surrogate_and_its_cells_are_in_the_lock(folder: Path) -> None:
    page = write(folder).read_text("utf-8")
    assert "crafted on gradients" not in page
    assert "not in the lock" not in page


def test_an_attack_that_adapts_to_a_defense_has_a_sentence_of_its_own(tmp_path: Path) -> None:
    study = STUDY.replace("toy_script", "{name: toy_script, oracle: defended}").replace(
        "judges:", "defenses: [none, {name: self_moderation, rounds: 1}]\njudges:"
    )
    (tmp_path / "helper.yaml").write_text(HELPER)
    run = Run(parse(study.replace("HELPER", str(tmp_path / "helper.yaml"))), tmp_path / "run")
    run.prepare()
    finish(run)
    page = write(tmp_path / "run").read_text("utf-8")
    assert "Attacks that adapt to a defense of" in page
    assert "which knows it, is" in page
