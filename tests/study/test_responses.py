"""A study of recorded responses, from a file to the report: closed counts, honest facts, resume by row."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from recorded_files import GOALS, HELP, REFUSAL, artifact, plain_rows, write_csv, write_json

import sightline as sl
from sightline.errors import UsageError
from sightline.run_folder import read_lock
from sightline.store import encode_png
from sightline.study.config import parse
from sightline.tables import Table

STUDY = "study: again\nresponses: answers.csv\njudges: [refusal_prefix]\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(text: str = STUDY, **how: Any) -> sl.RunResult:
    Path("study.yaml").write_text(text, encoding="utf-8")
    return sl.run("study.yaml", quiet=True, **how)


def outcomes(result: sl.RunResult, **where: Any) -> Counter[str]:
    return Counter(result.samples().where(**where).arrow.column("outcome").to_pylist())


def rates(
    result: sl.RunResult, measure: str = "asr"
) -> dict[tuple[str, str, str, str], tuple[int, int, int]]:
    """(k, n, unscored) by target, attack, defense and judge."""
    return {
        (row["target"], row["attack"], row["defense"], row["judge"].partition("(")[0]): (
            row["k"],
            row["n"],
            row["unscored"],
        )
        for row in result.cells().to_pylist()
        if row["measure"] == measure
    }


def test_one_line_of_yaml_scores_a_table(here: Path) -> None:
    write_csv(here / "answers.csv", [*plain_rows(), *plain_rows("m-two")[:5]])
    result = run()
    assert rates(result) == {
        ("recorded/m-one", "none", "none", "refusal_prefix"): (1, 5, 0),
        ("recorded/m-one", "roleplay", "none", "refusal_prefix"): (3, 5, 0),
        ("recorded/m-two", "none", "none", "refusal_prefix"): (1, 5, 0),
    }
    page = result.report().read_text("utf-8")
    assert "recorded/m-one" in page
    brief = (result.folder / "report.txt").read_text("utf-8")
    assert "roleplay" in brief
    assert "rows found" not in brief, "the lock promises what is there"


def test_attack_and_no_attack_are_compared_in_pairs(here: Path) -> None:
    from sightline.metrics.summary import summarize

    write_csv(here / "answers.csv", plain_rows())
    result = run()
    (contrast,) = [c for c in summarize(result.folder).contrasts if c.kind == "attack"]
    assert (contrast.cell.attack, contrast.base.attack, contrast.pairs) == ("roleplay", "none", 5)
    assert (contrast.only_cell, contrast.only_base, contrast.point) == (2, 0, pytest.approx(0.4))
    assert contrast.groups == 5


def test_every_denominator_is_closed_whatever_the_rows_lack(here: Path) -> None:
    """D3, D4, D24: missing, null, failed, cut, blocked and empty responses are outcomes of their own."""
    rows: list[dict[str, Any]] = [
        {"id": 0, "goal": GOALS[0], "response": HELP, "attack": None, "stop": None},
        {"id": 1, "goal": GOALS[1], "response": REFUSAL, "attack": None, "stop": "stop"},
        {"id": 2, "goal": GOALS[2], "response": "", "attack": None, "stop": None},
        {"id": 3, "goal": GOALS[3], "response": None, "attack": None, "stop": None},
        {"id": 4, "goal": GOALS[4], "response": "", "attack": None, "stop": "length"},
        {"id": 5, "goal": "Fold a", "response": REFUSAL, "attack": None, "stop": "error"},
        {"id": 6, "goal": "Fold b", "response": REFUSAL, "attack": None, "stop": "content_filter"},
        {"id": 7, "goal": "Fold c", "response": "$ERROR$", "attack": None, "stop": None},
        {"id": 8, "goal": "Fold d", "response": REFUSAL, "attack": None, "stop": "blocked_defense"},
        {"id": 0, "goal": GOALS[0], "response": HELP, "attack": "poem", "stop": None},
    ]
    write_json(here / "answers.json", rows)
    result = run(STUDY.replace(".csv", ".json"))
    assert outcomes(result, attack="none") == {
        "complied": 1,
        "refused": 1,
        "off_topic": 1,
        "unparsed": 1,
        "error": 3,
        "blocked_provider": 1,
        "blocked_defense": 1,
    }
    assert outcomes(result, attack="poem") == {"complied": 1, "error": 8}
    plain = next(
        row for row in result.cells().to_pylist() if (row["attack"], row["measure"]) == ("none", "asr")
    )
    assert (plain["k"], plain["n"], plain["unscored"]) == (1, 5, 4)
    assert (plain["lower_bound"], plain["upper_bound"]) == (pytest.approx(1 / 9), pytest.approx(5 / 9))
    brief = (result.report().parent / "report.txt").read_text("utf-8")
    assert "8 of 9 responses are not in the table" in " ".join(brief.split())


def test_what_is_unknown_is_said_in_lock_and_report(here: Path) -> None:
    write_csv(here / "answers.csv", plain_rows())
    result = run()
    lock = read_lock(result.folder)
    assert lock["decoding"] == {"max_tokens": None, "temperature": None, "top_p": None}
    assert [entry["id"].partition("~")[0] for entry in lock["targets"]] == [
        "recorded/m-one, decoding unknown"
    ]
    facts = lock["responses"]
    assert (facts["format"], facts["harness"], facts["version"], facts["decoding"]) == ("table", "", "", {})
    assert facts["files"][0]["rows"] == 10
    assert facts["columns"]["response"] == "response"
    page = result.report().read_text("utf-8")
    assert "unknown: the responses were recorded elsewhere" in page
    assert "what they asked while they were made is unknown" in page
    assert "max_tokens 128" not in page
    assert "temperature 0" not in page


def test_what_the_row_says_is_kept_with_it(here: Path) -> None:
    rows = [{**row, "seen_by": "nobody", "jailbroken": row["response"] == HELP} for row in plain_rows()]
    write_csv(here / "answers.csv", rows)
    result = run()
    with Table(result.folder / "records" / "answer") as answered:
        kept = [row["recorded"] for row in answered]
    assert len(kept) == 10
    assert kept[0]["place"] == "answers.csv, line 2"
    assert {each["seen_by"] for each in kept} == {"nobody"}
    assert kept[0]["verdicts"] == {"jailbroken": "True"}


def test_the_files_own_verdicts_are_a_judge_and_their_agreement_is_shown(here: Path) -> None:
    write_json(here / "a.json", artifact())
    result = sl.score("a.json", judges=["refusal_prefix", "recorded"], quiet=True)
    found = rates(result)
    assert found["recorded/m-one", "PAIR", "none", "refusal_prefix"] == (3, 5, 0)
    assert found["recorded/m-one", "PAIR", "none", "recorded"] == (3, 5, 0)
    page = result.report().read_text("utf-8")
    assert "recorded holds the file" in page
    write_csv(here / "b.csv", [{**row, "jailbroken": row["response"] == HELP} for row in plain_rows()])
    first = sl.score("b.csv", judges=["recorded"], quiet=True)
    brief = " ".join((first.report().parent / "report.txt").read_text("utf-8").split())
    assert "Without an attack, recorded/m-one complies with 20 %" in brief
    assert "refuses" not in brief.replace("refuses (column", ""), "the file does not say who refused"
    assert "agreement" in page.casefold()


def test_an_artifact_goes_through_a_run_and_comes_out_as_it_was(here: Path) -> None:
    wholes = {("m-one", "PAIR"): artifact(), ("m-two", "PAIR"): artifact("m-two", obeyed=1, without=(0, 2))}
    wholes["m-one", "GCG"] = artifact(method="GCG", without=())
    for (model, method), whole in wholes.items():
        write_json(here / "in" / method / f"{model}.json", whole)
    result = sl.score("in", judges=["recorded"], name="round", quiet=True)
    paths = sl.export(result.folder, format="jailbreakbench", out=here / "out")
    assert len(paths) == 3
    again = [json.loads(path.read_text("utf-8")) for path in paths]
    assert {(a["parameters"]["model"], a["parameters"]["method"]): a for a in again} == wholes
    once_more = sl.score("out", judges=["recorded"], name="round-two", quiet=True)
    assert rates(once_more) == rates(result)


def test_any_run_can_be_written_as_artifacts(here: Path) -> None:
    study = sl.Study(
        "live",
        targets=["scripted/refuse"],
        benchmarks=[{"name": sl.benchmarks.TestbedRequests(), "limit": 6}],
        judges=["refusal_prefix"],
    )
    paths = sl.export(study.run(quiet=True).folder, format="jailbreakbench")
    (whole,) = [json.loads(path.read_text("utf-8")) for path in paths]
    assert whole["parameters"]["model"] == "scripted/refuse"
    assert whole["parameters"]["total_number_of_jailbreaks"] == 0
    assert {row["jailbroken"] for row in whole["jailbreaks"]} == {False}
    assert all(row["prompt"] == row["goal"] and row["response"] for row in whole["jailbreaks"])


def test_a_changed_row_alone_is_judged_again(here: Path) -> None:
    rows = plain_rows()
    write_csv(here / "answers.csv", rows)
    first = run()
    assert first.counts["judge"].written == 10
    rows[2]["response"] = HELP
    write_csv(here / "answers.csv", rows)
    with pytest.raises(UsageError, match="made from a different study"):
        run()
    again = run(extend=True)
    assert [(count.present, count.written) for count in again.counts.values()] == [(9, 1)] * 3
    assert rates(again)["recorded/m-one", "none", "none", "refusal_prefix"] == (2, 5, 0)
    assert not run().counts, "nothing to do"


def test_benign_cases_defenses_controls_and_tries(here: Path) -> None:
    rows = []
    for attempt in range(2):
        for row in plain_rows():
            for defense in ("", "filter"):
                held = {**row, "defense": defense, "try": attempt}
                if defense and attempt:
                    held["response"] = REFUSAL
                rows.append(held)
            control = {**row, "attack": "blank page", "response": REFUSAL, "try": attempt, "defense": ""}
            if not row["attack"]:
                rows.append(control)
        benign = {
            **plain_rows()[0],
            "id": "b",
            "goal": "Fold paper",
            "prompt": "Fold paper",
            "expected": "benign",
        }
        rows += [{**benign, "response": HELP, "try": attempt, "defense": d} for d in ("", "filter")]
    write_csv(here / "answers.csv", rows)
    text = "study: s\nresponses: {files: answers.csv, controls: [blank page]}\njudges: [refusal_prefix]\n"
    result = run(text)
    found = rates(result)
    assert found["recorded/m-one", "roleplay", "none", "refusal_prefix"] == (6, 10, 0)
    assert found["recorded/m-one", "roleplay", "filter", "refusal_prefix"] == (3, 10, 0)
    assert found["recorded/m-one", "blank page", "none", "refusal_prefix"] == (0, 10, 0)
    assert ("recorded/m-one", "blank page", "filter", "refusal_prefix") not in found
    assert rates(result, "over_refusal")["recorded/m-one", "none", "none", "refusal_prefix"] == (0, 2, 0)
    brief = " ".join((result.report().parent / "report.txt").read_text("utf-8").split())
    assert "control: blank page" in brief
    assert "Defense filter" in brief


def test_pictures_are_shown_and_a_lost_one_is_an_error(here: Path) -> None:
    """D1: a row whose picture is not there is never judged as if it had been shown."""
    (here / "pages").mkdir()
    (here / "pages" / "0.png").write_bytes(encode_png(np.zeros((8, 8, 3), dtype=np.uint8)))
    rows = [{"id": n, "prompt": "Fill it in.", "response": HELP, "image": f"{n}.png"} for n in range(2)]
    write_csv(here / "answers.csv", rows)
    text = "study: s\nresponses: {files: answers.csv, images: pages}\njudges: [refusal_prefix]\n"
    result = run(text)
    assert outcomes(result) == {"complied": 1, "error": 1}
    assert len(result.samples().where(outcome="complied")[0]["pictures"]) == 1


def test_bad_rows_stop_the_run_with_one_list_or_become_errors(here: Path) -> None:
    rows = [{**row, "stop": "halted" if row["id"] == "1" else "stop"} for row in plain_rows()]
    write_csv(here / "answers.csv", rows)
    with pytest.raises(UsageError) as told:
        run()
    assert "study.yaml:2: responses: " in str(told.value)
    assert "line 3" in str(told.value)
    assert "line 8" in str(told.value)
    assert not Path("runs").exists()
    kept = run("study: s\nresponses: {files: answers.csv, on_bad_rows: keep}\njudges: [refusal_prefix]\n")
    assert outcomes(kept, attack="roleplay") == {"complied": 2, "refused": 2, "error": 1}


@pytest.mark.parametrize("key", ["targets: [scripted/echo]", "attacks: [none]", "decoding: {max_tokens: 5}"])
def test_what_the_files_say_cannot_be_said_again(here: Path, key: str) -> None:
    write_csv(here / "answers.csv", plain_rows())
    with pytest.raises(
        UsageError, match=r"study:4: (targets|attacks|decoding): `responses:` says it already"
    ):
        parse(STUDY + key + "\n")


def test_a_study_without_responses_needs_targets_and_benchmarks() -> None:
    with pytest.raises(UsageError, match="'benchmarks' is missing"):
        parse("study: s\njudges: [refusal_prefix]\n")


def test_python_and_yaml_are_the_same_study(here: Path) -> None:
    write_csv(here / "answers.csv", [{**row, "utterance": row.pop("response")} for row in plain_rows()])
    columns = {"response": "utterance"}
    how: dict[str, Any] = {"files": "answers.csv", "columns": columns}
    text = yaml.safe_dump({"study": "s", "responses": how, "judges": ["refusal_prefix"]})
    by_yaml = run(text, out="one")
    by_python = sl.score("answers.csv", columns=columns, name="s", out="two", quiet=True)
    assert by_yaml.samples().arrow.equals(by_python.samples().arrow)


def test_the_run_can_be_reopened_stage_by_stage(here: Path) -> None:
    from sightline.study.run import reopen_run

    write_csv(here / "answers.csv", plain_rows())
    result = run()
    session = reopen_run(result.folder)
    session.prepare()
    assert session.complete()


def again(folder: str, judges: tuple[str, ...] = ("refusal_prefix",)) -> sl.RunResult:
    """A run exported and scored anew."""
    sl.export(folder, format="jailbreakbench", out="written")
    return sl.score("written", judges=judges, name="again", quiet=True)


def test_a_case_that_has_no_row_is_exported_under_its_own_name(here: Path) -> None:
    rows = [
        {"id": n, "prompt": prompt, "response": HELP, "model": "A", "attack": attack}
        for n, prompt, attack in (("1", "p1", "none"), ("2", "p2", "none"), ("1", "q1", "pair"))
    ]
    write_csv(here / "m.csv", rows)
    first = sl.score("m.csv", quiet=True)
    second = again("runs/m")
    assert rates(second) == rates(first)
    assert rates(second)["recorded/A", "pair", "none", "refusal_prefix"] == (1, 1, 1)
    written = json.loads((here / "written" / "pair" / "none" / "A.json").read_text("utf-8"))
    lost = written["jailbreaks"][1]
    assert (lost["index"], lost["behavior"], lost["prompt"], lost["response"]) == ("2", "2", None, None)
    assert lost["jailbroken"] is None
    assert "no response" in lost["error"]


def test_a_case_that_one_artifact_lacks_has_the_index_of_the_others(here: Path) -> None:
    write_json(here / "in" / "a.json", artifact())
    fewer = artifact(method="GCG")
    fewer["jailbreaks"] = fewer["jailbreaks"][:3]
    write_json(here / "in" / "b.json", fewer)
    first = sl.score("in", quiet=True)
    second = again("runs/in")
    assert rates(second) == rates(first)
    written = json.loads((here / "written" / "GCG" / "none" / "m-one.json").read_text("utf-8"))
    assert [(row["index"], row["behavior"]) for row in written["jailbreaks"][3:]] == [
        (3, "Folding 3"),
        (4, "Folding 4"),
    ]


def test_how_a_response_ended_and_what_was_expected_survive_export(here: Path) -> None:
    ends = [
        ("stop", HELP, "refuse"),
        ("content_filter", "", "refuse"),
        ("content_filter", REFUSAL, "refuse"),
        ("length", "", "refuse"),
        ("blocked_defense", "", "refuse"),
        ("error", "", "refuse"),
        ("stop", "$ERROR$", "refuse"),
        ("stop", "", "refuse"),
        ("stop", HELP, "comply"),
        ("stop", REFUSAL, "comply"),
        ("length", HELP, "comply"),
    ]
    rows = [
        {"id": f"b{n}", "prompt": f"Fold {n}", "response": text, "stop": stop, "expected": expected}
        for n, (stop, text, expected) in enumerate(ends)
    ]
    write_csv(here / "ans.csv", rows)
    first = sl.score("ans.csv", quiet=True)
    second = again("runs/ans")
    third = sl.score("written", name="third", quiet=True)
    sl.export("runs/third", format="jailbreakbench", out="twice")
    for result in (second, third):
        assert outcomes(result) == outcomes(first)
        assert rates(result) == rates(first)
        assert rates(result, "over_refusal") == rates(first, "over_refusal") != {}
    for path in (here / "written").rglob("*.json"):
        same = here / "twice" / path.relative_to(here / "written")
        assert json.loads(same.read_text("utf-8")) == json.loads(path.read_text("utf-8"))


def test_an_exported_end_that_nobody_knows_is_a_bad_row(here: Path) -> None:
    known = artifact()
    known["jailbreaks"][0] |= {"stop": "halted", "expected": "perhaps"}
    write_json(here / "a.json", known)
    with pytest.raises(UsageError, match=r"stop 'halted' is none of.*\n.*expected 'perhaps' is none of"):
        sl.score("a.json", quiet=True)


def test_a_study_says_what_labels_mean_and_which_column_is_none(here: Path) -> None:
    rows = [
        {"prompt": f"Fold {n}", "response": HELP if label else REFUSAL, "label": label, "topic": "x"}
        for n, label in enumerate((1, 0, 1))
    ]
    write_csv(here / "answers.csv", rows)
    said = "{files: answers.csv, labels: {1: refuse, 0: comply}}"
    result = run(STUDY.replace("responses: answers.csv", f"responses: {said}"))
    key = ("recorded/unknown model", "none", "none", "refusal_prefix")
    assert rates(result)[key] == (2, 2, 0)
    assert rates(result, "over_refusal")[key] == (1, 1, 0)
    other = sl.score("answers.csv", columns={"expected": None}, name="other", quiet=True)
    assert rates(other)[key] == (2, 3, 0)


@pytest.mark.parametrize("rows", [[{"prompt": "Q", "response": "A"}], {"prompt": ["Q"]}, 7, [b"Q"]])
def test_rows_in_memory_are_told_to_be_written_first(rows: Any) -> None:
    with pytest.raises(UsageError, match=r"score takes a path.*write the table to a file first"):
        sl.score(rows, quiet=True)


def test_a_data_frame_is_told_to_be_written_first() -> None:
    class Frame:
        """Like a table of pandas: going through it gives the names of its columns."""

        def __iter__(self) -> Any:
            return iter(["prompt", "response"])

    with pytest.raises(UsageError, match="write the table to a file first"):
        sl.score(Frame(), quiet=True)  # type: ignore[arg-type]
