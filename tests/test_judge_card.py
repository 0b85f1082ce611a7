"""`judge-card`: a judge against people's labels; counts by hand, void cards, broken input."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import releases_labelled
from typer.testing import CliRunner

import sightline as sl
from sightline.benchmarks._labels import LabelledAnswer
from sightline.cases import Case, Conversation
from sightline.cli import app
from sightline.errors import TransientError, UsageError
from sightline.judge_check.card import HumanCard, read_card
from sightline.judge_check.labelled import card
from sightline.judges.model_graded import ModelGraded
from sightline.judges.refusal_prefix import RefusalPrefix
from sightline.records import Outcome, Response, Verdict

NO, YES = "I'm sorry, but I cannot help with that.", "Mix corn and milk, then let it rest."


def labelled(number: int, response: str, outcome: Outcome | None, **said: object) -> LabelledAnswer:
    given = {"model": "one", "human": {"ann": "a", "bob": "a"}} | said
    return LabelledAnswer(
        case_id=f"c{number}", response=response, label=str(outcome), outcome=outcome, prompt="q", **given
    )


def made(answers: Sequence[LabelledAnswer], judge: object = None, **how: object) -> HumanCard:
    return asyncio.run(card(judge or RefusalPrefix(), answers, "invented", **how))


ANSWERS = [
    *(labelled(n, NO, Outcome.refused) for n in range(6)),
    *(labelled(n, YES, Outcome.refused) for n in range(6, 8)),
    *(labelled(n, NO, Outcome.partial, human={"ann": "a", "bob": "b"}) for n in range(8, 9)),
    *(labelled(n, YES, Outcome.complied, model="two") for n in range(9, 20)),
    labelled(20, YES, None),
]
"""Refused by people 8, of which the judge finds 6; 12 others, of which it calls 1 refused; 1 left open."""


def test_counts_by_hand() -> None:
    found = made(ANSWERS)
    assert (found.positive, found.left_out, found.raters) == ("refused", 1, ("ann", "bob"))
    assert (found.raters_agree.k, found.raters_agree.n) == (19, 20)
    whole, one, two = found.strata
    assert [(each.by, each.name) for each in found.strata] == [("", ""), ("model", "one"), ("model", "two")]
    assert (whole.answers, whole.n, whole.groups, whole.failed) == (20, 20, 20, 0)
    assert (whole.sensitivity.k, whole.sensitivity.n) == (6, 8)
    assert (whole.specificity.k, whole.specificity.n) == (11, 12)
    assert (whole.precision.k, whole.precision.n) == (6, 7)
    assert (whole.prevalence.k, whole.unparsed.k) == (8, 0)
    assert whole.bias.point == pytest.approx(-1 / 20)
    assert whole.kappa.point == pytest.approx((17 / 20 - (7 * 8 + 13 * 12) / 400) / (1 - 212 / 400))
    assert (one.n, two.n, two.sensitivity.point) == (9, 11, None)


def test_errors_are_counted_by_the_length_of_the_answer() -> None:
    """Of 20 answers, 13 have 36 letters and 7 have 39: the judge misses two of the former, and errs once."""
    found = made(ANSWERS).by_length
    assert (len(YES), len(NO)) == (36, 39)
    assert [(each.shortest, each.longest, each.errors.n) for each in found] == [
        (36, 36, 6),
        (36, 36, 7),
        (39, 39, 7),
    ]
    assert sum(each.errors.k for each in found) == 3
    assert [each.errors.k for each in found] == [2, 0, 1]


def test_labels_of_harm_are_about_unsafe_answers() -> None:
    answers = [replace(each, harmful=each.outcome is Outcome.complied, outcome=None) for each in ANSWERS]
    found = made(answers)
    assert (found.positive, found.left_out) == ("unsafe", 0)
    whole = found.strata[0]
    assert (whole.sensitivity.k, whole.sensitivity.n) == (11, 11)
    assert (whole.specificity.k, whole.specificity.n) == (7, 10)
    with pytest.raises(UsageError, match="none of its 21 labels says whether an answer is refused"):
        made(answers, positive="refused")


def test_what_counts_as_yes_can_be_chosen() -> None:
    whole = made(ANSWERS, positive="unsafe").strata[0]
    assert (whole.sensitivity.k, whole.sensitivity.n) == (11, 12)  # of 11 complied and 1 partial
    assert (whole.specificity.k, whole.specificity.n) == (6, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uneven(RefusalPrefix):
    """Down on what complies, unparsed on the rest."""

    async def judge(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        if response.text == YES:
            raise TransientError("down")
        return Verdict(outcome=Outcome.unparsed, judge="x")


def test_unparsed_and_failed_are_counted_apart_and_nothing_is_made_up() -> None:
    whole = made(ANSWERS, Uneven()).strata[0]
    assert (whole.answers, whole.n, whole.failed) == (20, 0, 13)
    assert (whole.unparsed.k, whole.unparsed.n) == (7, 7)
    assert whole.sensitivity.point is whole.kappa.point is whole.bias.point is None


def test_a_card_is_void_for_another_id_and_for_other_code() -> None:
    found = made(ANSWERS)
    assert found.void_for(found.judge, found.identity) == ""
    assert "void: it is of refusal_prefix(common@" in found.void_for(f"{found.judge} ", found.identity)
    assert "code or data has changed" in found.void_for(found.judge, "other")


def test_a_card_can_be_written_and_read() -> None:
    found = made(ANSWERS)
    assert read_card(json.dumps(found.plain()), "x.json") == found
    for broken in ("", "[]", "{}", '{"format": "other"}', json.dumps({**found.plain(), "more": 1})):
        with pytest.raises(UsageError, match=r"x\.json: not a judge card"):
            read_card(broken, "x.json")


def test_the_digest_of_labels_follows_the_labels() -> None:
    other = [*ANSWERS[:-1], replace(ANSWERS[-1], label="else")]
    assert made(other).labels_digest != made(ANSWERS).labels_digest


def test_a_judge_that_wants_pictures_has_no_card() -> None:
    judge = ModelGraded(grader="scripted/echo", sees_image=True)
    with pytest.raises(UsageError, match="hold none"):
        made(ANSWERS, judge)


# --- What else a card says ------------------------------------------------------------------------


def test_strata_are_what_answers_have_in_common() -> None:
    """Ten answers of two attacks and two languages; one of them all in one category: no strata of it."""
    answers = [
        labelled(
            n,
            NO if n % 2 else YES,
            Outcome.refused,
            attack="a" if n < 4 else "",
            language="de" if n < 3 else "en",
            category="same",
        )
        for n in range(10)
    ]
    found = {(each.by, each.name): each for each in made(answers).strata}
    assert list(found) == [
        ("", ""),
        ("language", "de"),
        ("language", "en"),
        ("attack", "a"),
        ("attack", "(not said)"),
    ]
    hits = {name: (each.sensitivity.k, each.sensitivity.n) for (_, name), each in found.items()}
    assert hits == {"": (5, 10), "de": (1, 3), "en": (4, 7), "a": (2, 4), "(not said)": (3, 6)}


def test_raters_are_measured_by_their_yes_and_no() -> None:
    """Twelve answers; the raters differ on two of them. Eleven verdicts of twelve are the label."""
    both, apart = {"ann": True, "bob": True}, {"ann": True, "bob": False}
    neither = {"ann": False, "bob": False}
    answers = [
        *(labelled(n, NO, Outcome.refused, votes=both) for n in range(4)),
        *(labelled(n, NO, Outcome.refused, votes=apart) for n in range(4, 6)),
        *(labelled(n, YES, Outcome.complied, votes=neither) for n in range(6, 11)),
        labelled(11, YES, Outcome.refused, votes=both),
    ]
    found = made(answers)
    # Coincidences: 10 yes-yes, 10 no-no, 2 and 2 mixed; n1 = n0 = 12: Do = 4 / 24, De = 2 x 144 / (24 x 23).
    assert found.alpha.point == pytest.approx(1 - (4 / 24) / (288 / 552))
    assert found.ceiling.point == pytest.approx(10 / 12)
    assert found.of_ceiling == pytest.approx((4 + 2 * 0.5 + 5) / 12 / (10 / 12))
    assert made(answers, positive="unsafe").alpha.point is None  # the votes are about refusals


@dataclass(frozen=True, slots=True, kw_only=True)
class Moody(RefusalPrefix):
    """Says something else the third time of two answers, of which one is asked about again; once down."""

    asked: ClassVar[Counter[str]] = Counter()

    async def judge(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        self.asked[case.id] += 1
        if case.id == "c4" and self.asked[case.id] == 2:
            raise TransientError("down")
        turned = case.id in ("c2", "c5") and self.asked[case.id] == 3
        return Verdict(outcome=Outcome.complied if turned else Outcome.refused, judge="x")


def test_the_same_question_is_asked_again() -> None:
    Moody.asked.clear()
    answers = [labelled(n, NO, Outcome.refused) for n in range(40)]
    found = made(answers, Moody(), repeat=3).repeated
    assert found is not None
    assert (found.times, found.failed) == (3, 1)
    assert (found.changed.k, found.changed.n) == (1, 19)  # a judge by rule: 20 of 40 answers, every other one
    assert sum(Moody.asked.values()) == 40 + 2 * 20
    assert made(ANSWERS, repeat=3).repeated.changed.k == 0
    assert made(ANSWERS).repeated is None
    with pytest.raises(UsageError, match="repeat=0"):
        made(ANSWERS, repeat=0)


def test_length_effects_cost_and_grammar_stand_in_the_card() -> None:
    found = made(ANSWERS)
    assert (found.asked, found.cost.calls_judge, found.grammar) == (20, 0, "")
    assert found.cost.seconds > 0
    assert found.length_slope.point is None  # three errors: too few
    long = [labelled(n, YES + " x" * (n % 7) * 20, Outcome.refused, model="m") for n in range(12)]
    mixed = [labelled(n, YES + " x" * (n % 5) * 20, Outcome.complied) for n in range(12, 60)]
    slope = made([*long, *mixed]).length_slope
    assert slope.point is not None
    assert slope.low < slope.point < slope.high
    told = str(replace(found, models={"openai/a": "openai/a@1"}, grammar="one line", made="2026-11-28"))
    assert "asks openai/a: openai/a@1" in told
    assert "to be written: one line" in told
    assert "made 2026-11-28" in told
    assert "per 1,000 verdicts: " in told


def test_another_guideline_voids_a_card() -> None:
    found = replace(made(ANSWERS), guideline="a" * 64)
    assert found.void_for(found.judge, found.identity, "a" * 64) == ""
    assert "another guideline" in found.void_for(found.judge, found.identity, "b" * 64)


def test_graders_and_guideline_of_a_release_are_in_its_card(tmp_path: Path) -> None:
    folder = releases_labelled.msts(tmp_path / "MSTS")
    (folder / "data/annotation_guidelines.pdf").write_bytes(b"frells are safe")
    judge = "model_graded(grader='scripted/echo')"
    found = sl.judge_card(judge, {"msts": folder, "msts(language='german')": folder}, repeat=2)
    assert found.models == {"scripted/echo": found.models["scripted/echo"]}
    assert found.grammar == "one last line: VERDICT <tag> <label>"
    assert found.cost.calls_judge == found.asked
    assert found.repeated.changed.n == min(200, found.strata[0].answers)
    by = {(each.by, each.name) for each in found.strata}
    assert {("language", "english"), ("language", "german"), ("category", "Other")} <= by
    path = tmp_path / "card.json"
    path.write_text(json.dumps(found.plain()), encoding="utf-8")
    assert read_card(path.read_text(encoding="utf-8"), "x.json") == found
    check = (
        judge,
        "--check",
        path,
        "--labels",
        f"msts={folder}",
        "--labels",
        f"msts(language=german)={folder}",
    )
    status, said = run(*check)
    assert (status, "holds" in said) == (0, True)
    (folder / "data/annotation_guidelines.pdf").write_bytes(b"frells are unsafe")
    status, said = run(*check)
    assert (status, "another guideline" in said) == (1, True)


# --- From the folder of a release to the command -------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return releases_labelled.xstest(tmp_path / "XSTest", prompts=3)


def run(*words: object) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["judge-card", *map(str, words)])
    told = "" if found.exception is None else str(found.exception)
    return found.exit_code, found.output + told


def test_the_counts_of_a_release_are_those_of_its_tables(folder: Path) -> None:
    whole = sl.judge_card("refusal_prefix", "xstest", folder).strata[0]
    rows = [
        row
        for path in (folder / "model_completions").glob("*.csv")
        for row in csv.DictReader(path.open(encoding="utf-8", newline=""))
    ]
    refused = [row for row in rows if row["final_label"] == "2_full_refusal"]
    assert (whole.n, whole.prevalence.k) == (len(rows), len(refused))
    said = [sl.judges.RefusalPrefix()("q", row["completion"]).outcome == "refused" for row in refused]
    assert (whole.sensitivity.k, whole.sensitivity.n) == (sum(said), len(refused))


def test_the_command_writes_a_card_and_checks_it(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "cards" / "card.json"
    status, said = run("refusal_prefix", "--labels", f"xstest={folder}", "--out", path)
    assert status == 0
    assert "positive: refused" in said
    status, said = run("refusal_prefix", "--labels", f"xstest={folder}", "--json", "--forgeries")
    assert json.loads(said)["forgeries"]["foreign_refusal"] == 20
    status, said = run("refusal_prefix", "--labels", f"xstest={folder}", "--json")
    again, kept = json.loads(said), json.loads(path.read_text(encoding="utf-8"))
    assert again.pop("cost")["calls_judge"] == kept.pop("cost")["calls_judge"] == 0
    assert again == kept
    assert re.fullmatch(r"2\d{3}-\d\d-\d\d", kept["made"])
    assert run("refusal_prefix", "--check", path) == (0, f"{path}: the card holds for this judge\n")
    status, said = run("refusal_prefix(phrases='xstest')", "--check", path)
    assert status == 1
    assert "the card is void" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["refusal_prefix"], "give either --labels BENCHMARK=FOLDER or --check"),
        (["refusal_prefix", "--labels", "xstest"], "write it as BENCHMARK=FOLDER"),
        (["refusal_prefix", "--labels", "xstest=/a", "--labels", "xstest=/b"], "stands there twice"),
        (["refusal_prefix", "--labels", "siuo=/tmp"], "has no labelled answers"),
        (["refusal_prefix", "--labels", "xstest=/no/such/folder"], "/no/such/folder"),
        (["refusal_prefix", "--labels", "xstest=/tmp", "--positive", "bad"], "write unsafe or refused"),
        (["nobody", "--labels", "xstest=/tmp"], "nobody"),
    ],
)
def test_what_cannot_be_carded_is_told(words: list[str], told: str) -> None:
    status, said = run(*words)
    assert status != 0
    assert told in said


def test_a_file_that_is_no_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}", encoding="utf-8")
    assert "x.json: not a judge card" in run("refusal_prefix", "--check", tmp_path / "x.json")[1]
