"""The invented world: what its splits promise."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from itertools import combinations

import pytest

from sightline.testbed import wordings
from sightline.testbed.world import (
    CODAS,
    COLORS,
    INGREDIENTS,
    KIND_WORDS,
    MEME_WORDS,
    ONSETS,
    RESTRICTED_KINDS,
    SHAPES,
    SWEAR_WORDS,
    TOWNS,
    VERBS,
    Meme,
    nouns,
    world,
)


@pytest.mark.parametrize(
    ("restricted", "split", "count", "sounding"),
    [(False, "train", 90, 8), (False, "heldout", 30, 6), (True, "train", 36, 18), (True, "heldout", 24, 12)],
)
def test_counts(restricted: bool, split: str, count: int, sounding: int) -> None:
    topics = world().select(restricted=restricted, split="train" if split == "train" else "heldout")
    assert len(topics) == count
    assert sum(topic.gloom_sounding for topic in topics) == sounding


def test_every_noun_has_one_use() -> None:
    used = [*(t.noun for t in world().topics), *world().reading_train, *world().reading_heldout]
    assert len(used) == len(set(used)) == len(nouns()) == 26 * 24
    assert set(used) == set(nouns())


def test_nothing_held_out_or_restricted_may_be_drawn_in_training() -> None:
    drawable = set(world().drawable)
    assert not drawable & set(world().reading_heldout)
    assert not drawable & {t.noun for t in world().topics if t.restricted or t.split == "heldout"}


def test_held_out_words_are_new_pairs_of_known_pieces() -> None:
    seen = world().drawable
    for word in world().reading_heldout:
        assert any(other[:3] == word[:3] for other in seen)
        assert any(other[3:] == word[3:] for other in seen)


def test_pieces_differ_in_two_letters() -> None:
    for pieces in (ONSETS, CODAS):
        assert all(sum(a != b for a, b in zip(x, y, strict=True)) > 1 for x, y in combinations(pieces, 2))


def test_recipes_differ_and_come_from_one_pool() -> None:
    assert len({topic.steps for topic in world().topics}) == 180
    for restricted in (True, False):
        steps = [step for topic in world().select(restricted=restricted) for step in topic.steps]
        assert {verb for verb, _ in steps} == set(VERBS)
        assert {thing for _, thing in steps} == set(INGREDIENTS)


def test_held_out_restricted_kinds_are_even() -> None:
    topics = world().select(restricted=True, split="heldout")
    assert Counter(t.kind for t in topics) == dict.fromkeys(RESTRICTED_KINDS, 6)


def test_scenes_split() -> None:
    train, heldout = set(world().scenes_train), set(world().scenes_heldout)
    assert len(heldout) == 24
    assert not train & heldout
    assert len(train | heldout) == 8 * 6 * 4


def test_held_out_wordings_are_not_trained() -> None:
    assert not set(wordings.REQUESTS_HELDOUT) & set(wordings.REQUESTS_TRAIN)
    assert wordings.DEFENSE_PROMPT_HELDOUT not in wordings.DEFENSE_PROMPTS_TRAIN


def test_the_world_is_the_one_the_weights_know() -> None:
    text = "\n".join(f"{t.noun} {t.restricted} {t.split} {t.kind} {t.recipe}" for t in world().topics)
    text += "\n".join((*world().reading_train, *world().reading_heldout))
    text += "\n".join(scene.caption for scene in (*world().scenes_train, *world().scenes_heldout))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "6134dcdf19764a0f"


def test_the_world_imports_without_torch() -> None:
    code = "import sys, sightline.testbed.world, sightline.testbed.grading; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Persons, memes and what lies around them ------------------------------------------------------------


@pytest.mark.parametrize(
    ("closed", "split", "count"),
    [(True, "train", 12), (True, "heldout", 16), (False, "train", 12), (False, "heldout", 8)],
)
def test_persons_by_class_and_split(closed: bool, split: str, count: int) -> None:
    people = world().people(closed=closed, split="train" if split == "train" else "heldout")
    assert len(people) == count
    assert all((person.closed, person.split) == (closed, split) for person in people)


def test_every_person_has_a_name_and_a_badge_of_their_own() -> None:
    people = world().persons
    assert len(people) == len(world().people()) == 48
    assert len({person.name for person in people}) == 48
    assert {(p.color, p.shape) for p in people} == {(c, s) for c in COLORS for s in SHAPES}


def test_names_are_no_nouns_and_no_other_word() -> None:
    others = {*nouns(), *TOWNS, *SWEAR_WORDS, *KIND_WORDS, *MEME_WORDS, *VERBS, *INGREDIENTS}
    assert not {person.name for person in world().persons} & others
    assert len({*SWEAR_WORDS, *KIND_WORDS}) == 16
    assert not set(SWEAR_WORDS) & {*nouns(), *TOWNS, *MEME_WORDS, *VERBS, *INGREDIENTS}


def test_homes_do_not_tell_the_class() -> None:
    """Towns and jobs come from one pool: every town of an open person is one of a closed person, too."""
    for pick in (lambda p: p.town, lambda p: p.job):
        assert {pick(p) for p in world().people(closed=False)} <= {
            pick(p) for p in world().people(closed=True)
        }


def test_memes_split_and_rule() -> None:
    train, heldout = set(world().memes_train), set(world().memes_heldout)
    assert (len(train), len(heldout)) == (36, 12)
    assert not train & heldout
    assert len(train | heldout) == len(SHAPES) * len(MEME_WORDS)
    assert sum(meme.mean for meme in heldout) == 6
    assert Meme("circle", "chalk").mean
    assert not Meme("circle", "silk").mean
    assert Meme("square", "silk").mean
    assert Meme("square", "chalk").verdict == "hard shape and hard word . no ."


def test_neither_shape_nor_word_alone_makes_a_meme_mean() -> None:
    memes = [*world().memes_train, *world().memes_heldout]
    for part, values in (("shape", SHAPES), ("word", MEME_WORDS)):
        for value in values:
            mean = [meme.mean for meme in memes if getattr(meme, part) == value]
            assert sum(mean) * 2 == len(mean)


def test_every_part_of_a_held_out_meme_is_known_from_training() -> None:
    train = world().memes_train
    assert {meme.shape for meme in train} == set(SHAPES)
    assert {meme.word for meme in train} == set(MEME_WORDS)


PAIRS = [
    ("HOME_REQUESTS", 2),
    ("SECRET_REQUESTS", 2),
    ("TOOL_REQUESTS", 2),
    ("LINE_REQUESTS", 2),
]


@pytest.mark.parametrize(("name", "count"), PAIRS)
def test_new_held_out_wordings_are_not_trained(name: str, count: int) -> None:
    train, heldout = getattr(wordings, name), getattr(wordings, f"{name}_HELDOUT")
    assert len(heldout) == count
    assert not set(train) & set(heldout)


def test_follow_ups_and_prompts_are_apart() -> None:
    assert wordings.FOLLOW_UP_HELDOUT not in (*wordings.FOLLOW_UPS, *wordings.REQUESTS_TRAIN)
    assert not set(wordings.SECRET_PROMPTS) & set(wordings.SHARED_PROMPTS)


def test_the_persons_and_memes_are_those_the_weights_know() -> None:
    text = "\n".join(f"{p.verdict} {p.split} {p.work} {p.home} {p.color} {p.shape}" for p in world().persons)
    text += "\n".join(f"{m.shape} {m.word}" for m in (*world().memes_train, *world().memes_heldout))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "5f896005617d8826"
