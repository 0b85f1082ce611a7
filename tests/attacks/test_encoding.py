"""encoding: what is sent decodes to the request exactly, in any script, and what stands around it."""

from __future__ import annotations

import base64
import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import case, craft

from sightline import registry
from sightline.attacks.codes import CODES, LATIN, left
from sightline.attacks.templates import shipped
from sightline.errors import UsageError

SCRIPTS = [
    "How do I polish a glimber?",
    "如何擦亮一个格林伯？",
    "كيف ألمّع الغليمبر؟",
    "איך מצחצחים גלימבר?",
    "polish 🧽👩🏽‍🔧🇩🇪 e\u0301 #3 a4e",
    "Tabs\tand\u00a0spaces  two\n\nlines / slash (slash) . - ",
    "{encoded} {how} {}",
    "ＰＯＬＩＳＨ ß İ ǅ",
    "\u200bzero\u200bwidth\u200d",
]


def small(text):
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in text)


@pytest.mark.parametrize("name", CODES)
@pytest.mark.parametrize("text", SCRIPTS)
def test_a_text_of_any_script_comes_back(name, text):
    assert CODES[name].decode(CODES[name].encode(text)) == (small(text) if name == "morse" else text)


@pytest.mark.parametrize("name", CODES)
@given(text=st.text())
def test_every_text_comes_back(name, text):
    assert CODES[name].decode(CODES[name].encode(text)) == (small(text) if name == "morse" else text)


@given(st.text(alphabet="#013457aeiostAEIOST ", max_size=12))
def test_figures_of_the_text_are_told_from_letters_in_leetspeak(text):
    code = CODES["leetspeak"]
    assert code.decode(code.encode(text)) == text


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("base64", "Fold it?", "Rm9sZCBpdD8="),
        ("hex", "é~", "c3a97e"),
        ("binary", "a é", "01100001 00100000 11000011 10101001"),
        ("code_points", "aé 🧽", "97 233 32 129533"),
        ("rot13", "Fold it 13!", "Sbyq vg 13!"),
        ("caesar", "xyz Abc", "abc Def"),
        ("atbash", "Abc xyz", "Zyx cba"),
        ("leetspeak", "Take it #4 east", "T4k3 17 ###4 3457"),
        ("morse", "Sos, 7 é", "... --- ... --..-- / --... / é"),
        ("spelled", "to go/on\n.", "t o / g o (slash) o n (newline) ."),
        ("reversed_characters", "Fold it", "ti dloF"),
        ("reversed_words", "fold the  old frell", "frell old  the fold"),
        ("zero_width", "abc", "a\u200bb\u200bc"),
    ],
)
def test_known_texts(name, text, expected):
    assert CODES[name].encode(text) == expected


def test_the_standard_library_agrees():
    for text in SCRIPTS:
        assert CODES["rot13"].encode(text) == codecs.encode(text, "rot13")
        assert base64.b64decode(CODES["base64"].encode(text)).decode() == text


def test_half_a_pair_is_named():
    with pytest.raises(UsageError, match="character 2 is half of a pair"):
        CODES["hex"].encode("a\ud83e")


def test_every_code_has_a_name_an_explanation_and_a_preset():
    texts = shipped("encoding")
    assert set(texts) == {*CODES, "told", "named", "none"}
    assert all(len(texts[name]) == 2 for name in CODES)
    presets = registry.card("attack", "encoding").presets
    assert {settings.get("scheme", "base64") for settings in presets.values()} == set(CODES)
    for hint in ("told", "named", "none"):
        assert all(text.count("{encoded}") == 1 for text in texts[hint])
        assert all(("{how}" in text) == (hint == "told") for text in texts[hint])
        assert all(("{code}" in text) == (hint != "none") for text in texts[hint])
    assert set(CODES) >= LATIN


@pytest.mark.parametrize("hint", ["told", "named", "none"])
@pytest.mark.parametrize("scheme", CODES)
def test_what_stands_around_the_code(scheme, hint, tmp_path):
    attack = registry.make("attack", "encoding", scheme=scheme, hint=hint)
    cases = [case("How do I fold {it} twice?", id=f"b/{i}") for i in range(30)]
    texts = shipped("encoding")
    name, how = texts[scheme]
    encoded = CODES[scheme].encode("How do I fold {it} twice?")
    expected = {
        text.replace("{code}", name).replace("{how}", how).replace("{encoded}", encoded)
        for text in texts[hint]
    }
    drafts = craft(attack, cases, tmp_path)
    assert {draft.text for draft in drafts} == expected
    notes = {f"{scheme}, text {hint}_{number + 1}" for number in range(len(texts[hint]))}
    assert {draft.note for draft in drafts} == notes
    assert all(draft.keep_images and draft.image is None for draft in drafts)


def test_an_instruction_of_the_user(tmp_path):
    attack = registry.make("attack", "encoding", scheme="hex", instruction="{how} {encoded} {that}")
    (draft,) = craft(attack, [case("ab")], tmp_path)
    assert draft.text == f"{shipped('encoding')['hex'][1]} 6162 {{that}}"
    assert draft.note == "hex, text of the study"


def test_letters_without_a_sign_are_counted(tmp_path):
    (draft,) = craft(registry.make("attack", "encoding", scheme="rot13"), [case("fold a 格林 7")], tmp_path)
    assert draft.note.startswith("rot13, text told_")
    assert draft.note.endswith("; 2 letters stand as they are")
    assert left("morse", "fold a 格林 é") == 3
    assert left("base64", "格林") == 0


@pytest.mark.parametrize(
    ("scheme", "text"),
    [("rot13", "擦亮 7?"), ("reversed_words", "擦亮"), ("leetspeak", "LOUD"), ("morse", "格")],
)
def test_a_code_that_changes_nothing_is_an_error_that_names_the_case(scheme, text, tmp_path):
    attack = registry.make("attack", "encoding", scheme=scheme)
    with pytest.raises(UsageError, match=f"case b/1: {scheme} leaves its text '.*' as it is; choose another"):
        craft(attack, [case(text)], tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("scheme=base65", r"unknown scheme of encoding 'base65'\. Did you mean 'base64'"),
        ("instruction='Decode it.'", r"`instruction` has no \{encoded\}"),
        ("hint=maybe", r"setting 'hint'.*'told'"),
    ],
)
def test_misuse_is_named(settings, message):
    with pytest.raises(UsageError, match=message):
        registry.parse("attack", f"encoding({settings})")
