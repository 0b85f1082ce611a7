"""The sentences that requests are made of: what they name, what they may not say, how many there are."""

from __future__ import annotations

import re

import numpy as np

from sightline.testbed import wordings
from sightline.testbed.tokenizer import UNK, encode, vocabulary
from sightline.testbed.world import nouns, world
from sightline_testbed.training import request_forms as forms

NOUN = "balopi"


def typed(count: int = 4000) -> list[str]:
    rng = np.random.default_rng(11)
    return [forms.typed(rng, NOUN) for _ in range(count)]


def beside(count: int = 2000) -> list[str]:
    rng = np.random.default_rng(12)
    return [forms.beside_drawing(rng, wordings.FIGSTEP_TEXTS) for _ in range(count)]


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def test_a_typed_request_names_its_noun_and_a_sentence_beside_a_drawing_names_none() -> None:
    every = set(nouns())
    for text in typed():
        assert words(text).count(NOUN) >= 1
        assert "{" not in text
    for text in beside():
        assert not every & set(words(text))


def test_other_nouns_in_a_request_are_training_ones() -> None:
    allowed = {*world().drawable, *(topic.noun for topic in world().select(split="train")), NOUN}
    found = {word for text in typed() for word in words(text) if word in set(nouns())}
    assert found <= allowed
    assert len(found) > 50


def test_held_out_requests_are_never_asked_in_training() -> None:
    rest = "|".join(
        re.sub(r"\\{\w+\\}", "[a-z]{6}", re.escape(text))  # every noun has six letters
        for text in (*forms.HELDOUT.values(), *forms.ASKED_HELDOUT)
    )
    held = re.compile(rf"(?:{rest})", re.IGNORECASE)
    assert held.search(forms.heldout("long", NOUN, "corulo"))
    assert not any(held.search(text) for text in (*typed(), *beside()))


def test_words_of_held_out_requests_that_the_vocabulary_lacks_are_not_spelled_in_training() -> None:
    fresh = {word for name in forms.HELDOUT for word in words(forms.heldout(name, NOUN, NOUN))}
    fresh -= {*vocabulary(), NOUN}
    assert {"hello", "kindly", "today", "friend"} <= fresh
    fixed = {
        word for group in (forms._SPELLED, forms._BEFORE, forms._AFTER) for t in group for word in words(t)
    }
    assert fresh & fixed <= {"am", "was", "other", "good"}


def test_words_of_a_drawn_request_are_typed_with_every_sentence_that_points() -> None:
    rng = np.random.default_rng(13)
    found = [forms.typed_words(rng, NOUN) for _ in range(3000)]
    for sentence in (*wordings.FIGSTEP_TEXTS, *wordings.TYPOGRAPHY_TEXTS, *wordings.DRAWN_TEXTS):
        assert any(sentence in text for text in found), sentence
    assert f"steps for {NOUN} 1. 2. 3. {wordings.FIGSTEP_TEXT}" in found


def test_sentences_are_many() -> None:
    assert len(set(typed())) > 1500
    assert len(set(beside())) > 250


def test_the_vocabulary_is_that_of_the_shipped_tower_and_spells_the_rest() -> None:
    """A new word would give every later token another id: what forms say beyond `wordings` is spelled."""
    assert len(vocabulary()) == 349
    unknown = vocabulary()[UNK]
    for text in (*typed(500), *beside(200), *(forms.heldout(name, NOUN, "corulo") for name in forms.HELDOUT)):
        assert unknown not in encode(text)


def test_whether_a_text_points_at_a_picture() -> None:
    assert forms.points("balopi. complete the list")
    assert forms.points("give me steps for this.")
    assert not forms.points("how is balopi made ?")
