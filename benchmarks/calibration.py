"""Corrected rates, simulated: how often a 95 % interval holds the truth: `python benchmarks/calibration.py`.

Worlds of 200 groups of 6 rows with a chance of their own each (intra-group correlation .3); people label 50
groups. Settings: the true share, the judge's sensitivity and specificity. Methods: PPI++ over groups
(`metrics.calibration.corrected_share`, which gives the labels alone where there are too few), the same taking
rows for independent (what groups are for), the labels alone, Rogan and Gladen; and what a report prints: the
raw rate (of the judge's own share), the rate corrected by labels of the cell (`part_labelled.corrected_cell`)
where 50 groups are labelled whole, two rows of each of 100 groups, or rows by chances that depend on the
verdict, and the rate corrected by a card of as many labels of other rows (`transported`). Where labels are
too few, a report gives the labels alone: `cell` covers with them, `too few` says in how many worlds it had
to. A method that answers in less than half of the worlds has "too few" in place of a coverage. 2,000 worlds
a setting, 200 with --quick: the standard error of a coverage is .005, or .016. Also CPU seconds of the
closed form and of 2,000 bootstrap replicates over 10^5 rows in 10^4 groups.

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

from sightline.metrics.agreement import share as share_of
from sightline.metrics.calibration import (
    Corrected,
    bootstrap,
    corrected_share,
    grouped,
    labels_only,
    ppi,
    rogan_gladen,
)
from sightline.metrics.intervals import cluster_sums, ratio_interval
from sightline.metrics.part_labelled import corrected_cell
from sightline.metrics.rates import MEASURES, outcome_counts, rate
from sightline.metrics.sample_design import (
    allocate,
    by_card,
    draw,
    estimated_share,
    expected_spread,
)
from sightline.metrics.transported import transported
from sightline.records import Outcome

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


BY_VERDICT = (0.1, 0.4)
"""The chances with which rows that the judge calls safe, and unsafe, are drawn for labelling."""


class World(NamedTuple):
    """Flags, groups and labels of one world; NaN where nobody labelled."""

    flags: Any
    groups: Any
    labels: Any


class Reported(NamedTuple):
    """What a report prints: an interval, what it is of, and whether labels were too few to use the judge."""

    low: float
    high: float
    truth: float
    too_few: bool


def world(rng: Any, share: float, se: float, sp: float, groups: int = GROUPS, rows: int = ROWS) -> World:
    """One world: the first groups are labelled whole, which is as good as any."""
    total = 1 / CORRELATION - 1
    chance = rng.beta(share * total, (1 - share) * total, groups)
    truth = rng.random((groups, rows)) < chance[:, None]
    flags = np.where(truth, rng.random(truth.shape) < se, rng.random(truth.shape) > sp)
    known = np.arange(groups)[:, None] < groups * LABELLED // GROUPS
    labels = np.where(known, truth, np.nan)
    return World(flags.ravel().astype(float), np.repeat(np.arange(groups), rows), labels.ravel())


def reported(rng: Any, share: float, se: float, sp: float) -> dict[str, Reported | None]:
    """The raw and the corrected rates of one world; None where a correction is refused."""
    made = world(rng, share, se, sp)
    total = 1 / CORRELATION - 1
    chance = rng.beta(share * total, (1 - share) * total, GROUPS)
    truth = (rng.random((GROUPS, ROWS)) < chance[:, None]).astype(float)
    flags = np.where(truth > 0, rng.random(truth.shape) < se, rng.random(truth.shape) > sp).astype(float)
    number = np.arange(GROUPS)[:, None]
    chances = np.take(BY_VERDICT, flags.astype(int))
    drawn = {
        "cell, whole groups": (number < LABELLED, np.ones_like(flags)),
        "cell, two of 100": ((number < 100) & (np.arange(ROWS) < 2), np.ones_like(flags)),
        "cell, by verdict": (rng.random(flags.shape) < chances, chances),
    }
    k, n = cluster_sums(made.groups, flags.ravel(), np.ones(flags.size))
    raw = ratio_interval(k, n)
    found: dict[str, Reported | None] = {
        "raw": Reported(raw.low, raw.high, share * se + (1 - share) * (1 - sp), False)
    }
    for name, (chosen, odds) in drawn.items():
        each = corrected_cell(
            flags.ravel(), made.groups, np.where(chosen, truth, np.nan).ravel(), odds.ravel()
        )
        found[name] = Reported(each.low, each.high, share, "too few" in each.note)
    known = np.isfinite(made.labels)  # a card: labels of another world
    codes, said, true = (each[known] for each in (made.groups, made.flags > 0, made.labels > 0))
    card = share_of(codes, said & true, true), share_of(codes, ~said & ~true, ~true)
    outcomes = [Outcome.complied if flag else Outcome.refused for flag in flags.ravel()]
    each = transported(rate(MEASURES["asr"], outcome_counts(made.groups, outcomes), "j"), *card)
    found["card elsewhere"] = None if each.point is None else Reported(each.low, each.high, share, False)
    return found


def simulate_reported(runs: int) -> list[tuple[str, tuple[float, float, float], float, float, float]]:
    """As `simulate`, of what reports print; refused are too few labels, and corrections without meaning."""
    rows = []
    for number, setting in enumerate(SETTINGS):
        rng = np.random.default_rng(100 + number)
        worlds = [reported(rng, *setting) for _ in range(runs)]
        for name in worlds[0]:
            given = [each for found in worlds if (each := found[name]) is not None]
            held = [each.low <= each.truth <= each.high for each in given]
            widths = [each.high - each.low for each in given]
            lost = runs - len(given) + sum(each.too_few for each in given)
            coverage, width = (float(np.mean(part)) if part else float("nan") for part in (held, widths))
            rows.append((name, setting, coverage, width, lost / runs))
    return rows


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
    rows = [*simulate(runs), *simulate_reported(runs)]
    print(f"{'share, Se, Sp':18} {'method':18} {'coverage':>8} {'width':>6} {'too few':>8}")
    for name, (share, se, sp), coverage, width, refused in rows:
        held = (
            f"{coverage:8.3f} {width:6.3f}" if refused < 0.5 or name.startswith("cell") else " too few      -"
        )
        print(f"{share:.2f}, {se:.2f}, {sp:.2f}   {name:18} {held} {refused:8.3f}")
    kept = {}
    for method in dict.fromkeys(name for name, *_ in rows):
        given = [coverage for name, _, coverage, _, refused in rows if name == method and refused < 0.5]
        name = method.replace(", ", "_").replace(" ", "_").replace("-", "_")
        kept[name] = (round(min(given), 4), round(max(given), 4)) if given else None
    large = world(np.random.default_rng(0), 0.3, 0.85, 0.95, 10_000, 10)
    found = grouped(*large)
    figures = {
        **{
            f"coverage_{end}_{name}": None if value is None else value[place]
            for name, value in kept.items()
            for place, end in enumerate(("least", "most"))
        },
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
