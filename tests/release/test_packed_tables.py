"""Tables packed on their own (`.jsonl.gz`): read like the plain ones, bounded, and damage is one sentence."""

from __future__ import annotations

import bz2
import gzip
import lzma

import pytest

from sightline import _archives
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs

PACK = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
LINES = b'{"prompt": "polish a glimber"}\n{"prompt": "fold a frell"}\n'
TABLE = b"prompt,kind\npolish a glimber,a\nfold a frell,b\n"


@pytest.fixture
def opened(tmp_path):
    return lambda root: OfficialRelease(root, Blobs(tmp_path / "blobs"))


def prompts(rows):
    return [(row.number, row.text("prompt")) for row in rows]


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize(("name", "content"), [("train.jsonl", LINES), ("train.csv", TABLE)])
def test_a_packed_table_reads_like_the_plain_one(name, content, suffix, tmp_path, opened):
    (tmp_path / name).write_bytes(content)
    (tmp_path / f"{name}{suffix}").write_bytes(PACK[suffix](content))
    plain, packed = opened(tmp_path), opened(tmp_path)
    assert prompts(packed.rows(f"{name}{suffix}")) == prompts(plain.rows(name))
    assert prompts(packed.rows(f"{name.upper()}{suffix.upper()}")) == prompts(plain.rows(name))


def test_a_packed_table_may_be_the_root(tmp_path, opened):
    (tmp_path / "mine.jsonl.gz").write_bytes(gzip.compress(LINES))
    release = opened(tmp_path / "mine.jsonl.gz")
    assert release.file == "mine.jsonl.gz"
    assert len(list(release.rows(release.file))) == 2


def test_the_digest_is_of_what_is_in_it(tmp_path, opened):
    digests = set()
    for level in (1, 9):
        (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(LINES * 40, level, mtime=level))
        release = opened(tmp_path)
        assert len(list(release.rows("train.jsonl.gz"))) == 80
        digests.add(release.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("damage", ["no archive", "cut short", "pointer"])
def test_damage_is_one_sentence_that_names_the_file(damage, suffix, tmp_path, opened):
    whole = PACK[suffix](LINES * 500)
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    content = {"no archive": LINES, "cut short": whole[: len(whole) // 2], "pointer": pointer}[damage]
    (tmp_path / f"train.jsonl{suffix}").write_bytes(content)
    said = "is a Git-LFS pointer" if damage == "pointer" else "cannot be read"
    with pytest.raises(UsageError, match=rf"train\.jsonl{suffix}: {said}"):
        list(opened(tmp_path).rows(f"train.jsonl{suffix}"))


def test_a_bomb_is_bounded(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(_archives, "MAX_PACKED_TABLE_BYTES", 100_000)
    (tmp_path / "train.jsonl.gz").write_bytes(gzip.compress(LINES * 2000))
    with pytest.raises(UsageError, match=r"train\.jsonl\.gz: more than the 100000 bytes allowed"):
        list(opened(tmp_path).rows("train.jsonl.gz"))
