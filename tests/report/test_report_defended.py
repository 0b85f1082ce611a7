"""What each defense leaves, costs and decides: tables by hand, and what is said where no attack knew one."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_rows import row, summary
from statsmodels.stats.proportion import proportion_confint

import sightline as sl
from sightline.digests import digest
from sightline.report import defended, guards
from sightline.report.cells import board
from sightline.report.frontier import ADAPTIVE, UNAWARE, frontier, frontiers, highest_by_defense, spots_of
from sightline.report.headline import headlines_of
from sightline.report.results import Results

CRAFTED = "testbed/linear#1@float32"


def column(attack, defense, obeyed, *, refused=0, **said):
    """Four restricted nouns of which the first are obeyed, four benign of which the first are refused."""
    made = []
    for noun in range(4):
        made.append(("refuse", noun, "complied" if noun < obeyed else "refused"))
        made.append(("comply", noun, "refused" if noun < refused else "complied"))
    return [
        row(
            attack,
            defense=defense,
            target="m",
            case_id=f"{kind}/{noun}",
            group=f"{kind} {noun}",
            expected=kind,
            outcome=outcome,
            **said,
        )
        for kind, noun, outcome in made
    ]


PLAIN = [column("none", "none", 0), column("none", "guard", 0, refused=1), column("none", "shield", 0)]
DRAWN = [
    *(column("figstep", defense, n) for defense, n in (("none", 4), ("guard", 1), ("shield", 3))),
    *(column("mm_typography", defense, n, refused=r) for defense, n, r in (("none", 3, 0), ("guard", 2, 3))),
    column("mm_typography", "shield", 0),
]
OTHERS = [
    *(column("qi_visual", d, n, crafted_on=CRAFTED) for d, n in (("none", 2), ("guard", 2), ("shield", 2))),
    *(column("past_tense", d, n) for d, n in (("none", 1), ("guard", 0), ("shield", 0))),
    *(column("figstep_typed", d, 4) for d in ("none", "guard", "shield")),
]
KNOWING = column("pair", "guard", 3, oracle="defended", crafted_on="defended/guard:m#1", made_on_target=True)


def of(*columns):
    said = [[{"made_on_target": None, **each} for each in rows] for rows in columns]
    return board(summary(*said), ("none",), "j")


def rows_of(*columns):
    return {found.defense: found for found in defended.defense_rows(of(*columns), {})}


def test_each_kind_of_attack_has_the_one_that_reaches_most_and_controls_are_none():
    found = rows_of(*PLAIN, *DRAWN, *OTHERS)
    assert set(found) == {"none", "guard", "shield"}
    guard = found["guard"]
    told = {
        kind: (worst.attack, worst.rate.k, worst.rate.n, worst.of) for kind, worst in guard.by_means.items()
    }
    assert told == {
        "text": ("past_tense", 0, 4, 1),
        "drawn": ("mm_typography", 2, 4, 2),
        "pixels": ("qi_visual", 2, 4, 1),
    }
    assert (found["none"].by_means["drawn"].attack, found["none"].by_means["drawn"].rate.k) == ("figstep", 4)
    low, high = proportion_confint(2, 4, method="wilson")
    rate = guard.by_means["drawn"].rate
    assert (rate.low, rate.high) == (pytest.approx(low), pytest.approx(high))
    assert (guard.over_refusal.k, guard.over_refusal.n) == (1, 4)
    assert (guard.over_refusal_drawn.attack, guard.over_refusal_drawn.rate.k) == ("mm_typography", 3)
    assert guard.plain.k == 0


def test_an_attack_that_knew_the_defense_stands_apart():
    found = rows_of(*PLAIN, *DRAWN, KNOWING)
    adaptive = found["guard"].adaptive
    assert (adaptive.attack, adaptive.rate.k, adaptive.rate.n) == ("pair", 3, 4)
    assert "text" not in found["guard"].by_means
    assert found["shield"].adaptive is found["none"].adaptive is None


def test_an_attack_made_on_another_defended_target_did_not_know_this_one():
    elsewhere = [{**each, "defense": "shield", "made_on_target": False} for each in KNOWING]
    found = rows_of(*PLAIN, *DRAWN, KNOWING, elsewhere)
    assert found["shield"].adaptive is None
    assert found["shield"].by_means["text"].rate.k == 3


def test_of_the_bare_target_a_series_that_adapts_stands_apart_too():
    """Made anew for every defense, its column on the bare target is no attack that the others were shown."""
    on_bare = column("pair", "none", 4, oracle="undefended", crafted_on="m#1", made_on_target=True)
    elsewhere = column("tap", "none", 2, oracle="undefended", crafted_on="m#1", made_on_target=True)
    bare = rows_of(*PLAIN, *DRAWN, KNOWING, on_bare, elsewhere)["none"]
    assert (bare.adaptive.attack, bare.adaptive.rate.k) == ("pair", 4)
    assert (bare.by_means["text"].attack, bare.by_means["text"].rate.k) == ("tap", 2)


def test_the_table_says_which_defense_no_attack_knew():
    rows = defended.defense_rows(of(*PLAIN, *DRAWN, *OTHERS, KNOWING), {})
    (view,) = defended.views(rows, "j")
    at = view.heads.index("ASR, adaptive")
    told = {line.defense: line.rates[at] for line in view.lines}
    assert next(line.defense for line in view.lines) == "none"
    assert told["none"] == (None, "undefended")
    assert told["shield"] == (None, "no attack knew it")
    assert (told["guard"][0].n, told["guard"][1]) == (4, "pair")
    without = defended.views(defended.defense_rows(of(*PLAIN, *DRAWN), {}), "j")[0]
    assert "ASR, pixel attacks" not in without.heads


def test_a_study_without_a_defense_has_no_table():
    assert defended.defense_rows(of(PLAIN[0], DRAWN[0]), {}) == []


# -- no defense is called effective without an adaptive attack -------------------------------------------

EFFECTIVE = re.compile(r"effective|works|protects|robust|secure|stops|prevents", re.I)


def details(*columns):
    stories = headlines_of(of(*columns))
    lines = [
        line.striptags().replace("\u00a0", " ") for story in stories for line in (story.text, *story.details)
    ]
    return [line for line in lines if line.startswith("Defense")], " ".join(lines)


def test_the_headline_says_that_no_attack_knew_a_defense():
    lines, everything = details(*PLAIN, *DRAWN)
    assert len(lines) == 2
    assert all(
        line.endswith("No attack knew this defense, so its effect may be overestimated.") for line in lines
    )
    assert not EFFECTIVE.search(everything)


def test_with_an_adaptive_attack_the_headline_tells_its_rate_instead():
    lines, everything = details(*PLAIN, *DRAWN, KNOWING)
    plain = {line.split(":")[0].removeprefix("Defense "): line for line in lines if "No attack knew" in line}
    assert set(plain) == {"shield"}
    assert any(line.startswith("Defense guard: ASR of pair") and "is 75 %" in line for line in lines)
    assert not EFFECTIVE.search(everything)


def write(folder, *columns, answers=()):
    """A run folder with a table of hand-made rows and records of answers."""
    table = []
    for number, each in enumerate(one for rows in columns for one in rows):
        seed = f"{each['case_id']} {each['attack']} {each.get('crafted_on')}"
        shown = digest(seed)
        table.append(
            {
                "cell": "",
                "craft_seed": 0,
                "response_hash": None,
                "score": None,
                "error": None,
                "flags": "",
                "made_on_target": None,
                **each,
                "sample": number.to_bytes(16, "big"),
                "artifact": bytes.fromhex(shown)[:16],
            }
        )
    pq.write_table(pa.Table.from_pylist(table), folder / "results.parquet")
    (folder / "records").mkdir()
    keys = pa.array([number.to_bytes(16, "big") for number, _ in answers], pa.binary(16))
    texts = pa.array([json.dumps({"key": number, **record}) for number, record in answers], pa.string())
    pq.write_table(pa.table({"key": keys, "record": texts}), folder / "records" / "answer.parquet")
    return folder


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ([PLAIN[0], DRAWN[0]], []),
        ([*PLAIN, *DRAWN], ["No adaptive attack against guard, shield: none"]),
        ([*PLAIN, *DRAWN, KNOWING], ["No adaptive attack against shield: none"]),
        ([*PLAIN[:2], *DRAWN[:2], KNOWING], []),
    ],
)
def test_what_was_not_measured_names_the_defenses(tmp_path, columns, said):
    with Results(write(tmp_path, *columns)) as results:
        found = defended.unknown_to_attacks(results, frozenset({"none"}))
    assert [each.partition(" was ")[0] for each in found] == said


# -- what a defense decided ------------------------------------------------------------------------------


def decided(defense, outcomes, **said):
    """Rows of one attack: four restricted requests, three benign ones, one question; each its own group."""
    kinds = ["refuse"] * 4 + ["comply"] * 3 + ["answer"]
    return [
        row(
            "figstep",
            defense=defense,
            case_id=f"{kind}/{at}",
            group=f"{kind} {at}",
            expected=kind,
            outcome=outcome,
            **said,
        )
        for at, (kind, outcome) in enumerate(zip(kinds, outcomes, strict=True))
    ]


BLOCKED = "blocked_defense"
BARE = decided("none", ["complied", "complied", "complied", "refused", *["complied"] * 4])
GUARDED = decided("guard", [BLOCKED, BLOCKED, "complied", BLOCKED, "complied", BLOCKED, "complied", "error"])


def counts(found):
    shares = (
        found.request_sensitivity,
        found.request_specificity,
        found.answer_sensitivity,
        found.answer_specificity,
        found.asr,
        found.asr_bare,
    )
    return [(each.k, each.n) for each in shares]


def guards_of(folder):
    with Results(folder) as results:
        return guards.guard_rows(results, frozenset({"none"}))


def test_sensitivity_and_specificity_by_hand(tmp_path):
    """Withheld: three of four restricted, one of three benign; one question ended as an error.

    Without the defense three restricted requests are obeyed, of which two were withheld; of the other five
    samples the question is lost, and two of four were let pass.
    """
    (found,) = guards_of(write(tmp_path, BARE, GUARDED))
    assert counts(found) == [(3, 4), (2, 3), (2, 3), (2, 4), (1, 4), (3, 4)]
    assert (found.defense, found.errors, found.unlike, found.unpaired) == ("guard", 1, 0, 0)
    low, high = proportion_confint(3, 4, method="wilson")
    share = found.request_sensitivity
    assert (share.low, share.high) == (pytest.approx(low), pytest.approx(high))


def test_an_answer_that_the_target_does_not_give_without_the_defense_is_left_out(tmp_path):
    """The first request's withheld answer is another one, the second's the same."""
    answers = [
        (0, {"text": "sure"}),
        (1, {"text": "of course"}),
        (8, {"text": "no", "raw": "sure thing"}),
        (9, {"text": "no", "raw": "of course"}),
    ]
    (found,) = guards_of(write(tmp_path, BARE, GUARDED, answers=answers))
    assert counts(found)[2:4] == [(1, 2), (2, 4)]
    assert found.unlike == 1


def test_answering_again_is_a_decision_and_letting_everything_pass_is_none(tmp_path):
    again = [
        {**each, "flags": "x;answered_again" if each["expected"] == "refuse" else ""}
        for each in decided("again", ["refused", "complied", *["complied"] * 6])
    ]
    idle = decided("idle", ["complied"] * 8)
    (found,) = guards_of(write(tmp_path, BARE, again, idle))
    assert (found.defense, counts(found)[:2]) == ("again", [(4, 4), (4, 4)])
    assert counts(found)[4:] == [(3, 4), (3, 4)]


def test_what_the_target_was_not_shown_bare_has_no_answer_to_go_by(tmp_path):
    adaptive = [{**each, "crafted_on": "x", "oracle": "defended"} for each in GUARDED]
    (found,) = guards_of(write(tmp_path, BARE, adaptive))
    assert counts(found)[:4] == [(3, 4), (2, 3), (0, 0), (0, 0)]
    assert found.unpaired == 7
    (view,) = guards.views([found], "j")
    assert view.lines[0][1][2] == ("–", "")


def test_python_has_both_tables(tmp_path):
    write(tmp_path, BARE, GUARDED)
    run = sl.load(tmp_path)
    (bare, guard) = sorted(run.defenses().to_pylist(), key=lambda each: each["defense"] != "none")
    assert (guard["asr_drawn"], guard["asr_drawn_n"], guard["asr_drawn_attack"]) == (0.25, 4, "figstep")
    assert guard["asr_adaptive"] is None
    assert bare["undefended"]
    (decision,) = run.guards().to_pylist()
    assert (decision["request_sensitivity"], decision["request_sensitivity_n"]) == (0.75, 4)


def test_calls_are_those_of_answers_alone(tmp_path):
    costs = {"calls_target": 5, "calls_aux": 3, "seconds": 2.5, "craft_calls": 4, "craft_calls_aux": 1}
    guarded = [{**each, **costs, "craft_seconds": 2.0} for each in GUARDED]
    bare = [
        {**each, "calls_target": 1, "craft_calls": 0, "craft_calls_aux": 0, "craft_seconds": 0.0}
        for each in BARE
    ]
    with Results(write(tmp_path, bare, guarded)) as results:
        found = {key[3]: each for key, each in defended.spent_by_defense(results).items()}
    assert (found["guard"].calls_target, found["guard"].calls_aux) == (2, 2)
    assert (found["guard"].seconds, found["guard"].answers) == (0.5, 8)
    assert found["none"].calls_target == 1
    assert (found["guard"].latency, found["guard"].cpu_seconds) == (None, None)  # tables of earlier versions


def test_latency_is_a_median_and_processor_time_a_mean_and_neither_holds_crafting(tmp_path):
    took = [(0.1, 1.0), (0.2, 1.0), (0.2, 1.0), (9.0, 5.0)]
    timed = [
        {**each, "latency": took[n % 4][0], "cpu_seconds": took[n % 4][1], "craft_seconds": 2.0}
        for n, each in enumerate(GUARDED)
    ]
    bare = [{**each, "latency": 0.05, "cpu_seconds": 0.02, "craft_seconds": 0.0} for each in BARE]
    folder = write(tmp_path, bare, timed)
    with Results(folder) as results:
        spent = {key[3]: each for key, each in defended.spent_by_defense(results).items()}
    assert (spent["guard"].latency, spent["guard"].cpu_seconds) == (pytest.approx(0.2), pytest.approx(2.0))
    one, _ = sorted(sl.load(folder).defenses().to_pylist(), key=lambda each: each["defense"] != "none")
    assert (one["latency"], one["cpu_seconds"]) == (pytest.approx(0.05), pytest.approx(0.02))
    shown = of(*PLAIN)
    where = shown.cells[0].condition
    rows = defended.defense_rows(shown, {(where.benchmark, where.release, "m", "guard"): spent["guard"]})
    times = {line.defense: line.times for line in defended.views(rows, "j")[0].lines}
    assert times["guard"][1:] == ("0.2", "2")
    assert times["none"] == ("", "", "")


# -- the frontier ----------------------------------------------------------------------------------------

POINTS = st.lists(st.tuples(st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=12)


@given(POINTS, st.booleans())
def test_the_frontier_is_what_no_point_beats(points, higher):
    sign = -1 if higher else 1

    def beats(p, q):
        return sign * p[0] <= sign * q[0] and p[1] <= q[1] and p != q

    unbeaten = sorted({q for q in points if not any(beats(p, q) for p in points)})
    assert frontier(points, higher_is_better=higher) == unbeaten


def test_the_frontier_counts_the_attack_that_knew_the_defense():
    rows = defended.defense_rows(of(*PLAIN, *DRAWN, KNOWING), {})
    spots = spots_of(rows, "over_refusal")
    assert {(spot.name, spot.series, spot.x[0], spot.y[0]) for spot in spots} == {
        ("undefended", UNAWARE, 0, 100),
        ("guard", UNAWARE, 25, 50),
        ("guard", ADAPTIVE, 25, 75),
        ("shield", UNAWARE, 0, 75),
    }
    line = frontier(highest_by_defense(spots), higher_is_better=False)
    assert line == [(0, 75)]
    (plot,) = frontiers(rows, "j")
    assert plot.svg.startswith("<svg")
    assert "1 of 2 defenses: no attack knew it." in plot.notes
    assert [name for name, _ in plot.key] == [UNAWARE, ADAPTIVE]
