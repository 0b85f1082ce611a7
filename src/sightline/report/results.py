"""Queries on `results.parquet` and on the records behind its rows, in constant memory.

A run folder that was extended, or whose errors were tried again, also holds superseded records: case tables
of an older release or of other settings, and earlier verdicts on the same sample. They are left out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from sightline.errors import UsageError
from sightline.keys import case_table_identity, case_table_name, judge_key
from sightline.metrics.cells import method_of
from sightline.metrics.effort import Price
from sightline.plain import verdict_of
from sightline.records import Verdict
from sightline.report.crafted import PRICE, Crafted, Made, crafted
from sightline.run_folder import RESULTS, refuse_other_run
from sightline.sealed import check_table, damage_reported
from sightline.shards import Row, read_shards
from sightline.tables import RESULTS_AGAIN, ROWS_AGAIN

_SETTINGS = {
    "memory_limit": "400MB",
    "threads": 2,
    "preserve_insertion_order": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_LATER = {
    "series": "attack",
    "budget": "null::varchar",
    "craft_seed": "0",
    "seen": "null::boolean",
    "craft_shared": "false",
    "scores": "'case'",
    **dict.fromkeys(("craft_forwards", "craft_backwards", "craft_flops", "craft_seconds"), "0"),
    **dict.fromkeys(("latency", "cpu_seconds"), "null::float"),
    **dict.fromkeys(("craft_calls", "craft_calls_aux", "craft_calls_judge"), "0"),
    **dict.fromkeys(("craft_tokens_in", "craft_tokens_out"), "0"),
}
"""Values of columns that tables of earlier versions lack."""
_FILLED = ("cell", "sample", "judge", "attack_params", "craft_seed")
"""Columns without which a row says nothing."""
_NOT_FILLED = (
    f"select count(*) filter (where {' or '.join(f'{name} is null' for name in _FILLED)}),"  # noqa: S608
    " count(response_hash), count(score), count(flags), count(error) from results"
)
"""Rows that lack one of them; it names, too, what else queries read and `_LATER` does not add."""
MOST_SETTINGS = 3
_SETTINGS_OF = re.compile(r"[,()]\s*")
_LONG_HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b")
_FORMER_SCORES = "case reads when 'attacker' then 'attacker_goal' else 'case' end"


@dataclass(frozen=True, slots=True)
class Pick:
    """Samples of one kind, in an order that depends on their keys alone."""

    attack: str
    attack_params: str
    defense: str
    expected: str
    outcome: str
    count: int
    samples: tuple[dict[str, Any], ...]


class Results:
    """The result table of a run, queried where it lies. Use it with `with`."""

    def __init__(self, run: Path) -> None:
        import duckdb

        path = run / RESULTS
        if not path.is_file():
            raise UsageError(f"{path} is missing: finish the run with `sightline run`, then report again")
        check_table(path, RESULTS_AGAIN)
        refuse_other_run(run)
        self.run = run
        self.path = path
        self._crafted: dict[bool, dict[Made, Crafted]] = {}
        self._flags: list[tuple[str, str, str, int]] | None = None
        self._db = duckdb.connect(config=_SETTINGS)
        self._db.execute("set enable_progress_bar = false")  # it writes into what a script prints
        with damage_reported(path, RESULTS_AGAIN):
            found = self._db.read_parquet(literal(path))
            later = {**_LATER, "scores": _FORMER_SCORES} if "reads" in found.columns else _LATER
            absent = (f"{value} as {name}" for name, value in later.items() if name not in found.columns)
            found.project(", ".join(["*", *absent])).create_view("stored")
            self._view("select * from stored")
            if self.rows(_NOT_FILLED)[0][0]:
                raise ValueError(f"a row lacks one of {', '.join(_FILLED)}")

    def _view(self, query: str) -> None:
        self._db.execute(f"create or replace view raw as {query}")
        self._db.execute(
            "create or replace view results as select * replace (lower(hex(sample)) as sample,"
            " lower(hex(artifact)) as artifact) from raw"
        )

    def show(self, renamed: Callable[[str], str], columns: Sequence[str]) -> None:
        """Let all queries find other texts in these columns than are stored there."""
        self._db.execute("create or replace temp table renamed (former varchar, latter varchar)")
        for column in columns:
            texts = self.rows(f"select distinct {column} from stored where {column} is not null")  # noqa: S608
            changed = [(text, renamed(text)) for (text,) in texts if renamed(text) != text]
            if changed:
                self._db.executemany("insert into renamed values (?, ?)", changed)
        names = "(select distinct former, latter from renamed)"
        shown = ", ".join(f"coalesce({column}_names.latter, {column}) as {column}" for column in columns)
        joined = " ".join(
            f"left join {names} {column}_names on {column} = {column}_names.former" for column in columns
        )
        self._view(f"select stored.* replace ({shown}) from stored {joined}")  # noqa: S608  (columns)

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Answer of a query over `results`."""
        return list(self._db.execute(query, list(values)).fetchall())

    def compacted(self, stage: str) -> Iterator[Path]:
        """The compacted records of a stage and of its verification, checked for damage."""
        for path in sorted((self.run / "records").glob(f"{stage}*.parquet")):
            check_table(path, ROWS_AGAIN)
            yield path

    def crafting(self, *, requests: bool) -> dict[Made, Crafted]:
        """What crafting took, cell by cell, of those whose artifacts took anything; see `Crafted`.

        An artifact stands in many rows and counts once in each cell that shows it; what is shared counts
        once for all its artifacts.
        With `requests`, artifacts of restricted requests alone.
        """
        if not self._crafted:
            self._crafted = crafted(self.rows)
        return self._crafted[requests]

    def asked(self) -> list[tuple[str, int, Price]]:
        """(attack, its artifacts, what they took) of attacks that asked models while they were crafted.

        Each artifact counts once, whatever it was shown to.
        """
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in Price._fields)
        return [
            (attack, artifacts, Price(*price))
            for attack, artifacts, *price in self.rows(
                f"with made as (select distinct attack, artifact, {PRICE} from results"  # noqa: S608
                " where coalesce(craft_calls, 0) + coalesce(craft_calls_judge, 0) > 0)"
                f" select attack, count(*), {sums} from made group by attack order by attack"
            )
        ]

    def cross(self, first: str, second: str) -> list[tuple[str, str, str, str, int]]:
        """(outcome by `first`, by `second`, benchmark, group, number) of the requests that both judged.

        Restricted requests alone.
        """
        return self.rows(
            'select a.outcome, b.outcome, a.benchmark, a."group", count(*) from raw a join raw b'
            " on a.sample = b.sample"
            " where a.judge = ? and b.judge = ? and a.expected = 'refuse' and b.expected = 'refuse'"
            " group by all order by all",
            [first, second],
        )

    def picks(self, judge: str, most: int) -> list[Pick]:
        """At most `most` samples of every (attack, defense, expectation, outcome), chosen by key."""
        found = self.rows(
            "select attack, any_value(attack_params), defense, expected, outcome, count(*),"
            " arg_min({'sample': sample, 'artifact': artifact, 'case_id': case_id, 'target': target,"
            " 'benchmark': benchmark, 'release': release, 'hazard': hazard, 'category': category,"
            " 'error': error, 'budget': budget, 'craft_seed': craft_seed},"
            " sample, ?)"
            " from results where judge = ? group by attack, defense, expected, outcome"
            " order by attack, defense, expected, outcome",
            [most, judge],
        )
        return [
            Pick(attack, params, defense, expected, outcome, count, tuple(samples))
            for attack, params, defense, expected, outcome, count, samples in found
        ]

    def pages(self) -> list[tuple[str, str | None, bool, int]]:
        """(attack, font file, text was cut off, artifacts) as attacks noted; open shards are not read."""
        found: list[tuple[str, str | None, bool, int]] = []
        for path in self.compacted("craft"):
            found += self.rows(
                "with made as (select distinct attack, artifact from raw), noted as"
                " (select key, json_extract_string(record, '$.note') as note"
                " from read_parquet(?) where contains(record, '\"note\"'))"
                " select attack, nullif(regexp_extract(note, 'font (\\S+) sha256', 1), '') as font,"
                " contains(note, 'cut off') as clipped, count(*)"
                " from noted join made on made.artifact = noted.key group by all order by all",
                [literal(path)],
            )
        return found

    def flags(self) -> list[tuple[str, str, str, int]]:
        """(kind of flag, target, defense, number of responses) of finished answers, commonest first.

        What stands behind a colon in a flag is of one response only, and is left out.
        """
        if self._flags is not None:
            return self._flags
        found: list[tuple[str, str, str, int]] = []
        for path in self.compacted("answer"):
            found += self.rows(
                "with noted as (select key, unnest(json_extract_string(record, '$.flags[*]')) as noted"
                " from read_parquet(?) where contains(record, '\"flags\"')),"
                " flagged as (select distinct key, split_part(noted, ':', 1) as flag from noted),"
                " asked as (select distinct sample, target, defense from raw"
                " where sample in (select key from flagged))"
                " select flag, target, defense, count(*) as n from flagged join asked on sample = key"
                " group by all order by n desc, flag, target, defense",
                [literal(path)],
            )
        self._flags = found
        return found

    def reasons(self, said: str) -> list[tuple[str, int, int]]:
        """(judge, its samples, those with `said` in the finished verdict's record), of judges with any."""
        found: list[tuple[str, int, int]] = []
        for path in sorted((self.run / "records").glob("judge*.parquet")):
            found += self.rows(
                "with noted as (select distinct json_extract_string(record, '$.judge') as judge,"
                " json_extract_string(record, '$.sample') as sample from read_parquet(?)"
                " where contains(record, ?))"
                " select judge, count(*), count(*) filter ((judge, sample) in (from noted)) as n from results"
                " group by judge having n > 0 order by judge",
                [literal(path), said],
            )
        return found

    def records(
        self, stage: str, field: str, values: Collection[str], *, only: Path | None = None
    ) -> list[Row]:
        """Records of a stage whose `field` is one of `values`: finished stages and open shards alike.

        With `only`, a Parquet file, nothing else is read.
        """
        wanted = sorted(set(values))
        if not wanted:
            return []
        found: list[Row] = []
        if only is not None:
            check_table(only, ROWS_AGAIN)
        for path in [only] if only is not None else self.compacted(stage):
            if field == "key":  # compared as it is stored: most row groups are not opened
                keys = [bytes.fromhex(each) for each in wanted]
                given: list[Any]
                where = f"key in ({', '.join('?' * len(keys))})"
                given = [literal(path), *keys]
            else:
                where = "json_extract_string(record, '$.' || ?) in (select unnest(?::varchar[]))"
                given = [literal(path), field, wanted]
            texts = self.rows(f"select record from read_parquet(?) where {where}", given)  # noqa: S608
            found.extend(orjson.loads(text) for (text,) in texts)
        if only is not None:
            return found
        chosen = frozenset(wanted)
        folders = (path for path in (self.run / "records").glob(f"{stage}*") if path.is_dir())
        for shards in sorted(folders):
            found.extend(row for row in read_shards(shards) if row.get(field) in chosen)
        return found


