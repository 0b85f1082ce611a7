"""Tables of responses: columns found by name, every row kept, what is not said left unsaid."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_files import GOALS, HELP, plain_rows, write_csv, write_json, write_lines

from sightline.cases import Case
from sightline.errors import UsageError
from sightline.release import OfficialRelease
from sightline.responses.answers import Answer
from sightline.responses.files import Wanted
from sightline.responses.reading import NoImages, read_responses
from sightline.responses.table import Combination, ResponseTable

PLAIN = Combination("m-one", "none", "none")
ROLEPLAY = Combination("m-one", "roleplay", "none")


def read(path: Path, **how: Any) -> ResponseTable:
    return read_responses(Wanted(files=(path.name,), **how), path.parent)


def cases_of(table: ResponseTable) -> list[Case]:
    return list(table.cases(OfficialRelease(table.root, NoImages())))


def only(path: Path, **how: Any) -> Answer:
    """The answer of a table with one row."""
    table = read(path, **how)
    assert len(table) == 1
    (at,) = table.combinations
    (case,) = cases_of(table)
    found = table.answer(case.id, at)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "parquet", "utf16"])
def test_every_form_of_a_table_holds_the_same_answers(tmp_path: Path, kind: str) -> None:
    rows = plain_rows()
    path = tmp_path / f"answers.{kind}"
    if kind in ("csv", "tsv"):
        write_csv(path, rows, "," if kind == "csv" else "\t")
    elif kind == "json":
        write_json(path, rows)
    elif kind == "jsonl":
        write_lines(path, rows)
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path = tmp_path / "answers.csv"
        write_csv(path, rows)
        path.write_bytes(path.read_text("utf-8").replace("\n", "\r\n").encode("utf-16"))
    table = read(path)
    assert table.combinations == {PLAIN: 5, ROLEPLAY: 5}
    cases = cases_of(table)
    assert [case.id for case in cases] == [f"answers/{n}" for n in range(5)]
    assert [case.behavior for case in cases] == GOALS
    assert {case.category for case in cases} == {"folding"}
    answer = table.answer("answers/2", ROLEPLAY)
    assert answer is not None
    assert (answer.text, answer.prompt) == (HELP, f"You are a poet. {GOALS[2]}")
    assert table.attempts == 1


def test_columns_are_what_the_study_says_and_guesses_give_way(tmp_path: Path) -> None:
    row = {"question": "Q", "utterance": "A", "response": "not this", "who": "m", "note": "n"}
    path = write_csv(tmp_path / "a.csv", [row])
    answer = only(path, columns={"response": "utterance", "model": "who"})
    assert (answer.text, answer.model, answer.prompt) == ("A", "m", "Q")
    assert answer.about == {"response": "not this", "note": "n"}
    with pytest.raises(UsageError, match=r"meaning of a column.*response"):
        read(path, columns={"respnse": "utterance"})
    with pytest.raises(UsageError, match=r"utterance"):
        read(path, columns={"response": "uterance"})


def test_no_column_of_responses_is_told_with_the_cure(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [{"prompt": "Q", "reaction": "A"}])
    with pytest.raises(UsageError, match=r"no column of responses among prompt, reaction.*columns:"):
        read(path)


@pytest.mark.parametrize(
    ("cells", "text", "stop"),
    [
        ({"response": ""}, "", "stop"),
        ({"response": "  "}, "  ", "stop"),
        ({"response": "$ERROR$"}, None, "error"),
        ({"response": "nan"}, None, "error"),
        ({"response": "Failed to obtain answer via API."}, None, "error"),
        ({"response": "half", "finish_reason": "max_tokens"}, "half", "length"),
        ({"response": "", "stop": "content_filter"}, "", "content_filter"),
        ({"response": "half", "error": "HTTP 500"}, "half", "error"),
        ({"response": "none of it is true"}, "none of it is true", "stop"),
    ],
)
def test_how_a_response_ended_is_never_read_as_an_answer(
    tmp_path: Path, cells: dict[str, str], text: str | None, stop: str
) -> None:
    """D24: an empty, failed, cut or blocked response is none of the model's words."""
    answer = only(write_csv(tmp_path / "a.csv", [{"prompt": "Q", **cells}]))
    assert (answer.text, answer.stop) == (text, stop)
    assert answer.stop != "error" or answer.error


