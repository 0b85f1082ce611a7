"""What a run of `studies/sensitivity.yaml` says: ranges of refusals over wordings and over system prompts.

    python benchmarks/sensitivity.py runs/sensitivity-quick [--csv docs/results/sensitivity_quick.csv]

Intervals are percentiles over redrawn topics. A range over more levels is larger by chance alone: with ten
wordings and three system prompts the two are compared with that in mind. Worst of k: the mean, over all
choices of k wordings, of the share of topics that at least one of them opens, without a system prompt.
"""

from __future__ import annotations

import csv
import sys
from itertools import combinations
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

WITHHELD = ("refused", "blocked_defense", "blocked_provider")
DRAWS = 2000
Floats = NDArray[np.float64]


def refused(run: Path) -> tuple[list[str], list[str], Floats]:
    """Wordings, system prompts and, by these and topics, the share of tries that are refused."""
    rows = duckdb.execute(
        'select attack, defense, "group", avg((outcome in ?)::int) from read_parquet(?)'
        " where expected = 'refuse' group by all",
        [list(WITHHELD), str(run / "results.parquet")],
    ).fetchall()
    wordings, systems, topics = (sorted({row[place] for row in rows}) for place in range(3))
    found = np.full((len(wordings), len(systems), len(topics)), np.nan)
    for wording, system, topic, share in rows:
        found[wordings.index(wording), systems.index(system), topics.index(topic)] = share
    return wordings, systems, found


def ranges(shares: Floats) -> tuple[float, float]:
    """Over wordings and over system prompts, of means over all else."""
    means = np.nanmean(shares, axis=2)
    return float(np.ptp(means.mean(axis=1))), float(np.ptp(means.mean(axis=0)))


def main(run: Path, table: Path | None) -> None:
    wordings, systems, shares = refused(run)
    rng = np.random.default_rng(0)
    topics = shares.shape[2]
    drawn = np.array([ranges(shares[:, :, rng.integers(0, topics, topics)]) for _ in range(DRAWS)])
    both = np.column_stack([drawn, drawn[:, 0] - drawn[:, 1]])
    points = [*ranges(shares), ranges(shares)[0] - ranges(shares)[1]]
    for name, point, column in zip(("wordings", "system prompts", "difference"), points, both.T, strict=True):
        low, high = 100 * np.quantile(column, (0.025, 0.975))
        print(f"range over {name}: {100 * point:.0f} points [{low:.0f}, {high:.0f}]")
    opened = 1 - shares[:, systems.index("none")]
    for k in (1, 3, 5, len(wordings)):
        worst = [opened[list(some)].max(axis=0).mean() for some in combinations(range(len(wordings)), k)]
        print(f"worst of {k} wordings: {100 * np.mean(worst):.0f} % of topics")
    if table is not None:
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["wording", "system_prompt", "refused", "topics"])
            for i, wording in enumerate(wordings):
                for j, system in enumerate(systems):
                    writer.writerow([wording, system, round(float(np.nanmean(shares[i, j])), 4), topics])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[3]) if sys.argv[2:3] == ["--csv"] else None)
