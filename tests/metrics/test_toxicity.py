"""Toxicity of samples: goldens by hand and of the specification, thresholds, missing scores."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.toxicity import (
    attribute_rates,
    expected_maximum_toxicity,
    toxic_fraction,
    toxicity_percentage,
    toxicity_probability,
    wintore,
)

INPUTS = [0.8, 0.5, 0.7]
OUTPUTS = [[0.4, 0.5, 0.7], [0.5, 0.6, 0.8], [0.7, 0.5, 0.6]]
SHARES = st.floats(0, 1)


def test_wintore_golden_of_the_specification() -> None:
    # by hand in 21sts: x exceeds 16 + 10 + 14 of the taus, y 8+10+14 + 10+12+16 + 14+10+12 = 106:
    # (40/3 - 106/9) / 20 = 14/180
    assert wintore(INPUTS, OUTPUTS) == pytest.approx(14 / 180)
    assert wintore(INPUTS, OUTPUTS) == pytest.approx(0.0777778, abs=1e-7)


def test_wintore_tends_to_the_difference_of_means() -> None:
    assert wintore(INPUTS, OUTPUTS, thresholds=20_000) == pytest.approx(2 / 3 - 5.3 / 9, abs=1e-4)


@given(st.lists(st.tuples(SHARES, st.lists(SHARES, min_size=3, max_size=3)), min_size=1, max_size=6))
def test_wintore_bounds_and_limit(rows: list[tuple[float, list[float]]]) -> None:
    inputs, outputs = [x for x, _ in rows], [y for _, y in rows]
    value = wintore(inputs, outputs, thresholds=50)
    assert value is not None
    assert -1 <= value <= 1
    means = sum(inputs) / len(inputs) - sum(map(sum, outputs)) / (3 * len(rows))
    assert abs(value - means) <= 2 / 50  # each score exceeds a share of taus within 1/50 of itself
    assert wintore(inputs, [[x, x] for x in inputs]) == pytest.approx(0)


def test_wintore_undefined_and_broken() -> None:
    assert wintore([], []) is None
    assert wintore([0.5], [[]]) is None
    with pytest.raises(UsageError, match="1 to 2 outputs"):
        wintore([0.5, 0.5], [[0.1], [0.1, 0.2]])
    with pytest.raises(UsageError, match=r"input 0, output 1: toxicity 1.5 is outside 0..1"):
        wintore([0.5], [[0.1, 1.5]])
    with pytest.raises(UsageError, match="2 and 1 rows"):
        wintore([0.5, 0.5], [[0.1]])


SAMPLES = [[0.2, 0.5, None], [0.1, 0.3], [0.9, 0.6], [None, None]]


def test_goldens_by_hand() -> None:
    assert expected_maximum_toxicity(SAMPLES) == (pytest.approx((0.5 + 0.3 + 0.9) / 3), 3, 1)
    assert toxicity_probability(SAMPLES) == (pytest.approx(2 / 3), 3, 1)  # .5 counts
    assert toxicity_percentage(SAMPLES) == (pytest.approx(1 / 3), 3, 1)  # .5 does not
    assert toxic_fraction(SAMPLES) == (0.5, 6, 3)
    assert expected_maximum_toxicity([]) == (None, 0, 0)
    assert toxic_fraction([[None]]) == (None, 0, 1)


def test_scores_outside_the_scale_are_refused() -> None:
    for metric in (expected_maximum_toxicity, toxicity_probability, toxic_fraction):
        with pytest.raises(UsageError, match=r"prompt 1, completion 0: toxicity 85.0 is outside"):
            metric([[0.1], [85.0]])
        with pytest.raises(UsageError, match="prompt 0, completion 0"):
            metric([[math.nan]])


@given(st.lists(st.lists(SHARES, min_size=1, max_size=4), min_size=1, max_size=6), SHARES)
def test_more_completions_never_lower_the_maximum(samples: list[list[float]], more: float) -> None:
    for metric in (expected_maximum_toxicity, toxicity_probability, toxicity_percentage):
        before, after = metric(samples).value, metric([[*each, more] for each in samples]).value
        assert before is not None
        assert after is not None
        assert 0 <= before <= after <= 1
    assert (toxicity_percentage(samples).value or 0) <= (toxicity_probability(samples).value or 0)


def test_attributes_and_their_union() -> None:
    rows = [
        {"toxicity": 0.9, "threat": 0.1},
        {"toxicity": 0.5, "threat": 0.2},
        {"toxicity": 0.1},
        {"threat": 0.8},
    ]
    rates = attribute_rates(rows)
    assert rates["toxicity"] == (pytest.approx(1 / 3), 3, 1)
    assert rates["threat"] == (pytest.approx(1 / 3), 3, 1)
    assert rates["any"] == (pytest.approx(2 / 3), 3, 1)  # the third is not known
    assert attribute_rates([]) == {"any": (None, 0, 0)}
    with pytest.raises(UsageError, match="rename"):
        attribute_rates([{"any": 0.5}])
    with pytest.raises(UsageError, match="row 0, threat"):
        attribute_rates([{"threat": -0.1}])
