"""`check-data`: what is mapped, counted and shown; everything to mend in one list; as fast as it is exact."""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import all_releases
import numpy as np
import pyarrow as pa
import pytest
import releases
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from PIL import ImageFilter

import sightline as sl
from sightline import registry
from sightline.api.reading import read
from sightline.data_check.alike import MOST_BITS, alike
from sightline.data_check.found import DataCheck
from sightline.data_check.pictures import Looker, look_at
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs, decode_picture

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def noise(seed: int, width: int = 96, height: int = 64) -> PilImage.Image:
    """A picture with shapes of its own."""
    rng = np.random.default_rng(seed)
    small = PilImage.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8))
    return small.resize((width, height), PilImage.Resampling.BICUBIC)


def saved(picture: PilImage.Image, kind: str, **how: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **how)
    return file.getvalue()


def table(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def folder(tmp_path):
    for number in range(4):
        (tmp_path / f"{number}.jpg").write_bytes(saved(noise(number), "JPEG"))
    return tmp_path


def check(data, **how) -> DataCheck:
    return sl.check_data(data, quiet=True, **how)


def test_what_is_mapped_counted_and_shown(folder):
    rows = [
        {
            "ID": number,
            "Prompt": f"What is glimber {number % 3}?",
            "picture": f"{number}.jpg" if number else "",
            "label": "safe" if number == 3 else "unsafe",
            "topic": "frells",
            "lang": "en",
            "note": "",
        }
        for number in range(4)
    ]
    found = check(table(folder / "mine.csv", rows), rows=2)
    assert found.ok
    (read,) = found.tables
    assert {column.name: column.role for column in read.columns} == {
        "ID": "id",
        "Prompt": "text",
        "picture": "image",
        "label": "expected",
        "topic": "category",
        "lang": "",
        "note": "",
    }
    assert {column.name: column.empty for column in read.columns if column.empty} == {"picture": 1, "note": 4}
    assert (read.rows, read.encoding, found.rows, found.cases) == (4, "utf-8", 4, 4)
    assert found.expected == {"refuse": 3, "comply": 1}
    assert (found.categories, found.languages) == ({"frells": 4}, {"en": 4})
    assert (found.pictures.shown, found.pictures.files, found.pictures.without) == (3, 3, 1)
    assert (found.repeated, found.groups, len(found.samples)) == (1, 4, 2)
    (role, parts), *_ = found.samples[1].messages
    assert role == "user"
    assert parts[0].endswith(
        "1.jpg: JPEG of 96 x 64 pixels, {:,} bytes]".format((folder / "1.jpg").stat().st_size)
    )
    assert parts[1] == "What is glimber 1?"
    text = str(found)
    for part in (
        "-> text",
        "(not used)",
        "4 empty",
        "expected    refuse 3, comply 1",
        "utility",
        "nothing has to",
    ):
        assert part in text
    assert json.loads(json.dumps(found.plain()))["ok"] is True


def test_everything_to_mend_is_in_one_list_and_the_run_says_the_same(folder):
    (folder / "cut.jpg").write_bytes((folder / "1.jpg").read_bytes()[:-200])
    (folder / "text.png").write_bytes(b"hello")
    rows = [
        {"id": "a", "prompt": "fine", "image": "0.jpg", "label": "safe"},
        {"id": "b", "prompt": "cut", "image": "cut.jpg", "label": "safe"},
        {"id": "c", "prompt": "absent", "image": "9.jpg", "label": "safe"},
        {"id": "d", "prompt": "", "image": "2.jpg", "label": "safe"},
        {"id": "a", "prompt": "again", "image": "2.jpg", "label": "safe"},
        {"id": "e", "prompt": "web", "image": "http://x.org/1.jpg", "label": "safe"},
        {"id": "f", "prompt": "odd", "image": "3.jpg", "label": "maybe"},
        {"id": "g", "prompt": "no picture", "image": "text.png", "label": "safe"},
        {"id": "h", "prompt": "same cut", "image": "./cut.jpg", "label": "safe"},
    ]
    path = table(folder / "mine.csv", rows)
    found = check(path)
    assert not found.ok
    assert len(found.bad) == 8
    assert (found.pictures.missing, found.pictures.unreadable) == (2, 2)
    with pytest.raises(UsageError) as told:
        list(sl.benchmarks.Cases().cases(OfficialRelease(path, Blobs(folder / "blobs"))))
    refused = [line.strip() for line in str(told.value).splitlines()[1:]]
    assert sorted(refused) == sorted(found.bad)
    assert all(str(path) in line and ", line " in line for line in found.bad)
    assert "to mend: 8" in found.text()
    assert "and 6 more" in found.text(most=2)


def test_pictures_that_are_the_same_or_look_the_same(tmp_path):
    picture = noise(1, 400, 300)
    (tmp_path / "a.png").write_bytes(saved(picture, "PNG"))
    (tmp_path / "copy.png").write_bytes(saved(picture, "PNG"))
    (tmp_path / "again.jpg").write_bytes(saved(picture, "JPEG", quality=60))
    (tmp_path / "small.webp").write_bytes(saved(picture.resize((200, 150)), "WEBP"))
    (tmp_path / "other.jpg").write_bytes(saved(noise(2, 400, 300), "JPEG"))
    found = check(tmp_path, prompt="What is shown?")
    names = [{Path(each).name for each in group} for group in found.pictures.same]
    assert names == [{"a.png", "copy.png"}]
    (group,) = found.pictures.alike
    assert {Path(each).name for each in group} == {"a.png", "again.jpg", "small.webp"}
    assert found.identical == (("cases/a.png", "cases/copy.png"),)
    assert any("2 cases share a picture" in note for note in found.notes)


def plain_alike(hashes, miniatures):
    """Groups by comparing every pair."""
    places = range(len(hashes))
    small = [np.frombuffer(each, np.uint8).astype(int) for each in miniatures]
    groups = {place: {place} for place in places}
    for one in places:
        for two in range(one):
            near = (hashes[one] ^ hashes[two]).bit_count() <= MOST_BITS
            if near and np.abs(small[one] - small[two]).max() <= 12:
                union = groups[one] | groups[two]
                for place in union:
                    groups[place] = union
    return {frozenset(group) for group in groups.values() if len(group) > 1}


@given(st.integers(0, 2**32), st.integers(1, 60))
@QUICK
def test_groups_are_those_of_a_comparison_of_all_pairs(seed, size):
    draw = random.Random(seed)
    hashes: list[int] = []
    for _ in range(size):
        start = draw.choice(hashes) if hashes and draw.random() < 0.7 else draw.getrandbits(64)
        for _ in range(draw.randrange(1, 6)):
            start ^= 1 << draw.randrange(64)
        hashes.append(start)
    assert len(set(hashes)) == len(hashes) or size  # of equal hashes neighbors by brightness are compared
    unique = list(dict.fromkeys(hashes))
    same = [bytes(4)] * len(unique)
    assert {frozenset(group) for group in alike(unique, same)} == plain_alike(unique, same)


def test_a_crowded_bucket_is_divided_and_loses_no_pair(monkeypatch):
    monkeypatch.setattr("sightline.data_check.alike._SMALL", 8)
    draw = random.Random(3)
    hashes = list({(7 << 48) | draw.getrandbits(14) for _ in range(300)})
    same = [bytes(4)] * len(hashes)
    assert {frozenset(group) for group in alike(hashes, same)} == plain_alike(hashes, same)


def test_pictures_of_equal_hash_that_differ_are_told_apart():
    assert alike([5, 5, 5], [bytes([0] * 4), bytes([200] * 4), bytes([3] * 4)]) == [[0, 2]]
    assert alike([], []) == []


ODD = {
    "gray 16 bit": saved(PilImage.fromarray(np.arange(0, 60000, 15, dtype=np.uint16).reshape(50, 80)), "PNG"),
    "CMYK": saved(noise(4).convert("CMYK"), "JPEG"),
    "progressive": saved(noise(4), "JPEG", progressive=True),
    "gray JPEG": saved(noise(4).convert("L"), "JPEG"),
    "palette": saved(noise(4).quantize(16), "PNG"),
    "transparent": saved(noise(4).convert("RGBA"), "WEBP"),
    "animated": saved(noise(4), "GIF", save_all=True, append_images=[noise(5)]),
    "one pixel": saved(noise(4).resize((1, 1)), "PNG"),
    "wide": saved(noise(4).resize((3000, 2)), "JPEG"),
    "float": b"II*\x00",
    "empty": b"",
    "html": b"<!doctype html><title>404</title>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


def as_a_run_finds(data: bytes) -> tuple[str, int, int]:
    """What is wrong with a picture, or its size."""
    try:
        height, width = decode_picture(data).shape[:2]
    except UsageError as broken:
        return str(broken), 0, 0
    return "", height, width


@pytest.mark.parametrize("name", ODD)
def test_a_picture_is_read_if_and_only_if_a_run_reads_it(name):
    data = ODD[name]
    look = look_at(data)
    assert (look.problem, look.height, look.width) == as_a_run_finds(data)


@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF"]), st.integers(0, 10_000), st.integers(0, 255))
@QUICK
def test_damage_is_found_as_a_run_finds_it(kind, at, byte):
    whole = bytearray(saved(noise(7), kind))
    cut = at % 2
    damaged = bytes(whole[: at % len(whole)]) if cut else bytes([*whole[: at % len(whole)], byte])
    look = look_at(damaged)
    assert (look.problem, look.height, look.width) == as_a_run_finds(damaged)


def test_a_turned_picture_looks_like_its_upright_copy(tmp_path):
    picture = noise(1, 64, 96)
    exif = PilImage.Exif()
    exif[0x0112] = 6
    turned = saved(picture, "JPEG", quality=95, exif=exif)
    upright = saved(picture.transpose(PilImage.Transpose.ROTATE_270), "JPEG", quality=95)
    one, two = look_at(turned), look_at(upright)
    assert (one.width, one.height) == (two.width, two.height) == (96, 64)
    assert (one.hash ^ two.hash).bit_count() <= MOST_BITS


def test_a_blurred_picture_keeps_its_hash():
    one = look_at(saved(noise(1), "PNG"))
    two = look_at(saved(noise(1).filter(ImageFilter.GaussianBlur(1)), "PNG"))
    assert (one.hash ^ two.hash).bit_count() <= MOST_BITS


def test_threads_leave_the_filters_of_warnings_alone():
    before = list(warnings.filters)
    looker = Looker(workers=4)
    with looker.working():
        for seed in range(40):
            looker.show(saved(noise(seed, 32, 32), "PNG"), str(seed))
    assert warnings.filters == before
    assert len(looker.looks) == 40


def test_an_official_release_is_compared_with_what_is_known_of_it(tmp_path):
    root = releases.figstep(tmp_path / "FigStep")
    found = check("figstep_safebench(images='official')", root=root)
    assert found.ok
    assert found.official["Fraud"] == (50, 6)
    assert found.pictures.files
    assert "Fraud: 6 (expected 50)" in found.text()


def test_a_benchmark_without_a_release_is_checked_too():
    found = check("testbed_requests", rows=1)
    assert found.ok
    assert found.expected["refuse"]
    assert len(found.samples) == 1


@pytest.mark.parametrize(
    ("data", "how", "said"),
    [
        ("nowhere.csv", {}, "there is no file or folder nowhere.csv"),
        ("figstep_safebnch", {}, "Did you mean 'figstep_safebench'"),
        ("figstep_safebench", {}, "reads an official release: name by `--root`"),
        ("figstep_safebench", {"root": "/nowhere"}, "there is no /nowhere"),
        ("figstep_safebench", {"columns": {"text": "a"}}, "write settings of a benchmark in its name"),
    ],
)
def test_misuse(data, how, said, monkeypatch):
    monkeypatch.delenv("SIGHTLINE_DATA", raising=False)
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        check(data, **how)


@pytest.mark.parametrize("table", [[{"prompt": "a"}], {"prompt": ["a"]}, pa.table({"prompt": ["a"]}), 7])
def test_a_table_in_memory_is_no_path(table):
    with pytest.raises(UsageError, match=rf"path of a table .*not a {type(table).__name__}; write a table"):
        check(table)


def command(*arguments: str, cwd: Path, name: str = "check-data") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sightline", name, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_command(folder):
    rows = [{"utterance": "a\x1b[31m", "kind": 1}, {"utterance": "b", "kind": 0}]
    table(folder / "mine.csv", rows)
    labels = ("--set", "labels={1: refuse, 0: comply}")
    done = command("mine.csv", "--columns", "text=utterance", "--columns", "label=kind", *labels, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "refuse 1, comply 1" in done.stdout
    assert "\x1b" not in done.stdout
    done = command("mine.csv", "--json", cwd=folder)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["ok"] is False
    assert len(found["bad"]) == 2
    assert command("mine.csv", "--columns", "text", cwd=folder).returncode == 2


def test_init_says_that_a_study_cannot_run_while_a_row_is_bad(folder):
    path = table(folder / "mine.csv", [{"prompt": "a", "image": "0.jpg"}, {"prompt": "b", "image": "no.jpg"}])
    flags = ("--data", str(path), "--target", "mockllm/model")
    told = command("first.yaml", *flags, name="init", cwd=folder)
    assert "note: it cannot run yet: " in told.stdout
    assert "1 row cannot be used" in told.stdout
    assert "no.jpg" in told.stdout
    table(path, [{"prompt": "a", "image": "0.jpg"}, {"prompt": "b", "image": "1.jpg"}])
    told = command("next.yaml", *flags, name="init", cwd=folder)
    assert "next: sightline check-data" in told.stdout
    assert "cannot run yet" not in told.stdout


def test_a_study_is_checked_with_its_settings(folder):
    table(folder / "mine.csv", [{"utterance": "a"}])
    (folder / "study.yaml").write_text(
        "study: s\nbenchmarks: [{name: cases, root: mine.csv, columns: {text: utterance}}, testbed_secrets]\n"
        "targets: [testbed/linear]\njudges: [refusal_prefix]\n"
    )
    done = command("study.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert [each["benchmark"] for each in json.loads(done.stdout)] == [
        "cases(columns={'text': 'utterance'})",
        "testbed_secrets",
    ]


ODD_TEXTS = """nan|0.jpg|../0.jpg|a/../../b|/etc/passwd|file:///etc/passwd|http://x/y.png|C:\\a.png|[]|[null]|0.jpg;1.jpg
data:image/png;base64,AAAA|a\x00b""".replace("\n", "|").split("|")
CELLS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "iVBORw0KGgo" * 9, *ODD_TEXTS]),
    st.none(),
    st.floats(),
    st.integers(),
    st.booleans(),
    st.lists(st.one_of(st.none(), st.text(max_size=5), st.integers()), max_size=3),
    st.dictionaries(
        st.sampled_from(["bytes", "path", "url", "role", "content", "type"]), st.text(max_size=9)
    ),
)
NAMES = st.sampled_from(
    ["prompt", "image", "images", "label", "unsafe", "messages", "id", "group", "system", "x"]
)


