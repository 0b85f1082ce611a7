"""Any file of a run folder, damaged in any way, before any command: one sentence with a cure that works, or
the same results; never a traceback, never a silent change."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st
from toys import ToyTarget

from sightline.api.runs import finish
from sightline.errors import SightlineError, UsageError
from sightline.metrics.summary import summarize
from sightline.records import Draft
from sightline.report import write
from sightline.study.case_table import LostPictures
from sightline.study.config import parse
from sightline.study.progress import Silent
from sightline.study.run import Run
from sightline.study.verify.verification import Wanted, verify
from sightline.tables import Table
from sightline.targets.replay import ReplayTarget

EXAMPLES = 40
STUDY = """
study: damaged
seed: 3
benchmarks: [{name: toy_questions, n: 6, picture: true}]
targets: [toy/a]
attacks: [toy_plain, toy_dots]
judges: [toy_judge]
concurrency: 1
retries: 0
"""
Damage = Callable[[bytes, float], bytes | None]
DAMAGES: dict[str, Damage] = {
    "lost": lambda data, at: None,
    "emptied": lambda data, at: b"",
    "cut": lambda data, at: data[: int(len(data) * at)],
    "zeroed": lambda data, at: _patched(data, at, bytes(24)),
    "turned bit": lambda data, at: _patched(data, at, None),
    "overwritten": lambda data, at: _patched(data, at, b'\xff"}\n{"x":[' * 3),
    "longer": lambda data, at: data + b"\nrubbish",
}


def _patched(data: bytes, at: float, patch: bytes | None) -> bytes:
    place = int((len(data) - 1) * at)
    if patch is None:
        patch = bytes([data[place] ^ 1 << place % 8])
    return data[:place] + patch[: len(data) - place] + data[place + len(patch) :]


class Stopping(ToyTarget):
    """Stops the run at its fifth call: the user has to mend something."""

    async def generate(self, conversation, decoding):  # type: ignore[no-untyped-def]
        if len(self.calls) == 4:
            raise UsageError("stopped")
        return await super().generate(conversation, decoding)


@dataclass
class Noted(Silent):
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)


def run(folder: Path) -> tuple[str, list[str]]:
    """What `sightline run` does; the digest of what it found, and its notes."""
    noted = Noted()
    session = Run(parse(STUDY), folder, noted)
    session.prepare()
    finish(session)
    lost = LostPictures(session.blobs)
    with Table(session.records / "craft") as crafted:
        assert not any(lost.among(row) for row in crafted), "a run that went well has all its pictures"
    return session.results_digest(), noted.notes


def report(folder: Path) -> tuple[str, list[str]]:
    return write(folder).read_text("utf-8"), []


def verified(folder: Path) -> tuple[str, list[str]]:
    done = asyncio.run(verify(folder, Wanted(qualities=(), factors=())))
    rows = pq.read_table(done.table).to_pylist()
    return str(rows), [finding.file for finding in done.inspected.findings]


def replayed(folder: Path) -> tuple[str, list[str]]:
    return ReplayTarget("replay/x", folder).id, []


STAGES = {"run": run, "report": report, "verify": verified, "replay": replayed}


@dataclass(frozen=True)
class Folders:
    """A finished and an interrupted run, and what every command says of the finished one."""

    finished: Path
    interrupted: Path
    truth: dict[str, str] = field(repr=False)

    def names(self, which: str) -> list[str]:
        folder = getattr(self, which)
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".busy")
        return sorted(str(path.relative_to(folder)) for path in files)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folders]:
    patch = pytest.MonkeyPatch()
    here = tmp_path_factory.mktemp("damage")
    patch.setattr("sightline.targets.open_target", lambda name, images, **bounds: Stopping())
    with pytest.raises(UsageError, match="stopped"):
        run(here / "interrupted")
    patch.setattr("sightline.targets.open_target", lambda name, images, **bounds: ToyTarget())
    truth = {"run": run(here / "finished")[0]}
    for name in ("report", "verify", "replay"):
        shutil.copytree(here / "finished", here / name)
        truth[name] = STAGES[name](here / name)[0]
    yield Folders(here / "finished", here / "interrupted", truth)
    patch.undo()


def mend(told: str) -> None:
    """Do what a message says."""
    path, number = Path(told.partition(": ")[0]), 0
    if found := re.fullmatch(r"(.*\.jsonl):(\d+)", str(path)):
        path, number = Path(found[1]), int(found[2])
    if "delete that line" in told:
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[: number - 1] + lines[number:]))
    else:
        assert "delete it" in told, told
        path.unlink()


def cured(folder: Path, told: str) -> str:
    """The digest of a run after doing what it said, line by line where several are damaged."""
    for _ in range(5):
        mend(told)
        try:
            return run(folder)[0]
        except SightlineError as again:
            told = str(again)
    raise AssertionError(told)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    which=st.sampled_from(["finished", "interrupted"]),
    file=st.integers(0, 999),
    damage=st.sampled_from(sorted(DAMAGES)),
    at=st.floats(0, 1),
    stage=st.sampled_from(["run", "run", "report", "verify", "replay"]),
)
@example(which="finished", file="records/answer.parquet", damage="turned bit", at=0.3, stage="run")
@example(which="finished", file="records/answer.parquet", damage="turned bit", at=0.3, stage="report")
@example(which="finished", file="records/craft.parquet", damage="zeroed", at=0.9, stage="verify")
@example(which="finished", file="records/judge.parquet", damage="cut", at=0.5, stage="run")
@example(which="finished", file="study.lock.yaml", damage="turned bit", at=0.5, stage="report")
@example(which="finished", file="results.parquet", damage="turned bit", at=0.5, stage="run")
@example(which="interrupted", file="records/answer/", damage="turned bit", at=0.5, stage="run")
@example(which="interrupted", file="records/cases-", damage="emptied", at=0.5, stage="run")
@pytest.mark.slow
def test_damage_is_told_or_undone(
    folders: Folders, tmp_path_factory: pytest.TempPathFactory, which: str, file: int | str, damage: str,
    at: float, stage: str,
) -> None:  # fmt: skip
    assume(which == "finished" or stage == "run")
    names = folders.names(which)
    name = names[file % len(names)] if isinstance(file, int) else next(n for n in names if n.startswith(file))
    folder = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(getattr(folders, which), folder)
    path = folder / name
    before = path.read_bytes()
    after = DAMAGES[damage](before, at) if before else None
    assume(after != before)
    path.unlink() if after is None else path.write_bytes(after)

    try:
        found, said = STAGES[stage](folder)
    except SightlineError as told:
        sentence = str(told)
        assert str(folder) in sentence
        assert "\n" not in sentence
        assert "is missing; delete" not in sentence
        if stage == "run":
            assert cured(folder, sentence) == folders.truth["run"]
        return
    same = found == folders.truth[stage]
    said_so = any(path.name in text for text in said)
    if stage == "run":
        assert same
        assert said_so or damage == "lost" or which == "interrupted" or path.name == "verify.parquet"
    else:
        assert same or said_so or path.name in found or damage == "lost"


def test_a_damaged_table_is_not_nothing_to_do(folders: Folders, tmp_path: Path) -> None:
    for stage in ("craft", "answer", "judge"):
        folder = tmp_path / stage
        shutil.copytree(folders.finished, folder)
        path = folder / "records" / f"{stage}.parquet"
        data = path.read_bytes()
        path.write_bytes(_patched(data, 0.4, None))
        with pytest.raises(SightlineError, match=rf"{stage}\.parquet: damaged .*; delete it, and its rows"):
            run(folder)
        path.unlink()
        assert run(folder)[0] == folders.truth["run"]


def test_a_copied_folder_is_still_complete(folders: Folders, tmp_path: Path) -> None:
    shutil.copytree(folders.finished, tmp_path / "run", copy_function=shutil.copyfile)
    session = Run(parse(STUDY), tmp_path / "run")
    session.prepare()
    assert session.complete()


def test_a_picture_that_comes_out_otherwise_is_asked_anew(
    folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers to the lost picture are not told as answers to the one that took its place."""
    import numpy as np
    import toys

    folder = tmp_path / "run"
    shutil.copytree(folders.finished, folder)
    with Table(folder / "records" / "craft") as crafted:
        rows = [row for row in crafted if len(row["conversation"]["turns"][-1]["parts"]) == 2]
    dotted = next(row for row in rows if row["case_id"] == "toy/0" and row != rows[0])
    sha256 = dotted["conversation"]["turns"][-1]["parts"][0]["sha256"]
    (folder / "blobs" / sha256[:2] / sha256).unlink()

    def other(self, cases, ctx):  # type: ignore[no-untyped-def]
        yield from (Draft(case=case, image=np.zeros((8, 8, 3), np.uint8)) for case in cases)

    asked = ToyTarget()
    monkeypatch.setattr(toys.ToyDots, "craft", other)
    monkeypatch.setattr("sightline.targets.open_target", lambda name, images, **bounds: asked)
    _, notes = run(folder)
    assert any(sha256 in note for note in notes)
    assert asked.calls == ["question 0"]


