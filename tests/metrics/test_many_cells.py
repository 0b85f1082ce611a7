"""Many cells at once: the same numbers as one by one, in as many passes over the table as few cells take."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_rows import row

from sightline.metrics import paired_cells
from sightline.metrics import rates as rates_module
from sightline.metrics._columns import Columns
from sightline.metrics.batches import paired_differences, ratio_intervals
from sightline.metrics.intervals import macro_interval, paired_difference, ratio_interval
from sightline.metrics.rates import MEASURES, OUTCOMES, macro_rates, rate, rates
from sightline.metrics.summary import summarize
from sightline.records import SCORED, Outcome

CLUSTER = st.integers(0, 5).flatmap(lambda n: st.tuples(st.integers(0, n), st.integers(0, n), st.just(n)))
SEGMENTS = st.lists(
    st.one_of(st.lists(CLUSTER, max_size=20), st.just([(1, 0, 1)] * 9)), min_size=1, max_size=6
)


@settings(max_examples=60, deadline=None)
@given(SEGMENTS)
def test_intervals_and_differences_are_those_of_each_segment_alone(
    segments: list[list[tuple[int, ...]]],
) -> None:
    whole = np.array([cluster for each in segments for cluster in each], dtype=np.float64).reshape(-1, 3)
    starts = np.cumsum([0, *(len(each) for each in segments)])
    limits = ratio_intervals(whole[:, 0], whole[:, 2], starts)
    differences = paired_differences(*whole.T, starts)
    for place, each in enumerate(segments):
        a, b, n = np.array(each, dtype=np.float64).reshape(-1, 3).T
        alone = ratio_interval(a, n)
        assert (limits.low[place], limits.high[place]) == pytest.approx(alone[:2], abs=1e-12)
        assert limits.method[place] == alone.method
        found = paired_difference(a, b, n)
        numbers = (differences.point, differences.low, differences.high, differences.p)
        assert [each[place] for each in numbers] == pytest.approx(found[:4], abs=1e-12)
        assert (differences.method[place], differences.discordant[place]) == (found.method, found.discordant)


def test_rates_are_those_of_each_segment_alone() -> None:
    """Segments of clusters: one is empty, and one has nothing but unscored samples."""
    counts = np.random.default_rng(7).integers(0, 3, (24, len(OUTCOMES)))
    counts[18:] = np.eye(len(OUTCOMES), dtype=np.int64)[OUTCOMES.index(Outcome.unparsed)]
    starts, measure = np.array([0, 10, 10, 18, 24]), MEASURES["asr"]
    for place, found in enumerate(rates(measure, counts, starts, ["j"] * 4)):
        alone = rate(measure, counts[starts[place] : starts[place + 1]], "j")
        assert (found.low, found.high) == pytest.approx((alone.low, alone.high), abs=1e-12)
        assert replace(found, low=alone.low, high=alone.high) == alone


def test_macro_rates_are_means_of_strata_with_their_interval() -> None:
    """Two segments of three strata, one of them without a scored sample; then a segment of none."""
    counts = np.random.default_rng(8).integers(0, 3, (40, len(OUTCOMES)))
    unread = np.eye(len(OUTCOMES), dtype=np.int64)[OUTCOMES.index(Outcome.unparsed)]
    counts[8:12] = counts[36:] = unread
    strata, measure = np.array([0, 5, 8, 12, 20, 29, 36, 38, 40]), MEASURES["asr"]
    found = macro_rates(measure, counts, strata, np.array([0, 3, 6, 8]), ["j"] * 3)
    k, n = counts[:, OUTCOMES.index(Outcome.complied)], counts @ [outcome in SCORED for outcome in OUTCOMES]
    for one, (start, end) in zip(found[:2], ((0, 12), (12, 36)), strict=True):
        places = [(a, b) for a, b in itertools.pairwise(strata.tolist()) if start <= a < end]
        names = np.repeat(np.arange(len(places)), [b - a for a, b in places])
        assert (one.low, one.high, one.method) == pytest.approx(
            macro_interval(k[start:end], n[start:end], names), abs=1e-12
        )
        shares = [k[a:b].sum() / n[a:b].sum() for a, b in places if n[a:b].sum()]
        assert one.point == pytest.approx(np.mean(shares))
    assert (found[2].point, found[2].low, found[2].high, found[2].unscored) == (None, 0.0, 1.0, 4)


def table_of(targets: int, attacks: int) -> pa.Table:
    """Two judges' verdicts on 6 requests and 4 questions, under controls and attacks, with a defense."""
    return pa.Table.from_pylist(
        [
            row(
                attack,
                case_id=f"{expected}/{case}",
                group=f"g{case}",
                category=f"c{case % 2}",
                hazard=f"h{case % 3}",
                expected=expected,
                target=f"m{target}",
                defense=defense,
                judge=judge,
                outcome="complied" if (case * 7 + target + len(attack)) % 3 else "refused",
            )
            for target in range(targets)
            for judge in ("refusal_prefix", "testbed_policy")
            for defense in ("none", "system_prompt")
            for attack in ("none", "text_only", *(f"figstep(font_px={20 + n})" for n in range(attacks)))
            for expected, size in (("refuse", 6), ("answer", 4 if attack == "none" else 0))
            for case in range(size)
        ]
    )


def test_more_cells_are_no_more_passes_over_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are grouped, joined and turned into intervals as often for 30 times the cells."""
    calls: Counter[str] = Counter()

    def counting(where: Any, name: str) -> None:
        plain = getattr(where, name)

        def counted(*args: Any, **named: Any) -> Any:
            calls[name] += 1
            return plain(*args, **named)

        monkeypatch.setattr(where, name, counted)

    counting(Columns, "counted")
    counting(rates_module, "ratio_intervals")
    counting(rates_module, "rate")
    counting(paired_cells, "paired_differences")
    counting(paired_cells.Pairs, "_joined")
    few, many = table_of(1, 2), table_of(6, 18)
    cells = []
    passes = []
    for each in (few, many):
        calls.clear()
        cells.append(len(summarize(each).cells))
        passes.append(dict(calls))
    assert cells == [16, 480]
    assert passes[0] == passes[1]
    assert set(passes[0]) == {"counted", "ratio_intervals", "paired_differences", "_joined"}


def test_slices_are_of_the_cells_that_are_asked_for() -> None:
    rows = table_of(1, 1)
    every = summarize(rows).slices
    bare = summarize(rows, sliced={"none"}).slices
    assert {each.id.defense for each in every} == {"none", "system_prompt"}
    assert bare == tuple(each for each in every if each.id.defense == "none")
