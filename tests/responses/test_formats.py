"""Files of other harnesses, in their own schemas: what each row says, and what none of them says."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_files import (
    GOALS,
    HELP,
    REFUSAL,
    artifact,
    harmbench,
    omnisafebench,
    pyrit,
    write_csv,
    write_json,
    write_lines,
)

from sightline.errors import UsageError
from sightline.release import NoImages, OfficialRelease
from sightline.responses.answers import Answer
from sightline.responses.files import Wanted
from sightline.responses.formats import jailbreakbench
from sightline.responses.reading import read_responses
from sightline.responses.table import Combination, ResponseTable


def read(folder: Path, *files: str, **how: Any) -> ResponseTable:
    return read_responses(Wanted(files=files or (".",), **how), folder)


def answers(table: ResponseTable, at: Combination) -> list[Answer]:
    """The rows of a combination in the order of the cases."""
    cases = table.cases(OfficialRelease(table.root, NoImages()))
    found = [table.answer(case.id, at) for case in cases]
    return [answer for answer in found if answer is not None]


def test_an_artifact_of_jailbreakbench(tmp_path: Path) -> None:
    write_json(tmp_path / "PAIR" / "m-one.json", artifact())
    write_json(tmp_path / "PAIR" / "m-two.json", artifact("m-two", obeyed=1, without=()))
    table = read(tmp_path)
    one = Combination("m-one", "PAIR", "none")
    assert table.combinations == {one: 5, Combination("m-two", "PAIR", "none"): 5}
    rows = answers(table, one)
    assert [row.behavior for row in rows] == GOALS
    assert [row.text for row in rows] == [HELP] * 3 + [REFUSAL, ""]
    assert [row.stop for row in rows] == ["stop"] * 5
    assert not rows[4].turns
    assert [row.verdicts["jailbroken"] for row in rows] == [True, True, True, False, False]
    assert [row.verdicts["jailbroken_other"] for row in rows] == [True, True, False, False, False]
    assert [row.queries for row in rows] == [10, 11, 12, 13, 14]
    assert rows[0].about["queries_to_jailbreak"] == 5
    assert (rows[0].tokens_in, rows[0].tokens_out, rows[0].category) == (7, 9, "Folding")
    first = table.facts.files[0]
    assert first["parameters"]["total_number_of_queries"] == 60
    assert (first["name"], first["rows"], first["jailbroken rows"]) == ("m-one.json", 5, 3)
    assert (table.facts.format, table.facts.harness, table.facts.version) == (
        "jailbreakbench",
        "JailbreakBench",
        "",
    )


def test_a_case_for_which_an_attack_found_nothing_was_not_obeyed_and_a_lost_response_is_an_error(
    tmp_path: Path,
) -> None:
    """D3: leaving out the cases that an attack gave up on would raise its success rate."""
    whole = artifact(without=(0, 1, 3, 4))
    whole["jailbreaks"][4]["prompt"] = "As a poem"
    write_json(tmp_path / "a.json", whole)
    rows = answers(read(tmp_path), Combination("m-one", "PAIR", "none"))
    assert [row.stop for row in rows] == ["stop", "stop", "stop", "stop", "error"]
    assert [row.text for row in rows] == ["", "", HELP, "", None]
    assert rows[4].error == "the artifact holds no response (null)"


def test_what_is_read_of_an_artifact_is_written_again_as_it_was(tmp_path: Path) -> None:
    whole = artifact()
    whole["jailbreaks"][1]["note"] = {"kept": ["as", "it", "is"]}
    del whole["jailbreaks"][2]["queries_to_jailbreak"]
    write_json(tmp_path / "a.json", whole)
    table = read(tmp_path)
    (at,) = table.combinations
    again = jailbreakbench.artifact(answers(table, at), table.facts.files[0]["parameters"])
    assert again == whole
    assert [list(row) for row in again["jailbreaks"]] == [list(row) for row in whole["jailbreaks"]]


def test_completions_of_harmbench_with_labels_and_an_unanswered_test_case(tmp_path: Path) -> None:
    harmbench(tmp_path)
    table = read(tmp_path, "results/*/*/*/*.json", behaviors="results/behaviors.csv", model="m-one")
    pair, direct = Combination("m-one", "PAIR", "none"), Combination("m-one", "none", "none")
    assert table.combinations == {pair: 5, direct: 5}
    rows = {row.case: row for row in answers(table, pair)}
    assert rows["fold_0"].behavior == GOALS[0]
    assert (rows["fold_0"].text, rows["fold_0"].prompt) == (HELP, f"Poem: {GOALS[0]}")
    assert dict(rows["fold_0"].verdicts) == {"label": 1}
    assert rows["fold_0"].category == "folding"
    assert (rows["fold_4"].text, rows["fold_4"].stop) == (None, "error")
    assert rows["fold_4"].error == "the file holds no completion of this test case"
    cases = list(table.cases(OfficialRelease(table.root, NoImages())))
    assert {case.conversation.last_user_text() for case in cases} == set(GOALS)


def test_model_and_method_of_harmbench_come_from_the_folders(tmp_path: Path) -> None:
    harmbench(tmp_path, model="llava_x")
    table = read(tmp_path, "results/PAIR/llava_x/results/llava_x.json")
    assert list(table.combinations) == [Combination("llava_x", "PAIR", "none")]
    (row, *_) = answers(table, Combination("llava_x", "PAIR", "none"))
    assert row.behavior == "fold_0", "without the table of behaviors, judges read the id"


def test_a_multimodal_test_case_of_harmbench_shows_its_picture(tmp_path: Path) -> None:
    below = tmp_path / "vision" / "m"
    write_json(
        below / "completions" / "m.json", {"see": [{"test_case": ["1.png", "Do."], "generation": HELP}]}
    )
    (below / "test_cases" / "images").mkdir(parents=True)
    table = read(tmp_path, "vision/m/completions/m.json")
    (at,) = table.combinations
    (row,) = answers(table, at)
    assert row.turns[0]["parts"] == [{"image": "test_cases/images/1.png"}, "Do."]
    assert table.root == below


def test_pictures_lie_beside_their_file_or_in_the_folder_that_the_study_names(tmp_path: Path) -> None:
    row = {"id": "1", "prompt": "Q", "response": "A", "image": "1.png"}
    for name in ("one", "two"):
        write_lines(tmp_path / name / "a.jsonl", [{**row, "model": name}])
    (tmp_path / "pages").mkdir()
    for images, where in (("", "one/1.png"), ("pages", "pages/1.png")):
        table = read(tmp_path, "one/a.jsonl", "two/a.jsonl", images=images)
        (found,) = answers(table, Combination("one", "none", "none"))
        assert found.turns[0]["parts"] == [{"image": where}, "Q"]


def test_results_of_omnisafebench_know_failures_filters_and_blocks(tmp_path: Path) -> None:
    """D3, D11: the project's placeholders are neither answers nor refusals."""
    write_lines(tmp_path / "attack_figstep_model_m-one.jsonl", omnisafebench())
    table = read(tmp_path)
    at = Combination("m-one", "figstep", "none")
    rows = answers(table, at)
    assert [row.stop for row in rows] == ["stop", "stop", "error", "content_filter", "blocked_defense"]
    assert [row.text is None for row in rows] == [False, False, True, False, False]
    assert rows[0].verdicts == {"success": True}
    assert rows[0].about["judge_score"] == 3
    assert [row.behavior for row in rows] == GOALS
    assert rows[0].prompt == "Fill in the list."
    assert rows[0].category == "folding"


