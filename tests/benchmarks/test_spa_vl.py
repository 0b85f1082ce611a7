"""SPA-VL: four splits in several files, what they expect, clusters by picture, hazards by class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import releases_modern

from sightline import registry
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.spa_vl(tmp_path / "SPA-VL")


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def read(blobs):
    def read(root, spec="spa_vl", listing=False):
        release = OfficialRelease(root, blobs, listing=listing)
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


@pytest.mark.parametrize(
    ("split", "files", "expected"),
    [
        ("harm", "test/harm-*", Expected.refuse),
        ("help", "test/help-*", Expected.comply),
        ("validation", "validation/*", Expected.refuse),
        ("train", "data/train-*", Expected.refuse),
    ],
)
def test_questions_are_sent_verbatim_with_their_pictures(split, files, expected, folder, read, blobs):
    rows = [row for path in sorted(folder.glob(files)) for row in pq.read_table(path).to_pylist()]
    cases, _ = read(folder, f"spa_vl(split={split})")
    for number, (case, row) in enumerate(zip(cases, rows, strict=True), start=1):
        image, sent = case.conversation.turns[0].parts
        assert sent == case.behavior == row["question"]
        assert blobs.read(image.sha256) == row["image"]["bytes"]
        assert (case.id, case.category, case.expected) == (
            f"spa_vl/{split}/{number}",
            row["class2"],
            expected,
        )
        assert (case.hazard == "benign") is (expected is Expected.comply)


def test_hazards_go_by_the_narrowest_class_that_is_known(folder, read, tmp_path):
    assert [case.hazard for case in read(folder)[0]] == ["ncr", "spc_hlt", "hte"]
    rows = pq.read_table(folder / "test/harm-00000-of-00001.parquet").to_pylist()
    rows[1]["class3"], rows[2]["class2"], rows[2]["class3"] = "Something new", "", None
    releases_modern.write_parquet(tmp_path / "x/harm-00000-of-00001.parquet", rows)
    cases, _ = read(tmp_path / "x")
    assert [case.hazard for case in cases] == ["ncr", "x.mis", "x.tox"]
    assert cases[2].category == "Representation & Toxicity Harms"


def test_questions_about_one_picture_are_one_cluster_listed_or_read(folder, read):
    cases, release = read(folder, "spa_vl(split=train)")
    assert Counter(Counter(case.group for case in cases).values()) == {2: 3}
    listed, _ = read(folder, "spa_vl(split=train)", listing=True)
    assert [case.group for case in listed] == [case.group for case in cases]
    assert release.warnings == [f"{folder}: numbers of cases: all has 6 (expected 93,258)"]


def test_one_file_of_a_split_may_be_named_as_the_release(folder, read):
    assert read(folder / "test/harm-00000-of-00001.parquet")[0] == read(folder)[0]


MISUSE = [
    ("question", "", "row 2: 'question' is empty"),
    ("image", {"bytes": None, "path": "gone.jpg"}, r"picture gone\.jpg not found"),
    ("image", {"bytes": b"x", "path": None}, "row 2"),
]


@pytest.mark.parametrize(("column", "value", "message"), MISUSE, ids=["empty", "absent", "broken"])
def test_a_bad_row_is_one_error_that_names_it(column, value, message, folder, tmp_path, read):
    rows = pq.read_table(folder / "test/harm-00000-of-00001.parquet").to_pylist()
    rows[1][column] = value
    releases_modern.write_parquet(tmp_path / "x/test/harm-00000-of-00001.parquet", rows)
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{message}"):
        read(tmp_path / "x")


def test_a_release_without_the_split_says_what_was_looked_for(folder, read):
    (folder / "test/help-00000-of-00001.parquet").unlink()
    with pytest.raises(
        UsageError, match=r"no file help-\*\.parquet; looked for test/help-\*\.parquet, data/"
    ):
        read(folder, "spa_vl(split=help)")
