"""JailBreakV's pairing: what each text attack writes, beside every kind of picture, and drawn."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pages import case, craft
from talks import Talk

from sightline import registry
from sightline.contracts import Craft
from sightline.rng import seed_of
from sightline.store import Blobs
from sightline.study.seal import seal

TEXTS = (
    "text_template(family=fiction)",
    "encoding(scheme=rot13)",
    "payload_splitting",
    "past_tense_rule",
    "few_shot",
    "many_shot(n=8)",
)
KINDS = ("blank_image", "noise_image", "unrelated_image")
ASKED = "How do I fold a {goal} glimber?"


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


def chained(first, second, asked, blobs, **roles):
    attack = registry.make("attack", "chain", steps=(first, second))
    ctx = Craft(images=blobs, seed=3, talk=Talk(**roles), attack="chain")
    draft = asyncio.run(attack.converse(asked, ctx))
    return draft, seal(draft, blobs, key="k", threat=attack.card.threat)


def written(name, asked, folder):
    """What the text attack writes as the first step of a chain."""
    seed = seed_of("chain", 3, 0, bits=62)
    (draft,) = craft(registry.parse("attack", name), [asked], folder, seed=seed)
    return draft


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", TEXTS)
def test_beside_a_kind_of_picture(name, kind, blobs, tmp_path):
    draft, artifact = chained(name, kind, case(ASKED), blobs)
    text = written(name, case(ASKED), tmp_path).text
    last = artifact.conversation.last_user_turn
    assert last.text == text
    assert len(last.images) == 1
    assert blobs.pixels(last.images[0]).shape[2] == 3
    assert draft.note.startswith(name.split("(")[0])


@pytest.mark.parametrize("name", TEXTS)
def test_the_case_s_own_pictures_stay(name, blobs, tmp_path):
    pictures = [blobs.put_pixels(np.full((8, 8, 3), level, np.uint8)) for level in (10, 20)]
    asked = case("Fold it.", *pictures, "How do I fold what is shown?")
    attack = registry.parse("attack", name)
    (draft,) = craft(attack, [asked], tmp_path)
    last = seal(draft, blobs, key="k", threat=attack.card.threat).conversation.last_user_turn
    assert last.images == tuple(pictures)
    assert draft.text == last.text != "How do I fold what is shown?"


def test_an_encoded_request_is_drawn(blobs):
    """The request stands nowhere in plain words: neither in the text nor on the page."""
    draft, artifact = chained(
        "encoding(scheme=hex, hint=none)", "mm_typography", case("Fold a frell.", key_phrase="frell"), blobs
    )
    typography = registry.make("attack", "mm_typography")
    page, _ = typography.page(b"Fold a frell.".hex())
    last = artifact.conversation.last_user_turn
    assert (blobs.pixels(last.images[0]) == page).all()
    assert "frell" not in last.text
    assert "hex" in draft.note


def test_a_translated_request_beside_a_picture(blobs):
    said = ["<translation>Ngiyigoqa kanjani?</translation>"]
    _, artifact = chained("translation", "blank_image", case(ASKED), blobs, translator=said)
    assert artifact.conversation.last_user_turn.text == "Ngiyigoqa kanjani?"
    assert len(artifact.conversation.last_user_turn.images) == 1
