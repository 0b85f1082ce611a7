"""Cards from a gold sample: weighted by the draw they give the judge's figures on the whole run."""

from __future__ import annotations

import numpy as np
import pytest

from sightline.cases import Expected
from sightline.human_labels import HumanLabel
from sightline.judge_check.people import Judged, _stratum, undecided
from sightline.metrics.agreement import share
from sightline.metrics.weighted import weighted_share
from sightline.records import Outcome

UNSAFE, SAFE = Outcome.complied, Outcome.refused


def row(number: int, truth: Outcome, verdict: Outcome, prob: float, final: str = "agreed") -> Judged:
    label = HumanLabel(
        sample=f"{number:032x}", item=str(number), outcome=truth, prob=prob, stratum="s", raters=2,
        final=final,  # type: ignore[arg-type]
    )  # fmt: skip
    return Judged(label, "j", verdict, "t", "a", f"g{number}", Expected.refuse)


def test_a_sample_by_verdict_gives_the_sensitivity_of_the_population() -> None:
    # a population of 1,000: 100 unsafe, of which the judge finds 60, and 90 false alarms
    counts = {(UNSAFE, UNSAFE): 60, (UNSAFE, SAFE): 40, (SAFE, UNSAFE): 90, (SAFE, SAFE): 810}
    found = {SAFE: [], UNSAFE: []}
    for trial in range(400):
        rng = np.random.default_rng(trial)
        rows = []
        for verdict, prob in ((UNSAFE, 0.8), (SAFE, 0.2)):
            number = round(prob * sum(n for (_, said), n in counts.items() if said is verdict))
            pool = [truth for (truth, said), n in counts.items() if said is verdict for _ in range(n)]
            rows += [
                row(1000 * (verdict is UNSAFE) + at, pool[at], verdict, prob)
                for at in rng.choice(len(pool), number, replace=False)
            ]
        if trial < 40:
            each = _stratum("", "", rows, "unsafe")
            found[UNSAFE].append(each.sensitivity.point)
            found[SAFE].append(each.specificity.point)
        else:
            break
    assert np.mean(found[UNSAFE]) == pytest.approx(0.6, abs=0.03)  # unweighted it would be 0.86
    assert np.mean(found[SAFE]) == pytest.approx(0.9, abs=0.01)


def test_weighted_figures_by_hand() -> None:
    rows = [
        row(1, UNSAFE, UNSAFE, 1.0),
        row(2, UNSAFE, SAFE, 0.25),
        row(3, SAFE, SAFE, 0.25),
        row(4, SAFE, UNSAFE, 1.0),
        row(5, SAFE, Outcome.unparsed, 0.5),
    ]
    each = _stratum("", "", rows, "unsafe")
    assert (each.n, each.answers, each.groups, each.failed) == (4, 5, 4, 0)
    assert each.sensitivity.point == pytest.approx(1 / 5)
    assert (each.sensitivity.k, each.sensitivity.n) == (1, 2)
    assert each.specificity.point == pytest.approx(4 / 5)
    assert each.precision.point == pytest.approx(1 / 2)
    assert each.prevalence.point == pytest.approx(5 / 10)
    assert each.unparsed.point == pytest.approx(2 / 12)
    assert each.bias.point == pytest.approx((1 - 4) / 10)


def test_with_one_chance_for_all_it_is_the_plain_share() -> None:
    rng = np.random.default_rng(3)
    groups, hits, of = rng.integers(0, 20, 90), rng.random(90) < 0.4, rng.random(90) < 0.8
    found = weighted_share(groups, hits, of, np.full(90, 4.0))
    plain = share(groups, hits & of, of)
    assert (found.k, found.n, found.groups) == (plain.k, plain.n, plain.groups)
    assert (found.point, found.low, found.high) == pytest.approx((plain.point, plain.low, plain.high))


def test_the_interval_of_a_weighted_share_covers() -> None:
    covered = 0
    for trial in range(300):
        rng = np.random.default_rng(trial)
        truth = np.repeat(rng.random(150) < 0.5, 4) ^ (rng.random(600) < 0.3)  # rows of a group are alike
        flag = truth ^ (rng.random(600) < 0.2)
        chance = np.where(flag, 0.6, 0.2)
        drawn = rng.random(600) < chance
        groups = np.repeat(np.arange(150), 4)[drawn]
        found = weighted_share(groups, truth[drawn], np.ones(drawn.sum(), dtype=bool), 1 / chance[drawn])
        covered += found.low <= 0.5 <= found.high
    assert 0.92 <= covered / 300 <= 0.99


def test_no_consensus_counts_as_safe_half_and_unsafe() -> None:
    rows = [
        row(1, UNSAFE, SAFE, 0.5),
        row(2, SAFE, SAFE, 0.5),
        row(3, Outcome.unparsed, SAFE, 0.25, "no_consensus"),
    ]
    found = undecided(rows)
    assert (found.rows, found.open) == (3, 1)
    assert (found.all_safe, found.half, found.all_unsafe) == (2 / 8, 4 / 8, 6 / 8)
    assert undecided([]).half is None
