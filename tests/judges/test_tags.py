"""Tags of languages: scripts of one language, short, empty and mixed texts, what py3langid names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_refusal_languages import GIVEN

from sightline.judges._phrases import LANGUAGES
from sightline.judges._tags import UND, tag

pytest.importorskip("py3langid")
ENGLISH = (
    "Mix the flower with water and let the dough rest for an hour before you bake the bread in the oven."
)
DUTCH = "Meng de bloem met water en laat het deeg een uur rusten voordat je het brood in de oven bakt."


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ENGLISH, "en"),
        (DUTCH, "nl"),
        ("\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35", "th"),
        ("\u0e02\u0e2d\u0e42\u0e17\u0e29 OK", "th"),
        ("\u4f60\u597d\uff0c\u9762\u5305\u5728\u54ea\u91cc\uff1f", "zh"),
        ("\u30d1\u30f3\u3092\u713c\u304f", "ja"),
        ("\uc548\ub155\ud558\uc138\uc694", "ko"),
        ("\u03c8\u03c9\u03bc\u03af", "el"),
    ],
)
def test_languages_are_told(text: str, code: str) -> None:
    found = tag(text)
    assert found.code == code
    assert 0.3 <= found.sure <= 1


@pytest.mark.parametrize(("language", "reply"), GIVEN.items())
def test_every_language_with_a_list_is_told(language: str, reply: str) -> None:
    assert tag(reply).code == next(code for code, name in LANGUAGES.items() if name == language)


@pytest.mark.parametrize(
    "text", ["", "   ", "Ok.", "No", "12 + 3 = 15", "\u4f60", "???", "\U0001f600" * 40, "a b c d"]
)
def test_short_and_empty_texts_stay_undetermined(text: str) -> None:
    assert tag(text).code == UND


@pytest.mark.parametrize(
    "text",
    [
        f"{ENGLISH[:40]} {GIVEN['russian'][:40]}",
        f"{ENGLISH[:30]} {GIVEN['chinese'][:10]}",
        " ".join([ENGLISH, ENGLISH, DUTCH, DUTCH]),
    ],
)
def test_mixed_texts_stay_undetermined(text: str) -> None:
    assert tag(text).code == UND


def test_a_few_foreign_words_do_not_matter() -> None:
    assert tag(f"{ENGLISH} {ENGLISH} \u0e2a\u0e27\u0e31").code == "en"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=80))
def test_any_text_has_a_code(text: str) -> None:
    found = tag(text)
    assert found.code == UND or 2 <= len(found.code) <= 3
    assert 0 <= found.sure <= 1.0000001
