"""Parquet files with pictures inside, as hubs give them: read by a benchmark, and hostile ones."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sightline import parquet
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.errors import UsageError
from sightline.registry import benchmark
from sightline.release import OfficialRelease
from sightline.store import Blobs, encode_png

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


@benchmark("toy_parquet")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyParquet:
    """Questions about colors, in the layout in which hubs store pictures."""

    needs_root = True

    def cases(self, release: Release) -> Iterator[Case]:
        for number, row in enumerate(release.table("data/test.parquet", ["question", "image"])):
            image = release.picture(row["image"], f"data/test.parquet, row {number}")
            yield Case(
                id=f"colors/{number}",
                conversation=Conversation.user(image, row["question"]),
                behavior=row["question"],
                expected=Expected.answer,
                category="colors",
                group=f"colors/{number}",
            )


def png(level: int, side: int = 8) -> bytes:
    return encode_png(np.full((side, side, 3), level, np.uint8))


def cell(data: bytes | None, path: str | None = None) -> dict[str, Any]:
    return {"bytes": data, "path": path}


def written(folder: Path, cells: list[Any]) -> Path:
    """A release with one table whose pictures are `cells`."""
    (folder / "data").mkdir(parents=True)
    questions = pa.array([f"which color is {number}" for number in range(len(cells))])
    table = pa.table({"question": questions, "image": pa.array(cells, PICTURE)})
    pq.write_table(table, folder / "data/test.parquet", row_group_size=2)
    return folder


def cases(folder: Path, tmp_path: Path) -> list[Case]:
    return list(ToyParquet().cases(OfficialRelease(folder, Blobs(tmp_path / "blobs"))))


def problem(case: Case) -> str:
    (image,) = case.conversation.images
    return image.problem or ""


def test_pictures_in_a_struct_column_become_blobs(tmp_path):
    found = cases(
        written(tmp_path / "release", [cell(png(10)), cell(png(20), "b.png"), cell(png(10))]), tmp_path
    )
    blobs = Blobs(tmp_path / "blobs")
    assert [blobs.pixels(image)[0, 0, 0] for case in found for image in case.conversation.images] == [
        10,
        20,
        10,
    ]
    assert [case.behavior for case in found] == [f"which color is {number}" for number in range(3)]


def test_a_cell_without_bytes_names_a_member(tmp_path):
    folder = written(tmp_path / "release", [cell(None, "pictures/A.png")])
    (folder / "pictures").mkdir()
    (folder / "pictures/a.png").write_bytes(png(30))
    (case,) = cases(folder, tmp_path)
    assert not problem(case)


@pytest.mark.parametrize(
    ("hostile", "told"),
    [
        (cell(png(10, side=64)[:60]), "not a readable picture"),
        (cell(b""), "not a readable picture"),
        (cell(b"GIF89a" + bytes(50)), "not a readable picture"),
        (cell(None, "../outside.png"), "leads out of it"),
        (cell(None, "/etc/hostname"), "leads out of it"),
        (cell(None, "C:\\outside.png"), "leads out of it"),
        (cell(None, "absent.png"), "not found"),
        (cell(None, None), "row 0: holds no picture"),
        (None, "row 0: holds no picture"),
    ],
)
def test_a_hostile_cell_is_a_problem_of_its_case_alone(hostile, told, tmp_path):
    (tmp_path / "outside.png").write_bytes(png(1))
    bad, good = cases(written(tmp_path / "release", [hostile, cell(png(40))]), tmp_path)
    assert told in problem(bad)
    assert not problem(good)


def test_a_picture_that_is_too_large_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr("sightline.store.MAX_PIXELS", 100)
    (case,) = cases(written(tmp_path / "release", [cell(png(10, side=16))]), tmp_path)
    assert "16x16 pixels is too large" in problem(case)


def test_a_cell_with_too_many_bytes_is_a_problem(tmp_path, monkeypatch):
    folder = written(tmp_path / "release", [cell(bytes(3000))])
    release = OfficialRelease(folder, Blobs(tmp_path / "blobs"))
    (row,) = release.table("data/test.parquet")
    monkeypatch.setattr("sightline._trees.MAX_MEMBER_BYTES", 1000)
    image = release.picture(row["image"], "row 0")
    assert "3000 bytes, more than the 1000 allowed" in (image.problem or "")


def damaged(folder: Path, change) -> Path:
    path = folder / "data/test.parquet"
    path.write_bytes(change(path.read_bytes()))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"PAR1" + bytes(100) + b"PAR1",
        lambda _: b"",
        lambda data: data[:8] + bytes(40) + data[48:],
        lambda data: data[:-30] + b"\xff" * 22 + data[-8:],
    ],
    ids=["truncated", "no footer", "empty", "damaged page", "damaged footer"],
)
def test_a_damaged_file_is_one_sentence(change, tmp_path):
    folder = damaged(written(tmp_path / "release", [cell(png(10)), cell(png(20))]), change)
    with pytest.raises(
        UsageError, match=r"test\.parquet: (not a readable Parquet file|cannot be read after row)"
    ):
        cases(folder, tmp_path)


def test_text_that_is_no_utf8_is_one_sentence(tmp_path):
    folder = tmp_path / "release"
    (folder / "data").mkdir(parents=True)
    offsets, data = pa.py_buffer(np.array([0, 2], np.int32).tobytes()), pa.py_buffer(b"\xff\xfe")
    question = pa.Array.from_buffers(pa.string(), 1, [None, offsets, data])
    pq.write_table(
        pa.table({"question": question, "image": pa.array([cell(png(1))], PICTURE)}),
        folder / "data/test.parquet",
    )
    with pytest.raises(UsageError, match=r"test\.parquet: cannot be read after row 0"):
        cases(folder, tmp_path)


def test_an_absent_column_is_named_with_its_like(tmp_path):
    release = OfficialRelease(written(tmp_path / "release", [cell(png(10))]), Blobs(tmp_path / "blobs"))
    with pytest.raises(UsageError, match="Did you mean 'question'"):
        release.table("data/test.parquet", ["questions"])


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "MAX_GROUP_BYTES", 1000)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"question": ["a" * 100_000]}), buffer, compression="zstd")
    with pytest.raises(UsageError, match="bytes when a row group is unpacked"):
        parquet.rows_of(buffer.getvalue(), "bomb.parquet")


def test_another_picture_in_the_table_is_another_release(tmp_path):
    digests = []
    for number, level in enumerate((10, 10, 11)):
        release = OfficialRelease(
            written(tmp_path / str(number), [cell(png(level))]), Blobs(tmp_path / "blobs")
        )
        list(ToyParquet().cases(release))
        digests.append(release.digest())
    assert digests[0] == digests[1] != digests[2]


def test_a_run_finds_the_table_again(tmp_path):
    from sightline.study.case_table import read_cases
    from sightline.study.config import Source
    from sightline.study.progress import Silent

    class Counting(Silent):
        reads = 0

        def start(self, stage: str, total: int, done: int) -> None:
            self.reads += 1

    source = Source(
        label="colors", benchmark=ToyParquet(), root=written(tmp_path / "release", [cell(png(10))])
    )
    progress, blobs = Counting(), Blobs(tmp_path / "blobs")
    first = read_cases(source, tmp_path / "records", blobs, progress)
    assert read_cases(source, tmp_path / "records", blobs, progress).folder == first.folder
    assert progress.reads == 1
