"""Numbers of cases against those of the official release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sightline import registry
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.release import OfficialRelease
from sightline.rows import Row
from sightline.store import Blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted(TableBenchmark):
    def rows(self, release: Release) -> Iterator[Row]:
        yield from release.rows("rows.json")

    def case(self, row: Row, release: Release) -> Case:
        text, kind = row.text("text"), row.word("kind")
        return Case(text, Conversation.user(text), text, Expected.refuse, kind, text)


@pytest.mark.parametrize(
    ("known", "warning"),
    [
        ({"soft": 2, "hard": 1}, ""),
        ({"": 3}, ""),
        ({}, ""),
        ({"soft": 2}, "hard has 1 (expected 0)"),
        ({"soft": 2, "hard": 1, "odd": 4}, "odd has 0 (expected 4)"),
        ({"": 5}, "all has 3 (expected 5)"),
    ],
)
def test_only_what_is_known_is_compared(
    known: dict[str, int], warning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = ReleaseFacts(home="nowhere", counts={"": known})
    card = replace(registry.card("benchmark", "vlguard"), release=facts)
    monkeypatch.setattr(Counted, "card", card, raising=False)
    rows = [{"text": name, "kind": "soft" if name < "c" else "hard"} for name in "abc"]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    release = OfficialRelease(tmp_path, Blobs(tmp_path / "blobs"))
    assert len(list(Counted().cases(release))) == 3
    found = [text.removeprefix(f"{tmp_path}: numbers of cases: ") for text in release.warnings]
    assert found == ([warning] if warning else [])
