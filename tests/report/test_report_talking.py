"""Attacks that talk in reports: what they cost cell by cell, in calls and tokens, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pyarrow.parquet as pq
import pytest
import talking_toys  # noqa: F401  (registers the toys)

from sightline.api.runs import finish
from sightline.metrics.effort import Price
from sightline.metrics.summary import summarize
from sightline.report.costs import price_text
from sightline.report.crafted import Crafted, Made
from sightline.report.page import write
from sightline.report.results import Results
from sightline.run_folder import COMPLETE
from sightline.study.config import parse
from sightline.study.run import Run

STUDY = """
study: talking
benchmarks: [{name: testbed_requests, limit: 4}]
targets: [scripted/echo, "scripted/PLACE/other.yaml"]
attacks:
  - none
  - {name: toy_script, oracle: defended, label: adaptive}
  - {name: toy_script, label: bare}
  - {name: toy_script, talks_to: scripted/echo, label: once}
  - {name: toy_script, talks_to: "defended/self_moderation(rounds=1):scripted/echo", label: moderated}
  - {name: toy_rewriter, rounds: 2, label: rewriter}
defenses: [none, {name: self_moderation, rounds: 1, label: second look}]
judges: [testbed_policy]
roles: {attacker: "scripted/PLACE/helper.yaml", in_loop_judge: refusal_prefix}
"""
HELPER = 'rules:\n  - reply: "<ask>again: {user}</ask>"\n'
OTHER = 'rules:\n  - reply: "no"\n'
TURNS, PLACES = 3, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("talking")
    (place / "helper.yaml").write_text(HELPER)
    (place / "other.yaml").write_text(OTHER)
    run = Run(parse(STUDY.replace("PLACE", str(place))), place / "run")
    run.prepare()
    finish(run)
    return place / "run"


@pytest.fixture
def found(folder: Path) -> Iterator[dict[Made, Crafted]]:
    with Results(folder) as results:
        yield results.crafting(requests=True)


def restricted(folder: Path) -> int:
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    return len({row["case_id"] for row in rows if row["expected"] == "refuse"})


@pytest.mark.parametrize("series", ["adaptive", "bare", "once"])
def test_a_row_counts_the_artifacts_that_its_cell_is_shown(
    series: str, folder: Path, found: dict[Made, Crafted]
) -> None:
    cells = {(made.target, made.defense): one for made, one in found.items() if made.series == series}
    count = restricted(folder)
    assert len(cells) == PLACES
    assert {one.artifacts for one in cells.values()} == {count}
    bare = [one.price.calls_target for (_, defense), one in cells.items() if defense == "none"]
    assert set(bare) == {TURNS * count}


def test_an_artifact_that_all_targets_are_shown_counts_once_in_the_sum(folder: Path) -> None:
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    cases = len({row["case_id"] for row in rows})
    with Results(folder) as results:
        asked = {attack: (count, price.calls_target) for attack, count, price in results.asked()}
    assert asked["once"] == (cases, TURNS * cases)
    assert asked["bare"] == (2 * cases, TURNS * 2 * cases)
    assert asked["adaptive"][0] == PLACES * cases
    assert "none" not in asked


def test_calls_of_helpers_and_of_the_in_loop_judge_and_tokens_are_summed(folder: Path) -> None:
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    made = {row["artifact"]: row for row in rows if row["attack"] == "rewriter"}.values()
    with Results(folder) as results:
        (price,) = [price for attack, _, price in results.asked() if attack == "rewriter"]
    for name, column in (("calls_aux", "craft_calls_aux"), ("calls_judge", "craft_calls_judge")):
        assert getattr(price, name) == sum(row[column] for row in made) > 0
    assert price.calls_target + price.calls_aux == sum(row["craft_calls"] for row in made)
    assert price.tokens == sum(row["craft_tokens_in"] + row["craft_tokens_out"] for row in made)
    write(folder)
    text = (folder / "report.txt").read_text("utf-8")
    helpers, judged = int(price.calls_aux), int(price.calls_judge)
    asked = (
        f"{int(price.calls_target)} calls to the target, {helpers} to helpers, {judged} to the in-loop judge"
    )
    assert "Asked while crafting:" in text
    assert f"- rewriter: {asked}" in " ".join(text.split())


def test_a_table_of_an_earlier_version_can_still_be_read(folder: Path, tmp_path: Path) -> None:
    other = Path(copytree(folder, tmp_path / "run"))
    (other / COMPLETE).unlink()
    table = pq.read_table(other / "results.parquet")
    later = [name for name in table.column_names if name.startswith(("craft_calls_", "craft_tokens_"))]
    assert len(later) == 4
    pq.write_table(table.drop_columns([*later, "made_on_target"]), other / "results.parquet")
    with Results(other) as results:
        assert {price.tokens for _, _, price in results.asked()} == {0}
        assert results.crafting(requests=True)


def test_an_attack_is_of_the_target_that_it_talked_to(folder: Path) -> None:
    of = {
        (cell.id.attack, cell.id.target.startswith("scripted/echo"), cell.id.defense != "none"): cell.id
        for cell in summarize(folder / "results.parquet").cells
    }
    assert {key: cell.own for key, cell in of.items() if key[0] in ("adaptive", "bare")} == {
        (attack, echo, defended): True
        for attack in ("adaptive", "bare")
        for echo in (True, False)
        for defended in (True, False)
    }
    assert [key for key, cell in of.items() if key[0] == "moderated" and cell.own] == [
        ("moderated", True, True)
    ]
    assert {key[0] for key, cell in of.items() if key[0] == "once" and cell.own} == {"once"}
    assert {key[1] for key, cell in of.items() if key[0] == "once" and not cell.own} == {False}
    assert {key for key, cell in of.items() if cell.adaptive} == {
        ("adaptive", True, True), ("adaptive", False, True), ("moderated", True, True),
    }  # fmt: skip


def test_the_page_says_adaptive_and_calls(folder: Path) -> None:
    page = write(folder).read_text("utf-8")
    assert "scripted/echo</b> · adaptive attacks, crafted on the defended target itself" in page
    assert "(adaptive: the defended target itself)" in page
    assert "calls to the target" in page
    assert "0 + 0 passes, 0" not in page


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (
            Price(0, 0, 0, 1, 6, 2, 4, 100),
            "3 calls to the target, 1 to helpers, 2 to the in-loop judge, 50 tokens",
        ),
        (Price(0, 0, 0, 1, 0, 2), "1 call to helpers"),
        (Price(0, 0, 4e9, 1, 6), "3 calls to the target, 2 GFLOP"),
        (Price(2, 4, 4e9, 1, 6), "3 calls to the target, 1 forward and 2 backward passes, 2 GFLOP"),
    ],
)
def test_calls_in_words(price: Price, text: str) -> None:
    crafted = Crafted(2, False, price, {"7": "key"})
    assert price_text(crafted).replace("\u00a0", " ") == f"{text} per case"
