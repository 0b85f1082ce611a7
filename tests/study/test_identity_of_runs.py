"""What a run makes again when fonts, code, pictures or weights have changed, and what it says of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import releases
from edited import edit, forget, text_of, with_another_constant, with_other_comments

from sightline import store
from sightline.api.runs import finish
from sightline.attacks import font_files
from sightline.cases import Image
from sightline.digests import sha256_file
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.store import Blobs, encode_png
from sightline.study.case_table import read_cases
from sightline.study.config import parse
from sightline.study.progress import Silent
from sightline.study.results import NOT_RESULTS, results_digest
from sightline.study.run import Run
from sightline.tables import Table
from sightline.targets.local import files
from sightline.targets.local.files import forget_hashes, weights_digest

STUDY = """
study: fonts
seed: 3
benchmarks: [{name: testbed_requests, limit: 4}]
targets: [scripted/typographic]
attacks: [none, {name: figstep, canvas_px: 128, font_px: 16}]
judges: [refusal_prefix]
"""


class Notes(Silent):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def fonts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The only folder of installed fonts: empty."""
    folder = tmp_path / "fonts"
    folder.mkdir()
    monkeypatch.setattr(font_files, "font_folders", lambda: (folder,))
    font_files.find_font.cache_clear()
    yield folder
    font_files.find_font.cache_clear()
    forget()


def install(fonts: Path) -> str:
    """Put a font called FreeMonoBold there, as another process would find it."""
    shutil.copyfile(font_files.BUNDLED / "DejaVuSerif.ttf", fonts / "FreeMonoBold.ttf")
    font_files.find_font.cache_clear()
    return sha256_file(fonts / "FreeMonoBold.ttf")


def run_of(folder: Path, text: str = STUDY, **options: Any) -> Run:
    run = Run(parse(text), folder, **options)
    run.prepare()
    return run


def finished(folder: Path, text: str = STUDY, **options: Any) -> Run:
    run = run_of(folder, text, **options)
    finish(run)
    return run


