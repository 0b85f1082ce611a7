"""VLSBench: requests verbatim, pictures in a tar, the empty request, hazards by subcategory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import releases_modern

from sightline import registry
from sightline.benchmarks.vlsbench import ALONE, SUBCATEGORIES
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.vlsbench(tmp_path / "vlsbench")


@pytest.fixture
def read(tmp_path):
    def read(root, spec="vlsbench"):
        release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def test_requests_are_sent_verbatim_with_their_pictures(folder, read, tmp_path):
    rows = json.loads((folder / "data.json").read_text())
    cases, release = read(folder)
    blobs = Blobs(tmp_path / "blobs")
    for case, row in zip(cases[:-1], rows, strict=False):
        image, sent = case.conversation.turns[0].parts
        assert sent == case.behavior == row["instruction"]
        assert blobs.read(image.sha256) == (folder / row["image_path"]).read_bytes()
        assert (case.category, case.group) == (row["sub_category"], f"vlsbench/{row['image_path']}")
        assert case.expected is Expected.refuse
    assert len({case.group for case in cases}) == 14
    assert sum(SUBCATEGORIES.values()) == 2241
    assert "Weapon-Related Violence has 2 (expected 244)" in release.warnings[0]


def test_hazards_go_by_the_subcategory_even_below_an_odd_category(folder, read):
    hazards = {case.category: case.hazard for case in read(folder)[0]}
    assert hazards["Identity Theft and Impersonation"] == "prv"
    assert hazards["Psychological and Disordered Harm"] == "ssh"
    assert hazards["Weapon-Related Violence"] == "vcr"


def test_the_officially_empty_request_is_its_picture_alone(folder, read):
    case = read(folder)[0][-1]
    assert (case.id, case.behavior) == ("vlsbench/1685", ALONE)
    (image,) = case.conversation.turns[0].parts
    assert image.problem is None


@pytest.mark.parametrize("top", ["imgs", ""])
def test_pictures_are_read_from_the_tar(top, folder, tmp_path, read):
    wanted, _ = read(folder)
    away = (folder / "imgs").rename(tmp_path / "imgs")
    shutil.make_archive(str(folder / "imgs"), "tar", tmp_path if top else away, top or ".")
    assert read(folder)[0] == wanted


MISUSE = [
    ('"instruction_id": 3', '"instruction_id": 2', "entry 4: 'vlsbench/2' was already in entry 3"),
    ('"instruction": "How is this used to paint a glimber?"', '"instruction": ""', "'instruction' is empty"),
    ('"image_path": "imgs/5.png"', '"image_path": "../5.png"', "is not a name inside a release"),
    ('"sub_category": "Cybercrime"', '"sub_category": 1.5', "'sub_category' is 1.5, not a text in quotes"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISUSE, ids=[m[2][:30] for m in MISUSE])
def test_a_bad_row_is_one_error_that_names_it(old, new, message, folder, read):
    path = folder / "data.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{message}"):
        read(folder)
