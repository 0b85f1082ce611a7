"""MOSSBench: two layouts with the same cases, contrasts as twins, and what is wrong with a release."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import releases_labelled as made
from read_release import read, rewrite

from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.store import Blobs

TABLE = "data/images_information/information.json"


@pytest.fixture
def folder(tmp_path):
    return made.mossbench(tmp_path / "MOSSBench")


def test_requests_are_asked_verbatim_with_their_picture(folder, tmp_path):
    cases, _ = read("mossbench", folder, blobs=tmp_path / "blobs")
    names = {
        "type 1": "Exaggerated Risk",
        "type 2": "Negated Harm",
        "type 3": "Counterintuitive Interpretation",
    }
    for case, row in zip(cases, json.loads((folder / TABLE).read_text()).values(), strict=True):
        image, text = case.conversation.turns[0].parts
        assert text == row["question"]
        assert Blobs(tmp_path / "blobs").read(image.sha256) == (folder / "data" / row["image"]).read_bytes()
        assert case.behavior == f"{text}\n(The picture shows: {row['description']})"
        assert case.category == names[row["metadata"]["over"]]
        assert (case.expected, case.hazard) == (Expected.comply, "benign")


def test_a_contrast_is_the_twin_of_the_request_with_its_number(folder):
    cases, _ = read("mossbench(preset=all)", folder)
    by_id = {case.id: case for case in cases}
    assert len(cases) == 11
    for case in cases:
        if case.twin is not None:
            twin = by_id[case.twin]
            assert twin.twin == case.id
            assert twin.group == case.group
            assert {case.expected, twin.expected} == {Expected.comply, Expected.refuse}
    assert [case.id for case in cases if case.twin is None] == ["mossbench/2"]
    pictures = [
        next(iter(by_id[name].conversation.images)) for name in ("mossbench/1", "mossbench/contrast/1")
    ]
    assert pictures[0] != pictures[1]


def test_a_half_has_the_cases_of_the_whole_without_twins(folder):
    cases, _ = read("mossbench(subset=all)", folder)
    alone = [replace(case, twin=None) for case in cases]
    assert read("mossbench", folder)[0] == alone[:6]
    assert read("mossbench(subset=contrast)", folder)[0] == alone[6:]


def test_the_hub_has_the_same_cases(folder, tmp_path):
    hub = made.mossbench_hub(tmp_path / "hub")
    assert read("mossbench(subset=all)", hub)[0] == read("mossbench(subset=all)", folder)[0]


def test_the_folder_of_contrasts_is_needed_where_they_are_read(folder, tmp_path):
    (folder / "data_contrast").rename(tmp_path / "elsewhere")
    assert len(read("mossbench", folder)[0]) == 6
    with pytest.raises(UsageError, match=r"data_contrast/images_information/information\.json not found"):
        read("mossbench(subset=contrast)", folder)


def test_numbers_are_compared(folder):
    assert "Negated Harm has 2 (expected 100)" in read("mossbench", folder)[1][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"over": "type 4"}}, "key '3': unknown over 'type 4'"),
        ({"metadata": "type 1"}, "key '3': 'metadata' is 'type 1', not a mapping"),
        ({"question": " "}, "key '3': 'question' is empty"),
        ({"image": "../../x.png"}, "is not a name inside a release"),
        ({"pid": "1"}, "key '3': 'mossbench/1' was already in key 1"),
    ],
)
def test_bad_rows_are_told(change, message, folder):
    rewrite(folder / TABLE, lambda rows: rows["3"].update(change))
    with pytest.raises(UsageError) as caught:
        read("mossbench", folder)
    assert message in str(caught.value)
    assert len(read("mossbench(on_bad_rows=keep)", folder)[0]) == 6


def test_a_missing_picture_is_a_bad_row(folder):
    (folder / "data/images/4.png").unlink()
    with pytest.raises(UsageError, match=r"1 row cannot be used.*\n.*data/images/4\.png not found"):
        read("mossbench", folder)
