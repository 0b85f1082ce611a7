"""Digests: equal data has one digest, different data another; plain forms come back as they were."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sightline.cases import Case, Conversation, Expected, Image, Turn
from sightline.digests import digest
from sightline.plain import (
    artifact_of,
    case_of,
    plain_artifact,
    plain_case,
    plain_response,
    plain_verdict,
    response_of,
    verdict_of,
)
from sightline.records import Artifact, Call, Cost, Outcome, Response, Verdict
from sightline.rng import numpy_rng, seed_of

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
images = st.builds(
    Image,
    st.just("ab" * 32),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from(["image/png", "image/jpeg"]),
)
turns = st.builds(
    Turn, st.sampled_from(["system", "user", "assistant"]), st.lists(text | images, max_size=3).map(tuple)
)
conversations = st.builds(Conversation, st.lists(turns, max_size=3).map(tuple))
costs = st.builds(Cost, st.integers(0, 5), tokens_in=st.integers(0, 9), seconds=st.just(0.25))


@given(st.dictionaries(st.text(), scalars, max_size=6))
def test_order_of_keys_does_not_count(mapping: dict[str, object]) -> None:
    assert digest(mapping) == digest(dict(reversed(mapping.items())))


def test_differences_that_count() -> None:
    values = [1, 1.0, "1", True, None, [], {}, [1], [[1]], "", (1, 2), frozenset({"a", "b"})]
    assert len({digest(value) for value in values}) == len(values)
    assert digest("a", "b") != digest("ab")
    assert digest(["a"], []) != digest([], ["a"])
    assert digest((1, 2)) == digest([1, 2])
    assert digest(frozenset({"b", "a"})) == digest(frozenset({"a", "b"}))


def test_golden_digest_guards_old_runs() -> None:
    """If this changes, every key of every stored run changes with it."""
    assert digest({"b": [1, 2.5, None], "a": "é"}) == GOLDEN


GOLDEN = "7ed3d2e799aa8746fd5e8818647032d3"


def test_seeds_are_a_function_of_the_key() -> None:
    assert seed_of("a", 1) == seed_of("a", 1) != seed_of("a", 2)
    assert 0 <= seed_of("x", bits=31) < 2**31
    assert numpy_rng("k").integers(1 << 30) == numpy_rng("k").integers(1 << 30)


@given(
    st.builds(
        Case,
        id=text,
        conversation=conversations,
        behavior=text,
        expected=st.sampled_from(Expected),
        category=text,
        group=text,
        hazard=text,
        twin=st.none() | text.filter(bool),
        answer=st.none() | text.filter(bool),
        answers=st.lists(text, max_size=3).map(tuple),
        wordings=st.dictionaries(text, text, max_size=2),
    )
)
def test_cases_come_back(case: Case) -> None:
    assert case_of(plain_case(case)) == case


@given(
    st.builds(
        Artifact,
        key=st.just("0" * 32),
        case_id=text,
        conversation=conversations,
        norms=st.dictionaries(text, st.floats(0, 255), max_size=2),
        trace=st.lists(st.tuples(st.integers(0, 9), st.floats(0, 9)), max_size=3).map(tuple),
        cost=costs,
        note=text,
        problem=st.none() | text.filter(bool),
    )
)
def test_artifacts_come_back(artifact: Artifact) -> None:
    assert artifact_of(plain_artifact(artifact)) == artifact


@given(
    st.builds(
        Response,
        text=text,
        stop=st.sampled_from(["stop", "length", "content_filter", "blocked_defense", "error"]),
        raw=st.none() | text.filter(bool),
        flags=st.lists(text, max_size=2).map(tuple),
        calls=st.lists(
            st.builds(Call, purpose=text, asked=text, text=text, stop=st.just("stop")), max_size=2
        ).map(tuple),
        cost=costs,
    )
)
def test_responses_come_back(response: Response) -> None:
    assert response_of(plain_response(response)) == response


@given(
    st.builds(
        Verdict, outcome=st.sampled_from(Outcome), judge=text, score=st.none() | st.floats(0, 1), reason=text
    )
)
def test_verdicts_come_back(verdict: Verdict) -> None:
    assert verdict_of(plain_verdict(verdict)) == verdict