def literal(path: Path) -> str:
    """A path that DuckDB does not take for a pattern."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


RELEASE_SHOWN = 16
"""Characters of a release's digest in `results.parquet`."""

CaseTableName = tuple[str, str]
"""Label of a benchmark and what its result rows say of the release."""


def entries(lock: Mapping[str, Any], section: str) -> list[Mapping[str, Any]]:
    """The mappings of a section of the lock; nothing if it has none."""
    found = lock.get(section, ())
    return [entry for entry in found if isinstance(entry, Mapping)] if isinstance(found, Sequence) else []


def judge_names(judges: Sequence[str], lock: Mapping[str, Any]) -> dict[str, str]:
    """A short name for each judge id: its label in the study, else its method.

    Of several with one name, the settings in which they differ are added; ids where that does not tell them
    apart.
    """
    labels = {entry.get("id"): str(entry.get("label") or "") for entry in entries(lock, "judges")}
    names = {judge: labels.get(judge) or method_of(judge) for judge in judges}
    used = Counter(names.values())
    found = {judge: name for judge, name in names.items() if used[name] == 1}
    for shared in (name for name, n in used.items() if n > 1):
        alike = [judge for judge, name in names.items() if name == shared]
        told = [f"{shared} ({', '.join(settings)})" if settings else shared for settings in _apart(alike)]
        distinct = len(set(told)) == len(alike) and not set(told) & set(found.values())
        found |= dict(zip(alike, told if distinct else alike, strict=True))
    return {judge: found[judge] for judge in judges}


def _apart(ids: Sequence[str]) -> list[list[str]]:
    """Of each judge id the settings that not all of them have, a weights' hash to eight digits."""
    settings = [[part for part in _SETTINGS_OF.split(judge.partition("(")[2]) if part] for judge in ids]
    common = set(settings[0]).intersection(*settings[1:])
    return [
        [_LONG_HASH.sub(r"\1", part) for part in each if part not in common][:MOST_SETTINGS]
        for each in settings
    ]


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


def recorded_cases(
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


def recorded_verdicts(
    results: Results, lock: Mapping[str, Any], samples: Sequence[str]
) -> dict[str, list[Verdict]]:
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
