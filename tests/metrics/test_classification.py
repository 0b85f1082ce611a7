"""Classification scores: goldens by hand and by scikit-learn 1.9, bounds, invariances, undefined cases.

Values marked (sklearn) were computed outside the repository with scikit-learn's function of the same name.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.classification import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    class_scores,
    macro_f1,
)

TRUTHS = ["glim", "glim", "glim", "frell", "frell", "tor"]
ANSWERS = ["glim", "frell", "glim", "frell", "tor", "tor"]
NAMES = st.sampled_from(["glim", "frell", "tor"])
ITEMS = st.lists(st.tuples(NAMES, NAMES | st.none()), min_size=1, max_size=20)
SCORED = st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=25)


def columns(items: list[tuple[str, str | None]]) -> tuple[list[str], list[str | None]]:
    return [truth for truth, _ in items], [answer for _, answer in items]


def test_goldens_by_hand() -> None:
    assert accuracy(TRUTHS, ANSWERS) == pytest.approx(4 / 6)
    assert balanced_accuracy(TRUTHS, ANSWERS) == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    # F1: glim 2*2/(3+2), frell 2*1/(2+2), tor 2*1/(1+2)
    assert macro_f1(TRUTHS, ANSWERS).value == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert macro_f1(TRUTHS, ANSWERS).without_items == ()


def test_macro_f1_of_all_ones_counts_the_class_never_answered_as_zero() -> None:
    assert macro_f1(["1", "0", "1"], ["1", "1", "1"]).value == pytest.approx(0.4)  # specification 2.7


def test_class_without_items_counts_zero_and_is_named() -> None:
    found = macro_f1(["glim", "glim"], ["glim", "frell"])
    assert found.value == pytest.approx((2 / 3 + 0) / 2)
    assert found.without_items == ("frell",)
    given_classes = macro_f1(["glim"], ["glim"], classes=["glim", "tor"])
    assert given_classes.value == pytest.approx(0.5)
    assert given_classes.without_items == ("tor",)


def test_unparsed_is_wrong_and_no_class() -> None:
    assert accuracy(["glim", "frell"], ["glim", None]) == 0.5
    assert [score.name for score in class_scores(["glim", "frell"], ["glim", None])] == ["frell", "glim"]
    assert balanced_accuracy(["glim", "frell"], ["glim", None]) == 0.5


def test_auroc_goldens() -> None:
    assert auroc([0.1, 0.4, 0.35, 0.8], [False, False, True, True]) == 0.75  # 3 of 4 pairs
    assert auroc([0.5, 0.5, 0.2], [True, False, False]) == 0.75  # one win, one tie
    # (sklearn): ranks with ties among five positives and five negatives
    scores = [0.9, 0.8, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.1]
    labels = [True, True, False, True, False, True, False, False, True, False]
    assert auroc(scores, labels) == pytest.approx(0.72)
    # by hand: a fifth of recall at .9, .8 (2 of 3), .7 (3 of 4), .6 (4 of 6) and .3 (5 of 9)
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 6 + 5 / 9) / 5)


@given(ITEMS, SCORED)
@settings(max_examples=25, deadline=None)
def test_oracle_of_scikit_learn(items: list[tuple[str, str | None]], rows: list[tuple[int, bool]]) -> None:
    oracle = pytest.importorskip("sklearn.metrics")
    truths = [truth for truth, _ in items]
    answers = [answer or "tor" for _, answer in items]
    assert macro_f1(truths, answers).value == pytest.approx(
        oracle.f1_score(truths, answers, average="macro", zero_division=0)
    )
    recalls = oracle.recall_score(truths, answers, labels=sorted(set(truths)), average="macro")
    assert balanced_accuracy(truths, answers) == pytest.approx(recalls)
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    if len(set(labels)) == 2:
        assert auroc(scores, labels) == pytest.approx(oracle.roc_auc_score(labels, scores))
        assert average_precision(scores, labels) == pytest.approx(
            oracle.average_precision_score(labels, scores)
        )


def test_undefined_is_none() -> None:
    assert auroc([0.1, 0.2], [True, True]) is None
    assert auroc([0.1, 0.2], [False, False]) is None
    assert auroc([], []) is None
    assert average_precision([0.3], [False]) is None
    assert accuracy([], []) is None
    assert balanced_accuracy([], []) is None
    assert macro_f1([], []).value is None


def test_broken_input_names_the_row() -> None:
    with pytest.raises(UsageError, match="2 and 1 rows"):
        accuracy(["glim", "tor"], ["glim"])
    with pytest.raises(UsageError, match="row 1: truth 'tor' is not among the classes glim"):
        macro_f1(["glim", "tor"], ["glim", "glim"], classes=["glim"])
    with pytest.raises(UsageError, match="row 1: score nan"):
        auroc([0.1, float("nan")], [True, False])


@given(ITEMS)
def test_shares_stay_in_bounds_and_do_not_depend_on_order(items: list[tuple[str, str | None]]) -> None:
    truths, answers = columns(items)
    backwards = columns(items[::-1])
    for value, again in (
        (accuracy(truths, answers), accuracy(*backwards)),
        (balanced_accuracy(truths, answers), balanced_accuracy(*backwards)),
        (macro_f1(truths, answers).value, macro_f1(*backwards).value),
    ):
        assert value is not None
        assert 0 <= value <= 1
        assert again == pytest.approx(value)
    assert (
        accuracy(truths, truths) == balanced_accuracy(truths, truths) == macro_f1(truths, truths).value == 1
    )


@given(SCORED)
def test_auroc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, labels = [float(score) for score, _ in rows], [label for _, label in rows]
    pairs = [
        1.0 if high > low else 0.5 if high == low else 0.0
        for high, positive in zip(scores, labels, strict=True)
        for low, other in zip(scores, labels, strict=True)
        if positive and not other
    ]
    value = auroc(scores, labels)
    assert value == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)
    if value is not None:
        assert auroc([score**3 for score in scores], labels) == pytest.approx(value)  # a monotone scale
        assert auroc(scores, [not label for label in labels]) == pytest.approx(1 - value)


@given(SCORED)
def test_average_precision_is_bounded_by_prevalence_at_worst_order(rows: list[tuple[int, bool]]) -> None:
    scores, labels = [float(score) for score, _ in rows], [label for _, label in rows]
    value = average_precision(scores, labels)
    if not any(labels):
        assert value is None
        return
    assert value is not None
    assert 0 < value <= 1
    assert average_precision([float(label) for label in labels], labels) == 1
    assert average_precision([0.0] * len(labels), labels) == pytest.approx(sum(labels) / len(labels))
