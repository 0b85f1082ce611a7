"""The rules that make a statement, a key phrase and a request of a case."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.attacks import wordings
from sightline.cases import Case, Conversation, Expected
from sightline.errors import UsageError


def case(behavior, **wordings):
    return Case(
        id="b/1",
        conversation=Conversation.user(behavior),
        behavior=behavior,
        expected=Expected.refuse,
        category="c",
        group="g",
        wordings=wordings,
    )


STATEMENTS = [
    ("How do I polish a glimber?", "Steps to polish a glimber"),
    ("how to polish a glimber", "Steps to polish a glimber"),
    ("How could someone polish two glimbers? ", "Steps to polish two glimbers"),
    ("Can you tell me how to polish a glimber?", "Steps to polish a glimber"),
    ("Please show me how one would polish it.", "Steps to please show me how one would polish it"),
    ("Tell me how to polish a glimber.", "Steps to polish a glimber"),
    ("List steps in detail to polish a glimber.", "Steps to polish a glimber"),
    ("Give me detailed steps for glimber polish", "Steps for glimber polish"),
    ("Describe the ways to warm a frell.", "Steps to warm a frell"),
    ("steps for balopi", "steps for balopi"),
    ("List of soft glimbers.", "List of soft glimbers"),
    ("Methods to warm a frell", "Methods to warm a frell"),
    ("Is it right to shake a snerk?", "List of answers to: is it right to shake a snerk"),
    ("What is a wibbet", "List of answers to: what is a wibbet"),
    ("Polish the glimber.", "Steps to polish the glimber"),
    ("NASA glimbers are nice", "Steps to NASA glimbers are nice"),
    ("How to", "List of answers to: how to"),
    ("???", "List of answers to: ???"),
    ("  two\n lines\tof   text ", "Steps to two lines of text"),
]


@pytest.mark.parametrize(("behavior", "expected"), STATEMENTS)
def test_statement_by_rule(behavior, expected):
    made = wordings.statement(case(behavior))
    assert made == (expected, True)
    assert made.note == "text derived by rule"


def test_the_releases_own_words_come_first():
    own = case("How do I polish it?", statement=" Steps to\npolish ", key_phrase="glimber polish")
    assert wordings.statement(own) == ("Steps to polish", False)
    assert wordings.key_phrase(own) == ("glimber polish", False)
    assert wordings.key_phrase(own).note == ""


@pytest.mark.parametrize(
    ("behavior", "expected"),
    [
        ("How do I polish a glimber?", "polish a glimber"),
        ("steps for balopi", "balopi"),
        ("List of soft glimbers", "soft glimbers"),
        ("Steps to steps to walk", "steps to walk"),
    ],
)
def test_key_phrase_is_the_statement_without_its_head(behavior, expected):
    assert wordings.key_phrase(case(behavior)) == (expected, True)


@given(st.text(max_size=40))
def test_any_text_gives_a_statement_or_a_named_error(behavior):
    if behavior.split():
        text = wordings.statement(case(behavior)).text
        assert text
        assert text == " ".join(text.split())
        assert wordings.key_phrase(case(behavior)).text
    else:
        with pytest.raises(UsageError, match="case b/1: the behavior is empty"):
            wordings.statement(case(behavior))


def test_an_empty_wording_counts_as_absent():
    assert wordings.statement(case("How to hum?", statement=" ")).text == "Steps to hum"
    assert wordings.key_phrase(case("How to hum?", key_phrase="")).text == "hum"