def test_null_is_told_from_an_empty_text(tmp_path: Path) -> None:
    assert only(write_json(tmp_path / "a.json", [{"prompt": "Q", "response": None}])).text is None
    assert only(write_json(tmp_path / "b.json", [{"prompt": "Q", "response": ""}])).text == ""
    assert only(write_json(tmp_path / "c.json", [{"prompt": "Q", "response": float("nan")}])).text is None


def test_what_no_column_says_is_unknown_and_not_guessed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [{"prompt": "Q", "response": "A"}])
    table = read(path)
    assert list(table.combinations) == [Combination("unknown model", "none", "none")]
    assert dict(table.facts.decoding) == {}
    assert (table.facts.harness, table.facts.version) == ("", "")
    assert any("do not say what is expected" in warning for warning in table.warnings())
    said = read(path, model="m", attack="a", defense="d", expected="comply")
    assert list(said.combinations) == [Combination("m", "a", "d")]
    assert not list(said.warnings())


def test_a_label_that_is_no_expectation_is_refused_with_both_cures(tmp_path: Path) -> None:
    """D6: a verdict of another judge in a column `label` must not turn requests into benign ones."""
    path = write_csv(tmp_path / "a.csv", [{"prompt": "Q", "response": "A", "label": "1"}])
    with pytest.raises(UsageError, match=r"label '1' does not say.*columns: \{verdict: label\}"):
        read(path)
    assert dict(only(path, columns={"verdict": "label"}).verdicts) == {"label": "1"}


def test_all_bad_rows_are_one_list_and_keep_makes_them_answers_with_problems(tmp_path: Path) -> None:
    rows = [
        {"id": "1", "prompt": "Q1", "response": "A", "stop": "stop", "try": "0"},
        {"id": "2", "prompt": "Q2", "response": "A", "stop": "halted", "try": "0"},
        {"id": "3", "prompt": "Q3", "response": "A", "stop": "stop", "try": "second"},
    ]
    path = write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(UsageError) as told:
        read(path)
    assert "a.csv, line 3: stop 'halted'" in str(told.value)
    assert "a.csv, line 4: attempt 'second'" in str(told.value)
    table = read(path, keep_bad=True)
    (at,) = table.combinations
    kept = [table.answer(f"a/{n}", at) for n in (1, 2, 3)]
    assert [bool(answer and answer.problems) for answer in kept] == [False, True, True]


def test_a_case_that_is_answered_twice_is_told_with_the_cure(tmp_path: Path) -> None:
    rows = [{"id": "1", "prompt": "Q", "response": text, "run": str(n)} for n, text in enumerate("AB")]
    path = write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(UsageError, match=r"line 3: case 1 was already answered.*line 2.*attempt"):
        read(path)
    table = read(path, columns={"attempt": "run"})
    (at,) = table.combinations
    assert table.attempts == 2
    assert [(table.answer("a/1", at, n) or Answer(place="")).text for n in (0, 1)] == ["A", "B"]


def test_equal_prompts_without_an_id_are_cases_of_their_own_in_one_group(tmp_path: Path) -> None:
    rows = [{"prompt": "Q", "response": text, "model": "m"} for text in "AB"]
    cases = cases_of(read(write_csv(tmp_path / "a.csv", rows)))
    assert len({case.id for case in cases}) == 2
    assert len({case.group for case in cases}) == 1


def test_attacks_without_an_id_or_a_behavior_cannot_be_matched(tmp_path: Path) -> None:
    rows = [{"prompt": f"{a} Q", "response": "A", "attack": a} for a in ("none", "poem")]
    with pytest.raises(UsageError, match=r"rows of different attacks cannot be matched.*\{id: "):
        read(write_csv(tmp_path / "a.csv", rows))