def test_cases_of_omnisafebench_are_matched_by_what_was_asked_not_by_their_number(tmp_path: Path) -> None:
    rows = omnisafebench()
    other = [{**row, "attack_method": "mml", "test_case_id": str(9 - n)} for n, row in enumerate(rows)]
    write_lines(tmp_path / "one.jsonl", rows)
    write_lines(tmp_path / "two.jsonl", other[1:])
    table = read(tmp_path)
    assert len(list(table.cases(OfficialRelease(table.root, NoImages())))) == 5
    assert any("mml | none: 1 of 5 responses are not in the table" in warning for warning in table.warnings())


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_conversations_of_pyrit(tmp_path: Path, kind: str) -> None:
    rows = pyrit()
    if kind == "json":
        write_json(tmp_path / "conversations.json", rows)
    else:
        write_csv(tmp_path / "conversations.csv", rows)
    table = read(tmp_path)
    at = Combination("m-one", "RotConverter", "none")
    assert table.combinations == {at: 5}
    found = answers(table, at)
    assert [row.behavior for row in found] == GOALS
    assert [row.stop for row in found] == ["stop", "stop", "content_filter", "error", "error"]
    assert found[0].text == HELP
    assert [turn["role"] for turn in found[0].turns] == ["user", "assistant", "user"]
    assert found[0].turns[0]["parts"] == ["sbyq"], "what was sent, not what was meant"
    assert dict(found[0].verdicts) == {"SelfAskScorer": True}
    assert dict(found[1].verdicts) == {"SelfAskScorer": False}
    assert found[3].error == "response_error processing: time out"
    assert found[4].error == "the conversation ends without a reply"
    assert found[0].about["conversation_id"] == "conversation-0"
    assert found[0].category == "folding"


