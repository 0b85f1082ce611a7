"""Files for `.eval_results/` of a model repository on the Hugging Face Hub.

Format: huggingface.co/docs/hub/eval-results. A file has one value of one dataset and task; variants of a
setup are files of their own that say in `notes` how they differ, so every attack and defense is a file. Only
what the user names a dataset of the Hub for is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from sightline.errors import UsageError
from sightline.exports.rates import Line, Rates
from sightline.metrics.cells import PLAIN

SUCCESS = ("asr", "attacker_goal")
"""Measures of the success of attacks."""
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")
_DATASET = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")


def files(rates: Rates, datasets: Mapping[str, str], measure: str = "") -> tuple[dict[str, bytes], list[str]]:
    """Contents of the files by name, and what was left out.

    Args:
        datasets: `ORG/NAME` or `ORG/NAME:TASK` by benchmark; the task is `default` if not named.
        measure: the one that the task is of; '' for the success of attacks.

    Raises:
        UsageError: for no dataset, a dataset that is no name of the Hub, or an unknown benchmark.
    """
    lines = rates.by_primary()
    benchmarks = list(dict.fromkeys(line.cell.id.benchmark for line in lines))
    example = f"--dataset {benchmarks[0]}=ORG/NAME"
    if not datasets:
        raise UsageError(
            f"these files belong to a dataset of the Hub: name the one of a benchmark, {example}"
        )
    for benchmark, dataset in datasets.items():
        if benchmark not in benchmarks:
            raise UsageError(f"--dataset {benchmark}: this run has {', '.join(benchmarks)}")
        if not _DATASET.fullmatch(dataset.partition(":")[0]):
            raise UsageError(f"--dataset {benchmark}={dataset}: write {example}, or ORG/NAME:TASK")
    found = {}
    for line in lines:
        if line.cell.id.benchmark in datasets and line.measure == (measure or line.cell.id.success):
            name = _name(line)
            if name in found:
                raise UsageError(f"two results would both be {name}: give one of them another label")
            found[name] = _file(rates, line, datasets[line.cell.id.benchmark])
    left = [f"benchmark {name}: no --dataset names it" for name in benchmarks if name not in datasets]
    return found, left


def _name(line: Line) -> str:
    cell = line.cell.id
    system = cell.target if cell.defense == PLAIN else f"{cell.target} behind {cell.defense}"
    parts = (cell.benchmark, cell.shown, line.measure)
    return f"{_fit(system)}/.eval_results/{'-'.join(map(_fit, parts))}.yaml"


def _fit(text: str) -> str:
    return _UNFIT.sub("-", text).strip("-.") or "unnamed"


def _file(rates: Rates, line: Line, dataset: str) -> bytes:
    cell, rate = line.cell.id, line.rate
    assert rate.point is not None
    name, _, task = dataset.partition(":")
    lost = f", {rate.unscored} unscored" if rate.unscored else ""
    entry: dict[str, Any] = {
        "dataset": {"id": name, "task_id": task or "default"},
        "value": round(100 * rate.point, 2),
        "date": rates.finished.date().isoformat(),
        "notes": (
            f"{line.measure} in percent; attack {cell.shown}; defense {cell.defense}; judge "
            f"{rates.judges[cell.judge]}; 95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f}, "
            f"n = {rate.n}{lost}"
        ),
    }
    return yaml.safe_dump([entry], sort_keys=False, allow_unicode=True, width=110).encode()
