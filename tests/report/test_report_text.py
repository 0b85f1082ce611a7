"""The border between untrusted text and markup."""

import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from run_folder import HOSTILE

from sightline.report.results import judge_names
from sightline.report.text import (
    as_percent,
    bracket,
    breakable,
    is_unseen,
    label,
    points,
    rounded,
    visible,
)

TAGS = re.compile(r'<span class="(?:unseen|cut)">[^<>]*</span>')


@pytest.mark.parametrize(
    ("text", "markup"),
    [
        ('a < b & "c"', "a &lt; b &amp; &#34;c&#34;"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("one\r\ntwo", "one\ntwo"),
        ("a\x00b", 'a<span class="unseen">U+0000</span>b'),
        ("\u202ex", '<span class="unseen">U+202E</span>x'),
        ("\U000e0041", '<span class="unseen">U+E0041</span>'),
        ("é café 漢字 🙂", "é café 漢字 🙂"),
        ("e\u0301\u0301\u0301\u0301\u0301", 'e\u0301\u0301\u0301<span class="unseen">mark</span>'),
    ],
)
def test_visible_markup(text, markup):
    assert str(visible(text)) == markup


def test_visible_says_how_much_was_cut():
    assert (
        str(visible("x" * 1600, limit=1500)) == "x" * 1500 + ' <span class="cut">… 100 more characters</span>'
    )


@given(st.text(alphabet=st.characters(codec=None), max_size=60))
def test_visible_never_lets_markup_or_unseen_characters_through(text):
    markup = str(visible(text))
    rest = TAGS.sub("", markup)
    assert "<" not in rest
    assert ">" not in rest
    assert not any(is_unseen(c) for c in markup)


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Z", "M")), max_size=60))
def test_visible_keeps_every_ordinary_character(text):
    assert html.unescape(str(visible(text))) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_label_is_one_short_visible_line(text):
    line = label(text)
    assert len(line) <= 80
    assert "\n" not in line
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in line)


def test_label_names_what_cannot_be_seen():
    assert label("a\u202eb") == "a‹U+202E›b"
    assert label("two\n lines") == "two lines"
    assert label("x" * 100, 10) == "x" * 9 + "…"


def test_a_rate_and_its_bound_are_rounded_alike():
    """27.5 % by two sums that differ in their last bits; the format of Python gives 28 and 27."""
    one, other = 11 / 40, 0.275 - 1e-15
    assert as_percent(one) == as_percent(other) == "28\u00a0%"
    assert bracket(other, one) == "[28, 28]"
    assert points(-0.275) == "−28"
    assert rounded(100 * (0.1235 - 1e-15), 1) == rounded(12.35, 1)


def test_names_break_between_their_words_and_long_pieces_inside():
    assert breakable("mm_typography") == "mm_<wbr>typography"
    assert breakable("testbed/linear@sysprompt") == "testbed/<wbr>linear@<wbr>sysprompt"
    assert breakable("a" * 20) == "a" * 12 + "<wbr>" + "a" * 8
    assert breakable("<b>_x") == "&lt;b&gt;_<wbr>x"


def test_judges_of_one_name_are_told_apart_by_what_differs():
    ids = [
        "model_graded(rubric, grader=x#0011223344556677)",
        "model_graded(rubric, grader=y#0011223344556677)",
        "testbed_policy",
    ]
    assert list(judge_names(ids, {}).values()) == [
        "model_graded (grader=x#00112233)",
        "model_graded (grader=y#00112233)",
        "testbed_policy",
    ]
    assert list(judge_names(["c(a, b)", "c(b, a)"], {}).values()) == ["c(a, b)", "c(b, a)"]