def test_a_report_refuses_a_table_or_a_lock_of_another_run(folders: Folders, tmp_path: Path) -> None:
    other = tmp_path / "other"
    session = Run(parse(STUDY.replace("seed: 3", "seed: 4")), other)
    session.prepare()
    finish(session)
    for name in ("results.parquet", "study.lock.yaml"):
        folder = tmp_path / name
        shutil.copytree(folders.finished, folder)
        shutil.copy(other / name, folder / name)
        with pytest.raises(UsageError, match=f"{name}: is not the file that this run finished with"):
            report(folder)
        with pytest.raises(UsageError, match=f"{name}: is not the file that this run finished with"):
            summarize(folder)


@pytest.mark.parametrize("name", ["answer", "judge", "craft"])
def test_a_finished_run_with_another_runs_records_is_not_nothing_to_do(
    folders: Folders, tmp_path: Path, name: str
) -> None:
    other, folder = tmp_path / "other", tmp_path / "run"
    session = Run(parse(STUDY.replace("n: 6", "n: 7").replace("seed: 3", "seed: 4")), other)
    session.prepare()
    finish(session)
    shutil.copytree(folders.finished, folder)
    path = folder / "records" / f"{name}.parquet"
    shutil.copy(other / "records" / path.name, path)
    with pytest.raises(UsageError, match=rf"{path.name}: is not the table that this run finished with; dele"):
        run(folder)
    path.unlink()
    assert run(folder)[0] == folders.truth["run"]