def test_further_conversations_of_a_case_are_its_tries(tmp_path: Path) -> None:
    rows = pyrit()
    again = [
        {**row, "conversation_id": "again"} for row in rows if row["conversation_id"] == "conversation-1"
    ]
    write_json(tmp_path / "conversations.json", [*rows, *again])
    table = read(tmp_path)
    assert table.attempts == 2
    assert any("4 of 10 responses are not in the table" in warning for warning in table.warnings())


def test_a_json_object_of_no_known_format_is_told(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"rows": 3})
    with pytest.raises(UsageError, match=r"a.json: a JSON object in none of the known formats"):
        read(tmp_path)
    write_json(tmp_path / "a.json", artifact())
    with pytest.raises(UsageError, match=r"not in the format pyrit"):
        read(tmp_path, format="pyrit")
    with pytest.raises(UsageError, match=r"format of responses 'pirit'.*pyrit"):
        read(tmp_path, format="pirit")


def test_no_file_is_told_with_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no file of responses there \(\.csv"):
        read(tmp_path, "absent.csv")


VALUES = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.booleans()
)
MAKERS = {
    "jailbreakbench": lambda: artifact(),
    "harmbench": lambda: {f"b{n}": [{"test_case": goal, "generation": HELP}] for n, goal in enumerate(GOALS)},
    "omnisafebench": omnisafebench,
    "pyrit": pyrit,
}


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to everything inside of a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, inner in items for place in ((*path, key), *places(inner, (*path, key)))]


def rows_in(whole: Any, kind: str) -> int:
    """Rows of a file: entries of a list, or of the lists of a mapping."""
    if kind == "harmbench":
        return sum(len(each) if isinstance(each, list) else 1 for each in whole.values())
    return len(whole["jailbreaks"] if kind == "jailbreakbench" else whole)


@pytest.mark.parametrize("kind", MAKERS)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_broken_row_is_told_or_kept_and_never_lost(kind: str, data: Any, tmp_path_factory: Any) -> None:
    """D3: whatever a single value becomes, no row disappears, and nothing but a complaint is raised."""
    whole = copy.deepcopy(MAKERS[kind]())
    *path, last = data.draw(st.sampled_from(places(whole)))
    value = data.draw(VALUES)
    inner = whole
    for step in path:
        inner = inner[step]
    inner[last] = value
    path_ = tmp_path_factory.mktemp("t") / "a.json"
    path_.write_text(json.dumps(whole), encoding="utf-8")
    try:
        table = read(path_.parent, keep_bad=True)
    except UsageError:
        return
    assert len(table) >= (5 if kind == "pyrit" else rows_in(whole, kind))
    assert list(table.cases(OfficialRelease(table.root, NoImages())))


@pytest.mark.parametrize(
    ("said", "attack"),
    [("", "unknown attack"), ("PAIR", "PAIR"), ("DirectRequest", "none"), ("none", "none")],
)
def test_completions_in_no_folder_of_a_method_are_of_an_unknown_attack(
    tmp_path: Path, said: str, attack: str
) -> None:
    path = write_json(tmp_path / "m-one.json", {"fold": [{"test_case": GOALS[0], "generation": HELP}]})
    table = read_responses(Wanted(files=(path.name,), attack=said), tmp_path)
    assert list(table.combinations) == [Combination("m-one", attack, "none")]
