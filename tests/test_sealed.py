"""Seals: any flipped bit, lost end or zeroed block of a run's file is seen, and told in one sentence."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from sightline.errors import DamageError, UsageError
from sightline.run_folder import read_lock
from sightline.sealed import (
    check_table,
    checked_line,
    checked_text,
    damage_reported,
    publish_table,
    read_note,
    read_yaml,
    sealed_line,
    sealed_text,
)
from sightline.store import Blobs, write_note

CURE = "delete it"


def table_at(path: Path) -> bytes:
    schema = pa.schema([("key", pa.binary(4)), ("text", pa.string())])
    rows = pa.table({"key": [b"aaaa", b"bbbb"], "text": ["blick", "dorn"]}, schema=schema)
    fresh = path.with_name("fresh")
    pq.write_table(rows, fresh, compression="zstd", use_dictionary=False)
    publish_table(fresh, path)
    return path.read_bytes()


def flips(data: bytes) -> Iterator[bytes]:
    """`data` with one bit of every byte turned, each bit in its turn."""
    for place, byte in enumerate(data):
        yield data[:place] + bytes([byte ^ 1 << place % 8]) + data[place + 1 :]


def test_a_sealed_table_is_parquet_for_everyone(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "t.parquet"
    table_at(path)
    check_table(path, CURE)
    assert pq.read_table(path).column("text").to_pylist() == ["blick", "dorn"]
    found = duckdb.sql(f"select text from read_parquet('{path}') order by text").fetchall()
    assert found == [("blick",), ("dorn",)]


def test_every_turned_bit_of_a_table_is_seen(tmp_path: Path) -> None:
    data = table_at(tmp_path / "whole.parquet")
    path = tmp_path / "t.parquet"
    unseen = []
    for place, damaged in enumerate(flips(data)):
        path.write_bytes(damaged)
        told = ""
        try:
            check_table(path, CURE)
        except DamageError as seen:
            told = str(seen)
        if not re.fullmatch(rf"{re.escape(str(path))}: damaged \(.*\); {CURE}", told):
            unseen.append((place, told))
    assert unseen == []


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.99])
def test_a_table_that_is_cut_or_partly_zeroed_is_seen(tmp_path: Path, share: float) -> None:
    data = table_at(tmp_path / "whole.parquet")
    path, at = tmp_path / "t.parquet", int(len(data) * share)
    for damaged in (data[:at], data[:at] + bytes(len(data) - at), bytes(at) + data[at:] if at else b""):
        path.write_bytes(damaged)
        with pytest.raises(DamageError, match=r"t\.parquet: damaged"):
            check_table(path, CURE)


def test_every_turned_bit_of_a_line_is_seen() -> None:
    line = sealed_line({"key": "ab", "text": "gluv \u00e4"})
    assert orjson.loads(line)["text"] == orjson.loads(checked_line(line))["text"] == "gluv \u00e4"
    for damaged in flips(line):
        with pytest.raises(ValueError, match=r"check is lost|not what was written"):
            checked_line(damaged)


def test_every_turned_bit_of_a_sealed_text_is_seen(tmp_path: Path) -> None:
    text = "study: harn\nseed: 3\nnames: [blick, dorn]\n"
    sealed = sealed_text(text)
    assert checked_text(sealed) == text
    assert checked_text(text) == text, "a text of an earlier version"
    assert yaml.safe_load(sealed) == yaml.safe_load(text)
    for damaged in flips(sealed.encode()):
        path = tmp_path / "text"
        path.write_bytes(damaged)
        with pytest.raises(DamageError):
            read_yaml(path, CURE)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a: [1, 2", r"damaged \(lock.yaml:1: not valid YAML"),
        ("a: " + "[" * 999, r"damaged \(lock.yaml:1: .*more than 50 levels"),
        ("just words", r"damaged \(it holds no mapping\)"),
        ("[a, b]", r"damaged \(it holds no mapping\)"),
    ],
)
def test_a_yaml_file_is_read_within_bounds(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "lock.yaml"
    path.write_text(sealed_text(text))
    with pytest.raises(DamageError, match=what + r".*; delete it"):
        read_yaml(path, CURE)


def test_a_note_is_read_back_or_told(tmp_path: Path) -> None:
    path = tmp_path / "note.json"
    with pytest.raises(DamageError, match=r"note.json: is missing; delete it"):
        read_note(path, CURE)
    write_note(path, {"a": 1})
    assert read_note(path, CURE) == {"a": 1}
    for damaged in (b"", b"[]", b"null\n", b'{"a":1}\n', *flips(path.read_bytes())):
        path.write_bytes(damaged)
        with pytest.raises(DamageError):
            read_note(path, CURE)


@pytest.mark.parametrize(
    ("read", "told"),
    [
        (lambda: {}["targets"], "it lacks 'targets'"),
        (lambda: "ab"[2], "it does not hold what is written there"),
        (lambda: None["label"], "it does not hold what is written there"),
        (lambda: "a".items(), "it does not hold what is written there"),
        (lambda: b"\xff".decode(), "not UTF-8 at byte 0"),
        (lambda: Path("/").read_bytes(), "Is a directory"),
    ],
)
def test_what_is_wrong_is_told_without_words_of_python(tmp_path: Path, read: Any, told: str) -> None:
    with pytest.raises(DamageError) as raised, damage_reported(tmp_path / "x", CURE):
        read()
    assert str(raised.value) == f"{tmp_path / 'x'}: damaged ({told}); delete it"


def test_a_pipe_is_refused_before_it_is_read(tmp_path: Path) -> None:
    """Reading one waits for whoever may write to it: for ever."""
    pipe = tmp_path / "records" / "answer.parquet"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    for read in (check_table, read_note, read_yaml):
        with pytest.raises(DamageError, match=r"answer.parquet: is a pipe and no regular file; delete it"):
            read(pipe, CURE)
    with pytest.raises(DamageError, match=r"answer.parquet: is a pipe and no regular file; a run folder"):
        read_lock(tmp_path)
    blobs = Blobs(tmp_path / "blobs")
    sha256 = blobs.put_pixels(np.zeros((2, 2, 3), np.uint8)).sha256
    path = blobs.path(sha256)
    path.unlink()
    os.mkfifo(path)
    assert not blobs.whole(sha256)
    with pytest.raises(DamageError, match="is a pipe"):
        blobs.read(sha256)


def test_what_the_user_may_mend_and_bugs_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^as it was$"), damage_reported(tmp_path, CURE):
        raise UsageError("as it was")
    with pytest.raises(AssertionError), damage_reported(tmp_path, CURE):
        raise AssertionError