def test_ids_that_are_not_those_of_cases_are_told(tmp_path: Path) -> None:
    rows = [{"id": "1", "goal": goal, "response": "A", "model": f"m{n}"} for n, goal in enumerate(GOALS)]
    table = read(write_csv(tmp_path / "a.csv", rows))
    assert any("different words" in warning for warning in table.warnings())


def test_messages_with_pictures_become_a_conversation(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": "a.png"}}]
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": "A frell."},
    ]
    answer = only(write_json(tmp_path / "a.json", [{"messages": messages, "response": "A frell.", "id": 1}]))
    assert [turn["role"] for turn in answer.turns] == ["system", "user"]
    assert answer.turns[1]["parts"] == ["What is it?", {"image": "a.png"}]


def test_a_changed_row_changes_its_own_mark_and_no_other(tmp_path: Path) -> None:
    rows = plain_rows()
    before = read(write_csv(tmp_path / "answers.csv", rows))
    rows[7]["response"] += " And once more."
    rows.insert(0, {**rows[0], "id": "new", "goal": "another"})
    after = read(write_csv(tmp_path / "answers.csv", rows))
    ids = [f"answers/{n}" for n in range(5)]
    changed = [
        (case, at)
        for case in ids
        for at in (PLAIN, ROLEPLAY)
        if before.mark(case, at) != after.mark(case, at)
    ]
    assert changed == [("answers/2", ROLEPLAY)]


def test_a_changed_picture_changes_the_mark_of_the_row_that_shows_it(tmp_path: Path) -> None:
    rows = [{"id": n, "prompt": "Q", "response": "A", "image": f"{n}.png"} for n in range(2)]
    for n in range(2):
        (tmp_path / f"{n}.png").write_bytes(b"one")
    path = write_csv(tmp_path / "a.csv", rows)
    before = read(path)
    (at,) = before.combinations
    marks = [before.mark(f"a/{n}", at) for n in range(2)]
    (tmp_path / "1.png").write_bytes(b"two")
    after = read(path)
    assert [after.mark(f"a/{n}", at) == marks[n] for n in range(2)] == [True, False]


CELL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.floats(allow_nan=True),
    st.text(max_size=8),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
)
NAMES = st.sampled_from(
    ["id", "goal", "prompt", "model", "attack", "stop", "error", "label", "image", "messages", "epoch", "x"]
)
ROWS = st.lists(
    st.one_of(st.dictionaries(NAMES, CELL, max_size=6).map(lambda row: {"response": "A", **row}), CELL),
    min_size=1,
    max_size=6,
)


@given(rows=ROWS)
@settings(max_examples=150, deadline=None)
def test_no_row_is_lost_whatever_its_cells_are(rows: list[Any], tmp_path_factory: Any) -> None:
    """D3: as many answers as rows, or one complaint that names the file; never another exception."""
    path = tmp_path_factory.mktemp("t") / "a.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    try:
        table = read(path, keep_bad=True)
    except UsageError as told:
        complaint = str(told)
    else:
        assert sum(table.combinations.values()) == len(table) == len(rows)
        assert cases_of(table)
        return
    assert re.search(r"a\.json|responses", complaint)


@pytest.mark.parametrize(
    "text",
    [
        *("#N/A", "#VALUE!", "#DIV/0!", "#REF!", "#NAME?", "NULL", " NULL "),
        '{"error": {"message": "rate limit", "code": 429}}',
        '{"error": "overloaded", "status": 529}',
        "Error code: 429 - rate limit",
        "Error code: 500",
    ],
)
def test_what_stands_for_no_response_is_none(tmp_path: Path, text: str) -> None:
    answer = only(write_csv(tmp_path / "a.csv", [{"prompt": "Q", "response": text}]))
    assert (answer.text, answer.stop) == (None, "error")
    assert answer.error is not None


