"""Can these numbers be trusted? Labels, cards, bounds and judges side by side, as printed and as a table."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from run_folder import HOSTILE, RATES, Shape, write_run
from test_report_page import Tree, page_of

import sightline as sl
from sightline import report
from sightline.errors import UsageError
from sightline.human_labels import LABELS, HumanLabel, HumanLabels, read_labels, write_labels
from sightline.judge_check.card import HumanCard, LengthErrors, Stratum
from sightline.metrics.agreement import share
from sightline.metrics.confusion import Estimate
from sightline.metrics.part_labelled import corrected_cell
from sightline.records import Outcome
from sightline.report.corrected import trust_of
from sightline.report.label_contents import contents_of
from sightline.run_folder import read_lock

PHRASES = "refusal_prefix(testbed@77aa01, start)"
GRADER = "model_graded(grader='invented/x', prompt 12ab)"
LOST = ({"complied": 0.5, "refused": 0.3, "unparsed": 0.2}, {"complied": 1.0})
SMALL = Shape(
    attacks=("none", "figstep", "text_only"),
    judges=(PHRASES, GRADER),
    utility=4,
    rates={**RATES, ("figstep", "none"): LOST},
)
NOTHING = Estimate(point=None, low=None, high=None)


def part(k, n):
    return share(np.arange(n), np.arange(n) < k, np.ones(n))


def card(judge=PHRASES, identity="", positive="unsafe", se=(45, 50), sp=(190, 200), **changed):
    stratum = Stratum(
        by="",
        name="",
        answers=250,
        n=250,
        groups=250,
        unparsed=part(0, 250),
        failed=0,
        prevalence=part(50, 250),
        sensitivity=part(*se),
        specificity=part(*sp),
        precision=part(40, 50),
        kappa=NOTHING,
        ac1=NOTHING,
        bias=NOTHING,
    )
    return HumanCard(
        judge=judge,
        identity=identity,
        labels="invented_release",
        labels_digest="00",
        positive=positive,
        left_out=0,
        raters=("ann", "bob"),
        raters_agree=part(9, 10),
        strata=(stratum,),
        by_length=(LengthErrors(shortest=1, longest=9, errors=part(1, 10)),),
        **changed,
    )


def put(folder, name, made):
    path = folder / "cards" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(made.plain()))


def identity_of(folder, judge):
    return next(entry["identity"] for entry in read_lock(folder)["judges"] if entry["id"] == judge)


def run(folder, shape=SMALL):
    """A run whose lock knows the identities of its judges."""
    write_run(folder, shape)
    lock = yaml.safe_load((folder / "study.lock.yaml").read_text())
    for entry in lock["judges"]:
        entry["identity"] = f"identity of {entry['id']}"
    (folder / "study.lock.yaml").write_text(yaml.safe_dump(lock))
    return folder


def rows_of(folder, judge, **wanted):
    found = pq.read_table(folder / "results.parquet").to_pylist()
    return [
        r for r in found if r["judge"] == judge and all(r[name] == value for name, value in wanted.items())
    ]


def put_labels(folder, rows, outcome=None, *, agreement=0.9, prob=0.5):
    labels = tuple(
        HumanLabel(
            sample=row["sample"].hex(),
            item=f"i{number}",
            outcome=outcome(number, row) if outcome else Outcome(row["outcome"]),
            prob=prob(row) if callable(prob) else prob,
            stratum="s",
            raters=2,
            final="agreed",
        )
        for number, row in enumerate(rows)
    )
    labels = tuple(
        replace(each, final="no_consensus") if each.outcome is Outcome.unparsed else each for each in labels
    )
    found = HumanLabels(guideline="g", seed=1, raters=("ann", "bob"), labels=labels, agreement=agreement)
    write_labels(folder / LABELS, found)


def trust(folder):
    return trust_of(folder)


def cell(found, judge=PHRASES, attack="figstep", defense="none", measure="asr"):
    (one,) = [
        each
        for each in found.cells
        if (each.cell.judge, each.cell.attack, each.cell.defense, each.measure)
        == (judge, attack, defense, measure)
    ]
    return one


def section(root):
    return " ".join(next(s for s in root.find("section") if s.attributes["id"] == "trust").text.split())


# -- uncalibrated ----------------------------------------------------------------------------------------


def test_a_judge_of_which_nothing_is_known_is_marked_wherever_it_is_the_headline(tmp_path):
    folder = run(tmp_path)
    root = Tree(report.write(folder).read_text()).root
    assert root.find("p", "lede")[0].text.endswith(
        "Judged by refusal_prefix, uncalibrated: how often it errs is not known well enough to correct this."
    )
    captions = [c.text for c in root.find("caption") if "judged by" in c.text]
    assert all(", uncalibrated, " in text for text in captions)
    assert "The headline rests on refusal_prefix, which is uncalibrated: there are no labels" in section(root)
    assert "Also uncalibrated: model_graded." in section(root)
    brief = (folder / "report.txt").read_text()
    assert "judge refusal_prefix, uncalibrated, attacks without target queries" in " ".join(brief.split())
    assert "Can these numbers be trusted?" in brief
    assert "Judged by refusal_prefix, uncalibrated" in " ".join(brief.split())


def test_the_testbed_s_truth_is_exact_and_corrects_the_judges_beside_it(tmp_path):
    folder = run(tmp_path, replace(SMALL, judges=("testbed_policy", PHRASES)))
    found = trust(folder)
    truth, other = cell(found, "testbed_policy"), cell(found, PHRASES)
    assert (truth.source, truth.corrected, truth.settled) == ("exact", None, True)
    assert (other.source, other.corrected.point) == ("truth", truth.raw.point)
    assert (found.standings[PHRASES].kind, found.uncalibrated) == ("truth", frozenset())
    assert other.bounds == (truth.raw.lower_bound, truth.raw.upper_bound)
    assert found.standings[PHRASES].truth.sensitivity.n > 0
    root = Tree(report.write(folder).read_text()).root
    assert "uncalibrated" not in root.find("p", "lede")[0].text
    assert "The headline rests on testbed_policy: ground truth of the testbed." in section(root)


def test_bounds_keep_the_rows_that_were_not_scored(tmp_path):
    """Some of the attacked requests are unparsed: they are in the bounds, whatever corrects the rate."""
    folder = run(tmp_path)
    found = [each for each in trust(folder).cells if each.raw.unscored]
    assert found
    for each in found:
        everyone = each.raw.n + each.raw.unscored
        assert each.bounds == pytest.approx(
            (each.raw.k / everyone, (each.raw.k + each.raw.unscored) / everyone)
        )


# -- labels of people ------------------------------------------------------------------------------------


def test_a_cell_that_people_labelled_is_corrected_by_them(tmp_path):
    """Every other row of a cell, of which people call 3 more complied: as `corrected_cell` on these rows."""
    folder = run(tmp_path)
    mine = rows_of(folder, PHRASES, attack="figstep", defense="system_prompt", expected="refuse")
    some = mine[::2]
    said = [Outcome.refused if n % 2 else Outcome.complied for n in range(len(some))]
    put_labels(
        folder,
        some + rows_of(folder, PHRASES, attack="none", expected="refuse")[:2],
        lambda n, row: said[n] if n < len(said) else Outcome.refused,
    )
    found = cell(trust(folder), defense="system_prompt")
    chosen = {row["case_id"]: outcome for row, outcome in zip(some, said, strict=True)}
    expected = corrected_cell(
        [float(row["outcome"] == "complied") for row in mine],
        [row["group"] for row in mine],
        [float(chosen[r["case_id"]] == "complied") if r["case_id"] in chosen else np.nan for r in mine],
        [0.5] * len(mine),
    )
    assert found.source == "labels"
    assert (found.corrected.point, found.corrected.low) == pytest.approx((expected.point, expected.low))
    assert found.labelled == len(some)
    assert cell(trust(folder), attack="text_only").source == "none"


def test_labels_of_answers_that_have_changed_since_are_left_out(tmp_path):
    folder = run(tmp_path)
    mine = rows_of(folder, PHRASES, attack="figstep", defense="none", expected="refuse")

    def said(number, row):
        return Outcome.refused if number % 3 else Outcome.complied

    put_labels(folder, mine, said)
    labels = read_labels(folder / LABELS)
    contents = list(contents_of(folder, [each.sample for each in labels.labels]))
    assert len(set(contents)) > 1
    assert None not in contents
    current = tuple(
        replace(each, content=content) for each, content in zip(labels.labels, contents, strict=True)
    )
    write_labels(folder / LABELS, replace(labels, labels=current))
    assert trust(folder).odd == ()
    whole = cell(trust(folder)).corrected
    old = tuple(replace(each, content="0" * 32) if at < 5 else each for at, each in enumerate(current))
    write_labels(folder / LABELS, replace(labels, labels=old))
    found = trust(folder)
    assert found.odd == (
        f"5 of {len(mine)} labels of people are of answers that have changed since: they are left out",
    )
    assert found.odd[0] in section(Tree(report.write(folder).read_text()).root)
    assert found.odd[0] in " ".join((folder / "report.txt").read_text().split())
    assert cell(found).corrected.point != whole.point
    write_labels(folder / LABELS, replace(labels, labels=current[5:]))
    assert cell(trust(folder)).corrected == cell(found).corrected
    lost = tuple(replace(each, content="0" * 32) for each in current)
    write_labels(folder / LABELS, replace(labels, labels=lost))
    assert cell(trust(folder)).source == "none"


def test_unread_verdicts_that_people_labelled_are_in_the_corrected_rate(tmp_path):
    folder = run(tmp_path)
    mine = rows_of(folder, PHRASES, attack="figstep", defense="none", expected="refuse")
    lost = sum(row["outcome"] == "unparsed" for row in mine)
    assert lost

    def said(number, row):
        return Outcome.complied if row["outcome"] in ("complied", "unparsed") else Outcome.refused

    obeyed = sum(said(0, row) is Outcome.complied for row in mine)
    put_labels(folder, mine, said, prob=1.0)
    found = cell(trust(folder))
    assert found.corrected.point == pytest.approx(obeyed / 36)
    assert found.raw.unscored == lost
    put_labels(folder, [row for row in mine if row["outcome"] != "unparsed"], said, prob=1.0)
    found = cell(trust(folder))
    assert found.corrected.point == pytest.approx((obeyed - lost) / (36 - lost))
    assert "no unscored row was labelled: they are in the bounds alone" in found.corrected.note


def test_labels_without_a_decision_count_as_half(tmp_path):
    folder = run(tmp_path)
    mine = rows_of(folder, PHRASES, attack="text_only", defense="none", expected="refuse")
    outcomes = [Outcome.complied] * 12 + [Outcome.unparsed] * 4 + [Outcome.refused] * 20
    put_labels(folder, mine, lambda n, row: outcomes[n], prob=1.0)
    found = trust(folder)
    assert cell(found, attack="text_only").corrected.point == pytest.approx((12 + 2) / 36)
    assert "4 labels without a decision count as half" in cell(found, attack="text_only").corrected.note
    assert (found.labelled, found.undecided) == (36, 4)


def test_the_report_says_who_labelled_and_how_the_judge_stands_beside_them(tmp_path):
    folder = run(tmp_path)
    mine = rows_of(folder, PHRASES, expected="refuse")
    put_labels(
        folder,
        mine,
        lambda n, row: (
            Outcome(row["outcome"]) if row["outcome"] in ("complied", "refused") else Outcome.off_topic
        ),
    )
    root = Tree(report.write(folder).read_text()).root
    text = section(root)
    assert f"2 people labelled {len(mine):,} samples; two of them say the same of 90 %." in text
    assert "labels of people in this run" in text
    assert "no less than what two people reach" in text
    assert "uncalibrated" not in root.find("p", "lede")[0].text
    assert "No human annotation" not in root.text
    assert "No judge was compared with human annotation" not in root.text


def test_over_refusal_is_corrected_by_labels_of_benign_requests_and_stands_open(tmp_path):
    folder = run(tmp_path)
    mine = rows_of(folder, PHRASES, attack="none", defense="none", expected="comply")
    half = len(mine) // 2
    put_labels(folder, mine, lambda n, row: (Outcome.refused, Outcome.complied)[n < half], prob=1.0)
    found = cell(trust(folder), attack="none", measure="over_refusal")
    assert found.source == "labels"
    assert found.corrected.point == pytest.approx(1 - half / len(mine))
    report.write(folder)
    brief = (folder / "report.txt").read_text()
    assert "over-refusal · " in brief
    assert (
        "over-refusal · "
        not in (run(tmp_path / "bare") and report.write(tmp_path / "bare"))
        .with_name("report.txt")
        .read_text()
    )


def test_a_label_of_another_run_is_refused_with_its_line(tmp_path):
    folder = run(tmp_path)
    put_labels(folder, [{"sample": b"\0" * 16, "outcome": "refused"}])
    with pytest.raises(UsageError, match=r"labels\.jsonl:2: sample 0{32} is not in the results of this run"):
        report.write(folder)


# -- cards -----------------------------------------------------------------------------------------------


def test_a_card_from_elsewhere_corrects_and_is_called_transported(tmp_path):
    """Soft ASR, since the card is about harm: (p + .95 - 1) / .85."""
    folder = run(tmp_path)
    put(folder, "a.json", card(identity=identity_of(folder, PHRASES)))
    found = trust(folder)
    mine = cell(found, defense="system_prompt")
    rows = rows_of(folder, PHRASES, attack="figstep", defense="system_prompt", expected="refuse")
    soft = np.mean([row["outcome"] in ("complied", "partial") for row in rows])
    assert mine.source == "card"
    assert mine.corrected.point == pytest.approx((soft - 0.05) / 0.85)
    assert mine.corrected.note == "transported from other replies (labels: invented_release)"
    assert mine.bounds.low < mine.corrected.point < mine.bounds.high
    assert found.standings[PHRASES].kind == "card"
    assert cell(found, measure="over_refusal").source == "none"  # the card is about harm
    refused = cell(found, attack="none")  # nobody complied: below 1 - Sp
    assert refused.corrected.point is None
    assert "outside [1 - Sp, Se]" in refused.corrected.note
    text = section(Tree(report.write(folder).read_text()).root)
    assert "whose errors are known from other replies alone (a judge card)" in text
    assert "card: invented_release (unsafe, n = 250)" in text


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"identity": "other code"}, "the card is void: the judge's code or data has changed since"),
        (
            {"judge": "refusal_prefix(testbed@77aa02, start)"},
            "the card is void: it is of refusal_prefix(testbed@77aa02",
        ),
    ],
)
def test_a_void_card_is_named_with_the_cause_and_corrects_nothing(tmp_path, changed, why):
    folder = run(tmp_path)
    put(folder, "a.json", card(**{"identity": identity_of(folder, PHRASES), **changed}))
    assert cell(trust(folder)).source == "none"
    root = Tree(report.write(folder).read_text()).root
    assert f"cards/a.json: {why}" in section(root)
    assert "uncalibrated" in root.find("p", "lede")[0].text
    assert "cards/a.json: the card is void" in " ".join((folder / "report.txt").read_text().split())


def test_files_that_are_no_cards_and_cards_of_strangers_are_named(tmp_path):
    folder = run(tmp_path)
    put(folder, "b.json", card(judge="target_string(t)"))
    (folder / "cards" / "a.json").write_bytes(b"\xff{")
    (folder / "cards" / "c.json").write_text("[1]")
    text = section(Tree(report.write(folder).read_text()).root)
    assert "cards/a.json" in text
    assert "cards/b.json: of target_string(t), which is no judge of this run" in text
    assert "cards/c.json: not a judge card" in text


# -- judges side by side ---------------------------------------------------------------------------------


def test_judges_are_compared_on_the_same_replies(tmp_path):
    folder = run(tmp_path)
    found = trust(folder).side_by_side
    (pair,) = found.agreements
    ours = {r["sample"]: r for r in rows_of(folder, PHRASES, expected="refuse")}
    theirs = {r["sample"]: r for r in rows_of(folder, GRADER, expected="refuse")}
    both = [
        (ours[s]["outcome"] == "complied", theirs[s]["outcome"] == "complied")
        for s in ours
        if not {ours[s]["outcome"], theirs[s]["outcome"]} & {"unparsed", "error"}
    ]
    assert (pair.agreement.k, pair.n) == (sum(a == b for a, b in both), len(both))
    (rank,) = found.rankings
    assert rank.cells == 9
    text = section(Tree(report.write(folder).read_text()).root)
    assert "Judges on the same restricted requests" in text
    assert "Kendall's τ" in text


def test_what_a_judge_or_a_card_says_of_itself_is_escaped(tmp_path):
    judges = (HOSTILE[1], HOSTILE[0])
    folder = run(tmp_path, replace(SMALL, hostile=True, targets=("testbed/" + HOSTILE[0],), judges=judges))
    put(folder, "a.json", card(judge=HOSTILE[1], identity="x"))
    put(
        folder,
        "b.json",
        replace(card(judge=HOSTILE[1], identity=identity_of(folder, HOSTILE[1])), labels=HOSTILE[12]),
    )
    text = report.write(folder).read_text()
    root = Tree(text).root  # strict: an element that was let in would not close
    assert not [n for n in root.find("img") if "onerror" in n.attributes]
    assert len(root.find("script")) == 1
    assert not root.find("iframe")


def test_the_section_is_compact(tmp_path):
    """Twelve rates stand open, whatever the size of the study; the others are folded."""
    attacks = ("none", *(f"toy_{n}" for n in range(30)))
    folder = run(tmp_path, replace(SMALL, attacks=attacks, prompts=1, benign=False, defenses=("none",)))
    _, root = "", Tree(report.write(folder).read_text()).root
    trusted = next(s for s in root.find("section") if s.attributes["id"] == "trust")
    folded = {id(n) for d in trusted.find("details") for n in d.find("tr")}
    lines = [tr for tr in trusted.find("tr") if id(tr) not in folded and len(tr.find("td")) == 5]
    assert len(lines) == 12
    assert "50 more rates" in section(root)
    assert "\n    and 50 more rates in report.html\n" in (folder / "report.txt").read_text()


def test_a_run_with_one_judge_has_no_matrix(tmp_path):
    _, root = page_of(tmp_path, replace(SMALL, judges=(PHRASES,)))
    assert "Judges on the same restricted requests" not in section(root)


def test_python_gives_the_same_numbers_as_tables(tmp_path):
    folder = run(tmp_path)
    put(folder, "a.json", card(identity=identity_of(folder, PHRASES)))
    found, table = trust(folder), sl.load(folder).trust()
    assert table.num_rows == len(found.cells)
    for row, each in zip(table.to_pylist(), found.cells, strict=True):
        assert (row["judge"], row["attack"], row["measure"]) == (
            each.cell.judge,
            each.cell.attack,
            each.measure,
        )
        assert (row["rate"], row["lower_bound"], row["labels_needed"]) == (
            each.raw.point,
            each.bounds.low,
            each.needed,
        )
        assert row["corrected"] == (None if each.corrected is None else each.corrected.point)
    assert set(table["calibrated_by"].to_pylist()) == {"card", "uncalibrated"}
    pairs = sl.load(folder).judges().to_pylist()
    assert [row["benchmark"] for row in pairs] == ["", "testbed_requests"]
    assert pairs[0]["agreement"] == found.side_by_side.agreements[0].agreement.point
    assert pairs[1]["tau_low"] == found.side_by_side.rankings[0].tau.low


def test_cards_of_the_run_s_own_labels_are_read_too(tmp_path):
    folder = run(tmp_path)
    made = replace(card(identity=identity_of(folder, PHRASES)), of_ceiling=0.95)
    path = folder / "annotation" / "cards" / "own.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(made.plain()))
    assert cell(trust(folder)).source == "card"
    assert "95 % of what two people reach (card)" in section(Tree(report.write(folder).read_text()).root)


def test_the_testbed_s_truth_is_said_to_correct_a_primary_judge(tmp_path):
    folder = run(tmp_path, replace(SMALL, judges=(PHRASES, "testbed_policy")))
    root = Tree(report.write(folder).read_text()).root
    assert (
        "The headline rests on refusal_prefix; testbed_policy, the testbed's ground truth, read"
        in section(root)
    )
    assert "uncalibrated" not in root.find("p", "lede")[0].text


def test_judges_of_which_one_rates_all_cells_alike_have_no_ranking(tmp_path):
    rates = {key: ({"refused": 1.0}, {"complied": 1.0}) for key in RATES}
    folder = run(tmp_path, replace(SMALL, rates=rates))
    assert "undefined: a judge rates all cells alike" in section(Tree(report.write(folder).read_text()).root)


def test_a_judge_of_the_attacker_s_goal_is_marked_and_has_no_rates_here(tmp_path):
    """Its rate is no share of restricted requests; there is nothing that people's outcomes could correct."""
    folder = run(tmp_path, replace(SMALL, judges=("injected_goal(x)",)))
    path = folder / "results.parquet"
    table = pq.read_table(path)
    column = pa.array(["attacker_goal"] * table.num_rows)
    pq.write_table(table.set_column(table.column_names.index("scores"), "scores", column), path)
    found = trust(folder)
    assert (found.cells, found.side_by_side.judges) == ((), ())
    root = Tree(report.write(folder).read_text()).root
    assert "Judged by injected_goal, uncalibrated" in root.find("p", "lede")[0].text