@given(st.lists(st.dictionaries(NAMES, CELLS, max_size=6), min_size=1, max_size=6))
@QUICK
def test_hostile_rows_are_cases_or_are_told_and_none_is_lost(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "0.jpg").write_bytes(saved(noise(0, 16, 16), "JPEG"))
    path = folder / "mine.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    found = check(path)
    assert found.rows == found.cases == len(rows)
    release = OfficialRelease(path, Blobs(folder / "blobs"))
    kept = list(sl.benchmarks.Cases(on_bad_rows="keep").cases(release))
    assert len(kept) == len(rows)
    refused = sum(any(image.problem for image in case.conversation.images) for case in kept)
    assert bool(found.bad) is bool(refused)
    found.text()
    json.dumps(found.plain())


@given(st.binary(max_size=300), st.sampled_from([".csv", ".tsv", ".json", ".jsonl", ".parquet", ".arrow"]))
@QUICK
def test_hostile_files_are_told(tmp_path_factory, data, suffix):
    path = tmp_path_factory.mktemp("hostile") / f"mine{suffix}"
    path.write_bytes(data)
    found = check(path)
    assert found.ok is bool(not found.bad)
    assert found.cases or found.bad


def test_a_bomb_in_a_zip_and_a_bomb_of_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("sightline._trees.MAX_MEMBER_BYTES", 100_000)
    huge = saved(PilImage.new("L", (20_000, 6_000)), "PNG")
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.csv", "file_name,prompt\nzeros.png,a\nhuge.png,b\n../up.png,c\n")
        archive.writestr("zeros.png", bytes(200_000))
        archive.writestr("huge.png", huge[:90_000])
    found = check(tmp_path / "mine.zip")
    assert found.cases == 3
    zeros, large, up = found.bad
    assert "200000 bytes, more than the 100000 allowed" in zeros
    assert "too large" in large
    assert "leads out of" in up


