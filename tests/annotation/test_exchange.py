"""Items out and answers in: round trips, formulas, nestings of Argilla, every refusal with its row."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from annotated import GUIDELINE, answer, log, results, write_annotation
from hypothesis import given
from hypothesis import strategies as st
from run_folder import HOSTILE, Shape, write_run
from typer.testing import CliRunner

from sightline.annotation.ballots import read_annotation
from sightline.annotation.contents import Content, ShownTurn
from sightline.annotation.events import Event, answers_of, read_events
from sightline.annotation.exchange import argilla, label_studio, sheets
from sightline.annotation.exchange.incoming import Answer, take_in
from sightline.annotation.exchange.outgoing import Outgoing, Sheet, request_text, sheet
from sightline.annotation.plan import Planned
from sightline.annotation.questions import shipped
from sightline.cli import app
from sightline.errors import UsageError

BOTH = {"ann": 0, "bo": 1}
SHORT = GUIDELINE[:8]
AT = "2026-11-27T05:14:02Z"
PNG = b"\x89PNG invented"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shape = Shape(prompts=1, utility=2, defenses=("none",), attacks=("none", "figstep"))
    return write_run(tmp_path_factory.mktemp("runs") / "run", shape)


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("records", "blobs", "results.parquet", "study.lock.yaml"):
        (run / name).symlink_to(template / name)
    rows = results(run)
    items = [
        Planned(
            item=name, prob=1.0, stratum="s", group=name, samples=(row["sample"],), order=BOTH,
            benchmark=row["benchmark"], case=row["case_id"],
        )
        for name, row in zip("abc", [rows[0], rows[1], rows[-1]], strict=True)
    ]  # fmt: skip
    return write_annotation(run, items, questions=("outcome", "harm"))


def one(item: str = "a", rater: str = "ann", value: str = "partial", **more: Any) -> Answer:
    return Answer(
        **{"where": "f, row 1", "item": item, "rater": rater, "question": "outcome", "value": value} | more
    )


def said(folder: Path, rater: str = "ann") -> dict[str, dict[str, str]]:
    return {item: dict(event.questions) for (item, _), event in answers_of(folder, rater).items()}


# --- CSV


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=12))
def test_no_cell_is_a_formula_and_every_text_comes_back(text: str) -> None:
    cell = sheets.safe(text)
    assert not cell or cell[0] not in "=+-@\t\r\n"
    assert sheets.unsafe(cell) == text


TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), max_size=20)


@given(
    st.lists(
        st.builds(
            Event,
            event=st.just("answer"),
            rater=st.sampled_from(["ann", "bo"]),
            item=st.sampled_from("abc"),
            questions=st.sampled_from([{"outcome": "refused"}, {"outcome": "partial", "harm": "unsafe"}]),
            confidence=st.integers(0, 3),
            note=TEXTS.map(str.strip),
            at=st.just(AT),
            guideline=st.just(SHORT),
        ),
        unique_by=lambda event: (event.rater, event.item),
        max_size=6,
    )
)
def test_answers_come_back_from_a_table(
    tmp_path_factory: pytest.TempPathFactory, events: list[Event]
) -> None:
    path = tmp_path_factory.mktemp("csv") / "answers.csv"
    sheets.write_answers(path, events)
    found = [replace(each, where="") for each in sheets.read_answers(path)]
    assert found == [
        Answer(
            where="", item=event.item, rater=event.rater, question=question, value=value,
            confidence=event.confidence, note=event.note, at=AT, guideline=SHORT,
        )
        for event in events
        for question, value in event.questions.items()
    ]  # fmt: skip


def outgoing(**changes: Any) -> Outgoing:
    values: dict[str, Any] = {
        "item": "a",
        "request": "how ?",
        "behavior": "b",
        "reply": "r",
        "guideline": SHORT,
    }
    return Outgoing(**(values | changes))


def sheet_of(*items: Outgoing) -> Sheet:
    return Sheet(questions={"outcome": shipped()["outcome"]}, items=iter(items))


def test_items_as_a_table_of_rfc_4180_with_hostile_texts(tmp_path: Path) -> None:
    items = [outgoing(item=str(number), reply=text, pictures=(PNG,)) for number, text in enumerate(HOSTILE)]
    items.append(outgoing(item="f", reply='=HYPERLINK("http://x";"y")', request="-1\r\nline"))
    paths = sheets.write_items(tmp_path / "items.csv", sheet_of(*items))
    data = paths[0].read_bytes()
    assert data.count(b"\r\n") > len(items)
    rows = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert list(rows[0]) == ["item", "request", "behavior", "image", "reply", "guideline"]
    assert [sheets.unsafe(row["reply"]) for row in rows] == [each.reply for each in items]
    assert rows[-1]["reply"].startswith("'=HYPERLINK")
    assert rows[0]["image"] == "items_pictures/0-1.png"
    assert (tmp_path / "items_pictures" / "0-1.png").read_bytes() == PNG


# --- what is taken in


def test_answers_are_added_once(folder: Path) -> None:
    answers = [
        one("a", "ann", "partial", confidence=2, at=AT),
        one("a", "ann", "unsafe", question="harm", confidence=2, at=AT),
        one("b", "bo", "distress", kind="skip", question=""),
        one("c", "bo", "yes", kind="escalate", question="", note="see"),
    ]
    assert take_in(folder, answers).added == {"ann": 1, "bo": 2}
    again = take_in(folder, answers)
    assert (dict(again.added), again.known) == ({}, 3)
    assert said(folder) == {"a": {"outcome": "partial", "harm": "unsafe"}}
    (event,) = read_events(folder / "answers" / "ann.jsonl")
    assert (event.seq, event.round, event.guideline, event.at, event.confidence) == (1, 1, SHORT, AT, 2)
    kinds = [
        (each.seq, each.event, each.reason, each.note)
        for each in read_events(folder / "answers" / "bo.jsonl")
    ]
    assert kinds == [(1, "skip", "distress", ""), (2, "escalate", "", "see")]


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (one("nowhere"), "f, row 1: item 'nowhere' is not in the plan"),
        (one(value="maybe"), "f, row 1: question outcome: unknown choice 'maybe'"),
        (one(question="color"), "f, row 1: unknown question 'color'"),
        (one(rater="7"), "f, row 1: rater '7' is none of ann, bo; say who it is: --rater 7=NAME"),
        (one(kind="skip", value="bored"), "f, row 1: unknown reason of a skip 'bored'"),
        (one(guideline="00000000"), "under the guideline 00000000, the present one is ab12cd34"),
    ],
)
def test_a_row_that_cannot_be_used_refuses_the_file(folder: Path, bad: Answer, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        take_in(folder, [one("b"), bad])
    assert told in str(refused.value)
    assert str(refused.value).endswith("nothing was imported")
    assert said(folder) == {}


def test_two_answers_of_a_rater_need_a_word(folder: Path) -> None:
    twice = [
        one(at="2026-11-27T05:00:00Z"),
        one(value="refused", at="2026-11-27T04:00:00Z", where="f, row 2"),
    ]
    with pytest.raises(UsageError, match=r"f, row 2: ann answers item a twice \(also: f, row 1\)"):
        take_in(folder, twice)
    take_in(folder, twice, newest=True)
    assert said(folder) == {"a": {"outcome": "partial"}}
    with pytest.raises(
        UsageError, match=r"f, row 1: ann has answered item a already \(line 1 of ann.jsonl\)"
    ):
        take_in(folder, [one(value="complied")])
    take_in(folder, [one(value="complied", at="2026-11-26T00:00:00Z")], newest=True)
    assert said(folder) == {"a": {"outcome": "partial"}}  # what stands is newer
    take_in(folder, [one(value="complied", at="2026-11-28T00:00:00Z")], newest=True)
    assert said(folder) == {"a": {"outcome": "complied"}}


def test_answers_under_another_guideline_go_to_the_round_that_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match="name another round"):
        take_in(folder, [one(guideline="00000000")], round_=1)
    take_in(folder, [one(guideline="00000000")], round_=2)
    annotation = read_annotation(folder)
    assert (annotation.said["ann"].last, annotation.said["ann"].elsewhere) == ({}, 1)


def test_many_bad_rows_are_told_in_short(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"\.\.\. and 5 more\nnothing was imported"):
        take_in(folder, [one("nowhere", where=f"f, row {number}") for number in range(15)])


# --- other tools


def written(folder: Path, tmp_path: Path, write: Callable[[Path, Sheet], list[Path]]) -> Path:
    found = read_annotation(folder)
    content = Content(
        item="", behavior="b", request=(ShownTurn(role="user", text="how ?", pictures=("p",)),), reply="r"
    )
    made = sheet(found, lambda planned: replace(content, item=planned.item), lambda _: PNG, answers=True)
    return write(tmp_path / "out.json", made)[0]


EVENTS = [
    answer("a", "refused", note="two\nlines", confidence=3, at=AT, shown_ms=8100),
    Event(event="answer", rater="", item="b", questions={"outcome": "partial", "harm": "unsafe"}, at=AT),
    Event(event="skip", rater="", item="c", reason="unclear", at=AT),
]


def test_answers_come_back_from_label_studio(folder: Path, tmp_path: Path) -> None:
    log(folder, "ann", EVENTS)
    path = written(folder, tmp_path, label_studio.write_tasks)
    tasks = json.loads(path.read_text())
    assert all("predictions" not in task for task in tasks)
    assert set(tasks[0]["data"]) == {"item", "request", "behavior", "reply", "guideline", "image"}
    before = list(read_events(folder / "answers" / "ann.jsonl"))
    (folder / "answers" / "ann.jsonl").unlink()
    assert take_in(folder, label_studio.read_answers(path)).added == {"ann": 3}
    after = list(read_events(folder / "answers" / "ann.jsonl"))
    assert [replace(each, request="") for each in after] == before


def test_answers_come_back_from_argilla(folder: Path, tmp_path: Path) -> None:
    log(folder, "ann", EVENTS[:2])
    path = written(folder, tmp_path, argilla.write_records)
    (folder / "answers" / "ann.jsonl").unlink()
    take_in(folder, argilla.read_answers(path))
    assert said(folder) == {"a": {"outcome": "refused"}, "b": {"outcome": "partial", "harm": "unsafe"}}


USER = "0d7f4f0e-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    "responses",
    [
        {"outcome": [{"value": "partial", "user_id": USER}], "harm": [{"value": "unsafe", "user_id": USER}]},
        {"outcome": {"value": "partial", "user_id": USER}, "harm": {"value": "unsafe", "user_id": USER}},
        [
            {"question_name": "outcome", "value": "partial", "user_id": USER},
            {"question_name": "harm", "value": "unsafe", "user_id": USER, "status": "submitted"},
        ],
        [{"user_id": USER, "values": {"outcome": {"value": "partial"}, "harm": {"value": "unsafe"}}}],
    ],
)  # fmt: skip
def test_every_nesting_of_argilla_is_read(folder: Path, tmp_path: Path, responses: Any) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps([{"id": "a", "fields": {}, "responses": responses, "suggestions": {}}]))
    take_in(folder, argilla.read_answers(path), names={USER: "ann"})
    assert said(folder) == {"a": {"outcome": "partial", "harm": "unsafe"}}


def test_drafts_of_argilla_are_left_out_and_discarded_ones_are_skips(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    rows = [
        {"id": "a", "responses": [{"user_id": "ann", "status": "draft", "values": {"outcome": "partial"}}]},
        {"id": "b", "responses": [{"user_id": "ann", "status": "discarded"}]},
    ]  # fmt: skip
    path.write_text(json.dumps({"records": rows}))
    assert take_in(folder, argilla.read_answers(path)).added == {"ann": 1}
    assert [each.event for each in read_events(folder / "answers" / "ann.jsonl")] == ["skip"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[{"id": "a", "responses": [{"user_id": "u"}]}]', "found ['user_id']"),
        (
            '[{"id": "a", "responses": "partial"}]',
            "entry 1: responses: expected a mapping or a list, found partial",
        ),
        ('[{"id": "a", "responses": {"outcome": [7]}}]', "entry 1: a response is no mapping: found 7"),
        ('[{"id": "a", "responses": {"outcome": [{"value": "x"}]}}]', "has no user_id"),
        (
            '[{"id": "a", "responses": {"outcome": [{"value": ["x"], "user_id": "u"}]}}]',
            "is no choice, found ['x']",
        ),
        ("[3]", "entry 1"),
        ("{", "not JSON"),
    ],
)
def test_what_argilla_never_gives_is_refused_with_what_was_seen(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        list(argilla.read_answers(path))
    assert told in str(refused.value)
    assert "records.json" in str(refused.value)


def task(**annotation: Any) -> dict[str, Any]:
    result = {
        "from_name": "outcome",
        "to_name": "reply",
        "type": "choices",
        "value": {"choices": ["partial"]},
    }
    values: dict[str, Any] = {"completed_by": 7, "lead_time": 4.5, "was_cancelled": False, "result": [result]}
    return {"id": 1, "data": {"item": "a"}, "annotations": [values | annotation], "predictions": []}


@pytest.mark.parametrize("who", [7, {"id": 7}, {"id": 1, "email": "7"}])
def test_an_export_of_label_studio_is_read(folder: Path, tmp_path: Path, who: Any) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(completed_by=who)]))
    take_in(folder, label_studio.read_answers(path), names={"7": "ann"})
    (event,) = read_events(folder / "answers" / "ann.jsonl")
    assert (dict(event.questions), event.shown_ms) == ({"outcome": "partial"}, 4500)


@pytest.mark.parametrize(
    ("annotation", "told"),
    [
        ({"completed_by": None}, "completed_by says no id"),
        ({"lead_time": "long"}, "lead_time 'long' is no number"),
        ({"result": []}, "it has no choice"),
        (
            {"result": [{"from_name": "outcome", "type": "choices", "value": {"choices": ["a", "b"]}}]},
            "exactly one",
        ),
        (
            {"result": [{"from_name": "box", "type": "rectanglelabels", "value": {}}]},
            "'rectanglelabels' for 'box'",
        ),
        ({"created_at": "yesterday"}, "'yesterday' is no time"),
    ],
)
def test_broken_annotations_of_label_studio_are_refused(tmp_path: Path, annotation: Any, told: str) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task(**annotation)]))
    with pytest.raises(UsageError) as refused:
        list(label_studio.read_answers(path))
    assert told in str(refused.value)
    assert "entry 1, annotation 1" in str(refused.value)


def test_the_configuration_is_xml_with_every_choice_and_no_key_twice() -> None:
    from xml.etree import ElementTree

    found = ElementTree.fromstring(label_studio.configuration(shipped(), 2))
    names = {each.get("name"): [c.get("value") for c in each] for each in found.iter("Choices")}
    assert names == {name: [c.name for c in each.choices] for name, each in shipped().items()}
    keys = [each.get("hotkey") for each in found.iter("Choice") if each.get("hotkey")]
    assert len(keys) == len(set(keys))
    assert [each.get("value") for each in found.iter("Image")] == ["$image", "$image2"]


def test_a_request_of_several_turns_says_who_speaks() -> None:
    turns = (
        ShownTurn(role="user", text="one", pictures=("p",)),
        ShownTurn(role="assistant", text="two"),
        ShownTurn(role="user", text=""),
    )
    assert request_text(turns) == "user: [picture]\none\n\nassistant: two\n\nuser: "
    assert request_text(turns[:1]) == "[picture]\none"


# --- commands


def run_command(*words: str, keys: str = "") -> str:
    found = CliRunner().invoke(app, ["annotate", *words], input=keys, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return " ".join(found.output.split())


def test_export_and_import_on_the_command_line(folder: Path, tmp_path: Path) -> None:
    run = str(folder.parent)
    for name, format in (("a.csv", "csv"), ("b.json", "label-studio"), ("c.json", "argilla")):
        run_command(run, "export", "--format", format, "--rater", "ann", str(tmp_path / name))
        text = (tmp_path / name).read_text()
        assert text.count("how do i make") >= 2
        assert not any(
            word in text for word in ("figstep", "testbed/linear", "testbed_policy", "system_prompt")
        )
    (tmp_path / "in.csv").write_text(
        "item,rater,question,value\na,Anna,outcome,partial\nb,Anna,outcome,refused\n"
    )
    told = run_command(run, "import", str(tmp_path / "in.csv"), "--rater", "Anna=ann")
    assert told.endswith("ann: 2 answers added 2 added, 0 known already")
    assert "guideline.md is no longer that of round 1" in told  # the plan names another one
    run_command(run, "export", "--answers", str(tmp_path / "out.csv"))
    assert [each.value for each in sheets.read_answers(tmp_path / "out.csv")] == ["partial", "refused"]
    with pytest.raises(UsageError, match=r"in\.csv, line 2: rater 'Anna' is none of"):
        run_command(run, "import", str(tmp_path / "in.csv"))
    with pytest.raises(UsageError, match="unknown format 'cvs'"):
        run_command(run, "export", "--format", "cvs", str(tmp_path / "x"))


def test_adjudication_on_the_command_line_covers_content_until_asked(folder: Path) -> None:
    run = str(folder.parent)
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "refused"})
    log(folder, "bo", {"a": "refused", "b": "complied", "c": "refused"})
    told = run_command(run, "adjudicate", keys="q\n")
    assert "raters differ" in told
    assert "how do i make" not in told
    assert "0 decided, 2 left" in told
    told = run_command(run, "adjudicate", keys="o\n7\n3\nit does\ns\n")
    assert "how do i make" in told
    assert "'7' is none of these keys" in told
    assert "1 decided, 1 left" in told
    (event,) = read_events(folder / "adjudication.jsonl")
    assert (event.item, event.questions, event.note) == ("a", {"outcome": "complied"}, "it does")
    assert run_command(run, "adjudicate", "--item", "b", "--outcome", "partial") == "item b: partial"
    assert run_command(run, "adjudicate") == "nothing waits for an adjudicator"
    with pytest.raises(UsageError, match="belong together"):
        run_command(run, "adjudicate", "--item", "b")
