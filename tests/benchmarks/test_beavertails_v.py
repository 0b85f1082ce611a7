"""BeaverTails-V: a folder per category, two splits, clusters by picture, whichever columns exist."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import releases_modern

from sightline import registry, taxonomy
from sightline.benchmarks.beavertails_v import CATEGORIES
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.beavertails_v(tmp_path / "BeaverTails-V")


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def read(blobs):
    def read(root, spec="beavertails_v"):
        release = OfficialRelease(root, blobs)
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


@pytest.mark.parametrize("split", ["evaluation", "train"])
def test_questions_are_sent_verbatim_with_their_pictures(split, folder, read, blobs):
    rows = [
        row
        for category in releases_modern.BEAVERTAILS_V
        for row in pq.read_table(folder / f"data/{category}/{split}.parquet").to_pylist()
    ]
    cases, release = read(folder, f"beavertails_v(split={split})")
    for case, row in zip(cases, rows, strict=True):
        image, sent = case.conversation.turns[0].parts
        assert sent == case.behavior == row["question"]
        assert blobs.read(image.sha256) == row["image"]["bytes"]
        assert (case.category, case.expected) == (row["category"], Expected.refuse)
    assert len({case.group for case in cases}) == 20
    known = [f"{folder}: numbers of cases: all has 40 (expected 1,180)"]
    assert release.warnings == (known if split == "evaluation" else [])


def test_categories_are_those_of_the_crosswalk(folder, read):
    assert set(CATEGORIES) == {entry.label for entry in taxonomy.native("beavertails_v").labels}
    assert all(case.hazard for case in read(folder)[0])


def test_one_category_needs_no_other(folder, tmp_path, read):
    (folder / "data/false_information").rename(tmp_path / "false_information")
    cases, _ = read(tmp_path, "beavertails_v(category=false_information)")
    assert [case.id for case in cases] == [f"beavertails_v/evaluation/false_information/{n}" for n in (1, 2)]
    with pytest.raises(UsageError, match=r"data/false_information/evaluation\.parquet not found"):
        read(folder)


def test_a_table_with_other_columns_is_read(folder, read):
    wanted, _ = read(folder)
    path = folder / "data/sexual_crimes/evaluation.parquet"
    rows = [{key: row[key] for key in ("image", "question")} for row in pq.read_table(path).to_pylist()]
    releases_modern.write_parquet(path, rows)
    assert read(folder)[0] == wanted


def test_a_bad_row_is_one_error_that_names_it(folder, read):
    path = folder / "data/sexual_crimes/evaluation.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[1]["question"] = None
    releases_modern.write_parquet(path, rows)
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{path}, row 2: 'question' is missing"):
        read(folder)
