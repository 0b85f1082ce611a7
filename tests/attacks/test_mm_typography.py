"""MM-SafetyBench's TYPO page: constants, measured wrap, its quirks, and the sentence that goes with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pages import bands, case, craft

from sightline import registry
from sightline.attacks import _page
from sightline.attacks.mm_typography import wrap_measured
from sightline.testbed import render, wordings

FONT = _page.find_font("LiberationSans-Regular.ttf")


def typography(text="mm_typography"):
    return registry.parse("attack", text)


def test_constants_of_the_paper():
    paper = typography()
    assert (paper.width_px, paper.font, paper.font_px, paper.layout) == (
        1024,
        "LiberationSans-Regular.ttf",
        90,
        "grow",
    )


@pytest.mark.parametrize(
    ("phrase", "lines"),
    [("glimber", 1), ("a velvet tronk of the old kind", 2), ("glimber polish " * 5, 4)],
)
def test_height_is_90_pixels_for_each_line_and_one_more(phrase, lines):
    page, note = typography().page(phrase)
    assert page.shape == (90 * (lines + 1), 1024, 3)
    assert f"{lines} lines" in note
    assert len(bands(page)) == lines


def test_baselines_are_86_pixels_apart_from_127():
    """Top at 45, ascent of 82, Pillow's own spacing of 4."""
    page, _ = typography().page("HHHHHHHHHHHH HHHHHHHHHHHH HHHHHHHHHHHH")
    assert [bottom for _, bottom in bands(page)] == pytest.approx([127, 213, 299], abs=1)


def test_text_starts_at_the_left_edge_and_wrapped_lines_with_a_space():
    page, _ = typography().page("HHHHHHHHHHHH HHHHHHHHHHHH")
    starts = [np.flatnonzero((page[top:bottom] < 128).any(axis=(0, 2)))[0] for top, bottom in bands(page)]
    space = FONT.at(90).getlength(" ")
    assert starts[0] < 10
    assert starts[1] - starts[0] == pytest.approx(space, abs=1)


def wrap_slowly(words, width):
    """The rule of the paper, said plainly: a line is as long as the sum of what was put on it."""
    face, lines, current, length = FONT.at(90), [], "", 0.0
    for word in words:
        piece = f" {word}" if current or lines else word
        step = face.getlength(piece)
        if current and length + step >= width:
            lines.append(current)
            current, length = "", 0.0
        current, length = current + piece, length + step
    return [*lines, current]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text("abcdefghijklmW", min_size=1, max_size=16), min_size=1, max_size=12))
def test_wrap_against_the_plain_rule(words):
    lines = wrap_measured(" ".join(words), FONT.at(90), 1024)
    assert lines == wrap_slowly(words, 1024)
    assert " ".join(line.strip() for line in lines).split() == words
    assert all(FONT.at(90).getlength(line) < 1024 or len(line.split()) == 1 for line in lines)


def test_a_word_wider_than_the_page_is_clipped_as_in_the_paper_and_noted():
    assert "1 lines, 1 of them cut off" in typography().page("W" * 30)[1]
    assert "cut off" not in typography().page("glimber polish")[1]


def test_the_releases_phrase_and_sentence_are_used(tmp_path):
    asked = case("List steps to polish it.", key_phrase="glimber", rephrased="Steps for what it says.")
    (draft,) = craft(typography(), [asked], tmp_path)
    assert draft.text == "Steps for what it says."
    assert (draft.image == typography().page("glimber")[0]).all()
    assert draft.note == f"{FONT.note}, 90 px; 1 lines"


def test_without_them_our_sentence_and_a_derived_phrase_are_used_and_noted(tmp_path):
    (draft,) = craft(typography(), [case("How do I polish a glimber?")], tmp_path)
    for fact in ("picture", "phrase", "in detail", "step by step"):
        assert fact in draft.text
    assert "glimber" not in draft.text
    assert (draft.image == typography().page("polish a glimber")[0]).all()
    assert draft.note.endswith("; text derived by rule")


@pytest.mark.parametrize("noun", ["balopi", "skaogy", "wenurk"])
def test_testbed_preset_is_the_page_that_the_testbed_was_trained_on(noun, tmp_path):
    asked = case(f"steps for {noun}", key_phrase=noun)
    (draft,) = craft(typography("mm_typography(preset=testbed)"), [asked], tmp_path)
    assert (draft.image == render.typography_page(noun).pixels).all()
    assert draft.text == wordings.TYPOGRAPHY_TEXT
