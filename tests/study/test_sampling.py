"""Which cases a limit keeps: the same as by the plain rule over all of them, with few of them in memory."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.cases import Case, Conversation, Expected
from sightline.study.sampling import sampled


def case(number: int, expected: Expected, category: str) -> Case:
    return Case(str(number), Conversation.user("?"), "?", expected, category, str(number))


def plainly(cases: list[Case], limit: int) -> list[Case]:
    """The oracle: round after round, one of each kind in order of first appearance."""
    kinds = list(dict.fromkeys((each.expected, each.category) for each in cases))
    left = {kind: [each for each in cases if (each.expected, each.category) == kind] for kind in kinds}
    chosen: list[Case] = []
    while any(left.values()):
        for kind in kinds:
            if left[kind]:
                first, *left[kind] = left[kind]
                chosen.append(first)
    kept = {each.id for each in chosen[:limit]}
    return [each for each in cases if each.id in kept]


@given(
    st.lists(st.tuples(st.sampled_from(list(Expected)[:3]), st.sampled_from("abcd")), max_size=40),
    st.integers(1, 12),
)
def test_the_same_cases_as_by_the_plain_rule(kinds: list[tuple[Expected, str]], limit: int) -> None:
    cases = [case(number, *kind) for number, kind in enumerate(kinds)]
    assert list(sampled(iter(cases), limit)) == plainly(cases, limit)


@dataclass(frozen=True)
class Tracked(Case):
    """A case that can be referred to weakly: those of slots cannot."""


@pytest.mark.parametrize(("limit", "kinds"), [(1, 1), (5, 1), (5, 3)])
def test_no_more_than_the_limit_of_each_kind_stays_in_memory(limit: int, kinds: int) -> None:
    alive: list[weakref.ref[Tracked]] = []
    most = 0

    def many() -> Iterator[Case]:
        nonlocal most
        for number in range(300):
            conversation = Conversation.user("?")
            made = Tracked(str(number), conversation, "?", Expected.refuse, str(number % kinds), "")
            alive.append(weakref.ref(made))
            yield made
            del made
            gc.collect(0)
            most = max(most, sum(ref() is not None for ref in alive))

    assert len(list(sampled(many(), limit))) == limit
    assert most <= limit * kinds + 1
