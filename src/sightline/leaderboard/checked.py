"""How far a run can be checked from its folder alone, without asking any model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sightline.errors import SightlineError
from sightline.keys import judge_key, response_hash
from sightline.report.results import entries
from sightline.run_folder import COMPLETE, RESULTS, refuse_other_run
from sightline.sealed import read_note
from sightline.store import Blobs
from sightline.study.progress import Silent
from sightline.study.results import results_digest
from sightline.study.verify.claims import read_claims
from sightline.study.verify.integrity import inspect
from sightline.tables import RESULTS_AGAIN, Table, open_tables

_ROWS = 20_000
_COLUMNS = ("sample", "response_hash", "judge", "outcome", "case_id")


def faults(folder: Path, lock: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a run's files, as sentences; nothing if all of it holds together.

    The table of results is the one that the run finished with; every row's outcome is that of a sealed
    verdict on a sealed answer; every picture is the file whose hash its artifact names. Nothing here says
    that the answers are those of the model: for that a study has to be run again.
    """
    try:
        refuse_other_run(folder)
        if read_note(folder / COMPLETE, RESULTS_AGAIN).get("digest") != results_digest(folder / RESULTS):
            yield f"{RESULTS} does not have the digest that the run finished with"
        yield from _verdicts(folder, lock)
        claims = read_claims(folder)
        with open_tables(folder / "records", "craft") as (crafted,):
            found = inspect(claims, crafted, Blobs(folder / "blobs"), Silent())
        yield from (f"{each.file}: {each.what}" for each in found.findings)
    except SightlineError as wrong:
        yield str(wrong)


def _verdicts(folder: Path, lock: Mapping[str, Any]) -> Iterator[str]:
    identities = {str(entry.get("id")): str(entry.get("identity")) for entry in entries(lock, "judges")}
    with (
        pq.ParquetFile(folder / RESULTS) as table,
        open_tables(folder / "records", "answer", "judge") as (answered, judged),
    ):
        for batch in table.iter_batches(batch_size=_ROWS, columns=list(_COLUMNS)):
            yield from _of_batch(batch.to_pylist(), identities, answered, judged)


def _of_batch(
    rows: list[dict[str, Any]], identities: Mapping[str, str], answered: Table, judged: Table
) -> Iterator[str]:
    samples = [row["sample"].hex() for row in rows]
    keys = [
        judge_key(sample, row["response_hash"].hex(), row["judge"], identities.get(row["judge"], ""))
        for sample, row in zip(samples, rows, strict=True)
    ]
    for row, answer, verdict in zip(rows, answered.rows(samples), judged.rows(keys), strict=True):
        where = f"case {row['case_id']}, judge {row['judge']}"
        if answer is None:
            yield f"{where}: the answer is not in the records"
        elif response_hash(answer) != row["response_hash"].hex():
            yield f"{where}: the recorded answer is another one"
        elif verdict is None:
            yield f"{where}: the verdict is not in the records"
        elif verdict["outcome"] != row["outcome"]:
            yield f"{where}: recorded as {verdict['outcome']}, tabulated as {row['outcome']}"


def seconds(folder: Path) -> tuple[float, ...]:
    """How long each row took: equal in two folders only if one is a copy of the other."""
    column = pq.read_table(folder / RESULTS, columns=["seconds"]).column("seconds").to_pylist()
    return tuple(0.0 if each is None else float(each) for each in column)
