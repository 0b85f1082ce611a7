"""Several finished runs as one: what was measured on different machines, or one target at a time.

Records are content-addressed, so rows of runs that agree can stand side by side; what two runs both hold is
taken from the first. Names that mean different things in two runs are an error, never a mixture.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from sightline.digests import sha256_file
from sightline.documents import refuse_special
from sightline.errors import DamageError, UsageError
from sightline.report.results import entries
from sightline.run_folder import COMPLETE, LOCK, RESULTS, finished_lock, lock_digest
from sightline.sealed import (
    damage_reported,
    publish_table,
    read_note,
    sealed_line,
    sealed_text,
    yaml_of,
)
from sightline.store import write_atomically, write_note
from sightline.study import lock as locks
from sightline.study.results import SCHEMA, results_digest
from sightline.study.schema import STUDY_NAME
from sightline.tables import RESULTS_AGAIN, ROWS_AGAIN, Table, refuse_other_records

ALIKE = ("format", "seed", "epochs", "decoding", "stages")
"""What must be the same in all runs."""
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "benchmarks": ("label",),
    "attacks": ("label", "answered_by"),
    "defenses": ("label",),
    "targets": ("target", "defense"),
    "judges": ("id",),
}
ROW = ("sample", "judge", "benchmark", "target", "attack", "defense", "case_id", "epoch")
"""What tells rows apart: a sample may stand under several labels, each of which the lock promises."""
STAGES = ("craft", "answer", "judge")
HYPOTHESIS, GATE = "hypothesis", "gate"
PICTURES_AGAIN = "run its study again, which makes lost pictures anew, or leave this run out"
_SCOPE = "benchmarks"
_PLACES = ("root", _SCOPE)
"""Fields of an entry that say where something lies, or which benchmarks it is of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What was merged.

    Attributes:
        folder: of the merged run.
        rows: of its table.
        twice: rows that several runs hold, of which the first run's were taken.
        unlike: of those, rows whose outcome was not the same.
        notes: what a reader should know, as sentences.
    """

    folder: Path
    rows: int
    twice: int
    unlike: int
    notes: tuple[str, ...]


def merge(runs: Sequence[Path], out: Path) -> Merged:
    """Write a run folder that holds the rows of all runs.

    Raises:
        UsageError: for less than two runs, one that is not finished, runs that do not agree, or a folder that
            is not empty.
    """
    if len(runs) < 2 or len({path.resolve() for path in runs}) < len(runs):
        raise UsageError("name two or more different run folders to merge")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out}: not an empty folder; name another one with --out")
    out = out.resolve()
    if STUDY_NAME.fullmatch(out.name) is None:
        raise UsageError(
            f"--out {out.name!r}: a run's name has letters, digits, `_`, `.` and `-`, at most 64"
        )
    inside = next((run for run in runs if run.resolve() in out.parents), None)
    if inside is not None:
        raise UsageError(f"{out}: lies in {inside}, which is to be merged; name a folder elsewhere")
    found = [_read(run) for run in runs]
    lock = merged_lock(found, runs, out.name)
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        work.chmod(0o755)
        (work / "records").mkdir()
        for run in runs:
            _copy(run, work)
        for stage in STAGES:
            _records(runs, stage, work)
        rows, twice, unlike = _table(runs, out.name, work)
        write_atomically(work / LOCK, sealed_text(locks.dump(lock)).encode())
        mark = {
            "lock": lock_digest(lock),
            "results": sha256_file(work / RESULTS),
            "digest": results_digest(work / RESULTS),
            "tables": {
                f"{stage}.parquet": sha256_file(work / "records" / f"{stage}.parquet") for stage in STAGES
            },
        }
        write_note(work / COMPLETE, mark)
        if out.exists():
            out.rmdir()
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Merged(folder=out, rows=rows, twice=twice, unlike=unlike, notes=tuple(_notes(found, runs)))


def _read(run: Path) -> dict[str, Any]:
    finished_lock(run)
    tables = read_note(run / COMPLETE, ROWS_AGAIN).get("tables") or {}
    refuse_other_records(run / "records", tables, all_there=True)
    return locks.read(run)


def merged_lock(found: Sequence[Mapping[str, Any]], runs: Sequence[Path], name: str) -> dict[str, Any]:
    """The lock of all runs together.

    Raises:
        UsageError: naming what two of them do not agree in.
    """
    first = found[0]
    for lock, run in zip(found[1:], runs[1:], strict=True):
        for part in ALIKE:
            if lock.get(part) != first.get(part):
                raise UsageError(
                    f"{runs[0]} and {run} cannot be merged: {part} differs, {_brief(first.get(part))} and "
                    f"{_brief(lock.get(part))}; run one again like the other, or use `sightline compare`"
                )
    sections = {section: _union(found, runs, section) for section in SECTIONS}
    trained = _trained(found, runs)
    code: dict[str, Any] = {}
    for lock in found:
        code = {**dict(lock.get("code") or {}), **code}
    return {
        **{key: value for key, value in first.items() if key != HYPOTHESIS},
        "study": name,
        **_files(found),
        **sections,
        **({"trained": trained} if trained else {}),
        "code": dict(sorted(code.items())),
        "merged": [
            {
                "folder": run.name,
                "study": lock.get("study"),
                "lock": lock_digest(dict(lock)),
                "results": _digest(run),
            }
            for lock, run in zip(found, runs, strict=True)
        ],
        "made_from": {"folder": str(runs[0].resolve().parent), "limit": None, "text": _kept(found)},
    }


def _gates(found: Sequence[Mapping[str, Any]]) -> list[Any]:
    """What the studies say of their gates, each said once."""
    texts = (str(dict(lock.get("made_from") or {}).get("text", "")) for lock in found)
    stated = [dict(yaml_of(text, "made_from.text") or {}).get(GATE) for text in texts]
    return [each for number, each in enumerate(stated) if each not in stated[:number]]


def _kept(found: Sequence[Mapping[str, Any]]) -> str:
    """What stays of the studies' texts: limits that all of them have."""
    gates = _gates(found)
    return yaml.safe_dump({GATE: gates[0]}) if len(gates) == 1 and gates[0] else ""


