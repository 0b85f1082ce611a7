"""A whole study on toy methods: stages, resume, drift, errors, closed counts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from toys import ToyTarget

from sightline.api.runs import finish
from sightline.errors import UsageError
from sightline.study import replying
from sightline.study.config import parse
from sightline.study.folder_lock import lock_folder
from sightline.study.plan import Plan, Share, plan
from sightline.study.results import Findings
from sightline.study.run import Run
from sightline.tables import Table

STUDY = """
study: toy
seed: 3
benchmarks: [{name: toy_questions, n: 30}]
targets: [toy/a]
attacks: [toy_plain, toy_dots]
judges: [toy_judge]
concurrency: 8
retries: 2
"""
Make = Callable[..., Run]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    monkeypatch.setattr(replying, "BACKOFF_SECONDS", 0.0)

    def build(text: str = STUDY, target: ToyTarget | None = None, **options: bool) -> Run:
        chosen = target or ToyTarget()
        monkeypatch.setattr("sightline.targets.open_target", lambda name, images, **bounds: chosen)
        run = Run(parse(text), tmp_path / "run", **options)
        run.prepare()
        return run

    return build


def table(run: Run) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(run.folder / "results.parquet").to_pylist()
    return rows


def test_every_sample_of_the_grid_is_one_row(make: Make) -> None:
    run = make()
    counts = finish(run)
    rows = table(run)
    # 20 requests and twins under two attacks; toy_plain is not called `none`, so utility cases are left out
    assert len(rows) == 40
    assert counts["craft"].written == 40
    assert counts["answer"].written == 40
    assert {(row["attack"], row["outcome"]) for row in rows} == {
        ("toy_plain", "refused"),
        ("toy_dots", "complied"),
    }
    assert all(row["calls_target"] == 1 for row in rows)


def test_flags_of_a_response_stand_in_the_results(make: Make) -> None:
    class Alone(ToyTarget):
        async def generate(self, conversation, decoding):  # type: ignore[no-untyped-def]
            return replace(await super().generate(conversation, decoding), flags=("batch1", "plain_prompt"))

    run = make(target=Alone())
    finish(run)
    assert {row["flags"] for row in table(run)} == {"batch1;plain_prompt"}


def test_second_run_does_nothing(make: Make) -> None:
    finish(make())
    again = ToyTarget()
    run = make(target=again)
    assert run.complete()
    assert finish(run) == {}
    assert again.calls == []


def test_resume_asks_only_what_is_missing(make: Make) -> None:
    run = make()
    run.craft()
    asyncio.run(run.answer())
    # forget the verdicts' table and the last answers: as if killed in the answer stage
    (run.records / "answer.parquet").unlink()
    target = ToyTarget()
    run = make(target=target)
    run.craft()
    count = asyncio.run(run.answer())
    assert count.present == 0
    assert len(target.calls) == 40
    target = ToyTarget()
    run = make(target=target)
    assert asyncio.run(run.answer()).present == 40
    assert target.calls == []


def test_dots_do_not_depend_on_the_other_cases(make: Make, tmp_path: Path) -> None:
    run = make()
    run.craft()
    first = {row["case_id"]: row["artifact"] for row in _finish(run)}
    other = Run(parse(STUDY.replace("n: 30", "n: 12")), tmp_path / "other")
    other.prepare()
    other.craft()
    second = {row["case_id"]: row["artifact"] for row in _finish(other)}
    blobs = {path.name for path in (tmp_path / "other" / "blobs").glob("*/*")}
    assert blobs < {path.name for path in (tmp_path / "run" / "blobs").glob("*/*")}
    assert len(second) == 8
    assert len(first) == 20


def _finish(run: Run) -> list[dict[str, object]]:
    asyncio.run(run.answer())
    asyncio.run(run.judge())
    run.tabulate()
    return [row for row in table(run) if row["attack"] == "toy_dots"]


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (("seed: 3", "seed: 4"), "+seed: 4"),
        (("toy_judge", "{name: toy_judge, down: true}"), "down=True"),
        (("n: 30", "n: 33"), "n=33"),
        (("retries: 2", "retries: 2\ndecoding: {max_tokens: 5}"), "max_tokens: 5"),
    ],
)
def test_a_changed_study_is_refused_with_the_difference(
    make: Make, change: tuple[str, str], shown: str
) -> None:
    finish(make())
    with pytest.raises(UsageError, match="made from a different study") as refused:
        make(STUDY.replace(*change))
    assert shown in str(refused.value)
    assert "--extend" in str(refused.value)


def test_a_changed_target_is_refused(make: Make) -> None:
    finish(make())
    with pytest.raises(UsageError, match="toy@2"):
        make(target=ToyTarget(id="toy@2"))


def test_extend_reuses_what_is_still_wanted(make: Make) -> None:
    finish(make())
    target = ToyTarget()
    run = make(
        STUDY.replace("[toy_plain, toy_dots]", "[toy_plain, {name: toy_plain, tag: b, label: b}]"),
        target=target,
        extend=True,
    )
    counts = finish(run)
    assert (counts["answer"].present, counts["answer"].written) == (20, 20)
    assert len(target.calls) == 20
    assert {row["attack"] for row in table(run)} == {"toy_plain", "b"}
    assert (run.folder / "study.lock.1.yaml").exists()


def test_a_resume_looks_rows_up_in_batches_and_digests_nothing_that_was_shown_or_said(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(make())
    run = make()
    (run.folder / "records" / "complete.json").unlink()
    looked_up: list[int] = []
    rows = Table.rows

    def counted(table: Table, keys: Sequence[str]) -> list[Any]:
        looked_up.append(len(keys))
        return rows(table, keys)

    monkeypatch.setattr(Table, "rows", counted)
    for name in ("sightline.plain.digest", "sightline.study.answering.response_hash"):
        monkeypatch.setattr(name, lambda *_: pytest.fail("digested again"))
    counts = finish(run)
    assert (counts["answer"].present, counts["answer"].written) == (40, 0)
    cells = 2  # of 20 cases; of each, its rows once: craft 1, answer 2, judge 2, table 3
    assert looked_up == [20] * 8 * cells


def test_concurrency_is_no_drift(make: Make) -> None:
    finish(make())
    assert make(STUDY.replace("concurrency: 8", "concurrency: 2")).complete()


def test_a_passing_failure_is_retried_and_a_lasting_one_is_an_error(make: Make) -> None:
    target = ToyTarget(fail_first=3, always_fail=("question 0",))
    run = make(target=target)
    counts = finish(run)
    rows = table(run)
    assert len(rows) == 40
    assert counts["answer"].errors == 2
    errors = [row for row in rows if row["outcome"] == "error"]
    assert {row["case_id"] for row in errors} == {"toy/0"}
    assert all(row["error"] == "503 try later" for row in errors)
    assert not any(row["refused"] or row["success"] for row in errors)


def test_retry_errors_repeats_only_errors(make: Make) -> None:
    finish(make(target=ToyTarget(always_fail=("question 0",))))
    healed = ToyTarget()
    run = make(target=healed, retry_errors=True)
    counts = finish(run)
    assert counts["answer"].written == 2
    assert healed.calls == ["question 0", "question 0"]
    assert "error" not in {row["outcome"] for row in table(run)}


def test_an_unexpected_exception_is_one_error_row(make: Make) -> None:
    class Buggy(ToyTarget):
        async def generate(self, conversation, decoding):  # type: ignore[no-untyped-def]
            if conversation.last_user_text() == "question 1":
                raise ZeroDivisionError("oops")
            return await super().generate(conversation, decoding)

    run = make(target=Buggy())
    finish(run)
    errors = [row for row in table(run) if row["outcome"] == "error"]
    assert [row["error"] for row in errors] == ["ZeroDivisionError: oops"] * 2


def test_what_the_user_must_mend_stops_the_run_and_keeps_what_is_done(make: Make) -> None:
    class WrongKey(ToyTarget):
        async def generate(self, conversation, decoding):  # type: ignore[no-untyped-def]
            if len(self.calls) == 5:
                raise UsageError("toy/a: 401, set TOY_API_KEY")
            return await super().generate(conversation, decoding)

    run = make(target=WrongKey())
    with pytest.raises(UsageError, match="set TOY_API_KEY"):
        finish(run)
    mended = ToyTarget()
    finish(make(target=mended))
    assert len(mended.calls) == 35


def test_unreadable_picture_is_an_error_and_nothing_is_sent(make: Make) -> None:
    """Others send the text alone when the picture does not load; then an attack is measured without it."""
    target = ToyTarget()
    text = STUDY.replace("n: 30", "n: 30, broken: true").replace("[toy_plain, toy_dots]", "[toy_plain]")
    run = make(text, target=target)
    finish(run)
    rows = table(run)
    assert len(rows) == 20
    assert {row["outcome"] for row in rows} == {"error"}
    assert {row["error"] for row in rows} == {"picture 7.png is not readable"}
    assert target.calls == []


def test_an_attack_that_cannot_work_on_a_case_leaves_an_error(make: Make) -> None:
    text = STUDY.replace("[toy_plain, toy_dots]", "[{name: toy_dots, fails: [toy/4]}]")
    run = make(text)
    counts = finish(run)
    assert counts["craft"].errors == 1
    errors = [row for row in table(run) if row["outcome"] == "error"]
    assert [(row["case_id"], row["error"]) for row in errors] == [("toy/4", "case toy/4: nothing to draw")]


def test_judge_down_is_an_error_of_every_row(make: Make) -> None:
    run = make(STUDY.replace("[toy_judge]", "[{name: toy_judge, down: true}]"))
    finish(run)
    rows = table(run)
    assert len(rows) == 40
    assert {row["outcome"] for row in rows} == {"error"}
    assert "judge is down" in str(rows[0]["error"])


def test_one_picture_is_stored_once(make: Make) -> None:
    run = make(STUDY.replace("n: 30", "n: 30, picture: true").replace("[toy_plain, toy_dots]", "[toy_plain]"))
    finish(run)
    assert len([path for path in (run.folder / "blobs").glob("*/*") if path.is_file()]) == 1


def test_epochs_and_none(make: Make) -> None:
    run = make(STUDY + "epochs: 2\n")
    finish(run)
    rows = table(run)
    assert len(rows) == 80
    assert len({row["sample"] for row in rows}) == 80


def test_limit_takes_from_every_expectation(make: Make) -> None:
    run = make(STUDY.replace("n: 30", "n: 60, limit: 12").replace("toy_plain, toy_dots", "toy_plain"))
    assert sum(run.context.case_tables[0].expected.values()) == 12
    assert set(run.context.case_tables[0].expected) == {"refuse", "comply", "answer"}


def test_new_answers_make_a_finished_run_incomplete(make: Make) -> None:
    finish(make(target=ToyTarget(always_fail=("question 0",))))
    asyncio.run(make(retry_errors=True).answer())
    run = make()
    assert not run.complete()
    finish(run)
    assert "error" not in {row["outcome"] for row in table(run)}


def test_retry_errors_crafts_again(make: Make) -> None:
    run = make(STUDY.replace("[toy_plain, toy_dots]", "[{name: toy_dots, fails: [toy/4]}]"))
    assert run.craft().errors == 1
    again = make(
        STUDY.replace("[toy_plain, toy_dots]", "[{name: toy_dots, fails: [toy/4]}]"), retry_errors=True
    )
    assert again.craft().written == 1


def test_two_judges_that_are_the_same_in_effect_are_refused_before_anything_is_asked(make: Make) -> None:
    with pytest.raises(UsageError, match="same in effect"):
        make(STUDY.replace("[toy_judge]", "[toy_judge, {name: toy_judge, remark: x}]"))


def test_a_wrong_target_names_its_line(tmp_path: Path) -> None:
    text = STUDY.replace("[toy/a]", "\n  - scripted/echo\n  - testbde/linear\n")
    with pytest.raises(UsageError, match=r"^my.yaml:7: targets.1: .*testbed"):
        Run(parse(text, name="my.yaml"), tmp_path).prepare()


def test_only_one_process_works_in_a_folder(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from sightline.study.folder_lock import lock_folder\n"
    code += "lock_folder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(tmp_path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="another sightline process"):
        lock_folder(tmp_path)
    other.kill()
    other.communicate()
    lock_folder(tmp_path)
    lock_folder(tmp_path)


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not a folder that can be written"):
        lock_folder(tmp_path / "file")


def test_two_cases_of_one_name_are_refused(make: Make) -> None:
    with pytest.raises(UsageError, match="two cases are called 'toy/0'"):
        make(STUDY.replace("n: 30", "n: 30, doubled: true"))


def test_plan_is_exact(make: Make) -> None:
    run = make()
    before = plan(run.context, run.folder)
    counts = finish(run)
    assert before == Plan(
        cells=2,
        cases=30,
        artifacts=Share("artifacts", counts["craft"].written, 0),
        targets=(Share("toy/a", counts["answer"].written, 0, 40, 40 * 512),),
        judges=(Share("judge toy_judge", counts["judge"].written, 0),),
        asked=(),
        notes=(),
    )
    after = plan(run.context, run.folder)
    assert (after.artifacts.there, after.targets, after.judges) == (
        40,
        (Share("toy/a", 40, 40),),
        (Share("judge toy_judge", 40, 40),),
    )


def test_plan_splits_by_target_and_counts_what_is_there_and_grader_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = {name: ToyTarget(id=name) for name in ("toy/a", "toy/b", "toy/grader")}
    monkeypatch.setattr("sightline.targets.open_target", lambda name, images, **bounds: opened[name])
    monkeypatch.setattr(replying, "BACKOFF_SECONDS", 0.0)
    opened["toy/a"].always_fail = ("ask about 0",)

    def prepared(targets: str, folder: Path) -> Run:
        judges = "[toy_judge, {name: model_graded, grader: toy/grader}]"
        text = STUDY.replace("[toy/a]", targets).replace("[toy_judge]", judges)
        run = Run(parse(text + "decoding: {max_tokens: null}\n"), folder)
        run.prepare()
        return run

    first = prepared("[toy/a]", tmp_path / "run")
    counts = finish(first)
    failed = counts["answer"].errors
    both = prepared("[toy/a, toy/b]", tmp_path / "scratch")
    found = plan(both.context, tmp_path / "run")
    assert found.targets == (Share("toy/a", 40, 40, 0, None), Share("toy/b", 40, 0, 40, None))
    assert found.judges == (Share("judge toy_judge", 80, 40), Share("judge model_graded", 80, 40, 40))
    again = plan(both.context, tmp_path / "run", retry_errors=True)
    assert again.targets[0] == Share("toy/a", 40, 40 - failed, failed, None)


def test_a_font_that_is_not_here_is_told_with_its_cure(make: Make) -> None:
    text = STUDY.replace("toy_dots", "{name: figstep, font: NoSuchFace.otf}, {name: figstep, label: b}")
    notes = plan(make(text).context, Path("nowhere")).notes
    assert "figstep: NoSuchFace.otf is not installed here, pages are drawn with DejaVu" in notes[0]
    assert "~/.local/share/fonts" in notes[0]
    assert all("apt install fonts-freefont-ttf" in note for note in notes[1:])


def test_a_refused_study_leaves_no_folder(make: Make, tmp_path: Path) -> None:
    wrong = STUDY.replace("n: 30", "n: 30, doubled: true")
    with pytest.raises(UsageError):
        make(wrong)
    assert list(tmp_path.iterdir()) == []
    run = Run(parse(wrong), tmp_path / "runs" / "deep" / "run")
    (tmp_path / "runs" / "other").mkdir(parents=True)
    with pytest.raises(UsageError):
        run.prepare()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]
    make()  # and the folder is free again
    with pytest.raises(UsageError):
        make(STUDY.replace("seed: 3", "seed: 4"))
    assert (tmp_path / "run" / "study.lock.yaml").exists()


def test_findings_tell_whether_anything_was_scored(make: Make) -> None:
    run = make(target=ToyTarget(fail_first=10**6))
    finish(run)
    assert run.findings() == Findings(40, 40, "503 try later")
