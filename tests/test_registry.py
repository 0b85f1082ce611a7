"""Registry: names, presets, the text form of a method, and what happens when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import toys

from sightline import cards, registry
from sightline.errors import UsageError


def test_text_form_round_trips() -> None:
    for method in (
        toys.ToyDots(),
        toys.ToyDots(fails=("toy/4", "x, y)")),
        toys.ToyPlain(tag='it\'s a "tag"(=)'),
    ):
        assert registry.parse("attack", registry.spec(method)) == method


def test_bare_words_are_strings() -> None:
    assert registry.parse("attack", "toy_plain(tag=loud)") == toys.ToyPlain(tag="loud")


@pytest.mark.parametrize(
    "text",
    [
        "toy_plain(",
        "toy_plain(1)",
        "toy_plain(**x)",
        "__import__('os')",
        "toy_plain(tag=open('x'))",
        "",
        "a.b",
        "a;b",
        "toy_plain(tag={[]: 1})",
        "toy_plain(tag='x', tag='y')",
        "toy_plain(tag=" + "(" * 3000 + ")" * 3000 + ")",
        "toy_plain(tag=" + "-" * 90_000 + "1)",
        "toy_plain(preset=[])",
        "toy_plain(kind='x')",
        "toy_plain(name='x')",
    ],
)
def test_nothing_is_evaluated(text: str) -> None:
    with pytest.raises(UsageError):
        registry.parse("attack", text)


def test_identity_depends_on_settings_and_code() -> None:
    assert registry.identity(toys.ToyPlain()) != registry.identity(toys.ToyPlain(tag="x"))
    assert registry.identity(toys.ToyPlain()) == registry.identity(toys.ToyPlain())


@pytest.mark.parametrize(
    ("kind", "name", "options", "message"),
    [
        ("attack", "figstepp", {}, "Did you mean 'figstep'"),
        ("attack", "toy_plain", {"preset": "papr"}, "unknown preset"),
        ("attack", "toy_plain", {"tga": "x"}, "Did you mean 'tag'"),
        ("attack", "toy_plain", {"tag": 7}, "valid string"),
    ],
)
def test_wrong_names_and_values(kind: cards.Kind, name: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.make(kind, name, **options)


def test_listing_needs_no_import() -> None:
    assert {"none", "figstep", "mm_typography"} <= set(registry.names("attack"))


def test_a_plug_in_that_raises_its_own_base_exception_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_plug_in.py").write_text("class Odd(BaseException): ...\nraise Odd('no')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=r"plug-in odd_plug_in .* cannot be imported: Odd: no"):
        registry._import("judge", "odd", "odd_plug_in")
