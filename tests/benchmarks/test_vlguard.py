"""VLGuard: three subsets, twins on one picture, the row that is there twice, every message."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import releases
import releases_modern

from sightline import registry
from sightline.benchmarks.vlguard import COUNTS
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.vlguard(tmp_path / "VLGuard")


@pytest.fixture
def read(tmp_path):
    def read(root, spec="vlguard"):
        release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def test_counts_are_those_that_were_measured():
    assert {part: sum(counts.values()) for part, counts in COUNTS.items()} == {
        "test": 1558,
        "test unsafes": 442,
        "test safe_unsafes": 558,
        "test safe_safes": 558,
        "train": 2977,
        "train unsafes": 1023,
        "train safe_unsafes": 977,
        "train safe_safes": 977,
    }


def test_every_instruction_is_sent_verbatim_with_its_picture(folder, read, tmp_path):
    rows = json.loads((folder / "test.json").read_text())
    asked = [(row, key, text) for row in rows for said in row["instr-resp"] for key, text in said.items()]
    wanted = [(row, key, text) for row, key, text in asked if key != "response"]
    cases, release = read(folder)
    assert len(cases) == len(wanted) == 9 + 2 * 5
    blobs = Blobs(tmp_path / "blobs")
    for row, key, text in wanted:
        (case,) = [case for case in cases if case.behavior == text]
        image, sent = case.conversation.turns[0].parts
        assert sent == text
        assert blobs.read(image.sha256) == (folder / "test" / row["image"]).read_bytes()
        assert case.expected is (Expected.comply if key == "safe_instruction" else Expected.refuse)
        assert case.category == row.get("harmful_subcategory", "safe_" + key.replace("_instruction", "s"))
        assert case.group == f"vlguard/{row['image']}"
    (warning,) = release.warnings
    assert "sexually explicit has 1 (expected 111)" in warning


def test_requests_about_one_safe_picture_are_twins(folder, read):
    cases, _ = read(folder)
    twins = [case for case in cases if case.twin]
    assert Counter(case.category for case in twins) == {"safe_unsafes": 5, "safe_safes": 5}
    first = next(case for case in twins if case.category == "safe_unsafes")
    assert (first.id, first.twin) == (
        "vlguard/test/S_test_0/safe_unsafes",
        "vlguard/test/S_test_0/safe_safes",
    )
    assert not any(case.twin for case in cases if case.category not in ("safe_unsafes", "safe_safes"))


@pytest.mark.parametrize(("subset", "number"), [("unsafes", 9), ("safe_unsafes", 5), ("safe_safes", 5)])
def test_subsets_are_parts_of_the_whole(subset, number, folder, read):
    every, _ = read(folder)
    found, _ = read(folder, f"vlguard(subset={subset})")
    assert len(found) == number
    assert [case for case in every if case.id.endswith(f"/{subset}")] == found


def test_hazards_come_from_the_subcategory_and_harmless_requests_have_the_tag(folder, read):
    cases, _ = read(folder)
    assert [case.hazard for case in cases[:9]] == [
        "sxc",
        "vcr",
        "x.pol",
        "spc",
        "prv",
        "hte",
        "hte",
        "hte",
        "x.mis",
    ]
    assert {case.hazard for case in cases if case.category == "safe_safes"} == {"benign"}
    assert {case.hazard for case in cases if case.category == "safe_unsafes"} == {""}


def test_the_row_that_is_there_twice_is_kept_under_a_name_of_its_own(folder, read):
    cases, _ = read(folder, "vlguard(split=train)")
    assert [case.id for case in cases[-4:]] == [
        "vlguard/train/S_train_4/safe_unsafes",
        "vlguard/train/S_train_4/safe_safes",
        "vlguard/train/S_train_4#2/safe_unsafes",
        "vlguard/train/S_train_4#2/safe_safes",
    ]
    assert len({case.group for case in cases[-4:]}) == 1


@pytest.mark.parametrize("form", ["test.zip", "test.zip, packed from inside", "flat", "repository"])
def test_pictures_lie_zipped_or_unpacked(form, folder, tmp_path, read):
    wanted, _ = read(folder)
    if form == "repository":
        (folder / "data").mkdir()
        for path in [folder / "test", folder / "test.json"]:
            path.rename(folder / "data" / path.name)
    else:
        away = (folder / "test").rename(tmp_path / "test")
        if form == "flat":
            for path in away.iterdir():
                path.rename(folder / path.name)
        else:
            releases.zipped(away, folder / "test.zip", top="test" if form == "test.zip" else "")
    assert read(folder)[0] == wanted


MISUSE = [
    ('"safe": false', '"safe": "perhaps"', r"entry \d+: 'safe' is 'perhaps', neither true nor false"),
    ('"unsafe_instruction"', '"instruction"', r"entry \d+: 'instr-resp' has no 'unsafe_instruction'"),
    ('"harmful_subcategory": "political"', '"x": 1', r"entry 3: no 'harmful_subcategory'; found id, "),
    ('"id": "U_test_2"', '"id": ""', r"entry 3: 'id' is empty"),
    ('"id": "S_test_2"', '"id": null', r"entry 12: 'id' is missing \(null\)"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISUSE, ids=[m[1] for m in MISUSE])
def test_a_bad_row_is_one_error_that_names_file_and_entry(old, new, message, folder, read):
    path = folder / "test.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{path}, {message}"):
        read(folder)
    kept, _ = read(folder, "vlguard(on_bad_rows=keep)")
    assert sum(any(image.problem for image in case.conversation.images) for case in kept) == 1


def test_an_absent_picture_makes_both_requests_unusable(folder, read):
    (folder / "test/bad_ads/safe-test-0.jpg").unlink()
    with pytest.raises(
        UsageError, match=r"2 rows cannot be used.*\n.*picture test/bad_ads/safe-test-0\.jpg not"
    ):
        read(folder)