def test_a_release_of_which_only_the_number_is_known_is_compared_by_it(tmp_path: Path) -> None:
    root = all_releases.RELEASES["jailbreakv"](tmp_path / "jailbreakv")
    ((name, (expected, found)),) = sl.check_data("jailbreakv", root=root).official.items()
    assert (name, expected) == ("", 28_000)
    assert found > 0


def test_halves_of_surrogate_pairs_are_shown_as_they_are_sent_and_are_a_caution(tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": "What is a frell?"}), '{"prompt": "What is a \\ud800 glimber?"}']
    (tmp_path / "mine.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = check(tmp_path / "mine.jsonl")
    assert found.ok
    assert found.samples[1].messages == (("user", ("What is a \ufffd glimber?",)),)
    (caution,) = [note for note in found.notes if "surrogate" in note]
    assert caution.startswith("1 cases hold halves of surrogate pairs or control characters")
    assert "line 2" in caution
    assert "\\ud800" not in str(found)
    (tmp_path / "mine.jsonl").write_text(lines[0] + "\n", encoding="utf-8")
    assert not [note for note in check(tmp_path / "mine.jsonl").notes if "surrogate" in note]


def test_one_wrong_byte_hides_no_fault_of_another_row(tmp_path: Path) -> None:
    rows = [
        b"id,prompt,image",
        b"1,What is a frell?,",
        b"2,Caf\xe9 of glimbers,",
        b"3,What is this?,gone.png",
    ]
    (tmp_path / "mine.csv").write_bytes(b"\n".join(rows) + b"\n")
    found = check(tmp_path / "mine.csv")
    first, second = found.bad
    assert "line 3: not UTF-8 text; save the file as UTF-8, or name its encoding" in first
    assert "line 4" in second
    assert "gone.png" in second
    assert (found.rows, found.cases) == (3, 3)
    assert "latin-1" not in found.benchmark
    assert any("`sightline run` reads none of these rows" in note for note in found.notes)
    named = check(tmp_path / "mine.csv", encoding="latin-1")
    assert len(named.bad) == 1
    assert "gone.png" in named.bad[0]


def test_a_release_for_a_benchmark_that_reads_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="testbed_requests comes with Sightline and reads no release: leave"):
        sl.check_data("testbed_requests", root=tmp_path)
    with pytest.raises(UsageError, match="reads no release"):
        read(registry.make("benchmark", "testbed_requests"), tmp_path)