@pytest.mark.parametrize("complete", [True, False])
def test_swapped_tables_are_told_or_read_again(folders: Folders, tmp_path: Path, complete: bool) -> None:
    for first, second in (("answer", "craft"), ("judge", "answer"), ("cases-", "judge")):
        folder = tmp_path / f"{first}{second}"
        shutil.copytree(folders.finished, folder)
        one, two = (next((folder / "records").glob(f"{name}*.parquet")) for name in (first, second))
        one.rename(tmp_path / "held")
        two.rename(one)
        (tmp_path / "held").rename(two)
        if not complete:
            (folder / "records" / "complete.json").unlink()
        with pytest.raises(UsageError, match=r"is not the table that|it holds the rows of"):
            run(folder)


@pytest.mark.parametrize(
    "change", [{"cost": {"calls_target": 1, "tokens_out": 10**30}}, {"stop": "banana"}, {"text": None}]
)
def test_a_response_that_sightline_does_not_write_is_told(
    folders: Folders, tmp_path: Path, change: dict[str, object]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(folders.finished, folder)
    with Table(folder / "records" / "answer") as answered:
        row = next(iter(answered))
    (folder / "records" / "answer").mkdir(exist_ok=True)
    changed = {**row, **change}
    body = json.dumps(changed, separators=(",", ":")).encode()[:-1]
    line = body + b',"crc":"%08x"}\n' % zlib.crc32(body)
    (folder / "records" / "answer" / "9000000000-1-a.jsonl").write_bytes(line)
    (folder / "records" / "complete.json").unlink()
    with pytest.raises(UsageError, match=f"the response {row['key']} is none that Sightline writes"):
        run(folder)
