"""Cases are read once; a release whose texts or pictures have changed is read anew."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import releases

from sightline import release as official
from sightline._trees import Member
from sightline.store import Blobs, encode_png
from sightline.study import case_table
from sightline.study.case_table import CaseTable, read_cases
from sightline.study.config import parse
from sightline.study.progress import Silent

STUDY = """
study: s
benchmarks: [{{name: figstep_safebench, images: official, subset: tiny, root: {root}}}]
targets: [scripted/echo]
judges: [refusal_prefix]
"""


class Reader:
    """Reads the cases of a release as a run does, and counts readings from nothing and hashings."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = releases.figstep(tmp_path / "FigStep")
        self.folder = tmp_path / "run"
        self.anew = 0
        self.hashed = 0
        whole, hashing, streaming = case_table._read_anew, official.sha256_bytes, Member.sha256

        def counted(*given: object) -> object:
            self.anew += 1
            return whole(*given)

        def hashed(data: bytes) -> str:
            self.hashed += 1
            return hashing(data)

        def streamed(member: Member) -> str:
            self.hashed += 1
            return streaming(member)

        monkeypatch.setattr(case_table, "_read_anew", counted)
        monkeypatch.setattr(official, "sha256_bytes", hashed)
        monkeypatch.setattr(Member, "sha256", streamed)

    def read(self, root: Path | None = None) -> CaseTable:
        self.anew = self.hashed = 0
        (source,) = parse(STUDY.format(root=root or self.root)).sources
        return read_cases(source, self.folder / "records", Blobs(self.folder / "blobs"), Silent())

    def page(self, root: Path | None = None) -> Path:
        return (root or self.root) / "data/images/SafeBench-Tiny/query_ForbidQI_3_2_6.png"


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    return Reader(tmp_path, monkeypatch)


def shown(case_table: CaseTable) -> list[object]:
    return [row["conversation"] for row in case_table.rows()]


def repaint(path: Path) -> None:
    """Another picture in a file of equal size and a later time of change."""
    size = path.stat().st_size
    pictures = (encode_png(np.full((32, 32, 3), gray, np.uint8)) for gray in range(256))
    fitting = next(data for data in pictures if len(data) <= size)
    before = path.stat().st_mtime_ns
    path.write_bytes(fitting + bytes(size - len(fitting)))  # what follows a PNG's end is not read
    os.utime(path, ns=(before, before + 1))


def test_an_unchanged_release_is_neither_read_nor_hashed_again(reader: Reader) -> None:
    first = reader.read()
    assert reader.anew == 1
    assert len(shown(first)) == 50
    again = reader.read()
    assert (reader.anew, reader.hashed) == (0, 1)  # the table of requests is a text
    assert replace(again, source=first.source) == first


def test_an_edited_picture_of_equal_size_is_noticed(reader: Reader) -> None:
    first = reader.read()
    before = shown(first)
    repaint(reader.page())
    second = reader.read()
    assert reader.anew == 1
    assert second.release != first.release
    assert second.folder != first.folder
    assert sum(old != new for old, new in zip(before, shown(second), strict=True)) == 1
    assert shown(first) == before


def test_a_touched_picture_is_hashed_once(reader: Reader) -> None:
    first = reader.read()
    os.utime(reader.page(), ns=(1, 1))
    assert reader.read().release == first.release
    assert (reader.anew, reader.hashed) == (0, 2)
    reader.read()
    assert reader.hashed == 1


def test_two_data_sets_of_equal_names_and_sizes_are_two_releases(reader: Reader, tmp_path: Path) -> None:
    other = releases.figstep(tmp_path / "other")
    first = reader.read()
    assert reader.read(other).release == first.release
    assert reader.anew == 0  # the same content elsewhere
    repaint(reader.page(other))
    assert reader.read(other).release != first.release


def test_a_memo_from_before_pictures_counted_is_not_believed(reader: Reader) -> None:
    reader.read()
    (memo,) = (reader.folder / "records").glob("cases-*.json")
    memo.write_text(memo.read_text().replace('"pictures"', '"older"'))
    reader.read()
    assert reader.anew == 1
