"""Labelled answers of every benchmark that has them: one form, and whatever is wrong is told."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import releases_labelled as made
from damage import TABLES, break_table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline import registry
from sightline.benchmarks._labels import LabelledAnswer, LabelledBenchmark, by_majority
from sightline.errors import UsageError
from sightline.records import Outcome
from sightline.rows import Row, RowProblem

SPECS = (
    "beavertails(subset=test_30k)",
    "harmbench_multimodal",
    "harmbench_multimodal(subset=text_all)",
    "jbb_behaviors",
    "msts",
    "msts(images=none)",
    "msts(language=german)",
    "xstest",
)
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def method(spec: str) -> LabelledBenchmark:
    found = registry.parse("benchmark", spec)
    assert isinstance(found, LabelledBenchmark)
    return found


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict[str, Path]:
    names = {spec.partition("(")[0] for spec in SPECS}
    return {name: made.RELEASES[name](tmp_path_factory.mktemp("labels") / name) for name in names}


def attempt(labelled: LabelledBenchmark, root: Path) -> tuple[str, list[LabelledAnswer]]:
    """What is wrong, or the answers."""
    try:
        return "", labelled.labels(root)
    except UsageError as caught:
        return str(caught), []


def root_of(spec: str, written: dict[str, Path]) -> Path:
    return written[spec.partition("(")[0]]


@pytest.mark.parametrize("spec", SPECS)
def test_answers_are_whole(spec, written):
    answers = method(spec).labels(root_of(spec, written))
    assert len(answers) >= 4
    for answer in answers:
        assert answer.case_id.startswith(f"{spec.partition('(')[0]}/")
        assert answer.response.strip()
        assert answer.label
        assert answer.group
        assert answer.harmful is not None or answer.outcome is not None
        if answer.harmful is not None:  # an answer may do harm without doing what was asked
            assert answer.outcome is not Outcome.complied or answer.harmful
        row = answer.row()
        assert (row["id"], row["response"], row["human_verdict"]) == (
            answer.case_id,
            answer.response,
            answer.label,
        )
        assert all(isinstance(cell, str) for cell in row.values())


@pytest.mark.parametrize("spec", SPECS)
def test_votes_are_the_yes_and_no_of_the_same_raters(spec, written):
    for answer in method(spec).labels(root_of(spec, written)):
        assert set(answer.votes) == set(answer.human)
        if len(set(answer.votes.values())) == 1 and answer.harmful is not None and len(answer.votes) > 2:
            assert answer.harmful in answer.votes.values()  # the majority of people who all say the same


@pytest.mark.parametrize(
    ("spec", "table", "column"),
    [
        ("msts", "data/prompts/english_multimodal.csv", "hazard_category"),
        ("msts(language=german)", "data/prompts/german_multimodal.csv", "hazard_category"),
        (
            "harmbench_multimodal(subset=text_all)",
            "data/behavior_datasets/harmbench_behaviors_text_all.csv",
            "SemanticCategory",
        ),
    ],
)
def test_categories_come_from_the_table_of_requests(spec, table, column, written, tmp_path):
    root = Path(shutil.copytree(root_of(spec, written), tmp_path / "copy"))
    with (root / table).open(encoding="utf-8", newline="") as file:
        known = {row[column] for row in csv.DictReader(file)}
    found = {answer.category for answer in method(spec).labels(root)}
    assert "" not in found
    assert found <= known
    (root / table).unlink()  # answers need no requests: then the category is not said
    assert {answer.category for answer in method(spec).labels(root)} == {""}


@pytest.mark.parametrize("spec", SPECS)
@QUICK
@given(data=st.data())
def test_whatever_is_wrong_with_labels_is_told(spec, written, tmp_path_factory, data):
    whole = root_of(spec, written)
    wanted = method(spec).labels(whole)
    root = Path(shutil.copytree(whole, tmp_path_factory.mktemp("damaged") / whole.name))
    tables = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix in TABLES)
    break_table(data.draw(st.sampled_from(tables)), data)
    told, found = attempt(method(spec), root)
    if told:
        assert str(root) in told
    else:
        assert found
        assert {type(answer) for answer in found} == {type(wanted[0])}
    shutil.rmtree(root.parent)


@pytest.mark.parametrize(
    ("said", "harmful"),
    [("1", True), ("0", False), ("110", True), ("100", False), ("000", False), ("11000", False)],
)
def test_the_majority_counts(said, harmful):
    row = Row("t.csv", "line", 2, {})
    raters = {f"human{number}": label for number, label in enumerate(said)}
    assert by_majority(row, raters, {"1": True, "0": False}) is harmful


@pytest.mark.parametrize("said", ["10", "", "1?"])
def test_no_majority_is_told(said):
    raters = {f"human{number}": label for number, label in enumerate(said)}
    with pytest.raises(RowProblem, match=r"t\.csv, line 2: "):
        by_majority(Row("t.csv", "line", 2, {}), raters, {"1": True, "0": False})
