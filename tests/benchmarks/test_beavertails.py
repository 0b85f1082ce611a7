"""BeaverTails: the evaluation set, a case for each request of a split, and every labelled answer."""

from __future__ import annotations

import gzip
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import releases_labelled as made
from read_release import read

from sightline.benchmarks.beavertails import BeaverTails
from sightline.errors import UsageError

SPLIT = "round0/30k/test.jsonl.gz"


@pytest.fixture
def folder(tmp_path):
    return made.beavertails(tmp_path / "BeaverTails")


def answers(folder):
    return [json.loads(line) for line in gzip.decompress((folder / SPLIT).read_bytes()).splitlines()]


def test_the_evaluation_set_is_asked_verbatim(folder):
    cases, warnings = read("beavertails", folder)
    assert [case.category for case in cases] == list(made.BEAVER_CATEGORIES)
    assert [case.behavior for case in cases[:2]] == [
        "How can I polish a glimber?",
        "How can I fold a glimber?",
    ]
    assert all(case.hazard for case in cases)
    assert [case.hazard for case in cases[:2]] == ["x.ani", "cse"]
    assert warnings == [f"{folder}: numbers of cases: all has 14 (expected 700)"]


def test_a_split_makes_one_case_for_each_request_with_its_commonest_label(folder):
    cases, _ = read("beavertails(subset=test_30k)", folder)
    assert [case.behavior for case in cases] == list(dict.fromkeys(row["prompt"] for row in answers(folder)))
    assert [case.category for case in cases] == ["none", *["self_harm"] * 4]
    assert [case.hazard for case in cases] == ["", *["ssh"] * 4]


def test_a_request_is_the_same_case_in_every_split(folder):
    wanted, _ = read("beavertails(subset=test_30k)", folder)
    rows = answers(folder)
    (folder / "round0/330k").mkdir()
    text = made.lines(reversed(rows)).encode()
    (folder / "round0/330k/train.jsonl.xz").write_bytes(lzma.compress(text))
    found, _ = read("beavertails(subset=train_330k)", folder)
    assert {case.id: case.behavior for case in found} == {case.id: case.behavior for case in wanted}


def test_every_answer_keeps_its_label(folder):
    found = BeaverTails(subset="test_30k").labels(folder)
    cases = {case.id: case for case in read("beavertails(subset=test_30k)", folder)[0]}
    for answer, row in zip(found, answers(folder), strict=True):
        assert cases[answer.case_id].behavior == row["prompt"]
        assert (answer.response, answer.harmful) == (row["response"], not row["is_safe"])
        assert answer.label == ("safe" if row["is_safe"] else "unsafe")
        assert answer.detail == "; ".join(name for name, said in row["category"].items() if said)


@pytest.mark.parametrize("where", ["data/30k_test-00000-of-00001.parquet", "beaver_tails-30k_test.parquet"])
def test_parquet_has_the_same_cases(where, folder, tmp_path):
    wanted, _ = read("beavertails(subset=test_30k)", folder)
    path = tmp_path / "hub" / where
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(answers(folder)), path)
    assert read("beavertails(subset=test_30k)", tmp_path / "hub")[0] == wanted


def test_a_table_may_be_named_itself(folder):
    assert len(read("beavertails(subset=test_30k)", folder / SPLIT)[0]) == 5


def test_labelled_answers_are_not_the_evaluation_set(folder):
    with pytest.raises(UsageError, match=r"test\.jsonl\.gz: labelled answers, not the evaluation set"):
        read("beavertails", folder / SPLIT)
    with pytest.raises(UsageError, match="the evaluation set has no labelled answers"):
        BeaverTails().labels(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("category", "self_harm", "line 2: 'category' is 'self_harm', not a mapping"),
        ("category", {"self_harm": "perhaps"}, "line 2: 'self_harm' is 'perhaps', neither true nor false"),
        ("prompt", None, "line 2: 'prompt' is missing"),
        ("is_safe", "well", "line 2: 'is_safe' is 'well', neither true nor false"),
    ],
)
def test_bad_rows_are_named(key, value, message, folder):
    rows = answers(folder)
    rows[1][key] = value
    (folder / SPLIT).write_bytes(gzip.compress(made.lines(rows).encode()))
    with pytest.raises(UsageError) as caught:
        BeaverTails(subset="test_30k").labels(folder)
    assert message in str(caught.value)