def _digest(run: Path) -> str:
    return str(read_note(run / COMPLETE, RESULTS_AGAIN).get("digest"))


def _union(found: Sequence[Mapping[str, Any]], runs: Sequence[Path], section: str) -> list[dict[str, Any]]:
    """Entries of all locks, each name once."""
    known: dict[tuple[str, ...], tuple[dict[str, Any], Path]] = {}
    for lock, run in zip(found, runs, strict=True):
        for entry in _scoped(lock, section):
            name = tuple(str(entry[key]) for key in SECTIONS[section] if key in entry)
            plain = {key: value for key, value in entry.items() if key not in _PLACES}
            if name not in known:
                known[name] = dict(entry), run
                continue
            former, other = known[name]
            if _SCOPE in former:
                former[_SCOPE] = [*dict.fromkeys([*former[_SCOPE], *entry.get(_SCOPE, ())])]
            unlike = sorted(
                key
                for key in plain.keys() | former.keys()
                if key not in _PLACES and plain.get(key) != former.get(key)
            )
            if unlike:
                what = f"{section.removesuffix('s')} {' behind '.join(name)}"
                raise UsageError(
                    f"{other} and {run} cannot be merged: {what} is not the same in both "
                    f"({', '.join(unlike)}); give one of them another label and run it again"
                )
    return [entry for entry, _ in known.values()]


def _trained(found: Sequence[Mapping[str, Any]], runs: Sequence[Path]) -> list[dict[str, Any]]:
    """What the runs trained, each seed of a label on a base once, with the checkpoints of all.

    Two runs that have one label share a training of it, and those that they share are the same.
    """
    known: dict[str, dict[tuple[str, str], tuple[dict[str, Any], Path]]] = {}
    for lock, run in zip(found, runs, strict=True):
        fresh: dict[str, dict[tuple[str, str], tuple[dict[str, Any], Path]]] = {}
        for entry in entries(lock, "trained"):
            place = str(entry["seed"]), str(entry["base"])
            fresh.setdefault(str(entry["label"]), {})[place] = dict(entry), run
        for label, mine in fresh.items():
            former = known.setdefault(label, {})
            shared = former.keys() & mine.keys()
            if former and not shared:
                raise _another(label, next(iter(former.values())), next(iter(mine.values())))
            for place in shared:
                if former[place][0]["target"] != mine[place][0]["target"]:
                    raise _another(label, former[place], mine[place])
                both = [*former[place][0]["checkpoints"], *mine[place][0]["checkpoints"]]
                former[place][0]["checkpoints"] = [list(each) for each in sorted({tuple(c) for c in both})]
            known[label] = former | {place: one for place, one in mine.items() if place not in shared}
    return [entry for made in known.values() for entry, _ in made.values()]


