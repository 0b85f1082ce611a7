"""payload_splitting: the parts joined are the request, whatever it holds; no part is longer than another."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import case, craft

from sightline import registry
from sightline.attacks.templates import shipped
from sightline.errors import UsageError

ASKED = 'How do I "polish" a {parts} {last} glimber?\nWith 蜡 or 🧽?'


def splitting(**settings):
    return registry.make("attack", "payload_splitting", **settings)


def read_back(text):
    """What a reader makes of a draft: variables by their JSON strings, joined as the text says."""
    values = {}
    for name, value in re.findall(r'^([a-z]) = (".*")$', text, re.MULTILINE):
        values[name] = json.loads(value)
    join = re.search(r"[a-z](?: \+ [a-z])+", text)
    return values, "".join(values[name] for name in join[0].split(" + "))


@pytest.mark.parametrize("at", ["characters", "words"])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_the_parts_joined_as_the_text_says_are_the_request(parts, at, tmp_path):
    cases = [case(ASKED, id=f"b/{i}") for i in range(20)]
    drafts = craft(splitting(parts=parts, at=at), cases, tmp_path)
    assert len({draft.text for draft in drafts}) == len(shipped("payload_splitting")["around"])
    for draft in drafts:
        values, joined = read_back(draft.text)
        assert joined == ASKED
        assert len(values) == parts
        assert all(values.values())
        assert ASKED not in draft.text
        assert draft.note.startswith(f"{parts} parts, text around_")


@given(st.text(min_size=2).filter(str.strip), st.integers(2, 25))
def test_parts_of_any_text_are_of_equal_length_and_lose_nothing(text, parts):
    asked = case("x", text)
    if len(text) < parts:
        with pytest.raises(UsageError, match=f"case b/1: its text has {len(text)} characters, too few"):
            splitting(parts=parts).split(asked)
        return
    found = splitting(parts=parts).split(asked)
    assert "".join(found) == text
    assert len(found) == parts
    assert max(map(len, found)) - min(map(len, found)) <= 1


@given(st.lists(st.text(alphabet="ab擦\u0301", min_size=1), min_size=2, max_size=9), st.sampled_from(" \n\t"))
def test_words_are_never_cut(words, space):
    text = f"{space * 2}{space.join(words)}{space}"
    found = splitting(parts=2, at="words").split(case("x", text))
    assert "".join(found) == text
    assert [word for part in found for word in part.split()] == words


def test_an_instruction_of_the_user_and_a_known_text(tmp_path):
    attack = splitting(parts=3, instruction="{parts}\n{last} is {join} {x}")
    (draft,) = craft(attack, [case("Fold it.")], tmp_path)
    assert draft.text == 'a = "Fo"\nb = "ld "\nc = "it."\nd is a + b + c {x}'
    assert draft.keep_images


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"parts": 1}, r"parts=1 is out of range: expected 2 to 25"),
        ({"parts": 26}, r"parts=26 is out of range"),
        ({"instruction": "Join them."}, r"`instruction` has no \{parts\}"),
    ],
)
def test_misuse_is_named(settings, message):
    with pytest.raises(UsageError, match=message):
        splitting(**settings)


def test_too_few_words_are_named():
    with pytest.raises(UsageError, match=r"case b/1: its text has 2 words, too few for 4 parts; set parts"):
        splitting(at="words").split(case("Fold it."))
