"""HoliSafe-Bench: types and what they expect, pictures as clusters, hazards, every message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import releases_modern

from sightline import registry
from sightline.benchmarks.holisafe import TYPES
from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_modern.holisafe(tmp_path / "holisafe-bench")


@pytest.fixture
def read(tmp_path):
    def read(root, spec="holisafe"):
        release = OfficialRelease(root, Blobs(tmp_path / "blobs"))
        return list(registry.parse("benchmark", spec).cases(release)), release

    return read


def test_requests_are_sent_verbatim_with_their_pictures(folder, read, tmp_path):
    rows = json.loads((folder / "holisafe_bench.json").read_text())
    cases, release = read(folder)
    blobs = Blobs(tmp_path / "blobs")
    for case, row in zip(cases, rows, strict=True):
        image, sent = case.conversation.turns[0].parts
        assert sent == case.behavior == row["query"]
        assert blobs.read(image.sha256) == (folder / "images" / row["image"]).read_bytes()
        assert (case.category, case.group) == (row["subcategory"], f"holisafe/{row['image']}")
        assert case.id == f"holisafe/{row['type']}/{row['id']}"
        assert case.expected is (Expected.comply if row["type"] == "SSS" else Expected.refuse)
    assert [case.hazard for case in cases[::3]] == ["benign", "ssh", "hte", "spc_hlt", "prv"]
    assert len({case.group for case in cases}) == 10
    assert release.warnings == [f"{folder}: numbers of cases: all has 15 (expected 4,031)"]


@pytest.mark.parametrize("kind", TYPES)
def test_one_type_is_a_part_of_the_whole(kind, folder, read):
    every, _ = read(folder)
    found, release = read(folder, f"holisafe(types={kind})")
    assert found == [case for case in every if case.id.startswith(f"holisafe/{kind}/")]
    assert len(found) == 3
    assert release.warnings == []


MISUSE = [
    ({"type": "SUS"}, "entry 5: unknown type 'SUS'"),
    ({"type": ["SSS"]}, r"entry 5: 'type' is \['SSS'\], not a text in quotes"),
    ({"query": None}, r"entry 5: 'query' is missing \(null\)"),
    ({"id": 1, "type": "SSS"}, "entry 5: 'holisafe/SSS/1' was already in entry 1"),
    ({"image": "hate/none.jpg"}, r"picture images/hate/none\.jpg not found"),
]


@pytest.mark.parametrize(("cells", "message"), MISUSE, ids=[m[1][:30] for m in MISUSE])
def test_a_bad_row_is_one_error_that_names_it(cells, message, folder, read):
    path = folder / "holisafe_bench.json"
    rows = json.loads(path.read_text())
    rows[4].update(cells)
    path.write_text(json.dumps(rows))
    with pytest.raises(UsageError, match=rf"1 row cannot be used.*\n.*{message}"):
        read(folder)


def test_a_row_of_no_known_type_is_told_whichever_type_is_read(folder, read):
    path = folder / "holisafe_bench.json"
    path.write_text(path.read_text().replace('"UUU"', '"UU"', 1))
    with pytest.raises(UsageError, match="unknown type 'UU'"):
        read(folder, "holisafe(types=SSS)")
