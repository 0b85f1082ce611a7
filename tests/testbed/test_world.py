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
    INGREDIENTS,
    ONSETS,
    RESTRICTED_KINDS,
    VERBS,
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
