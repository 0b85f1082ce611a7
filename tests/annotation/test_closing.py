"""From raters' answers to final labels: disputes, rulings, partial rounds, and the judge that reads them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from annotated import answer, log, results, write_annotation
from run_folder import Shape, write_run
from typer.testing import CliRunner

from sightline.annotation.adjudication import ADJUDICATION, adjudicate, queue
from sightline.annotation.ballots import AnnotationFiles, Ballot, ballots, read_annotation
from sightline.annotation.closing import close
from sightline.annotation.events import Event, read_events
from sightline.annotation.plan import Planned
from sightline.annotation.stale import stale_note
from sightline.cli import app
from sightline.errors import DamageError, UsageError
from sightline.human_labels import content_digest, read_labels
from sightline.judge_check.card import read_card
from sightline.judges import Human
from sightline.plain import case_of, response_of
from sightline.records import Outcome
from sightline.study.judging import shown_of
from sightline.tables import compacted_rows, open_tables

BOTH = {"ann": 0, "bo": 1}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(prompts=1, utility=0, defenses=("none",)))


@pytest.fixture
def folder(run: Path) -> Path:
    """Four items of restricted requests; the first stands for two samples."""
    rows = results(run, expected="refuse")
    first = (rows[0]["sample"], rows[1]["sample"])
    items = [
        Planned(item="a", prob=0.5, stratum="s", group="g", samples=first, order=BOTH),
        *(
            Planned(item=name, prob=0.5, stratum="s", group=name, samples=(rows[at]["sample"],), order=BOTH)
            for at, name in enumerate("bcd", start=2)
        ),
        Planned(item="z", kind="gold", truth="refused", samples=(rows[9]["sample"],), order={"ann": 9}),
    ]  # fmt: skip
    return write_annotation(run, items)


def found(run: Path) -> dict[str, tuple[str, str, float]]:
    labels = read_labels(run / "annotation" / "labels.jsonl").labels
    return {each.item: (each.outcome.value, each.final, each.prob) for each in labels}


def test_agreed_and_adjudicated_labels_are_carried_to_all_samples(run: Path, folder: Path) -> None:
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "partial", "d": "refused", "z": "refused"})
    log(folder, "bo", {"a": "complied", "b": "complied", "c": "refused", "d": "off_topic"})
    assert [(each.item, each.why) for each in queue(folder)] == [(name, "differ") for name in "bcd"]
    adjudicate(folder, "b", "refused", "half a word")
    adjudicate(folder, "c", "complied")  # three different answers
    adjudicate(folder, "d", "cannot_decide")
    closed = close(run)
    assert found(run) == {
        "a": ("complied", "agreed", 0.5),
        "b": ("refused", "adjudicated", 0.5),
        "c": ("unparsed", "no_consensus", 0.5),
        "d": ("unparsed", "no_consensus", 0.5),
    }
    assert [each.item for each in closed.labels.labels] == ["a", "a", "b", "c", "d"]
    assert (closed.left_out, closed.agree.k, closed.agree.n) == (0, 1, 4)
    assert closed.labels.agreement == 0.25


def test_a_round_that_is_not_done_is_closed_only_on_request(run: Path, folder: Path) -> None:
    log(folder, "ann", {"a": "complied", "b": "refused", "z": "refused"})
    log(folder, "bo", {"a": "complied", "c": "refused", "b": "complied"})
    with pytest.raises(UsageError, match=r"answers are waited for \(ann 2, bo 1\)"):
        close(run)
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "refused", "d": "refused"})
    log(folder, "bo", {"a": "complied", "b": "complied", "c": "refused", "d": "refused"})
    with pytest.raises(UsageError, match=r"^1 items wait for an adjudicator"):
        close(run)
    log(folder, "ann", {"a": "complied", "b": "refused"})
    log(folder, "bo", {"a": "complied", "b": "complied", "c": "refused"})
    closed = close(run, partial=True)
    assert closed.left_out == 1
    assert found(run) == {  # three of the stratum's four are labelled: chances times 3/4
        "a": ("complied", "agreed", 0.375),
        "b": ("unparsed", "no_consensus", 0.375),
        "c": ("refused", "agreed", 0.375),
    }


def test_without_any_label_there_is_nothing_to_close(run: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="no label yet"):
        close(run, partial=True)


def test_another_judge_in_the_study_changes_nothing(run: Path, folder: Path) -> None:
    log(folder, "ann", {"a": "complied"})
    before = close(run, partial=True).labels
    lock = run / "study.lock.yaml"
    lock.write_text(lock.read_text().replace("seed: 7", "seed: 8"))
    assert close(run, partial=True).labels == before


def test_a_plan_of_another_run_is_refused(run: Path, folder: Path) -> None:
    write_annotation(run, [Planned(item="a", prob=1.0, samples=("0" * 32,), order=BOTH)])
    log(folder, "ann", {"a": "complied"})
    with pytest.raises(DamageError, match="if the plan is of another run, put the folder `annotation` back"):
        close(run, partial=True)


def test_what_waits_for_an_adjudicator(folder: Path) -> None:
    skip = Event(event="skip", rater="", item="c", reason="unclear")
    log(folder, "ann", [answer("a", "cannot_decide", note="torn"), answer("b", "refused"), skip])
    log(
        folder,
        "bo",
        [
            answer("a", "cannot_decide", note="a page is missing"),
            Event(event="escalate", rater="", item="b", note="see the last line"),
            Event(event="skip", rater="", item="c", reason="language"),
            answer("d", "refused"),
        ],
    )
    waiting = queue(folder)
    assert [(each.item, each.why, each.notes) for each in waiting] == [
        ("a", "undecided", ("a page is missing", "torn")),
        ("b", "escalated", ("see the last line",)),
        ("c", "unanswered", ()),
    ]  # `ann` is waited for on d
    assert waiting[0].labels == ("cannot_decide", "cannot_decide")


def test_labels_stand_in_an_order_that_tells_no_rater() -> None:
    from sightline.annotation.adjudication import _mixed

    votes = {"ann": Outcome.refused, "bo": Outcome.complied}
    orders = {_mixed(Ballot(str(number), votes)) for number in range(40)}
    assert orders == {("refused", "complied"), ("complied", "refused")}


def test_answers_of_another_round_or_guideline_and_undone_ones_are_in_no_ballot(folder: Path) -> None:
    log(
        folder,
        "ann",
        [
            answer("a", "refused", round=2),
            answer("b", "refused", guideline="00000000"),
            answer("c", "refused"),
            Event(event="undo", rater="", item="c"),
            answer("d", "refused"),
            answer("d", "complied"),
            answer("d", "off_topic", repeat=True),
        ],
    )
    annotation = read_annotation(folder)
    assert annotation.said["ann"].elsewhere == 2
    votes = {item: dict(each.votes) for item, each in ballots(annotation).items()}
    assert votes == {"a": {}, "b": {}, "c": {}, "d": {"ann": Outcome.complied}}


def test_who_opted_out_is_not_waited_for(run: Path) -> None:
    row = results(run)[0]["sample"]
    folder = write_annotation(run, [Planned(item="a", prob=1.0, samples=(row,), order=BOTH, hazard="h1")])
    log(folder, "ann", [Event(event="optout", rater="", reason="h1,h2")])
    assert ballots(read_annotation(folder))["a"].waiting == ("bo",)


def test_answers_of_another_plan_are_refused(folder: Path) -> None:
    log(folder, "bo", {"nowhere": "refused"})
    with pytest.raises(UsageError, match=r"bo\.jsonl: line 1 is about item 'nowhere', which the plan "):
        read_annotation(folder)


@pytest.mark.parametrize(("item", "outcome"), [("nowhere", "refused"), ("z", "refused"), ("a", "maybe")])
def test_rulings_that_cannot_be_are_refused(folder: Path, item: str, outcome: str) -> None:
    with pytest.raises(UsageError):
        adjudicate(folder, item, outcome)
    assert not (folder / ADJUDICATION).exists()


def test_what_nobody_disputes_cannot_be_ruled_on(folder: Path) -> None:
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "partial"})
    log(folder, "bo", {"a": "complied", "b": "complied"})
    with pytest.raises(UsageError, match=r"item a: raters do not differ on it.*/run adjudicate` shows what"):
        adjudicate(folder, "a", "refused")
    with pytest.raises(UsageError, match="item c: bo has not answered yet"):
        adjudicate(folder, "c", "refused")
    assert not (folder / ADJUDICATION).exists()
    adjudicate(folder, "b", "refused")
    log(folder, "bo", {"a": "complied", "b": "refused"})  # they agree by now: the ruling can still be changed
    assert adjudicate(folder, "b", "complied").questions == {"outcome": "complied"}


def test_a_ruling_is_written_once_per_request_and_after_a_torn_line(folder: Path) -> None:
    log(folder, "ann", {"a": "complied"})
    log(folder, "bo", {"a": "refused"})
    path = folder / ADJUDICATION
    first = adjudicate(folder, "a", "refused", request="r1")
    assert adjudicate(folder, "a", "refused", request="r1") == first
    path.write_bytes(path.read_bytes() + b'{"v":1,"event":"adju')
    adjudicate(folder, "a", "complied", request="r2")
    assert [(each.seq, each.questions["outcome"]) for each in read_events(path)] == [
        (1, "refused"),
        (2, "complied"),
    ]


def test_the_judge_human_gives_the_labels_and_leaves_the_rest_unscored(run: Path, folder: Path) -> None:
    same = {"a": "complied", "b": "refused", "c": "partial", "d": "cannot_decide", "z": "refused"}
    log(folder, "ann", same)
    log(folder, "bo", {name: same[name] for name in "abcd"})
    close(run, partial=True)
    file = run / "annotation" / "labels.jsonl"
    judge = Human(file=str(file))
    labels = read_labels(file).labels
    wanted, contents = {each.sample: each for each in labels}, {each.content for each in labels}
    cases = {row["id"]: row for row in compacted_rows(run / "records" / "cases-0123456789abcdef")}
    seen = []
    unlabelled = 0
    with open_tables(run / "records", "craft", "answer") as (crafted, answered):
        for reply in answered:
            (artifact,) = crafted.rows([reply["artifact"]])
            assert artifact is not None
            case, shown = case_of(cases[artifact["case_id"]]), shown_of(artifact, reply)
            verdict = asyncio.run(judge.judge(case, shown, response_of(reply)))
            label = wanted.get(reply["key"])
            if label is not None:
                assert verdict.outcome is (label.outcome if label.decided else Outcome.unparsed)
                seen.append(label.item)
            elif content_digest(case.id, shown, reply["text"]) not in contents:
                assert (verdict.outcome, verdict.reason) == (Outcome.unparsed, "not labelled")
                unlabelled += 1
    assert sorted(seen) == ["a", "a", "b", "c", "d"]
    assert unlabelled > 50
    before = judge.id
    log(folder, "ann", same | {"a": "refused"})
    log(folder, "bo", {name: same[name] for name in "bcd"} | {"a": "refused"})
    close(run, partial=True)
    assert judge.id != before


def test_close_prints_what_came_out_and_writes_a_card_for_each_judge(run: Path, folder: Path) -> None:
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "partial", "d": "refused"})
    log(folder, "bo", {"a": "complied", "b": "complied", "c": "partial", "d": "refused"})
    printed = CliRunner().invoke(app, ["annotate", str(run), "close", "--partial"], catch_exceptions=False)
    assert printed.exit_code == 0
    text = " ".join(printed.output.split())
    assert "4 items labelled (3 agreed, 1 no consensus), 0 without a label" in text
    # of five rows with one weight, three are unsafe and one is open
    assert "70.0% (items without consensus counted half; 60.0% if all are safe, 80.0% if none is)" in text
    assert len(printed.output.splitlines()) < 12
    assert text.count("Se ") == 2
    paths = sorted((run / "annotation" / "cards").glob("*.json"))
    assert len(paths) == 2
    whole = said(run, "close", "--partial", "--verbose")
    assert whole.count("Void once the judge's id") == 2
    assert "pairs agree" not in whole  # there is no ceiling of yes and no
    assert "of their outcomes: alpha" in whole
    for path in paths:
        card = read_card(path.read_text(), str(path))
        assert (card.positive, card.left_out, card.strata[0].n) == ("unsafe", 1, 4)
        assert (card.raters_agree.k, card.raters_agree.n) == (3, 4)


def test_files_that_grow_are_read_on_and_others_anew(folder: Path) -> None:
    files = AnnotationFiles(folder)
    assert files.read() == read_annotation(folder)
    log(folder, "ann", {"a": "complied", "b": "refused"})
    path = folder / "answers" / "ann.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])  # torn while it is written
    assert set(files.read().said["ann"].last) == {("a", False)}
    path.write_bytes(whole)
    assert files.read() == read_annotation(folder)
    log(folder, "ann", {"c": "partial"})  # another, shorter file
    assert set(files.read().said["ann"].last) == {("c", False)}
    path.write_bytes(b"[]\n" + whole)
    with pytest.raises(DamageError, match=r"ann\.jsonl"):
        AnnotationFiles(folder).read()


def said(run: Path, *words: str, keys: str = "") -> str:
    printed = CliRunner().invoke(app, ["annotate", str(run), *words], input=keys, catch_exceptions=False)
    assert printed.exit_code == 0, printed.output
    return " ".join(printed.output.split())


def test_a_ruling_after_close_is_told_until_closed_again(run: Path, folder: Path) -> None:
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "partial", "d": "refused"})
    log(folder, "bo", {"a": "complied", "b": "complied", "c": "partial", "d": "refused"})
    assert stale_note(run) == ""  # nothing is closed yet
    close(run, partial=True)
    assert stale_note(run) == ""
    assert "1 items would now" in said(run, "adjudicate", "--item", "b", "--outcome", "refused")
    assert "1 items would now" in said(run, "status")
    text = said(run, "close")
    assert "if all are safe" not in text  # nothing is open
    assert "people: 60.0%" in text
    assert stale_note(run) == ""
    assert "close` writes them anew" in said(run, "adjudicate", "--item", "b", "--outcome", "complied")


def test_where_input_ends_adjudicate_says_what_is_left(run: Path, folder: Path) -> None:
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "refused", "d": "refused"})
    log(folder, "bo", {"a": "refused", "b": "complied", "c": "refused", "d": "refused"})
    assert "0 decided, 2 left" in said(run, "adjudicate")
    assert "item 2 of 2" in (text := said(run, "adjudicate", keys="\n"))
    assert "0 decided, 2 left" in text
    assert "1 decided, 1 left" in said(run, "adjudicate", keys="1\nclear\n")
    assert "0 decided, 1 left" in said(run, "adjudicate", keys="1\n")  # the note was not asked to its end
