"""Corrected rates, simulated: how often a 95 % interval holds the truth: `python benchmarks/calibration.py`.

Worlds of 200 groups of 6 rows with a chance of their own each (intra-group correlation .3); people label 50
groups. Settings: the true share, the judge's sensitivity and specificity. Methods: PPI++ over groups
(`metrics.calibration.corrected_share`, which gives the labels alone where there are too few), the same taking
rows for independent (what groups are for), the labels alone, Rogan and Gladen. 2,000 worlds a setting, 200
with --quick: the standard error of a coverage is .005, or .016. Also CPU seconds of the closed form and of
2,000 bootstrap replicates over 10^5 rows in 10^4 groups.

Then designs of the gold sample: 200 labels of 2,000 rows, each a group of its own, drawn again and again from
one population: the standard error of the estimated share, simulated (2,000 samples, 200 with --quick; its own
error is 1.6 %, or 5 %) and by formula. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, NamedTuple

import numpy as np

from sightline.metrics.calibration import (
    Corrected,
    bootstrap,
    corrected_share,
    grouped,
    labels_only,
    ppi,
    rogan_gladen,
)
from sightline.metrics.sample_design import (
    allocate,
    by_card,
    draw,
    estimated_share,
    expected_spread,
)

DESIGNS = ((0.05, 0.85, 0.95), (0.30, 0.85, 0.95), (0.30, 0.60, 0.80))
POPULATION, SAMPLE = 2000, 200
SETTINGS = (
    (0.30, 0.85, 0.95),
    (0.30, 0.60, 0.80),
    (0.50, 0.85, 0.95),
    (0.10, 0.85, 0.95),
    (0.05, 0.85, 0.95),
    (0.05, 0.50, 0.90),
)
GROUPS, ROWS, LABELLED, CORRELATION = 200, 6, 50, 0.3


class World(NamedTuple):
    """Flags, groups and labels of one world; NaN where nobody labelled."""

    flags: Any
    groups: Any
    labels: Any


def world(rng: Any, share: float, se: float, sp: float, groups: int = GROUPS, rows: int = ROWS) -> World:
    """One world: the first groups are labelled whole, which is as good as any."""
    total = 1 / CORRELATION - 1
    chance = rng.beta(share * total, (1 - share) * total, groups)
    truth = rng.random((groups, rows)) < chance[:, None]
    flags = np.where(truth, rng.random(truth.shape) < se, rng.random(truth.shape) > sp)
    known = np.arange(groups)[:, None] < groups * LABELLED // GROUPS
    labels = np.where(known, truth, np.nan)
    return World(flags.ravel().astype(float), np.repeat(np.arange(groups), rows), labels.ravel())


def estimates(made: World) -> dict[str, Corrected]:
    """Every method on one world."""
    by_group = corrected_share(*made)
    return {
        "ppi over groups": by_group,
        "ppi over rows": ppi(grouped(made.flags, np.arange(len(made.flags)), made.labels)),
        "labels only": labels_only(made.labels, made.groups),
        "rogan-gladen": rogan_gladen(*made),
    }


def simulate(runs: int) -> list[tuple[str, tuple[float, float, float], float, float, float]]:
    """Method, setting, coverage and mean width where an answer was given, and the share of refusals.

    Of `ppi over groups`, the worlds with too few labels count as refused: the labels alone are given.
    """
    found = []
    for number, setting in enumerate(SETTINGS):
        rng = np.random.default_rng(number)
        held: dict[str, list[bool]] = {}
        widths: dict[str, list[float]] = {}
        for _ in range(runs):
            for name, each in estimates(world(rng, *setting)).items():
                given = each.point is not None and not each.note
                held.setdefault(name, [])
                widths.setdefault(name, [])
                if given:
                    held[name].append(each.low <= setting[0] <= each.high)
                    widths[name].append(each.high - each.low)
        for name, hits in held.items():
            coverage = float(np.mean(hits)) if hits else float("nan")
            width = float(np.mean(widths[name])) if hits else float("nan")
            found.append((name, setting, coverage, width, 1 - len(hits) / runs))
    return found


def designed(share: float, se: float, sp: float, samples: int) -> dict[str, tuple[float, float]]:
    """By design, the standard error as simulated and by formula (with the finite population's correction)."""
    positives = round(POPULATION * share)
    hits, alarms = round(positives * se), round((POPULATION - positives) * (1 - sp))
    truth = np.arange(POPULATION) < positives
    flags = np.concatenate([np.arange(positives) < hits, np.arange(POPULATION - positives) < alarms])
    spreads = expected_spread(by_card(share, se, sp))
    kinds = {"simple": ([True] * POPULATION, None), "proportional": (flags.tolist(), None)}
    kinds["neyman"] = (flags.tolist(), spreads)
    found = {}
    for name, (strata, spread) in kinds.items():
        values = []
        for seed in range(samples):
            drawn = draw(range(POPULATION), strata, SAMPLE, spreads=spread, cap=1.0, seed=seed, key=name)
            values.append(estimated_share(drawn, [float(truth[each.row]) for each in drawn], POPULATION))
        inside = [truth[np.asarray(strata) == each] for each in dict.fromkeys(strata)]
        sizes = [len(each) for each in inside]
        known = [1.0 if spread is None else spread[each] for each in dict.fromkeys(strata)]
        taken = allocate(sizes, known, SAMPLE, cap=1.0)
        parts = [
            (size / POPULATION) ** 2 * each.var(ddof=1) / n * (1 - n / size)
            for each, size, n in zip(inside, sizes, taken, strict=True)
        ]
        found[name] = (float(np.sqrt(np.mean((np.array(values) - truth.mean()) ** 2))), sum(parts) ** 0.5)
    return found


def cpu_seconds(work: Any) -> float:
    """CPU time of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    """Print the table and the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="200 worlds a setting")
    quick = parser.parse_args().quick
    runs = 200 if quick else 2000
    rows = simulate(runs)
    print(f"{'share, Se, Sp':18} {'method':16} {'coverage':>8} {'width':>6} {'refused':>8}")
    for name, (share, se, sp), coverage, width, refused in rows:
        print(f"{share:.2f}, {se:.2f}, {sp:.2f}   {name:16} {coverage:8.3f} {width:6.3f} {refused:8.3f}")
    kept = {}
    for method in ("ppi over groups", "rogan-gladen", "labels only", "ppi over rows"):
        given = [coverage for name, _, coverage, _, refused in rows if name == method and refused < 0.5]
        kept[method.replace(" ", "_").replace("-", "_")] = round(min(given), 4) if given else None
    large = world(np.random.default_rng(0), 0.3, 0.85, 0.95, 10_000, 10)
    found = grouped(*large)
    figures = {
        **{f"coverage_least_{name}": value for name, value in kept.items()},
        "runs": runs,
        "ppi_1e5_rows_cpu_s": round(cpu_seconds(lambda: corrected_share(*large)), 3),
        "bootstrap_2000_1e5_rows_cpu_s": round(cpu_seconds(lambda: bootstrap(found, draws=2000)), 3),
    }
    title = f"{SAMPLE} labels of {POPULATION} rows"
    print(f"\n{'share, Se, Sp':18} {'design':12} {'SE':>6} {'formula':>8}   {title}")
    for setting in DESIGNS:
        for name, (error, formula) in designed(*setting, 200 if quick else 2000).items():
            print(f"{', '.join(f'{each:.2f}' for each in setting):18} {name:12} {error:6.4f} {formula:8.4f}")
            figures[f"se_{name}_{setting[0]:.2f}_{setting[1]:.2f}"] = round(error, 4)
    rng = np.random.default_rng(0)
    groups, strata = rng.integers(0, 10_000, 100_000).tolist(), rng.integers(0, 6, 100_000).tolist()
    figures["draw_400_of_1e5_rows_cpu_s"] = round(
        cpu_seconds(lambda: draw(groups, strata, 400, seed=1, key="speed")), 3
    )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
