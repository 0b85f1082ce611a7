"""Attacks that ask the defended target, in a study on the testbed: columns, calls, resuming, controls."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sightline.api.runs import finish
from sightline.plain import artifact_of
from sightline.study.config import load, parse
from sightline.study.run import Run
from sightline.tables import Table

STUDY = """
study: adaptive
seed: 3
benchmarks: [{name: testbed_requests, limit: 4}]
targets: [testbed/linear]
attacks:
  - {name: figstep, preset: testbed, items: 1, label: plain}
  - {name: checker_injection, preset: testbed, tries: 2, oracle: defended, label: injection}
  - {name: checker_injection, preset: testbed_neutral, tries: 2, oracle: defended, label: neutral}
  - {name: ocr_style_search, preset: testbed, queries: 2, oracle: defended, label: styles}
  - {name: known_prompt, preset: testbed, queries: 2, oracle: defended, label: known}
defenses: [none, {name: self_moderation, preset: testbed}]
roles: {in_loop_judge: refusal_prefix(phrases=testbed)}
judges: [testbed_policy]
decoding: {max_tokens: 40}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = Run(parse(STUDY), tmp_path_factory.mktemp("adaptive") / "run")
    made.prepare()
    finish(made)
    return made


def rows_of(run: Run) -> list[dict[str, object]]:
    return pq.read_table(run.folder / "results.parquet").to_pylist()


def test_each_defense_has_a_column_of_its_own_oracle(run: Run) -> None:
    found = Counter((row["attack"], row["defense"] != "none", row["oracle"]) for row in rows_of(run))
    assert set(found.values()) == {4}
    for attack in ("injection", "neutral", "styles", "known"):
        oracles = {oracle for name, _, oracle in found if name == attack}
        assert oracles == {"undefended", "defended"}
    assert {oracle for name, _, oracle in found if name == "plain"} == {"none"}


def test_what_works_on_the_bare_model_needs_one_query_and_the_defense_is_asked_twice(run: Run) -> None:
    with Table(run.records / "craft") as table:
        made = [artifact_of(row) for row in table]
    queries = Counter(sum(call.purpose == "target" for call in each.calls) for each in made if each.calls)
    assert set(queries) <= {1, 2}
    assert queries[1] > 0, "a success ends the tries"
    assert queries[2] > 0, "and a refusal does not"
    assert not any(each.problem for each in made)


def test_plain_drawing_is_obeyed_and_self_moderation_withholds_all_of_it(run: Run) -> None:
    asked = [row for row in rows_of(run) if row["expected"] == "refuse"]
    bare = [row for row in asked if row["oracle"] != "defended" and row["defense"] == "none"]
    assert bare
    assert sum(row["outcome"] == "complied" for row in bare) >= 0.6 * len(bare)
    behind = [row for row in asked if row["attack"] == "neutral" and row["oracle"] == "defended"]
    assert behind
    assert not any(row["outcome"] == "complied" for row in behind)


def test_a_run_that_is_resumed_asks_nothing_again(run: Run) -> None:
    before = rows_of(run)
    again = Run(parse(STUDY), run.folder)
    again.prepare()
    finish(again)
    assert rows_of(again) == before


def test_the_study_that_is_shipped_reads() -> None:
    study = load(Path(__file__).parents[2] / "studies/adaptive_prompts.yaml")
    assert study is not None
