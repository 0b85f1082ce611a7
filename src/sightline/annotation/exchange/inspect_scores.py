"""Inspect: final labels as files of scores for its scorer `precomputed_scores`, one file per cell of the run.

They fit the logs that `sightline run --eval-logs` writes: a record has the log's sample id and epoch. `value`
is 1 for `complied` and 0 else, so that Inspect's accuracy is the share of the labelled rows that complied
(unweighted); the outcome is the `answer`, the chance of the row stands in `metadata`. Rows without a label or
without consensus have no record: Inspect leaves them unscored.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sightline.digests import digest
from sightline.human_labels import LABELS, HumanLabel, read_labels
from sightline.records import Outcome
from sightline.report.results import Results
from sightline.run_folder import read_lock
from sightline.store import write_atomically


def write_scores(run: Path, out: Path) -> list[Path]:
    """Write the files into a folder, each named like the log of its cell.

    Raises:
        DamageError: if the round is not closed: there are no labels.
    """
    known = {each.sample: each for each in read_labels(run / LABELS).labels if each.decided}
    with Results(run) as results:
        rows = results.rows(
            "select distinct cell, case_id, epoch, sample from results"
            " where sample in (select unnest(?::varchar[])) order by cell, case_id, epoch, sample",
            [sorted(known)],
        )
    study = read_lock(run)["study"]
    cells: dict[str, list[dict[str, Any]]] = {}
    for cell, case, epoch, sample in rows:
        cells.setdefault(cell, []).append(_record(case, epoch, known[sample]))
    paths = []
    for cell, records in cells.items():
        name = re.sub(r"[^A-Za-z0-9.]+", "-", cell)[:120].strip("-")
        path = out / f"{name}_{digest(study, cell)[:8]}.json"
        write_atomically(path, json.dumps(records, ensure_ascii=False).encode())
        paths.append(path)
    return paths


def _record(case: str, epoch: int, label: HumanLabel) -> dict[str, Any]:
    return {
        "id": case,
        "epoch": epoch + 1,
        "value": int(label.outcome is Outcome.complied),
        "answer": label.outcome.value,
        "explanation": label.final,
        "metadata": {
            "item": label.item,
            "prob": label.prob,
            "stratum": label.stratum,
            "raters": label.raters,
        },
    }
