"""Attacks on gradients that know the defense, in studies: columns, refusals, rows, a picture made so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sightline.api.runs import finish
from sightline.errors import UsageError
from sightline.metrics.summary import summarize
from sightline.study import run as runs
from sightline.study.config import parse

STUDY = """study: known
seed: 7
benchmarks: [{name: testbed_requests, subset: requests, limit: 6}]
targets: [testbed/linear]
defenses:
  - none
  - {name: purify, preset: jpeg50, label: jpeg}
attacks:
  - none
  - {name: qi_visual, preset: testbed, steps: 6, ENTRY}
judges: [testbed_policy]
decoding: {max_tokens: 16}
"""
KNOWN = "defended/purify(jpeg=50):testbed/linear"


def study(entry: str, *changes: tuple[str, str]) -> Any:
    text = STUDY.replace("ENTRY", entry)
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return parse(text, name="s.yaml")


def test_a_column_for_each_target_behind_each_defense() -> None:
    _, *columns = study("oracle: defended", ("[testbed/linear]", "[testbed/linear, testbed/queries]")).attacks
    assert [(c.surrogates, c.oracle, c.answered_by) for c in columns] == [
        (("testbed/linear",), "none", ("testbed/linear", "none")),
        ((KNOWN,), "defended", ("testbed/linear", "jpeg")),
        (("testbed/queries",), "none", ("testbed/queries", "none")),
        ((KNOWN.replace("linear", "queries"),), "defended", ("testbed/queries", "jpeg")),
    ]
    assert len({column.series for column in columns}) == 1


@pytest.mark.parametrize(("named", "found"), [("jpeg", ["jpeg"]), ("[jpeg, none]", ["jpeg", "none"])])
def test_an_attack_adapts_to_the_defenses_that_it_names(named: str, found: list[str]) -> None:
    """Others may pass no gradients: `ecso` does not, and is none of them."""
    ecso = ("defenses:\n", "defenses:\n  - ecso\n")
    _, *columns = study(f"oracle: defended, defenses: {named}", ecso).attacks
    assert [c.answered_by for c in columns] == [("testbed/linear", defense) for defense in found]
    with pytest.raises(UsageError, match="'ecso' passes no gradients"):
        study("oracle: defended", ecso)


def test_a_defended_surrogate_is_shown_to_all() -> None:
    _, plain = study("surrogate: testbed/linear").attacks
    _, known = study(f'surrogate: "{KNOWN}"').attacks
    assert (plain.oracle, plain.answered_by) == ("none", None)
    assert (known.oracle, known.answered_by) == ("defended", None)


@pytest.mark.parametrize(
    ("entry", "changes", "message"),
    [
        (
            "oracle: defended, surrogate: testbed/linear",
            (),
            r"s.yaml:10: .*leave `surrogate` out, or name a d",
        ),
        ("oracle: undefended", (), r"s.yaml:10: .*add `surrogate:` with a local target"),
        (
            "oracle: defended",
            (("purify, preset: jpeg50", "ecso"),),
            r"s.yaml:10: .*'ecso' passes no gradients",
        ),
        (
            'surrogate: "defended/ecso:testbed/linear"',
            (),
            r"s.yaml:10: .*'ecso' passes no gr.*adashield.*purify",
        ),
        ('surrogate: "defended/prify:testbed/linear"', (), r"s.yaml:10: .*'purify'"),
        (
            "oracle: defended",
            (("  - {name: purify, preset: jpeg50, label: jpeg}\n", ""),),
            r"no defense in this study",
        ),
        ("oracle: defended, defenses: none", (), r"s.yaml:10: .*no defense in its `defenses`"),
        (
            "oracle: defended, defenses: [jpg]",
            (),
            r"s.yaml:10: .*unknown defense .*'jpg'.*'jpeg'",
        ),
        ("oracle: defended, defenses: [jpeg, jpeg]", (), r"s.yaml:10: .*'jpeg' stands here twice"),
        (
            "surrogate: testbed/linear, defenses: jpeg",
            (),
            r"s.yaml:10: .*`defenses` of an attack goes with `oracle: defended`",
        ),
        *(
            (
                f"{how}, label: x",
                (("qi_visual, preset: testbed, steps: 6", attack),),
                rf"s.yaml:10: .*{attack.partition(',')[0]} {what}.*name the bare model, testbed/linear",
            )
            for how in ("oracle: defended", f'surrogate: "{KNOWN}"')
            for attack, what in (
                ("gcg", "searches for tokens"),
                ("jailbreak_in_pieces", "looks at the vision tower alone"),
                ("bard", "looks at the vision tower alone"),
            )
        ),
    ],
)
def test_what_does_not_fit_is_told_when_the_study_is_read(
    entry: str, changes: tuple[tuple[str, str], ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        study(entry, *changes)


def test_an_attack_on_what_the_model_says_is_crafted_through_a_defense_whatever_its_access() -> None:
    bard = ("qi_visual, preset: testbed, steps: 6", "bard, goal: description, target: a gluv")
    assert len(study("oracle: defended", bard).attacks) == 3


@pytest.mark.slow
def test_a_picture_is_made_through_the_defense_and_only_its_cell_answers_it(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run = runs.Run(study("oracle: defended, label: qi"), tmp_path / "run")
    run.prepare()
    finish(run)
    rows = pq.read_table(run.folder / "results.parquet").to_pylist()
    found = {
        (row["attack"], row["defense"]): (row["oracle"], row["made_on_target"], row["crafted_on"])
        for row in rows
    }
    assert found["none", "jpeg"] == ("none", None, None)
    assert found["qi", "none"][:2] == ("none", True)
    oracle, own, crafted_on = found["qi", "jpeg"]
    assert (oracle, own) == ("defended", True)
    assert crafted_on.startswith("defended/purify(jpeg=50)@")
    shown = {
        defense: {r["shown"] for r in rows if r["defense"] == defense and r["attack"] == "qi"}
        for defense in ("none", "jpeg")
    }
    assert shown["none"].isdisjoint(shown["jpeg"])
    adaptive = {
        (s.id.attack, s.id.defense) for s in summarize(run.folder / "results.parquet").cells if s.id.adaptive
    }
    assert adaptive == {("qi", "jpeg")}