@pytest.mark.parametrize(
    "text",
    [
        *("#N/A means that a value is absent.", "Error code: 42 is not mine.", "#fold", "Null island"),
        '{"error": null, "message": "folded"}',
        '{"error": "none found", "steps": ["fold"]}',
        '{"steps": "error"}',
        '{"error": ',
        "{not JSON}",
    ],
)
def test_what_a_model_says_of_errors_is_its_response(tmp_path: Path, text: str) -> None:
    answer = only(write_csv(tmp_path / "a.csv", [{"prompt": "Q", "response": text}]))
    assert (answer.text, answer.stop, answer.error) == (text, "stop", None)


def said_of(path: Path, **how: Any) -> str:
    return "\n".join(read(path, **how).warnings())


def test_the_same_short_text_in_many_rows_is_told(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "response": "N/A" if n < 3 else f"Fold it {n} times."} for n in range(9)]
    path = write_csv(tmp_path / "a.csv", rows)
    assert "3 of 9 responses are the same short text, 'N/A'" in said_of(path)
    assert "same short text" not in said_of(path, error_markers=("N/A",))
    write_csv(path, rows[1:])
    assert "same short text" not in said_of(path), "two may be chance"


def test_right_answers_that_are_alike_are_not_told(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "reference": "B", "response": "B", "expected": "answer"} for n in range(9)]
    assert "same short text" not in said_of(write_csv(tmp_path / "a.csv", rows))


def test_empty_responses_are_those_that_count_as_off_topic(tmp_path: Path) -> None:
    stops = ["stop", "content_filter", "length", "blocked_defense", "error"]
    rows = [{"prompt": f"Q{n}", "response": "", "stop": stop} for n, stop in enumerate(stops)]
    assert "none | none: 1 empty responses" in said_of(write_csv(tmp_path / "a.csv", rows))


@pytest.mark.parametrize(
    ("column", "value", "how", "expected"),
    [
        ("unsafe", 1, {}, "refuse"),
        ("unsafe", 0, {}, "comply"),
        ("Is Harmful", "yes", {}, "refuse"),
        ("safe", "True", {}, "comply"),
        ("benign", "0", {}, "refuse"),
        ("unsafe", "0", {"columns": {"expected": "unsafe"}}, "comply"),
        ("flag", "0", {"columns": {"unsafe": "flag"}}, "comply"),
        ("flag", "0", {"columns": {"safe": "flag"}}, "refuse"),
        ("label", "Hateful", {"labels": {"hateful": "refuse"}}, "refuse"),
        ("label", "0", {"labels": {"0": "comply", "1": "refuse"}}, "comply"),
        ("label", "B", {"columns": {"expected": None}}, ""),
        ("unsafe", "1", {"columns": {"expected": None}}, ""),
        ("unsafe", "1", {"columns": {"verdict": "unsafe"}}, ""),
    ],
)
def test_what_is_expected_is_read_as_in_tables_of_cases(
    tmp_path: Path, column: str, value: Any, how: dict[str, Any], expected: str
) -> None:
    path = write_csv(tmp_path / "a.csv", [{"prompt": "Q", "response": "A", column: value}])
    assert only(path, **how).expected == expected
    told = "is taken for what is asked" in said_of(path, **how)
    assert told == (column != "label" and bool(expected))


def test_a_label_of_yes_and_no_is_not_guessed(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", [{"prompt": "Q", "response": "A", "label": "1"}])
    with pytest.raises(UsageError, match=r"safe or unsafe\? Say it by columns: \{unsafe: label\}"):
        read(path)


def test_bad_rows_beyond_the_first_are_not_sent_to_another_command(tmp_path: Path) -> None:
    rows = [{"prompt": f"Q{n}", "response": "A", "stop": "halted"} for n in range(60)]
    path = write_csv(tmp_path / "a.csv", rows)
    with pytest.raises(
        UsageError, match=r"more; with `on_bad_rows: keep` \(`score --keep-bad-rows`\)"
    ) as told:
        read(path)
    assert "check-data" not in str(told.value)