def rows(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(run.folder / "results.parquet").to_pylist()
    return found


# --- Fonts --------------------------------------------------------------------


def test_a_font_that_appears_between_two_runs_gives_new_keys_and_never_two_fonts_in_one_cell(
    tmp_path: Path, fonts: Path
) -> None:
    first = finished(tmp_path / "run")
    before = {row["artifact"] for row in rows(first) if row["attack"] == "figstep"}
    sha256 = install(fonts)
    larger = STUDY.replace("limit: 4", "limit: 10")
    with pytest.raises(UsageError, match=r"attack figstep: another font is found here \(\w+, now") as refused:
        run_of(tmp_path / "run", larger)
    assert sha256[:16] in str(refused.value)
    assert "attack none" not in str(refused.value)
    second = finished(tmp_path / "run", larger, extend=True)
    drawn = [row for row in rows(second) if row["attack"] == "figstep"]
    assert len(drawn) == 10
    assert before.isdisjoint(row["artifact"] for row in drawn)
    with store_of(second) as table:
        notes = {row["note"] for row in table.rows([row["artifact"].hex() for row in drawn]) if row}
    assert all(f"sha256 {sha256[:16]}" in note for note in notes)


def store_of(run: Run) -> Any:
    from sightline.tables import Table

    return Table(run.records / "craft")


def test_two_fresh_runs_with_different_fonts_share_no_key_of_a_drawn_artifact(
    tmp_path: Path, fonts: Path
) -> None:
    one = finished(tmp_path / "one")
    install(fonts)
    other = finished(tmp_path / "other")
    keys = [
        {
            attack: {row["artifact"] for row in rows(run) if row["attack"] == attack}
            for attack in ("none", "figstep")
        }
        for run in (one, other)
    ]
    assert keys[0]["none"] == keys[1]["none"]
    assert keys[0]["figstep"].isdisjoint(keys[1]["figstep"])


# --- Code ---------------------------------------------------------------------


def test_a_finished_run_says_whose_code_changed_and_makes_that_again_alone(
    tmp_path: Path, fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fonts
    finished(tmp_path / "run")
    edit(
        monkeypatch,
        {"sightline.attacks.rendering": with_other_comments(text_of("sightline.attacks.rendering"))},
    )
    assert run_of(tmp_path / "run").complete()
    edit(
        monkeypatch,
        {"sightline.attacks.rendering": with_another_constant(text_of("sightline.attacks.rendering"))},
    )
    told = r"attack figstep: its code has changed \(sightline\.attacks\.rendering\)"
    with pytest.raises(UsageError, match=told) as refused:
        run_of(tmp_path / "run")
    assert "attack none" not in str(refused.value)
    assert "target" not in str(refused.value).split("---")[0]
    said = Notes()
    run = run_of(tmp_path / "run", extend=True, progress=said)
    assert any("attack figstep: its code has changed" in line for line in said.said)
    counts = finish(run)
    assert (counts["craft"].present, counts["craft"].written) == (4, 4)
    assert (counts["answer"].present, counts["answer"].written) == (4, 4)


def test_a_changed_target_judge_and_stage_are_named(
    tmp_path: Path, fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fonts
    finished(tmp_path / "run")
    for module, told in {
        "sightline.targets.scripted": "target scripted/typographic: the code that asks it has changed",
        "sightline.judges._text": "judge refusal_prefix: its code has changed",
        "sightline.study.seal": "stage craft: its code has changed",
        "sightline.study.sampling": "stage read: its code has changed",
        "sightline.testbed.world": "benchmark testbed_requests: its code has changed",
    }.items():
        edit(monkeypatch, {module: with_another_constant(text_of(module))})
        with pytest.raises(UsageError) as refused:
            run_of(tmp_path / "run")
        assert f"{told} ({module})" in str(refused.value)


def test_a_table_by_other_code_is_written_anew_and_nothing_else(
    tmp_path: Path, fonts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del fonts
    finished(tmp_path / "run")
    text = text_of("sightline.study.results")
    assert "outcome == Outcome.complied.value" in text
    edit(monkeypatch, {"sightline.study.results": text.replace("== Outcome.comp", "!= Outcome.comp")})
    run = run_of(tmp_path / "run")
    assert not run.complete()
    counts = finish(run)
    assert [count.written for count in counts.values()] == [0, 0, 0]
    assert run.complete()


GRADIENTS = """
study: gradients
benchmarks: [{{name: testbed_requests, limit: 2}}]
targets: [scripted/echo]
attacks: [{{name: qi_visual, preset: testbed, surrogate: vlm/{folder}}}]
judges: [refusal_prefix]
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that can be named as a model; nothing is loaded from it."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_bytes(orjson.dumps({"model_type": "llava"}))
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    return folder


def test_a_changed_engine_is_told_of_an_attack_on_gradients(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = GRADIENTS.format(folder=model)
    before = run_of(tmp_path / "run", text)
    keys = before.context.columns[0].keys([{"key": "case"}])
    edit(
        monkeypatch,
        {"sightline.whitebox.objectives": with_another_constant(text_of("sightline.whitebox.objectives"))},
    )
    with pytest.raises(
        UsageError, match=r"attack qi_visual: its code has changed \(sightline\.whitebox\.objectives\)"
    ):
        run_of(tmp_path / "run", text)
    after = run_of(tmp_path / "run", text, extend=True)
    assert after.context.columns[0].keys([{"key": "case"}]) != keys
    assert after.context.columns[0].seed_for("case") == before.context.columns[0].seed_for("case")
    assert after.context.columns[0].seed_for("case") != after.context.columns[0].seed_for("other")
    edit(
        monkeypatch,
        {"sightline.whitebox.model": with_another_constant(text_of("sightline.whitebox.model"))},
    )
    opened = r"attack qi_visual: the code that opens its surrogate has changed \(sightline\.whitebox\.model\)"
    with pytest.raises(UsageError, match=opened):
        run_of(tmp_path / "run", text)
    forget()


# --- Stamps -------------------------------------------------------------------


def changed_in_place(path: Path, data: bytes) -> None:
    """Other content of equal size under the old time of modification."""
    before = path.stat()
    assert len(data) == before.st_size
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


OFFICIAL = """
study: s
benchmarks: [{{name: figstep_safebench, images: official, subset: tiny, on_bad_rows: keep, root: {root}}}]
targets: [scripted/echo]
judges: [refusal_prefix]
"""


def repainted(path: Path) -> bytes:
    """Another picture, as long as the one in the file."""
    size = path.stat().st_size
    pictures = (encode_png(np.full((32, 32, 3), gray, np.uint8)) for gray in range(256))
    data = next(data for data in pictures if len(data) <= size and data != path.read_bytes()[: len(data)])
    return data + bytes(size - len(data))


def read_again(tmp_path: Path, root: Path, *, rehash: bool = False) -> str:
    (source,) = parse(OFFICIAL.format(root=root)).sources
    folder = tmp_path / "run"
    return read_cases(source, folder / "records", Blobs(folder / "blobs"), Silent(), rehash=rehash).release


def test_a_changed_picture_under_an_old_time_is_seen(tmp_path: Path) -> None:
    root = releases.figstep(tmp_path / "FigStep")
    before = read_again(tmp_path, root)
    page = root / "data/images/SafeBench-Tiny/query_ForbidQI_3_2_6.png"
    changed_in_place(page, repainted(page))
    assert read_again(tmp_path, root) != before


def test_rehash_sees_what_no_stamp_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that keeps neither ctime nor numbers of files."""
    monkeypatch.setattr("sightline._trees.stamp_of", lambda found: (found.st_size,))
    root = releases.figstep(tmp_path / "FigStep")
    before = read_again(tmp_path, root)
    page = root / "data/images/SafeBench-Tiny/query_ForbidQI_3_2_6.png"
    changed_in_place(page, repainted(page))
    assert read_again(tmp_path, root) == before
    assert read_again(tmp_path, root, rehash=True) != before


def test_a_changed_bit_of_weights_under_an_old_time_is_seen(model: Path) -> None:
    before = weights_digest(model)
    changed_in_place(model / "model.safetensors", b"Weights" * 100)
    assert weights_digest(model) != before


def test_weights_are_hashed_again_on_request(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "file_stamp", lambda path: (path.stat().st_size,))
    forget_hashes()
    text = GRADIENTS.format(folder=model)
    run_of(tmp_path / "run", text)
    before = weights_digest(model)
    changed_in_place(model / "model.safetensors", b"Weights" * 100)
    assert weights_digest(model) == before
    with pytest.raises(UsageError, match="made from a different study"):
        run_of(tmp_path / "run", text, rehash=True)
    assert weights_digest(model) != before
    forget_hashes()


# --- Pictures that cannot be read ---------------------------------------------


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_why_a_picture_cannot_be_read_holds_no_address(data: bytes) -> None:
    with pytest.raises(UsageError) as wrong:
        store.decode_picture(data)
    assert "0x" not in str(wrong.value)


def test_the_key_of_a_case_with_an_unreadable_picture_is_the_same_wherever_it_lies(tmp_path: Path) -> None:
    found = []
    for number in range(2):
        root = releases.figstep(tmp_path / f"copy {number}")
        (root / "data/images/SafeBench-Tiny/query_ForbidQI_3_2_6.png").write_bytes(b"not a picture")
        (source,) = parse(OFFICIAL.format(root=root)).sources
        folder = tmp_path / f"run {number}"
        case_table = read_cases(source, folder / "records", Blobs(folder / "blobs"), Silent())
        found.append([(row["id"], row["key"]) for row in case_table.rows()])
        broken = [row for row in case_table.rows() if "problem" in str(row["conversation"])]
        assert len(broken) == 1
    assert found[0] == found[1]


def test_no_key_of_a_run_follows_the_folder_that_the_release_lies_in(tmp_path: Path) -> None:
    """Pictures that are absent, broken, too large or pointers: cases, artifacts, answers and verdicts."""
    damaged = [b"not a picture", b"", b"version https://git-lfs.github.com/spec/v1", None]
    found = []
    for number in range(2):
        root = releases.figstep(tmp_path / f"copy {number}")
        pages = sorted((root / "data/images/SafeBench-Tiny").glob("*.png"))
        for page, data in zip(pages, damaged, strict=False):
            page.unlink() if data is None else page.write_bytes(data)
        text = OFFICIAL.format(root=root)
        run = finished(tmp_path / f"run {number}", text)
        keys = {}
        for stage in ("craft", "answer", "judge"):
            with Table(run.folder / "records" / stage) as table:
                keys[stage] = sorted(row["key"] for row in table)
        found.append((keys, [(row["case_id"], row["response_hash"], row["outcome"]) for row in rows(run)]))
        errors = [row["error"] for row in rows(run) if row["outcome"] == "error"]
        assert len(errors) == len(damaged)
        assert all(str(root) in error for error in errors)
    assert found[0] == found[1]


def test_a_picture_that_is_mended_makes_another_case(tmp_path: Path) -> None:
    from sightline.cases import Conversation
    from sightline.keys import case_key
    from sightline.plain import plain_conversation

    def key(image: Image) -> str:
        return case_key({"id": "b/1", "conversation": plain_conversation(Conversation.user(image, "what ?"))})

    lost, other = Image("", 0, 0, problem="not found in /a"), Image("", 0, 0, problem="not found in /b")
    assert key(lost) == key(other)
    assert key(lost) != key(Image("ab" * 32, 4, 4))
    blobs = Blobs(tmp_path)
    assert OfficialRelease(None, blobs).image("x.png").problem is not None


# --- The digest of results ----------------------------------------------------


def test_equal_runs_have_equal_digests_and_unequal_files(tmp_path: Path, fonts: Path) -> None:
    del fonts
    one, other = finished(tmp_path / "one"), finished(tmp_path / "other")
    assert one.results_digest() == other.results_digest() == results_digest(one.folder / "results.parquet")
    assert any(row["seconds"] for row in rows(one))
    again = run_of(tmp_path / "one")
    assert again.complete()
    assert again.results_digest() == one.results_digest()


def test_every_result_counts_and_nothing_else(tmp_path: Path, fonts: Path) -> None:
    del fonts
    path = finished(tmp_path / "run").folder / "results.parquet"
    table = pq.read_table(path)
    before = results_digest(path)

    def digest_with(name: str, value: Any) -> str:
        changed = table.to_pylist()
        changed[0][name] = value if value is not None else not changed[0][name]
        pq.write_table(pa.Table.from_pylist(changed, schema=table.schema), path)
        return results_digest(path)

    others = {
        "string": "other", "dictionary": "other", "int": 77, "float": 7.5, "bool": None, "fixed": b"\1" * 16,
    }  # fmt: skip
    for field in table.schema:
        kind = next(name for name in others if str(field.type).startswith(name))
        same = digest_with(field.name, others[kind]) == before
        if field.name == "error":
            continue  # it also hides the hash of its own row's response
        assert same == (field.name in NOT_RESULTS), field.name


def test_how_a_table_is_stored_does_not_count_and_the_order_of_rows_does(tmp_path: Path, fonts: Path) -> None:
    del fonts
    path = finished(tmp_path / "run").folder / "results.parquet"
    table, other = pq.read_table(path), tmp_path / "other.parquet"
    pq.write_table(table, other, row_group_size=3, compression="none", use_dictionary=False)
    assert results_digest(other) == results_digest(path)
    pq.write_table(table.take(list(range(len(table)))[::-1]), other)
    assert results_digest(other) != results_digest(path)


def test_the_wording_of_an_error_does_not_count(tmp_path: Path) -> None:
    text = "study: down\nbenchmarks: [{name: testbed_requests, limit: 2}]\njudges: [refusal_prefix]\n"
    found = set()
    for number in range(2):
        script = tmp_path / f"down {number}.yaml"
        script.write_text(f"rules: [{{stop: error, reply: 'timed out after {number} s'}}]", encoding="utf-8")
        run = finished(tmp_path / f"run {number}", f"{text}targets: ['scripted/{script}']\n")
        table = pq.read_table(run.folder / "results.parquet")
        named = {"target": pa.array(["t"] * len(table)), "cell": pa.array(["c"] * len(table))}
        for name, values in named.items():
            table = table.set_column(table.schema.get_field_index(name), name, values)
        pq.write_table(table, tmp_path / "named.parquet")
        found.add(results_digest(tmp_path / "named.parquet"))
    assert len(found) == 1
