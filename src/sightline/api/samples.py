"""The samples of a run as a table: programs get all data, displays cover the texts."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sightline.errors import UsageError, nearest
from sightline.keys import judge_key
from sightline.plain import conversation_of
from sightline.records import Outcome
from sightline.report.results import current_case_tables, entries
from sightline.run_folder import RESULTS
from sightline.sealed import check_table, damage_reported
from sightline.shards import Row
from sightline.store import Blobs
from sightline.study import lock
from sightline.study.grid import chunks
from sightline.tables import RESULTS_AGAIN, Table, compacted_rows

COVERED = frozenset({"behavior", "prompt", "reply", "raw", "error", "verdicts"})
"""Columns with texts of requests, models and judges: displays show their lengths alone."""
SHOWN_ROWS = 10
_VERDICT = pa.struct(
    [("judge", pa.string()), ("outcome", pa.string()), ("score", pa.float64()), ("reason", pa.string())]
)
_TAKEN = (
    "outcome",
    "error",
    "refused",
    "success",
    "flops",
    "seconds",
    "calls_target",
    "tokens_in",
    "tokens_out",
    "crafted_on",
)
_LATER = ("latency", "cpu_seconds")
"""Columns that tables of earlier versions lack."""
_READ = (*_TAKEN, "cell", "sample", "artifact", "judge", "score", "response_hash")
_KEPT = ("target", "defense", "attack", "benchmark", "case_id", "expected", "category", "group", "epoch")
SCHEMA = pa.schema(
    [
        *((name, pa.int32() if name == "epoch" else pa.string()) for name in _KEPT),
        *((name, pa.string()) for name in ("outcome", "behavior", "prompt")),
        ("pictures", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("reply", "raw", "stop", "error")),
        ("refused", pa.bool_()),
        ("success", pa.bool_()),
        ("verdicts", pa.list_(_VERDICT)),
        *((name, pa.float64()) for name in ("linf", "l2", "flops", "seconds", *_LATER)),
        *((name, pa.int64()) for name in ("calls_target", "tokens_in", "tokens_out")),
        *((name, pa.string()) for name in ("crafted_on", "sample", "artifact")),
    ]
)


class Samples:
    """The answered samples of a run, one row each.

    Displays cover texts: they may be harmful. The data hold them: `samples.arrow`, `samples.to_pandas()`,
    `samples.to_polars()`, or `samples[0]["reply"]`; DuckDB, Polars and pandas also take the object itself.

    Columns: `target`, `defense`, `attack`, `benchmark`, `case_id`, `expected`, `category`, `group`, `epoch`;
    `outcome`, `refused`, `success` by the study's first judge; `behavior` (what the case asks), `prompt`
    (the last text that was sent), `pictures` (paths of picture files), `reply`, `raw` (before a defense),
    `stop`, `error`; `verdicts` of all judges; `linf`, `l2` (pixel levels 0..255); costs, of which `latency`
    and `cpu_seconds` are the reply's alone (null in runs of earlier versions); keys.
    """

    def __init__(self, arrow: pa.Table) -> None:
        self.arrow = arrow

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __getitem__(self, row: int) -> Sample:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return Sample(self.arrow.slice(row % len(self), 1).to_pylist()[0])

    def __iter__(self) -> Iterator[Sample]:
        return (Sample(row) for batch in self.arrow.to_batches(1024) for row in batch.to_pylist())

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.arrow.__arrow_c_stream__(requested_schema)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.arrow.column_names)

    def where(self, **values: Any) -> Samples:
        """The rows whose columns have these values: `samples.where(attack="figstep", outcome="complied")`.

        A list of values stands for any of them.

        Raises:
            UsageError: for an unknown column, or an outcome that is none.
        """
        kept = self.arrow
        for name, value in values.items():
            if name not in self.columns:
                raise UsageError(nearest(name, self.columns, "column"))
            values_of = value if isinstance(value, list) else [value]
            if name == "outcome":
                known = [each.value for each in Outcome]
                for each in values_of:
                    if each not in known:
                        raise UsageError(nearest(str(each), known, "outcome"))
            wanted = pa.array(values_of, kept.schema.field(name).type)
            kept = kept.filter(pc.is_in(kept.column(name), wanted))
        return Samples(kept)

    def to_pandas(self) -> Any:
        """The table as a pandas data frame. pandas is no dependency of Sightline: `pip install pandas`."""
        return self.arrow.to_pandas()

    def to_polars(self) -> Any:
        """The table as a Polars data frame. Polars is no dependency of Sightline: `pip install polars`."""
        try:
            polars = import_module("polars")
        except ModuleNotFoundError:
            cure = "to_polars needs the package polars: pip install polars; .arrow needs none"
            raise UsageError(cure) from None
        return polars.from_arrow(self.arrow)

    def __repr__(self) -> str:
        counts = Counter(self.arrow.column("outcome").to_pylist())
        told = ", ".join(f"{number} {outcome}" for outcome, number in counts.most_common())
        return f"<Samples: {len(self):,} rows ({told}); texts are in .arrow, .to_pandas() and [row]>"

    def _repr_html_(self) -> str:
        names = [name for name in self.columns if name not in ("sample", "artifact", "crafted_on", "group")]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        rows = (covered(row) for row in self.arrow.slice(0, SHOWN_ROWS).to_pylist())
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in names) + "</tr>" for row in rows
        )
        return f"<p>{html.escape(repr(self)[1:-1])}</p><table><tr>{head}</tr>{body}</table>"


class Sample(Mapping[str, Any]):
    """One row: `sample["reply"]` holds the text, the display only its length."""

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row

    def __getitem__(self, name: str) -> Any:
        if name not in self._row:
            raise KeyError(nearest(name, self._row, "column"))
        return self._row[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def __repr__(self) -> str:
        return "Sample(" + ", ".join(f"{name}={text}" for name, text in covered(self._row).items()) + ")"


def covered(row: Mapping[str, Any]) -> dict[str, str]:
    """A row for display: lengths in place of texts, file names in place of paths."""
    shown = {}
    for name, value in row.items():
        if name in COVERED and isinstance(value, str):
            shown[name] = f"[{len(value):,} characters]"
        elif name == "verdicts":
            shown[name] = ", ".join(str(verdict["outcome"]) for verdict in value)
        elif name == "pictures":
            shown[name] = ", ".join(Path(path).name[:8] for path in value)
        elif isinstance(value, float):
            shown[name] = f"{value:.4g}"
        else:
            shown[name] = "" if value is None else str(value)
    return shown


def samples_of(folder: Path) -> Samples:
    """The samples of a finished run.

    Raises:
        UsageError: if the run has no table of results yet, or records of it are lost.
    """
    locked = lock.read(folder)
    results = _result_rows(folder)
    behaviors = _behaviors(folder / "records", locked)
    identities = {entry.get("id"): str(entry.get("identity")) for entry in entries(locked, "judges")}
    blobs = Blobs(folder / "blobs")
    batches: list[pa.RecordBatch] = []
    tables = (Table(folder / "records" / stage) for stage in ("craft", "answer", "judge"))
    with closing(Records(*tables)) as records:
        for chunk in chunks(iter(results.values())):
            rows = records.joined(chunk, behaviors, identities, blobs)
            batches.append(pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
    return Samples(pa.Table.from_batches(batches, schema=SCHEMA))


def _result_rows(folder: Path) -> dict[tuple[str, bytes], list[Row]]:
    """Rows of the table of results by cell and sample: one for each judge, the study's first judge first."""
    path = folder / RESULTS
    if not path.is_file():
        raise UsageError(f"{path} is missing: finish the run with sl.run or `sightline run`")
    check_table(path, RESULTS_AGAIN)
    found: dict[tuple[str, bytes], list[Row]] = {}
    with damage_reported(path, RESULTS_AGAIN), pq.ParquetFile(path) as file:
        later = [name for name in _LATER if name in file.schema_arrow.names]
        for batch in file.iter_batches(columns=[*_KEPT, *_READ, *later]):
            for row in batch.to_pylist():
                found.setdefault((row["cell"], row["sample"]), []).append(row)
    return found


