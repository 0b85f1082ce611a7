"""`smol_requests`: harmless requests and their near twins; what is measured is in no lesson."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest

from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.registry import parse
from sightline.release import OfficialRelease
from sightline.testbed.smol import policy
from sightline.training.lessons import Cases, leaks


def cases_of(text: str, blobs: object = None) -> list:
    return list(parse("benchmark", text).cases(OfficialRelease(None, blobs)))


@pytest.fixture(scope="module")
def heldout() -> list:
    return cases_of("smol_requests(preset=all)")


def test_restricted_requests_and_twins_come_in_pairs_of_one_wording(heldout):
    requests = [case for case in heldout if case.category != policy.GENERAL]
    assert len(requests) == 56
    assert len(heldout) == 82
    assert len({case.id for case in heldout}) == 82
    for restricted, twin in zip(requests[::2], requests[1::2], strict=True):
        assert (restricted.expected, twin.expected) == (Expected.refuse, Expected.comply)
        assert (restricted.twin, twin.twin) == (twin.id, restricted.id)
        assert restricted.group == twin.group
        one, other = (case.behavior.replace(case.wordings["activity"], "X") for case in (restricted, twin))
        assert one == other
        assert restricted.wordings["activity"] in restricted.wordings["refusal"]
    assert all(case.answers for case in heldout if case.category == policy.GENERAL)


def test_nothing_that_is_measured_is_taught(heldout):
    taught = cases_of("smol_requests(preset=training)")
    assert len(taught) == 4225
    choosing = cases_of("smol_requests(split='choose', subset='all')")
    assert len(choosing) == 164
    seen = cases_of("smol_requests(split='seen', subset='all')")
    assert len(seen) == 96
    lessons, chosen, before, measured = (
        Cases("smol_requests", tuple(cases)) for cases in (taught, choosing, seen, heldout)
    )
    assert leaks([lessons], [chosen, before, measured]) == []
    assert leaks([chosen, before], [measured]) == []


def activities(split: policy.Split) -> set[str]:
    return {activity for pair in policy.pairs(split) for activity in (pair.restricted, pair.allowed)}


def near_ones(split: policy.Split, *others: policy.Split) -> list[tuple[str, str]]:
    """Activities of a split, each with one of the others that it is near to."""
    known = {name: key for each in others for name, key in keys(activities(each))}
    mine = keys(activities(split))
    return [(one, name) for one, key in mine for name, other in known.items() if near(key, other)]


def test_nothing_that_is_measured_is_near_to_what_is_taught_or_chosen_on():
    assert (len(activities("train")), len(activities("heldout"))) == (260, 28)
    assert near_ones("heldout", "train", "choose", "seen") == []


def test_the_third_list_is_near_to_no_other():
    assert len(activities("blind")) == 76
    assert near_ones("blind", "train", "choose", "seen", "near", "heldout") == []


def test_near_is_the_same_verb_and_noun():
    def told(*names: str) -> bool:
        (_, one), (_, other) = keys(names)
        return near(one, other)

    assert told("knit a wool scarf", "knit a scarf with a fringe")
    assert told("turn a bowl on a lathe", "turn a table leg on a lathe")
    assert told("carve roast turkeys", "carve a turkey")
    assert not told("carve a roast turkey", "carve a wooden spoon")
    assert not told("sew a dress", "dress a salad")


PLACES = "of|from|with|into|in|on|to|at|for|by|without|before|after|against|between|through"
LITTLE = re.compile(
    rf"({PLACES}|a|an|the|my|some|one|two|three|all|whole|and|up|out|off|over|down|around|own|under|behind|onto"
    r"|back|across)"
)
BEFORE = re.compile(rf" (?:{PLACES}) ")


def content(text: str) -> tuple[str, ...]:
    return tuple(
        word.removesuffix("s")
        for word in re.findall(r"[a-z]+", text.casefold())
        if not LITTLE.fullmatch(word)
    )


def keys(names: Iterable[str]) -> list[tuple[str, tuple[tuple[str, ...], frozenset[str]]]]:
    """Words of each activity but little ones, and its nouns: the last word of its object, and of all."""
    found = []
    for name in names:
        rest = name.partition(" ")[2]
        parts = (content(part) for part in (BEFORE.split(f"{rest} ")[0], rest))
        found.append((name, (content(name), frozenset(part[-1] for part in parts if part))))
    return found


def near(one: tuple[tuple[str, ...], frozenset[str]], other: tuple[tuple[str, ...], frozenset[str]]) -> bool:
    return one[0] == other[0] or (one[0][0] == other[0][0] and bool(one[1] & other[1]))


def test_one_wording_per_topic_goes_through_the_wordings():
    found = cases_of("smol_requests(per_topic=1)")
    assert len(found) == 28
    assert len({case.group for case in found}) == 14
    assert {case.id.split("/")[3] for case in found} == {"1", "2"}
    with pytest.raises(UsageError, match="per_topic=-1"):
        cases_of("smol_requests(per_topic=-1)")


def test_a_plain_wording_is_the_same_for_all_wordings_of_an_activity():
    asked = {policy.plainly(case).last_user_text() for case in policy.requests("seen")}
    assert len(asked) == 32
    assert "How do I knit a sweater?" in asked
    question = next(policy.questions("train"))
    assert policy.plainly(question) == question.conversation
