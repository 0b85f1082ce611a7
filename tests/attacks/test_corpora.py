"""Corpora: files of three kinds, registered names, one-line errors, and what of them is in the keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline import registry
from sightline.attacks.corpora import Dialogue, read_corpus, resolved, texts
from sightline.errors import UsageError
from sightline.testbed.corpora import CORPORA

FILES = {
    "a.txt": ("one\n\n two \n", (Dialogue(reply="one"), Dialogue(reply="two"))),
    "a.csv": ('prompt,reply\n"a, b",c\n', (Dialogue("a, b", "c"),)),
    "a.jsonl": ('{"prompt": "p", "reply": "r", "system": "s"}\n', (Dialogue("p", "r", "s"),)),
}


@pytest.mark.parametrize("name", FILES)
def test_files(name: str, tmp_path: Path) -> None:
    text, rows = FILES[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert read_corpus(str(tmp_path / name)) == rows
    assert all(texts(rows))


@pytest.mark.parametrize("name", CORPORA)
def test_registered_names(name: str) -> None:
    rows = read_corpus(f"testbed/{name}")
    assert rows
    assert all(row.prompt and row.reply for row in rows)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("testbed/secret", None, r"unknown corpus 'testbed/secret'\. Did you mean 'testbed/secrets'"),
        ("testbed", None, "unknown corpus 'testbed'"),
        ("there.txt", None, r"corpus .* cannot be read"),
        ("a.jsonl", "{}\n[1]\n", r"a\.jsonl:2: expected an object"),
        ("a.jsonl", "{'a'}\n", r"a\.jsonl:1: no JSON"),
        ("a.csv", "prompt,answer\na,b\n", r"a\.csv:2: expected texts called prompt, reply, system"),
        ("a.csv", "prompt,reply\na\n", r"a\.csv:2: expected texts"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(
    name: str, text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_corpus(name if text is None and "/" in name else str(tmp_path / name) if "." in name else name)


def test_contents_are_in_the_keys(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one", encoding="utf-8")
    attack = registry.make("attack", "qi_visual", corpus=str(path))
    before = registry.identity(attack)
    path.write_text("two", encoding="utf-8")
    assert registry.identity(attack) != before
    assert not resolved("")


def test_corpora_of_the_testbed_keep_the_seeds_of_studies() -> None:
    attack = registry.make("attack", "qi_visual", preset="testbed")
    assert registry.seed_text(attack) == (
        "qi_visual(corpus='testbed', size_px=64, shapes=1, steps=300, alpha_levels=8.0, targets_per_step=16)"
    )
