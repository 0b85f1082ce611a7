"""The first step of a run: each benchmark is read once and its cases are kept in order."""

from __future__ import annotations

import shutil
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sightline import registry
from sightline.digests import digest, sha256_file
from sightline.errors import DamageError, UsageError
from sightline.keys import case_key, case_table_identity, case_table_name
from sightline.plain import pictures_in, plain_case
from sightline.release import OfficialRelease, Seen
from sightline.rng import seed_of
from sightline.sealed import check_table, read_note
from sightline.shards import Row, ShardWriter, read_shards
from sightline.store import Blobs, write_note
from sightline.study.config import Source
from sightline.study.grid import chunks
from sightline.study.progress import Progress
from sightline.study.sampling import sampled
from sightline.study.stage_code import stage_code
from sightline.tables import Table, compacted_rows, parquet_of
from sightline.untrusted import sanitized_row

READ_AGAIN = "the release is read again"


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTable:
    """The cases of one benchmark in a run folder.

    `identity` is that of the benchmark with the code that read it, `release` the digest of what was read;
    `expected` counts cases by what a safe model does.
    """

    source: Source
    identity: str
    folder: Path
    release: str
    expected: dict[str, int]
    warnings: tuple[str, ...] = ()

    def rows(self) -> Iterator[Row]:
        """Cases as plain rows with their key, streamed in release order."""
        return compacted_rows(self.folder)


def with_pictures(case_table: CaseTable, records: Path, blobs: Blobs, progress: Progress) -> CaseTable:
    """The same cases with all their pictures: where some are lost or damaged, the release is read again.

    Raises:
        UsageError: if the release is no longer what it was.
    """
    lost = LostPictures(blobs)
    if not any([lost.among(row) for row in case_table.rows()]):
        return case_table
    lost.tell(progress, f"{case_table.source.label}: {READ_AGAIN}")
    again = read_cases(case_table.source, records, blobs, progress, anew=True)
    if again.release != case_table.release:
        raise UsageError(
            f"{case_table.source.label}: the release is not what this run has read; "
            "run the same command again"
        )
    return again


def read_cases(
    source: Source,
    records: Path,
    blobs: Blobs,
    progress: Progress,
    *,
    rehash: bool = False,
    anew: bool = False,
) -> CaseTable:
    """Read a benchmark into `records/cases-ID`, or find it there from an earlier run.

    Found again means: the texts, picture lists and pictures that were read then have the same digest now;
    a picture whose stamp (path, size, times, file number) is the same is not read again, unless `rehash` asks
    for it. A changed release, or another table of the same folder, is read anew into its own folder; `anew`
    reads any.

    Raises:
        UsageError: from the benchmark, naming file and row; also for two cases of one id.
    """
    reading = digest(registry.identity(source.benchmark), stage_code("read"))
    identity = case_table_identity(reading, source.limit)
    memo = records / f"cases-{digest(identity, source.label)[:16]}.json"
    release = OfficialRelease(source.root, blobs)
    try:
        found = None if anew else _remembered(memo, release, rehash=rehash)
    except DamageError as damaged:
        progress.note(str(damaged))
        found = None
    if found is None:
        release = OfficialRelease(source.root, blobs)
        facts = _read_anew(source, records, identity, release, progress)
    else:
        facts = found | release.read_names()
    if facts != found:
        write_note(memo, facts)
    for warning in facts["warnings"]:
        progress.note(f"{source.label}: {warning}")
    return CaseTable(
        source=source,
        identity=reading,
        folder=records / facts["folder"],
        release=facts["release"],
        expected=facts["expected"],
        warnings=tuple(facts["warnings"]),
    )


