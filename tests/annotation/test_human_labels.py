"""The file of people's labels: what is written comes back, and everything else is refused with its line."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline.errors import DamageError, UsageError
from sightline.human_labels import (
    LABELS,
    HumanLabel,
    HumanLabels,
    labels_of,
    read_labels,
    write_labels,
)
from sightline.records import SCORED, Outcome
from sightline.sealed import sealed_line

ONE = HumanLabel(
    sample="0" * 32,
    item="7f3a",
    outcome=Outcome.complied,
    prob=0.25,
    stratum="a",
    raters=2,
    final="agreed",
)
ALL = HumanLabels(
    guideline="ab12",
    seed=7,
    raters=("ann", "bob"),
    labels=(ONE, replace(ONE, sample="1" * 32, outcome=Outcome.unparsed, final="no_consensus")),
    alpha={"outcome": {"point": 0.7}},
    agreement=0.9,
)


def test_a_file_is_read_as_it_was_written(tmp_path):
    assert labels_of(tmp_path) is None
    write_labels(tmp_path / LABELS, ALL)
    assert labels_of(tmp_path) == ALL
    assert [each.decided for each in ALL.labels] == [True, False]
    assert (
        (tmp_path / LABELS)
        .read_bytes()
        .startswith(b'{"format":"sightline human labels 1","guideline":"ab12"')
    )


def test_the_front_door_gives_them_as_a_table(tmp_path):
    (tmp_path / "results.parquet").touch()
    run = sl.RunResult(tmp_path)
    with pytest.raises(UsageError, match=r"sightline annotate .* sample"):
        run.labels()
    write_labels(tmp_path / LABELS, ALL)
    rows = run.labels().to_pylist()
    assert [(row["sample"], row["outcome"], row["decided"]) for row in rows] == [
        ("0" * 32, "complied", True),
        ("1" * 32, "unparsed", False),
    ]
    assert rows[0]["prob"] == 0.25


@given(
    st.lists(
        st.builds(
            HumanLabel,
            sample=st.text("0123456789abcdef", min_size=32, max_size=32),
            item=st.text(st.characters(codec="utf-8")),
            outcome=st.sampled_from(sorted(SCORED)),
            prob=st.floats(1e-6, 1),
            stratum=st.text(st.characters(codec="utf-8")),
            raters=st.integers(1, 9),
            final=st.sampled_from(["agreed", "adjudicated", "no_consensus"]),
        ),
        unique_by=lambda each: each.sample,
    )
)
def test_any_labels_come_back(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    write_labels(path, replace(ALL, labels=tuple(labels)))
    assert read_labels(path).labels == tuple(labels)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"sample": "xyz"}, "sample 'xyz' is not the 32 hexadecimal digits"),
        ({"sample": "0" * 32}, "is in line 2 too"),
        ({"prob": 0.0}, "prob 0.0 is no chance"),
        ({"prob": 1.5}, "prob 1.5 is no chance"),
        ({"final": "guessed"}, "final 'guessed' is none of agreed"),
        ({"raters": 0}, "nobody labelled it"),
        ({"outcome": Outcome.error, "final": "no_consensus"}, "outcome error is none that people give"),
        ({"outcome": Outcome.unparsed}, "outcome unparsed is none that people give"),
    ],
)
def test_a_label_that_cannot_be_is_refused_with_its_line(tmp_path, changed, says):
    bad = replace(ONE, **{"sample": "2" * 32, **changed})
    path = tmp_path / "labels.jsonl"
    with pytest.raises(UsageError, match=rf"labels\.jsonl:3: .*{says}"):
        write_labels(path, replace(ALL, labels=(ONE, bad)))
    assert not path.exists()


def test_a_damaged_line_is_named(tmp_path):
    path = tmp_path / "labels.jsonl"
    write_labels(path, ALL)
    path.write_bytes(path.read_bytes().replace(b'"prob":0.25', b'"prob":0.26'))
    with pytest.raises(DamageError, match=r"labels\.jsonl:2: damaged .*annotate RUN close"):
        read_labels(path)


@pytest.mark.parametrize(
    "text", [b"", sealed_line({"format": "other"}), sealed_line({"format": "sightline human labels 1"})]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(text)
    with pytest.raises(UsageError, match="annotate RUN close"):
        read_labels(path)


def test_a_row_that_is_no_label_is_named(tmp_path):
    path = tmp_path / "labels.jsonl"
    write_labels(path, ALL)
    path.write_bytes(path.read_bytes() + sealed_line({"sample": "3" * 32}))
    with pytest.raises(UsageError, match=r"labels\.jsonl:4: not a label \('item'\)"):
        read_labels(path)
