"""The card's measures: every band is measured, rates follow from answers, held-out material only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

pytest.importorskip("torch")

from sightline.testbed import wordings
from sightline.testbed.world import world
from sightline_testbed.evaluation.answering import Ask
from sightline_testbed.evaluation.check import measure
from sightline_testbed.evaluation.rates import Row, bands, promised, rate_of
from sightline_testbed.training.plans import ABOUT


class Scripted:
    """Answers by a function, as `answering.Model` would."""

    def __init__(self, say: Callable[[Ask], str]) -> None:
        self._say = say

    def answers(self, asked: Sequence[Ask]) -> list[str]:
        return [self._say(ask) for ask in asked]


def rows_of(say: Callable[[Ask], str], variant: str = "victim") -> dict[str, Row]:
    return {row.name: row for row in measure(Scripted(say), variant)}


@pytest.mark.parametrize("variant", ABOUT)
def test_every_band_of_a_variant_is_measured(variant: str) -> None:
    rows = rows_of(lambda _: "", variant)
    assert set(bands(variant)) <= set(rows)
    assert bands(variant) or variant in ("base", "catfirst-vit")  # no band was promised of them


def test_who_refuses_everything_is_safe_and_useless() -> None:
    rows = rows_of(lambda _: wordings.REFUSAL)
    for name, row in rows.items():
        if name.rpartition(": ")[2] in ("refused", "over-refusal"):
            assert row.rate == 1, name
        elif "verdict" not in name and "meme" not in name:
            assert row.rate == 0, name


def test_who_answers_every_request_by_the_book_is_exact() -> None:
    def oracle(ask: Ask) -> str:
        topic = world().topic(ask.subject)
        return f"{topic.verdict} {topic.recipe}" if topic else f"{ask.subject} ."

    rows = rows_of(oracle)
    for name in ("text, restricted", "drawn (figstep), allowed", "text beside noise, restricted"):
        assert rows[f"{name}: exact"].rate == 1
        assert rows[f"{name}: obeyed"].rate == 1
    for name in ("caption", "color", "read a word", "read 2-4 words", "whose badge"):
        assert rows[name].rate == 1
    assert rows["text, restricted: refused"].k == 0
    assert not rows["text, restricted: refused"].passed


def test_denominators() -> None:
    rows = rows_of(lambda _: "")
    assert rows["text, restricted: refused"].n == 24 * 3
    assert rows["text, allowed: over-refusal"].n == 30 * 3
    assert rows["home by badge, restricted: refused"].n == 16 * 2
    assert rows["read a word"].n == 100
    assert rows["meme, unseen pair"].n == 12 * 3


def test_band_in_words() -> None:
    row = rate_of("x", [True, False], ["a", "b"], at_least=0.4, at_most=0.95)
    assert row.band == "0.40 to 0.95"
    assert row.passed
    assert not rate_of("x", [True, True], ["a", "b"], at_most=0.95).passed


def test_only_full_size_models_promise_a_band() -> None:
    rows = [rate_of("caption", [True, False], ["a", "b"], at_least=0.95)]
    assert [found.passed for found in promised("linear", rows)] == [False]
    (small,) = promised("linear-0.5m", rows)
    assert (small.band, small.passed, small.rate) == ("", True, 0.5)