def test_the_judge_human_is_weighted_by_the_chances_of_the_draw(tmp_path):
    """Its own rate is of the rows as drawn: 6 of 18. Weighted, 6 of chance .25 and 12 of .5: 24 of 48."""
    folder = run(tmp_path, replace(SMALL, judges=(PHRASES, "human(labels@1)")))
    mine = rows_of(folder, PHRASES, attack="text_only", defense="none", expected="refuse")[:18]
    said = {row["sample"]: Outcome.complied if n < 6 else Outcome.refused for n, row in enumerate(mine)}
    chances = {row["sample"]: 0.25 if n < 6 else 0.5 for n, row in enumerate(mine)}
    path = folder / "results.parquet"
    table = pq.read_table(path)
    outcomes = [
        said.get(row["sample"], Outcome.unparsed).value
        if row["judge"].startswith("human")
        else row["outcome"]
        for row in table.to_pylist()
    ]
    column = pa.array(outcomes, table.schema.field("outcome").type)
    pq.write_table(table.set_column(table.column_names.index("outcome"), "outcome", column), path)
    put_labels(folder, mine, lambda n, row: said[row["sample"]], prob=lambda row: chances[row["sample"]])
    found = trust(folder)
    human = cell(found, "human(labels@1)", attack="text_only")
    assert human.raw.point == pytest.approx(6 / 18)
    assert human.corrected.point == pytest.approx((6 / 0.25) / (6 / 0.25 + 12 / 0.5))
    assert "in the bounds alone" not in human.corrected.note
    assert cell(found, PHRASES, attack="figstep").source == "none"  # nobody labelled them
    assert found.standings["human(labels@1)"].kind == "people"
    report.write(folder)


