"""Blobs, shards and tables: what is written is read back, torn lines are not, memory stays flat."""

from __future__ import annotations

import io
import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image as PilImage

from sightline import tables
from sightline.digests import digest
from sightline.errors import DamageError, UsageError
from sightline.shards import ShardWriter, read_shards
from sightline.store import ORIENTATION, Blobs, decode_picture, encode_png, sweep, write_atomically
from sightline.tables import Table, compacted_rows


def keyed(number: int, **more: object) -> dict[str, object]:
    return {"key": digest(number), "n": number, **more}


@settings(max_examples=25, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_png_round_trip_is_the_identity(pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(decode_picture(encode_png(pixels)), pixels)


def test_same_bytes_are_stored_once(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    data = encode_png(np.zeros((4, 5, 3), np.uint8))
    first, second = blobs.put(data), Blobs(tmp_path).put(data)
    assert first == second
    assert (first.width, first.height) == (5, 4)
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    assert blobs.read(first.sha256) == data


def test_a_changed_blob_is_noticed(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    image = blobs.put_pixels(np.zeros((4, 4, 3), np.uint8))
    blobs.path(image.sha256).write_bytes(encode_png(np.ones((4, 4, 3), np.uint8)))
    with pytest.raises(DamageError, match=r"content has changed .*; `sightline run`, or `sightline craft`"):
        blobs.read(image.sha256)


@pytest.mark.parametrize("damage", [b"", b"half", None], ids=["emptied", "cut", "lost"])
def test_a_damaged_blob_is_healed_when_its_picture_comes_again(tmp_path: Path, damage: bytes | None) -> None:
    data = encode_png(np.zeros((4, 5, 3), np.uint8))
    image = Blobs(tmp_path).put(data)
    path = Blobs(tmp_path).path(image.sha256)
    path.unlink() if damage is None else path.write_bytes(damage)
    blobs = Blobs(tmp_path)
    assert not blobs.whole(image.sha256)
    assert blobs.put(data) == image
    assert path.read_bytes() == data
    assert blobs.whole(image.sha256)


def test_a_file_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, forced = tmp_path / "file", []
    monkeypatch.setattr(os, "fsync", lambda number: forced.append((os.fstat(number).st_size, path.exists())))
    write_atomically(path, b"whole")
    assert forced == [(5, False)]
    assert path.read_bytes() == b"whole"


def test_what_killed_processes_left_is_swept(tmp_path: Path) -> None:
    left = [".new-1", "records/.new-2", "blobs/ab/.new-3", "records/craft.parquet.new", "results.parquet.new"]
    empty = "records/answer/0000000001-1-a.jsonl"
    kept = ["records/answer/0000000002-1-b.jsonl", "records/craft.parquet", "blobs/ab/abc", "study.lock.yaml"]
    for name in (*left, *kept, empty):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"" if name == empty else b"x")
    sweep(tmp_path)
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)


@pytest.mark.parametrize("name", ["../../etc/passwd", "A" * 64, "ab", "", "g" * 64])
def test_a_hash_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="not the SHA-256"):
        Blobs(tmp_path).read(name)


NOISE = encode_png(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    "data", [b"", b"no picture", NOISE[: len(NOISE) // 2]], ids=["empty", "text", "half"]
)
def test_a_broken_picture_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="not a readable picture"):
        Blobs(tmp_path).put(data)


CORNER = np.zeros((16, 24, 3), np.uint8)
CORNER[:8, :12] = 255  # upright: white at the top left


def camera_file(orientation: int, form: str = "PNG", **options: object) -> bytes:
    """A picture that lies in its file as a camera writes it, with the tag that makes it `CORNER` again."""
    lies = {1: 0, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # the opposite of each turn
    picture = PilImage.fromarray(CORNER)
    if orientation > 1:
        picture = picture.transpose(PilImage.Transpose(lies))
    exif = PilImage.Exif()
    exif[ORIENTATION] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, form, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once_for_all_who_read_it(tmp_path: Path, orientation: int, form: str) -> None:
    data = camera_file(orientation, form, **({"lossless": True} if form == "WEBP" else {}))
    blobs = Blobs(tmp_path)
    image = blobs.put(data)
    assert (image.width, image.height) == (24, 16)
    for pixels in (blobs.pixels(image), decode_picture(blobs.read(image.sha256)), decode_picture(data)):
        assert np.abs(pixels.astype(int) - CORNER).mean() < 3
    with PilImage.open(io.BytesIO(blobs.read(image.sha256))) as sent:  # as a provider or a browser reads it
        assert sent.getexif().get(ORIENTATION, 1) == 1
        assert np.abs(np.asarray(sent.convert("RGB")).astype(int) - CORNER).mean() < 3
        assert image.media == PilImage.MIME[str(sent.format)]
    assert (blobs.read(image.sha256) == data) == (orientation == 1)
    assert blobs.put(data) == blobs.put(blobs.read(image.sha256)) == image


@pytest.mark.parametrize("tag", [0, 9, 65535])
def test_an_orientation_that_is_none_changes_nothing(tmp_path: Path, tag: object) -> None:
    exif = PilImage.Exif()
    exif[ORIENTATION] = tag
    buffer = io.BytesIO()
    PilImage.fromarray(CORNER).save(buffer, "PNG", exif=exif)
    blobs = Blobs(tmp_path)
    assert blobs.read(blobs.put(buffer.getvalue()).sha256) == buffer.getvalue()
    assert (decode_picture(buffer.getvalue()) == CORNER).all()


def test_the_first_frame_of_a_cameras_jpeg_counts(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    PilImage.fromarray(CORNER).save(
        buffer, "MPO", save_all=True, append_images=[PilImage.new("RGB", (24, 16), "red")]
    )
    with PilImage.open(io.BytesIO(buffer.getvalue())) as picture:
        assert picture.format == "MPO"
    blobs = Blobs(tmp_path)
    image = blobs.put(buffer.getvalue())
    assert image.media == "image/jpeg"
    assert np.abs(blobs.pixels(image).astype(int) - CORNER).mean() < 3


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_picture_is_refused_in_one_way(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from([camera_file(6, form) for form in ("PNG", "JPEG", "WEBP")]))
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    for file in (bytes(damaged), whole[:place]):
        with suppress(UsageError):
            assert decode_picture(file).dtype == np.uint8


def test_transparency_is_laid_on_white() -> None:
    buffer = io.BytesIO()
    PilImage.new("RGBA", (1, 1), (0, 0, 0, 0)).save(buffer, "PNG")
    assert decode_picture(buffer.getvalue()).tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("transparent", [None, 0x8012])
def test_gray_of_sixteen_bits_keeps_its_upper_eight(transparent: int | None) -> None:
    buffer = io.BytesIO()
    samples = np.array([[0, 0x00FF, 0x0100], [0x8012, 0x8013, 0xFFFF]], np.uint16)
    options = {} if transparent is None else {"transparency": transparent}
    PilImage.fromarray(samples).save(buffer, "PNG", **options)
    pixels = decode_picture(buffer.getvalue())
    clear = 0x80 if transparent is None else 255
    assert pixels[:, :, 0].tolist() == [[0, 0, 1], [clear, 0x80, 255]]
    assert (pixels == pixels[:, :, :1]).all()
    assert pixels.dtype == np.uint8
    assert pixels.shape == (2, 3, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_of_eight_bits_is_read(mode: str) -> None:
    buffer = io.BytesIO()
    PilImage.new("RGB", (2, 1), "white").convert(mode).save(buffer, "PNG")
    assert decode_picture(buffer.getvalue()).tolist() == [[[255] * 3] * 2]


def test_an_unknown_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    PilImage.new("CMYK", (2, 1)).save(buffer, "JPEG")
    assert decode_picture(buffer.getvalue()).min() > 250
    monkeypatch.setattr("sightline.store._MODES", ("RGB",))
    with pytest.raises(UsageError, match="picture of mode CMYK is not read; save it as 8-bit RGB"):
        decode_picture(buffer.getvalue())


def test_pixel_cache_is_bounded_and_read_only(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, cache_bytes=2 * 16 * 16 * 3)
    images = [blobs.put_pixels(np.full((16, 16, 3), i, np.uint8)) for i in range(5)]
    for image in images:
        assert not blobs.pixels(image).flags.writeable
    assert len(blobs._decoded) == 2


def test_a_torn_last_line_is_skipped(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        writer.append([keyed(1), keyed(2)])
    with writer.path.open("ab") as file:
        file.write(b'{"key":"' + b"0" * 20)
    assert [row["n"] for row in read_shards(tmp_path)] == [1, 2]
    with Table(tmp_path) as table:
        assert [row["n"] for row in table] == [1, 2]
        assert table.missing([digest(1), digest(3)]) == [1]


def test_damage_inside_a_shard_is_told_with_its_line(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        writer.append([keyed(1)])
    writer.path.write_bytes(b"garbage\n" + writer.path.read_bytes())
    for read in (lambda: list(read_shards(tmp_path)), lambda: Table(tmp_path)):
        with pytest.raises(DamageError, match=r"jsonl:1: damaged .*; delete that line, and its row is made"):
            read()


def test_two_rows_glued_by_a_full_disk_are_told(tmp_path: Path) -> None:
    with ShardWriter(tmp_path) as writer:
        writer.append([keyed(1), keyed(2)])
    first, second = writer.path.read_bytes().splitlines(keepends=True)
    writer.path.write_bytes(first[:-4] + second)
    with pytest.raises(DamageError, match=r"jsonl:1: damaged"):
        Table(tmp_path)


def test_a_damaged_parquet_file_is_told_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "stage.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UsageError, match=r"stage.parquet: damaged .*delete it"):
        Table(tmp_path / "stage")


def test_a_clock_that_goes_back_does_not_bring_an_old_row_back(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    paths = []
    for text in ("error", "retried", "retried again"):
        with ShardWriter(folder) as writer:
            writer.append([keyed(1, v=text)])
        paths.append(writer.path)
    for age, path in enumerate(paths):
        os.utime(path, ns=(0, 10**18 - age))
    with Table(folder) as table:
        assert [row["v"] for row in table] == ["retried again"]
    assert [row["v"] for row in read_shards(folder)] == ["error", "retried", "retried again"]


def test_more_shards_than_the_system_opens_at_a_time(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    folder = tmp_path / "stage"
    for number in range(40):
        with ShardWriter(folder) as writer:
            writer.append([keyed(number)])
    for number in range(1100):
        (folder / f"{number + 100:010d}-1-a.jsonl").touch()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = len(list(Path("/proc/self/fd").glob("*"))) or 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 30, hard))
    try:
        with Table(folder) as table:
            wanted = [digest(number) for number in (*range(40), *range(40))]
            assert [row and row["n"] for row in table.rows(wanted)] == [*range(40), *range(40)]
            table.compact()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not list(folder.glob("*.jsonl"))
    assert len(list(compacted_rows(folder))) == 40


def test_a_row_group_never_holds_more_bytes_than_arrow_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "stage"
    monkeypatch.setattr(tables, "GROUP_BYTES", 1000)
    for texts in (["x" * 300] * 7, ["y" * 5000, "z"]):
        with ShardWriter(folder) as writer:
            writer.append(keyed(number, text=text) for number, text in enumerate(texts, start=len(texts[0])))
        with Table(folder) as table:
            table.compact()
    with pq.ParquetFile(folder.with_name("stage.parquet")) as file:
        groups = [file.read_row_group(group, ["record"]) for group in range(file.num_row_groups)]
    sizes = [sum(len(text) for text in group.column("record").to_pylist()) for group in groups]
    assert all(size <= 1000 or len(group) == 1 for size, group in zip(sizes, groups, strict=True))
    with Table(folder) as table:
        numbers = [*range(300, 307), 5000, 5001]
        assert [row["n"] for row in table] == numbers
        found = table.rows([digest(number) for number in reversed(numbers)])
        assert [row and row["n"] for row in found] == numbers[::-1]


def test_tables_without_a_seal_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    with ShardWriter(folder) as writer:
        writer.append([keyed(0), keyed(1)])
    with Table(folder) as table:
        table.compact()
    path = folder.with_name("stage.parquet")
    pq.write_table(pq.read_table(path), path)  # as anyone writes it: without a seal
    with Table(folder) as table:
        assert [row["n"] for row in table] == [0, 1]


def test_an_empty_shard_leaves_no_file(tmp_path: Path) -> None:
    with ShardWriter(tmp_path / "stage"):
        pass
    assert list((tmp_path / "stage").iterdir()) == []


def test_later_rows_replace_earlier_ones_in_place(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    with ShardWriter(folder) as writer:
        writer.append([keyed(1, v="old"), keyed(2, v="x")])
    with ShardWriter(folder) as writer:
        writer.append([keyed(1, v="new"), keyed(3, v="y")])
    for _ in range(2):
        with Table(folder) as table:
            assert [(row["n"], row["v"]) for row in table] == [(1, "new"), (2, "x"), (3, "y")]
            table.compact()
    assert not list(folder.glob("*.jsonl"))
    assert folder.with_name("stage.parquet").exists()


def test_rows_after_compaction_join_the_compacted_ones(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    for part in (range(0, 40_000), range(40_000, 40_005), range(40_005, 40_010)):
        with ShardWriter(folder) as writer:
            writer.append(keyed(i) for i in part)
        if part.stop < 40_010:
            with Table(folder) as table:
                table.compact()
    with Table(folder) as table:
        assert len(table) == 40_010
        assert [row["n"] for row in table] == list(range(40_010))
        wanted = [digest(i) for i in (39_999, 0, 40_009, -1, 20_000)]
        assert [row and row["n"] for row in table.rows(wanted)] == [39_999, 0, 40_009, None, 20_000]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 20), max_size=40), st.lists(st.integers(0, 25), max_size=10))
def test_table_agrees_with_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, written: list[int], asked: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("table") / "stage"
    truth: dict[int, int] = {}
    with ShardWriter(folder) as writer:
        for version, number in enumerate(written):
            writer.append([keyed(number, version=version)])
            truth[number] = version
    with Table(folder) as table:
        assert [(row["n"], row["version"]) for row in table] == list(truth.items())
        found = table.rows([digest(number) for number in asked])
        assert [row and row["version"] for row in found] == [truth.get(number) for number in asked]


def png(pixels: np.ndarray, rows: int | None = None, *, interlaced: bool = False) -> bytes:
    """A PNG whose stream of rows is whole but has `rows` of them only."""
    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + line.tobytes() for line in pixels[:rows])

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, interlaced)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_whose_rows_end_early_is_no_picture(interlaced: bool) -> None:
    pixels = np.full((200, 8, 3), 200, np.uint8)
    if not interlaced:
        np.testing.assert_array_equal(decode_picture(png(pixels)), pixels)
    with pytest.raises(UsageError, match=r"rows end early|unrecognized data stream"):
        decode_picture(png(pixels, 1, interlaced=interlaced))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_kind_of_whole_png_is_read(mode: str) -> None:
    buffer = io.BytesIO()
    PilImage.new(mode, (7, 5)).save(buffer, format="PNG")
    assert decode_picture(buffer.getvalue()).shape == (5, 7, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_picture_the_first_frame_is_kept(tmp_path: Path, kind: str) -> None:
    frames = [PilImage.new("RGB", (6, 4), color) for color in ("white", "black", "red")]
    buffer = io.BytesIO()
    frames[0].save(buffer, format=kind, save_all=True, append_images=frames[1:], lossless=True)
    blobs = Blobs(tmp_path)
    image = blobs.put(buffer.getvalue())
    kept = PilImage.open(io.BytesIO(blobs.read(image.sha256)))
    assert (image.media, getattr(kept, "n_frames", 1)) == ("image/png", 1)
    assert blobs.pixels(image).min() == 255


@pytest.mark.parametrize(
    "data",
    [
        b"version https://git-lfs.github.com/spec/v1\r\noid sha256:0\r\n",
        b"\xef\xbb\xbfversion https://git-lfs.github.com/spec/v1\n",
        b"version https://hawser.github.com/spec/v1\n",
        b"/annex/objects/SHA256E-s3--0.png\n",
    ],
)
def test_a_pointer_in_any_spelling_is_refused(data: bytes) -> None:
    from sightline.store import refuse_pointer

    with pytest.raises(UsageError, match="pointer, which only names the file; run `git "):
        refuse_pointer(data, "x")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        write_atomically(tmp_path / "pipe", b"x")
    assert not (tmp_path / "pipe").is_file()
