"""`last_turn` by itself leaves cases as they are; behind an attack over several turns see test_chain."""

from __future__ import annotations

from pathlib import Path

from pages import case, craft

from sightline import registry


def test_alone_it_changes_nothing(tmp_path: Path) -> None:
    asked = case("steps for balopi")
    (draft,) = craft(registry.make("attack", "last_turn"), [asked], tmp_path)
    assert (draft.case, draft.text, draft.image, draft.before) == (asked, None, None, ())
