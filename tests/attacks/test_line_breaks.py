"""Lines: nothing is lost, none is too long, marks stay with their letters, punctuation where it may."""

from __future__ import annotations

import textwrap
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.attacks import font_files
from sightline.attacks.line_breaks import clusters, pieces, wrap_columns, wrap_measured

FACE = font_files.find_font("wqy-microhei.ttc").at(20)
LETTERS = "abW-é日本語テーブルっ。、「」（）！한국어ก\u0301\u0323\u3099\u200d שלום\u05b8 अक\u094dष"
texts = st.text(st.sampled_from(LETTERS + "  "), max_size=60)
WIDE_ONLY = "日本語の文章、「箱」（小）を折る。っー！"


def plain(text):
    return "".join(text.split())


def columns_of(text):
    """Written apart: what a terminal would take."""
    count = 0
    for sign in text:
        if (
            unicodedata.combining(sign)
            or unicodedata.category(sign) in ("Mn", "Mc", "Me")
            or sign == "\u200d"
        ):
            continue
        count += 2 if unicodedata.east_asian_width(sign) in ("W", "F") else 1
    return count


@settings(max_examples=200, deadline=None)
@given(texts, st.integers(10, 200), st.booleans())
def test_wrapping_loses_no_character_and_parts_no_mark(text, width, break_words):
    lines = wrap_measured(text, FACE, width, "", break_words=break_words)
    assert plain("".join(lines)) == plain(text)
    whole = [cluster for word in text.split() for cluster in clusters(word)]
    assert [cluster for line in lines for word in line.split() for cluster in clusters(word)] == whole
    if break_words:
        assert all(FACE.getlength(line) < width or len(clusters(line)) == 1 for line in lines)


@settings(max_examples=200, deadline=None)
@given(texts, st.integers(1, 20))
def test_wrapping_by_columns(text, columns):
    lines = wrap_columns(text, columns)
    assert plain("".join(lines)) == plain(text)
    assert all(columns_of(line) <= columns or len(clusters(line)) == 1 for line in lines)
    before = [cluster for word in text.split() for cluster in clusters(word)]
    assert [cluster for line in lines for word in line.split() for cluster in clusters(word)] == before


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=80), st.integers(1, 30))
def test_latin_text_is_wrapped_by_columns_as_before(text, columns):
    assert wrap_columns(text, columns) == textwrap.wrap(text, columns)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from(WIDE_ONLY), min_size=1, max_size=50), st.integers(60, 300))
def test_a_line_does_not_begin_with_closing_marks_nor_end_with_opening_ones(text, width):
    lines = wrap_measured(text, FACE, width, "")
    assert "".join(lines) == text
    assert all(line[0] not in "、」）。っー！" for line in lines[1:])
    assert all(line[-1] not in "「（" for line in lines[:-1])


def test_chinese_and_japanese_break_between_characters():
    assert [piece.text for piece in pieces("折叠格林伯，两次。")] == [
        "折", "叠", "格", "林", "伯，", "两", "次。"
    ]  # fmt: skip
    assert [piece.text for piece in pieces("「箱」を二つ")] == ["「箱」", "を", "二", "つ"]
    assert [tuple(piece) for piece in pieces("用 glimber做")] == [
        ("用", False), ("glimber", True), ("做", False)
    ]  # fmt: skip


def test_korean_breaks_between_words():
    assert [tuple(piece) for piece in pieces("글림버를 접는 방법")] == [
        ("글림버를", False), ("접는", True), ("방법", True)
    ]  # fmt: skip
    assert wrap_columns("글림버를 접는 방법", 10) == ["글림버를", "접는 방법"]
    assert wrap_columns("글림버를접는방법", 10) == ["글림버를접", "는방법"]


def test_fifteen_columns_hold_seven_wide_characters():
    assert wrap_columns("折叠格林伯的七个步骤", 15) == ["折叠格林伯的七", "个步骤"]


def test_marks_stay_with_their_letters():
    stacked = "ab" + "e\u0301\u0323" * 8
    assert clusters(stacked) == ["a", "b", *["e\u0301\u0323"] * 8]
    letter = "e\u0301\u0323"
    assert wrap_columns(stacked, 4) == [f"ab{letter * 2}", letter * 4, letter * 2]
    assert clusters("क\u094dषि") == ["क\u094dषि"]
    assert clusters("\u1112\u1161\u11ab") == ["\u1112\u1161\u11ab"]


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_no_words_are_no_lines(text):
    assert wrap_columns(text, 5) == wrap_measured(text, FACE, 50) == []


def test_a_long_word_sticks_out_or_is_broken():
    word = "glimbering" * 4
    assert wrap_measured(f"a {word} b", FACE, 100) == ["a", f" {word}", " b"]
    broken = wrap_measured(f"a {word} b", FACE, 100, break_words=True)
    assert "".join(broken).replace(" ", "") == f"a{word}b"
    assert all(FACE.getlength(line) < 100 for line in broken)
