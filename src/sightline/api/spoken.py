"""Replies of a run by language as Arrow tables."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from sightline.judges._language import need_languages
from sightline.report.provenance import read_lock
from sightline.report.results import Results
from sightline.report.spoken import by_language, tags

TAGS_SCHEMA = pa.schema(
    [*((name, pa.string()) for name in ("sample", "response_hash", "language")), ("sure", pa.float64())]
)


def languages_table(folder: Path, most: int | None = None) -> pa.Table:
    """The language of every answered sample; see `RunResult.languages`."""
    need_languages("the languages of replies")
    with Results(folder) as results:
        rows = [
            {
                "sample": each.sample,
                "response_hash": each.response_hash,
                "language": each.tag.code,
                "sure": each.tag.sure,
            }
            for each in tags(results, most)
        ]
    return pa.Table.from_pylist(rows, schema=TAGS_SCHEMA)


def judged_table(folder: Path, most: int | None = None) -> pa.Table:
    """Rates of judges by language; see `RunResult.languages_judged`."""
    need_languages("the languages of replies")
    with Results(folder) as results:
        found = by_language(results, read_lock(folder), most)
    rows = [
        {
            "language": each.language,
            "replies": found.languages[each.language],
            "judge": each.judge,
            "measure": each.measure,
            "rate": each.rate.point,
            "low": each.rate.low,
            "high": each.rate.high,
            "k": int(each.rate.k),
            "n": each.rate.n,
            "unscored": each.rate.unscored,
        }
        for each in found.rates
    ]
    return pa.Table.from_pylist(rows)
