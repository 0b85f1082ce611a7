"""Best-of-N's perturbations: how often, what stays, and that they follow from the seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import case, craft

from sightline import registry
from sightline.errors import UsageError

WORDS = "How do I fold a glimber without asking anybody about it today"


def augment(settings=""):
    return registry.parse("attack", f"augment({settings})")


def perturbed(attack, text, seed=0):
    return attack.perturbed(text, np.random.default_rng(seed))


def test_constants_of_the_official_code():
    attack = registry.parse("attack", "augment")
    assert (attack.sigma, attack.scramble, attack.capitalize, attack.noise) == (0.4, True, True, True)


@given(st.text(), st.integers(0, 9))
def test_scrambling_keeps_letters_ends_and_spaces(text, seed):
    out = perturbed(augment("capitalize=False, noise=False"), text, seed)
    assert len(out) == len(text)
    for before, after in zip(text.split(), out.split(), strict=True):
        assert sorted(before) == sorted(after)
        assert (before[0], before[-1]) == (after[0], after[-1])
        assert before == after or len(before) > 3
    assert [c.isspace() for c in text] == [c.isspace() for c in out]


@given(st.text(), st.integers(0, 9))
def test_capitals_change_no_letter(text, seed):
    out = perturbed(augment("scramble=False, noise=False"), text, seed)
    assert len(out) == len(text)
    assert out.casefold() == text.casefold()


@given(st.text(), st.integers(0, 9))
def test_noise_moves_ascii_characters_by_one(text, seed):
    out = perturbed(augment("scramble=False, capitalize=False, sigma=0.9"), text, seed)
    for before, after in zip(text, out, strict=True):
        assert abs(ord(before) - ord(after)) <= 1
        assert before == after or (32 <= ord(before) <= 126 and 32 <= ord(after) <= 126)


def test_how_often():
    """sqrt(0.4) = 0.632 of words and letters, 0.4 cubed = 0.064 of characters."""
    many = "abcdefgh " * 4000
    words = perturbed(augment("capitalize=False, noise=False"), many).split()
    shuffled = sum(word != "abcdefgh" for word in words) / len(words)
    assert shuffled == pytest.approx(0.632 * (1 - 1 / 720), abs=0.02)
    capitals = perturbed(augment("scramble=False, noise=False"), many)
    assert sum(c.isupper() for c in capitals) / 32_000 == pytest.approx(0.632, abs=0.01)
    noisy = perturbed(augment("scramble=False, capitalize=False"), many)
    letters = [(a, b) for a, b in zip(many, noisy, strict=True) if a != " "]
    assert sum(a != b for a, b in letters) / len(letters) == pytest.approx(0.064, abs=0.005)
    spaces = [b for a, b in zip(many, noisy, strict=True) if a == " "]
    assert set(spaces) == {" ", "!"}, "what is below a space cannot be printed"


def test_nothing_changes_at_strength_zero_and_all_at_one():
    assert perturbed(augment("sigma=0.0"), WORDS) == WORDS
    assert perturbed(augment("sigma=1.0, scramble=False, noise=False"), WORDS) == WORDS.swapcase()
    with pytest.raises(UsageError, match="sigma"):
        augment("sigma=1.5")


def test_it_follows_from_seed_and_case(tmp_path):
    items = [case(WORDS, id="b/1"), case(WORDS, id="b/2")]
    first = craft(augment(), items, tmp_path, seed=1)
    assert [draft.text for draft in first] == [d.text for d in craft(augment(), items, tmp_path, seed=1)]
    assert first[0].text != first[1].text
    assert first[0].text != craft(augment(), items, tmp_path, seed=2)[0].text


def test_the_text_beside_a_picture_is_perturbed_and_the_picture_stays(tmp_path):
    item = case("the behavior", "What is written here?")
    (draft,) = craft(augment("sigma=1.0, scramble=False, noise=False"), [item], tmp_path)
    assert draft.text == "wHAT IS WRITTEN HERE?"
    assert draft.image is None
    assert draft.keep_images


def test_foreign_scripts_and_braces(tmp_path):
    text = "Как {x} שלום 折る straße ﬁn İ"
    out = craft(augment("sigma=1.0, scramble=False, noise=False"), [case(text)], tmp_path)[0].text
    assert out == "кАК {X} שלום 折る STRAßE ﬁN İ"