def _behaviors(records: Path, locked: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """What each case asks, by benchmark and id."""
    return {
        (benchmark, row["id"]): row["behavior"]
        for (benchmark, _), path in current_case_tables(records, locked).items()
        for row in compacted_rows(path.with_suffix(""))
    }


class Records:
    """The records of a run that its table of results names."""

    def __init__(self, crafted: Table, answered: Table, judged: Table) -> None:
        self._crafted, self._answered, self._judged = crafted, answered, judged

    def joined(
        self,
        samples: Sequence[list[Row]],
        behaviors: Mapping[tuple[str, str], str],
        identities: Mapping[Any, str],
        blobs: Blobs,
    ) -> list[Row]:
        """Rows of `SCHEMA`, one for each sample."""
        firsts = [rows[0] for rows in samples]
        artifacts = self._crafted.rows([row["artifact"].hex() for row in firsts])
        replies = self._answered.rows([row["sample"].hex() for row in firsts])
        found = []
        for rows, artifact, reply in zip(samples, artifacts, replies, strict=True):
            first = rows[0]
            if artifact is None or reply is None:
                raise UsageError(
                    f"records of case {first['case_id']} are lost: run the study again to finish it"
                )
            shown = conversation_of(artifact["conversation"])
            found.append(
                {
                    **{name: first[name] for name in (*_KEPT, *_TAKEN)},
                    **{name: first.get(name) for name in _LATER},
                    "behavior": behaviors.get((first["benchmark"], first["case_id"])),
                    "prompt": shown.last_user_text(),
                    "pictures": [str(blobs.path(image.sha256)) for image in shown.images if image.sha256],
                    "reply": reply["text"],
                    "raw": reply.get("raw"),
                    "stop": reply.get("stop", "stop"),
                    "verdicts": self._verdicts(rows, identities),
                    "linf": artifact.get("norms", {}).get("linf"),
                    "l2": artifact.get("norms", {}).get("l2"),
                    "sample": first["sample"].hex(),
                    "artifact": first["artifact"].hex(),
                }
            )
        return found

    def _verdicts(self, rows: Sequence[Row], identities: Mapping[Any, str]) -> list[Row]:
        """One for each judge; the reason stands in the verdict's record."""
        keys = [
            judge_key(
                row["sample"].hex(),
                row["response_hash"].hex(),
                row["judge"],
                str(identities.get(row["judge"])),
            )
            for row in rows
        ]
        records = self._judged.rows(keys)
        return [
            {
                "judge": row["judge"],
                "outcome": row["outcome"],
                "score": row["score"],
                "reason": row["error"] if record is None else record.get("reason"),
            }
            for row, record in zip(rows, records, strict=True)
        ]

    def close(self) -> None:
        """Release the files."""
        for table in (self._crafted, self._answered, self._judged):
            table.close()