def _another(label: str, *two: tuple[Mapping[str, Any], Path]) -> UsageError:
    """Two runs trained other things under one label."""
    (_, one), (_, other) = two
    told = " and ".join(f"{entry['target']} (seed {entry['seed']}, on {entry['base']})" for entry, _ in two)
    return UsageError(
        f"{one} and {other} cannot be merged: training {label} is not the same in both, {told}; give one of "
        "them another label and run it again"
    )


def _scoped(lock: Mapping[str, Any], section: str) -> Iterator[dict[str, Any]]:
    """Entries of a lock; recorded attacks with the benchmarks that they are of, which others lack."""
    scored = section == "attacks" and "responses" in lock
    for entry in entries(lock, section):
        own = {_SCOPE: [each["label"] for each in entries(lock, "benchmarks")]} if scored else {}
        yield own | dict(entry)


def _files(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where recorded responses come from: the first run's facts, with the files of all."""
    told = [dict(lock["responses"]) for lock in found if isinstance(lock.get("responses"), Mapping)]
    if not told:
        return {}
    files = [file for each in told for file in each.get("files", ())]
    return {"responses": {**told[0], "files": [f for n, f in enumerate(files) if f not in files[:n]]}}


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _copy(run: Path, work: Path) -> None:
    """Case tables and pictures.

    Raises:
        DamageError: for a picture that is no file of its own, or not the one of its name.
    """
    for path in (run / "records").glob("cases-*"):
        if path.is_file() and not (work / "records" / path.name).exists():
            shutil.copyfile(path, work / "records" / path.name)
    for path in (run / "blobs").glob("*/*"):
        refuse_special(path, PICTURES_AGAIN)
        if path.is_symlink() or not path.is_file() or sha256_file(path) != path.name:
            raise DamageError(path, "is not the picture of its name", PICTURES_AGAIN)
        to = work / "blobs" / path.parent.name / path.name
        if not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def _records(runs: Sequence[Path], stage: str, work: Path) -> None:
    """One table of a stage from those of all runs, each key once."""
    seen: set[str] = set()
    shard = work / "records" / stage / "1-merged.jsonl"
    shard.parent.mkdir()
    with shard.open("wb") as file:
        for run in runs:
            with Table(run / "records" / stage) as table:
                for row in table:
                    if row["key"] not in seen:
                        seen.add(row["key"])
                        file.write(sealed_line(row))
    with Table(shard.parent) as table:
        table.compact()


def _table(runs: Sequence[Path], name: str, work: Path) -> tuple[int, int, int]:
    """The result tables as one: rows, rows that were there twice, and those of them with another outcome."""
    known: dict[tuple[object, ...], str] = {}
    twice = unlike = 0
    fresh = work / f"{RESULTS}.new"
    with pq.ParquetWriter(fresh, SCHEMA, compression="zstd", compression_level=1) as writer:
        for run in runs:
            for batch in _batches(run / RESULTS):
                kept = []
                for row in batch:
                    key = tuple(row[name] for name in ROW)
                    if key in known:
                        twice += 1
                        unlike += known[key] != row["outcome"]
                        continue
                    known[key] = row["outcome"]
                    kept.append({**row, "study": name})
                if kept:
                    writer.write_table(pa.Table.from_pylist(kept, schema=SCHEMA))
    publish_table(fresh, work / RESULTS)
    return len(known), twice, unlike


def _batches(path: Path) -> Iterator[list[dict[str, Any]]]:
    with damage_reported(path, RESULTS_AGAIN), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=20_000):
            yield batch.to_pylist()


def _notes(found: Sequence[Mapping[str, Any]], runs: Sequence[Path]) -> Iterator[str]:
    if any(HYPOTHESIS in lock for lock in found):
        yield "hypotheses are of their own runs: their reports tell of them, the merged one does not"
    if len(_gates(found)) > 1:
        yield "the runs have other limits in `gate:`: give the merged run's on the command line"
    versions = {str(sorted(dict(lock.get("versions") or {}).items())) for lock in found}
    if len(versions) > 1:
        yield "the runs were made with different versions; those of the first stand in the lock"
    for run in runs:
        if (run / "annotation").is_dir() or (run / "cards").is_dir():
            yield f"{run}: labels of people and judge cards are not merged; copy its cards/ where they hold"