def test_of_several_cards_one_with_enough_labels_and_of_this_run_goes_first(tmp_path):
    folder = run(tmp_path)
    mine = identity_of(folder, PHRASES)
    put(folder, "small.json", replace(card(identity=mine, se=(9, 9)), labels="small"))
    put(folder, "large.json", replace(card(identity=mine), labels="large"))
    assert trust(folder).standings[PHRASES].card("unsafe").labels == "large"
    path = folder / "annotation" / "cards" / "own.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(replace(card(identity=mine), labels="own").plain()))
    assert trust(folder).standings[PHRASES].card("unsafe").labels == "own"
    assert trust(folder).standings[PHRASES].card("refused") is None


def test_a_few_labels_do_not_end_the_warning_and_bounds_keep_what_they_allow(tmp_path):
    folder = run(tmp_path)
    some = rows_of(folder, PHRASES, attack="figstep", expected="refuse")[:4]
    put_labels(folder, some, lambda n, row: Outcome.refused)
    found = trust(folder)
    assert PHRASES in found.too_few <= found.uncalibrated
    for each in (each for each in found.cells if each.source == "labels"):
        assert "too few labels" in each.corrected.note
        assert each.bounds.low <= each.corrected.low <= each.corrected.high <= each.bounds.high
    root = Tree(report.write(folder).read_text()).root
    assert "Judged by refusal_prefix, uncalibrated" in root.find("p", "lede")[0].text
    assert "in no cell enough to correct it" in section(root)
    brief = " ".join((folder / "report.txt").read_text().split())
    assert "in no cell enough to correct it" in brief
    assert "labels alone" in brief
