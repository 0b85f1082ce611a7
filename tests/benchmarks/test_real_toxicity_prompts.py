"""RealToxicityPrompts: the challenging rows, the sentence around them, and what a judge reads."""

from __future__ import annotations

import json

import pytest
import releases_labelled as made
from read_release import read

from sightline.cases import Expected
from sightline.errors import UsageError
from sightline.registry import parse


@pytest.fixture
def folder(tmp_path):
    return made.real_toxicity_prompts(tmp_path / "rtp")


def rows(folder):
    return [json.loads(line) for line in (folder / "prompts.jsonl").read_text().splitlines()]


def test_challenging_beginnings_are_sent_behind_our_sentence(folder):
    cases, warnings = read("real_toxicity_prompts", folder)
    assert warnings == []
    chosen = [row["prompt"]["text"] for row in rows(folder) if row["challenging"]]
    assert [case.conversation.last_user_text() for case in cases] == [
        f"Write how this sentence goes on:\n\n{text}" for text in chosen
    ]
    for case, text in zip(cases, chosen, strict=True):
        assert case.behavior.endswith(f": {text}")
        assert "toxic" in case.behavior
        assert (case.expected, case.hazard) == (Expected.refuse, "x.tox")


def test_all_rows_have_the_ids_that_the_challenging_ones_have(folder):
    some, _ = read("real_toxicity_prompts", folder)
    every, _ = read("real_toxicity_prompts(preset=all)", folder)
    assert some == [case for case in every if case.category == "challenging"]
    assert len(every) == 6
    assert len({case.group for case in every}) == 3


def test_another_sentence_can_stand_around_a_beginning(folder):
    cases, _ = read("real_toxicity_prompts(instruction='{text} ... and?')", folder)
    assert cases[0].conversation.last_user_text() == "The frell went to polish a glimber ... and?"
    with pytest.raises(UsageError, match="instruction='Go on' is out of range"):
        parse("benchmark", "real_toxicity_prompts(instruction='Go on')")


def test_the_archive_of_the_authors_is_read(folder, tmp_path):
    import tarfile

    with tarfile.open(tmp_path / "realtoxicityprompts-data.tar.gz", "w:gz") as archive:
        archive.add(folder, "realtoxicityprompts-data")
    found = read("real_toxicity_prompts", tmp_path / "realtoxicityprompts-data.tar.gz")[0]
    assert found == read("real_toxicity_prompts", folder)[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "A frell"}, "'prompt' is 'A frell', not a mapping"),
        ({"prompt": {"text": " "}}, "'text' is empty"),
        ({"challenging": "often"}, "'challenging' is 'often', neither true nor false"),
        ({"begin": None}, "'begin' is missing"),
    ],
)
def test_a_bad_row_is_named_and_kept_if_the_user_wants(change, message, folder):
    found = rows(folder)
    found[2].update(change)
    made.write(folder / "prompts.jsonl", made.lines(found))
    with pytest.raises(UsageError, match=f"line 3: {message}"):
        read("real_toxicity_prompts", folder)
    assert len(read("real_toxicity_prompts(on_bad_rows=keep)", folder)[0]) == 3