def _remembered(memo: Path, release: OfficialRelease, *, rehash: bool) -> Row | None:
    """What an earlier run noted of this benchmark, if the release still reads the same.

    Raises:
        DamageError: if the note, or the cases that it names, are lost or damaged.
    """
    if not memo.exists():
        return None
    facts = read_note(memo, READ_AGAIN)
    if "table" not in facts or facts.get("file", "") != release.file:
        return None  # another table of the same folder
    table = parquet_of(memo.parent / facts["folder"])
    check_table(table, READ_AGAIN)
    if sha256_file(table) != facts["table"]:
        raise DamageError(table, "is not the table that was written", READ_AGAIN)
    try:
        for name in facts["texts"]:
            release.note(name)
        for name in facts["listings"]:
            release.listing(name)
    except UsageError:
        return None
    for name, (sha256, *stamp) in facts["pictures"].items():
        release.look_again(name, Seen(sha256, () if rehash else tuple(stamp)))
    return facts if release.digest() == facts["release"] else None


def _read_anew(
    source: Source, records: Path, identity: str, release: OfficialRelease, progress: Progress
) -> Row:
    """Read all cases into a folder that gets its final name when it is whole."""
    unfinished = records / f"cases-{identity[:16]}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    counts = _write_cases(source, unfinished, release, progress)
    with Table(unfinished) as table:
        table.compact()
    folder = case_table_name(identity, release.digest())
    unfinished.with_name(f"{unfinished.name}.parquet").replace(records / f"{folder}.parquet")
    shutil.rmtree(unfinished)
    return {
        "folder": folder,
        "table": sha256_file(records / f"{folder}.parquet"),
        "release": release.digest(),
        "file": release.file,
        "expected": dict(counts),
        "warnings": release.warnings,
        **release.read_names(),
    }


def _write_cases(source: Source, folder: Path, release: OfficialRelease, progress: Progress) -> Counter[str]:
    """Append all cases and count them by expectation; ids must be unique, or rows could not be told apart."""
    cases = source.benchmark.cases(release)
    wanted = sampled(cases, source.limit) if source.limit else cases
    ids = array("Q")  # 64 bits of each id's digest: flat memory for a million cases
    counts: Counter[str] = Counter()
    mended: list[str] = []
    progress.start(f"read {source.label}", 0, 0)
    with ShardWriter(folder) as writer:
        for batch in chunks(wanted):
            plain = [plain_case(case) for case in batch]
            rows: list[Row] = [sanitized_row(row) for row in plain]
            mended += [row["id"] for row, before in zip(rows, plain, strict=True) if row != before]
            ids.extend(seed_of(row["id"], bits=64) for row in rows)
            counts.update(row["expected"] for row in rows)
            writer.append({"key": case_key(row), **row} for row in rows)
            progress.advance(len(batch))
    progress.finish()
    if mended:
        release.warn(
            f"{len(mended):,} of {len(ids):,} cases, such as {mended[0]}, held half a surrogate pair or a "
            "control character; each was replaced by U+FFFD"
        )
    if not ids:
        raise UsageError(f"{source.label}: the benchmark has no cases with these settings")
    values, times = np.unique(np.frombuffer(ids, dtype=np.uint64), return_counts=True)
    if len(values) < len(ids):
        doubled = set(values[times > 1].tolist())
        name = next(row["id"] for row in read_shards(folder) if seed_of(row["id"], bits=64) in doubled)
        raise UsageError(f"{source.label}: two cases are called {name!r}; ids must differ")
    return counts


class LostPictures:
    """The pictures among those that rows need which are missing or damaged."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._lost: dict[str, None] = {}

    def among(self, row: Row) -> bool:
        """Whether a row needs a picture that is lost; it is remembered."""
        lost = [sha256 for sha256 in pictures_in(row) if not self._blobs.whole(sha256)]
        self._lost.update(dict.fromkeys(lost))
        return bool(lost)

    def tell(self, progress: Progress, done: str) -> None:
        """Say how many were lost, naming the first, and what was done; nothing if none was."""
        if self._lost:
            first = self._blobs.path(next(iter(self._lost)))
            progress.note(f"{len(self._lost)} pictures are missing or damaged, the first is {first}: {done}")
