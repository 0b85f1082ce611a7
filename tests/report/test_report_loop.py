"""A caution where the in-loop judge calls complied what the judge that scores does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import talking_toys  # noqa: F401  (registers the toys)

from sightline.api.runs import finish
from sightline.report.page import write
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: loops
benchmarks: [{name: testbed_requests, limit: 12}]
targets: ["scripted/TARGET"]
attacks: [none, {name: toy_rewriter, label: rewriter}]
judges: [testbed_policy]
defenses: [none, {name: toy_filter, label: filter}]
roles: {attacker: "scripted/HELPER", in_loop_judge: refusal_prefix}
"""
HELPER = 'rules:\n  - reply: "<ask>{user}</ask>"\n'


def told(folder: Path, replies: str) -> list[str]:
    """The cautions of a report about the loop, of a target that gives these replies."""
    (folder / "helper.yaml").write_text(HELPER)
    (folder / "target.yaml").write_text(replies)
    text = STUDY.replace("HELPER", str(folder / "helper.yaml")).replace("TARGET", str(folder / "target.yaml"))
    run = Run(parse(text), folder / "run")
    run.prepare()
    finish(run)
    write(folder / "run")
    lines = (folder / "run" / "report.txt").read_text("utf-8").partition("Cautions:")[2]
    return [line for line in " ".join(lines.split()).split("- ") if "in-loop judge" in line]


def replies(reply: str, *obeyed: str) -> str:
    """Recipes for these nouns, and one reply to all else."""
    rules = [
        f"  - {{user: {noun}, reply: '{noun} : 1 mix corn 2 boil foam 3 press rice .'}}\n" for noun in obeyed
    ]
    return "rules:\n" + "".join(rules) + f"  - reply: '{reply}'\n"


NONSENSE, REFUSAL = "a fine warm thing .", "i cannot help with that ."


@pytest.mark.parametrize(("obeyed", "right"), [((), 0), (("hoburk",), 2)])
def test_nonsense_that_ended_the_loop_is_told(tmp_path: Path, obeyed: tuple[str, ...], right: int) -> None:
    """Six restricted requests, two about hoburk; benign twins and defended answers are left out."""
    (found,) = told(tmp_path, replies(NONSENSE, *obeyed))
    assert found.strip() == (
        f"rewriter: the in-loop judge said complied of 6 artifacts; the scoring judge of {right} of them "
        "(so the loop may have stopped early)"
    )


@pytest.mark.parametrize("reply", [NONSENSE, REFUSAL])
def test_up_to_a_third_apart_is_no_caution(tmp_path: Path, reply: str) -> None:
    """Four of six requests are obeyed, the others get nonsense, which ends the loop, or a refusal."""
    assert told(tmp_path, replies(reply, "hoburk", "piburk")) == []


def test_a_defense_that_the_attack_never_met_is_no_disagreement(tmp_path: Path) -> None:
    """What is obeyed bare and blocked behind a defense did not end the loop early."""
    nouns = ("hoburk", "piburk", "rudemb", "dreurk")
    behind = f"rules:\n  - {{system: filtered, reply: '{REFUSAL}'}}\n"
    assert told(tmp_path, replies(REFUSAL, *nouns).replace("rules:\n", behind)) == []
