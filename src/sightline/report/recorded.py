"""The records that the rows of a result table were made from, and no others.

A run folder that was extended, or whose errors were tried again, also holds what is superseded: case
books of an older release or of other settings, and earlier verdicts on the same sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline.keys import case_table_identity, case_table_name, judge_key
from sightline.plain import verdict_of
from sightline.records import Verdict
from sightline.report.provenance import entries
from sightline.report.results import Results
from sightline.store import Row

RELEASE_SHOWN = 16
"""Characters of a release's digest in `results.parquet`."""

CaseTableName = tuple[str, str]
"""Label of a benchmark and what its result rows say of the release."""


def current_case_tables(records: Path, lock: Mapping[str, Any]) -> dict[CaseTableName, Path]:
    """The case tables (Parquet files) that a lock names, by benchmark and release.

    Computed from the lock and not from the memo beside the tables: `sightline run` rewrites the memo
    before it refuses to go on with a changed release.
    """
    found = {}
    for entry in entries(lock, "benchmarks"):
        release = str(entry.get("release"))
        identity = case_table_identity(str(entry.get("identity")), entry.get("limit"))
        path = records / f"{case_table_name(identity, release)}.parquet"
        if path.is_file():
            found[str(entry.get("label")), release[:RELEASE_SHOWN]] = path
    return found


def cases(
    results: Results, lock: Mapping[str, Any], samples: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], Row]:
    """Records of the cases of samples by (benchmark, case id), each from the table its row was made from.

    A folder without any case table that its lock names (a lost lock, an older layout) is searched whole.
    """
    wanted: dict[CaseTableName, set[str]] = {}
    for sample in samples:
        wanted.setdefault((sample["benchmark"], sample["release"]), set()).add(sample["case_id"])
    case_tables = current_case_tables(results.run / "records", lock)
    found = {}
    for name, ids in wanted.items():
        if case_tables and name not in case_tables:
            continue
        for row in results.records("cases", "id", ids, only=case_tables.get(name)):
            found[name[0], row["id"]] = row
    return found


def verdicts(results: Results, lock: Mapping[str, Any], samples: Sequence[str]) -> dict[str, list[Verdict]]:
    """The verdicts that count, by sample; a verdict that was superseded is left out.

    They are looked up by the keys that the lock's judges give them. Where the lock knows no such judge,
    a verdict counts if its judge and outcome are those of the result row.
    """
    identities = {entry.get("id"): entry.get("identity") for entry in entries(lock, "judges")}
    rows = results.rows(
        "select sample, judge, outcome, lower(hex(response_hash)) from results"
        " where sample in (select unnest(?::varchar[])) order by sample, judge",
        [sorted(set(samples))],
    )
    keys = {
        (sample, judge): judge_key(sample, content, judge, str(identities.get(judge)))
        for sample, judge, _, content in rows
    }
    known = {row["key"]: row for row in results.records("judge", "key", list(keys.values()))}
    unknown = sorted({sample for (sample, _), key in keys.items() if key not in known})
    alike = {
        (row["sample"], row["judge"], row["outcome"]): row
        for row in results.records("judge", "sample", unknown)
    }
    found: dict[str, list[Verdict]] = {}
    for sample, judge, outcome, _ in rows:
        row = known.get(keys[sample, judge]) or alike.get((sample, judge, outcome))
        if row is not None:
            found.setdefault(sample, []).append(verdict_of(row))
    return found
