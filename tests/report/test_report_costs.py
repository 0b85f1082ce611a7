"""Attack budget and cost: curves at equal cost, prices by hand, seeds, cases seen, what attacks saw."""

from dataclasses import replace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_folder import CONTROLS, HOSTILE, NOUNS, Search, Shape, write_run
from test_report_page import SURE, Tree

from sightline import report
from sightline.judges.refusal_prefix import FOREIGN
from sightline.metrics.effort import Price
from sightline.records import Cost
from sightline.report import spoken
from sightline.report.costs import price_text
from sightline.report.crafted import Crafted, Made
from sightline.report.curves import CurvePoint, equal_cost
from sightline.report.provenance import read_lock
from sightline.report.results import Results
from sightline.report.search_figure import search, thinned
from sightline.report.text import amount, limits
from sightline.report.trust import warnings_of
from sightline.study.results import SCHEMA

ALWAYS, NEVER = {"complied": 1.0}, {"refused": 1.0}
LEVELS = {"backwards=10": NEVER, "backwards=100": ALWAYS}
BASE = Shape(
    attacks=("none", *CONTROLS), defenses=("none",), judges=("one@1",), prompts=2, utility=6, rates=SURE
)


def shape(searches, **changed):
    return replace(BASE, attacks=(*BASE.attacks, *searches), searches=searches, **changed)


def page(folder, wanted):
    return Tree(report.write(write_run(folder, wanted)).read_text(encoding="utf-8")).root


def part(root, name):
    return next(s for s in root.find("section") if s.attributes["id"] == name)


def table(node, head):
    """Rows of the first table with such a head cell, as lists of texts."""
    found = next(t for t in node.find("table") if head in [th.text for th in t.find("thead")[0].find("th")])
    return [
        [" ".join(cell.text.split()) for cell in (*tr.find("th"), *tr.find("td"))]
        for tr in found.find("tbody")[0].find("tr")
    ]


def leveled(series="qi", **settings):
    """A series of two levels: nothing at 10 passes, everything at 100."""
    return {
        f"{series} [{budget}]": Search(
            series=series,
            budget=budget,
            odds=odds,
            price=Cost(forwards=12, backwards=int(budget[10:]), flops=5e9, seconds=2.5),
            **settings,
        )
        for budget, odds in LEVELS.items()
    }


def seeds(*odds, **settings):
    return {
        f"qi [seed {seed}]": Search(series="qi", seed=seed, odds=chances, **settings)
        for seed, chances in enumerate(odds, start=7)
    }


# -- equal cost ------------------------------------------------------------------------------------------


def test_a_curve_its_area_and_its_levels_are_shown(tmp_path):
    cost = part(page(tmp_path, shape(leveled())), "cost")
    (row,) = table(cost, "Area under the curve")
    assert row[0] == "qi white box: gradients of testbed/linear (the target itself)"
    assert row[1].startswith("50 % [")
    assert row[1].endswith("from 10 to 100")
    assert row[2] == "10: 0 %, 100: 100 %"
    (svg,) = [s for s in cost.find("svg", "figure") if "ASR by backward passes" in s.attributes["aria-label"]]
    texts = [t.text for t in svg.find("text")]
    assert "backward passes per artifact at most (logarithmic)" in texts
    assert {"10", "100", "ASR, %"} <= set(texts)


def test_series_stand_in_one_figure_only_if_they_count_the_same(tmp_path):
    flops = {
        f"other [{budget}]": Search(series="other", budget=budget)
        for budget in ("flops=1e+09", "flops=2e+09")
    }
    cost = part(page(tmp_path, shape({**leveled("a"), **leveled("b"), **flops})), "cost")
    figures = [
        s.attributes["aria-label"] for s in cost.find("svg", "figure") if "ASR by" in str(s.attributes)
    ]
    assert [text.partition("ASR by ")[2].partition(" per")[0] for text in figures] == [
        "backward passes", "FLOPs",
    ]  # fmt: skip
    keys = [[li.text for li in ul.find("li")] for ul in cost.find("ul", "key")]
    assert keys == [["a", "b"], ["other"]]


def test_price_of_a_success_counts_a_shared_picture_once(tmp_path):
    cost = part(page(tmp_path, shape(leveled())), "cost")
    band, none, every = table(cost, "Artifacts")
    asked = 2 * len(NOUNS)
    place = "testbed/linear on testbed_requests"
    assert band == [f"{place} · white box: gradients of testbed/linear (the target itself)"]
    assert none[0] == "qi [backwards=10]"
    assert none[2:] == ["1 for all cases", "12 + 10 passes, 5 GFLOP, 2.5 s", "0", "no success"]
    assert every[2:5] == ["1 for all cases", "12 + 100 passes, 5 GFLOP, 2.5 s", str(asked)]
    assert every[5] == f"0.5 + {100 / asked:.3g} passes, 208 MFLOP, 0.104 s"


def test_price_of_a_success_counts_every_picture_of_its_own(tmp_path):
    cost = part(page(tmp_path, shape(leveled(shared=False))), "cost")
    every = table(cost, "Artifacts")[2]
    asked = 2 * len(NOUNS)
    spent = f"{12 * asked} + {amount(100 * asked)} passes, 120 GFLOP, 60 s"
    assert every[2:4] == [str(asked), spent]
    assert every[5] == "12 + 100 passes, 5 GFLOP, 2.5 s"


def test_several_tries_count_the_successes_of_one(tmp_path):
    cost = part(page(tmp_path, shape(leveled(), epochs=3)), "cost")
    assert table(cost, "Artifacts")[2][4] == str(2 * len(NOUNS))
    assert "on average over 3 tries" in cost.text


def test_bills_are_counted_once_whatever_answers(tmp_path):
    wanted = shape(
        {**seeds(ALWAYS, NEVER), **leveled("own", shared=False)},
        targets=("testbed/linear", "testbed/queries"),
        judges=("one@1", "two@2"),
        defenses=("none", "system_prompt"),
        epochs=2,
    )
    asked = 2 * len(NOUNS)
    with Results(write_run(tmp_path, wanted)) as results:
        found = results.crafting(requests=True)
        everything = results.crafting(requests=False)
    at = ("testbed_requests", "testbed/queries", "system_prompt", Search(series="").crafted_on)
    universal = found[Made(*at, "qi", "", "qi_visual", "")]
    assert universal.price == Price(240, 200, 5e9, 3)
    assert list(universal.one) == ["7", "8"]
    own = Made(*at, "own", "backwards=10", "qi_visual", "")
    assert (found[own].artifacts, found[own].price.backwards) == (asked, 10 * asked)
    assert everything[own].price.backwards == 2 * 10 * asked  # benign twins too
    assert not any(made.series in BASE.attacks for made in found)


# -- seeds -----------------------------------------------------------------------------------------------


def test_seeds_show_mean_spread_and_best_and_no_row_alone(tmp_path):
    root = page(tmp_path, shape(seeds(ALWAYS, NEVER, NEVER)))
    rows = [tr for tr in part(root, "results").find("tr") if tr.find("th") and tr.find("th")[0].name == "qi"]
    assert len(rows) == 1
    assert rows[0].find("td")[1].text.startswith("33 % [")
    assert "mean of 3 seeds, 0 % to 100 %; best of 3: 100 %" in rows[0].text
    assert "[seed" not in part(root, "results").text
    lede = root.find("p", "lede")[0].text
    assert "with qi (white box: gradients of testbed/linear, the target itself; mean of 3 seeds" in lede
    assert "ASR is 33 % [" in lede


# -- seen and unseen -------------------------------------------------------------------------------------


def test_the_headline_is_of_unseen_cases(tmp_path):
    wanted = shape({"qi": Search(series="qi", seen=frozenset({0}), odds=ALWAYS)}, prompts=3)
    root = page(tmp_path, wanted)
    lede = root.find("p", "lede")[0].text
    assert "with qi (held-out cases) (white box: gradients of testbed/linear, the target itself)" in lede
    assert f"(n = {2 * len(NOUNS)})." in lede
    names = [th.name for th in part(root, "results").find("th") if th.attributes.get("scope") == "row"]
    assert {"qi (training cases)", "qi (held-out cases)"} <= set(names)
    assert "the headline counts held-out cases" in part(root, "results").text
    wins = {row[0]: row[4] for row in table(part(root, "cost"), "Artifacts")[1:]}
    assert wins == {"qi (training cases)": str(len(NOUNS)), "qi (held-out cases)": str(2 * len(NOUNS))}


def test_made_on_this_model_and_made_on_another_are_bands_of_their_own(tmp_path):
    wanted = shape({**seeds(ALWAYS), **leveled("lv")}, targets=("testbed/linear", "testbed/queries"))
    root = page(tmp_path, replace(wanted, attacks=(*wanted.attacks, "figstep")))
    bands = [
        (tr.text.strip(), []) if "band" in tr.classes else tr.find("th")[0].name
        for tr in part(root, "results").find("table")[0].find("tbody")[0:8]
        for tr in tr.find("tr")
    ]
    titles = [band[0] for band in bands if isinstance(band, tuple)]
    assert titles == [
        "testbed/linear · attacks crafted on the target itself",
        "testbed/linear · attacks crafted on the target itself, at most 10 backward passes per artifact",
        "testbed/linear · attacks crafted on the target itself, at most 100 backward passes per artifact",
        "testbed/linear · attacks",
        "testbed/linear · plain request (no attack)",
        "testbed/linear · controls",
        "testbed/queries · transfer attacks",
        "testbed/queries · transfer attacks, at most 10 backward passes per artifact",
    ]


# -- words and controls ----------------------------------------------------------------------------------


def test_access_is_named_and_no_attack_on_gradients_is_said_to_have_asked_nobody(tmp_path):
    root = page(tmp_path, replace(shape(seeds(ALWAYS)), attacks=("none", "qi [seed 7]", "figstep")))
    text = part(root, "results").text
    assert "white box: gradients of testbed/linear" in text
    assert "black box" in text
    assert "without asking a model" not in text


@pytest.mark.parametrize(
    ("controls", "says"),
    [
        ((), "qi: crafted on gradients, but the same requests were not run with noise nor with another"),
        (("noise_image",), "such picture is unknown; add unrelated_image"),
        (("unrelated_image",), "such picture is unknown; add noise_on_picture"),
        ((), "such picture is unknown; add noise_on_picture and unrelated_image"),
        (("unrelated_image", "noise_image"), ""),
    ],
)
def test_a_picture_made_on_gradients_without_a_control_is_cautioned(tmp_path, controls, says):
    wanted = replace(shape(seeds(ALWAYS)), attacks=("none", *controls, "qi [seed 7]"))
    header = page(tmp_path, wanted).find("header")[0].text
    assert ("crafted on gradients" in header) == bool(says)
    assert says in header


def test_controls_that_did_not_meet_an_attacks_questions_are_no_controls_of_it(tmp_path):
    folder = write_run(tmp_path, shape(seeds(ALWAYS)))
    assert not any("crafted on gradients" in each for each in cautions_in(folder))
    table = pq.read_table(folder / "results.parquet").to_pylist()
    for row in table:
        if row["series"] == "qi" and row["expected"] == "comply":
            row["expected"] = "answer"
    pq.write_table(pa.Table.from_pylist(table, schema=SCHEMA), folder / "results.parquet")
    (found,) = [each for each in cautions_in(folder) if "crafted on gradients" in each]
    assert found.startswith(
        "qi: crafted on gradients, but the same requests were not run with noise nor with"
    )


def cautions_in(folder):
    with Results(folder) as results:
        return warnings_of(folder, read_lock(folder), results)


@pytest.mark.parametrize(
    ("judges", "only"),
    [
        (("refusal_prefix",), True),
        (("refusal_prefix(common@1, prefix)", "refusal_prefix(anywhere@2, anywhere)"), True),
        (("testbed_policy", "refusal_prefix(testbed@1, anywhere)"), False),
        (("model_graded(outcome@1, a grader)",), False),
    ],
)
def test_a_list_of_phrases_as_the_only_judge_is_cautioned(tmp_path, judges, only):
    folder = write_run(tmp_path, shape(seeds(ALWAYS), judges=judges))
    assert any("refusal_prefix is the only judge" in each for each in cautions_in(folder)) == only


def test_replies_that_a_list_of_phrases_cannot_read_are_cautioned(tmp_path, monkeypatch):
    monkeypatch.setattr(spoken, "can_tag", lambda: False)  # else the tags of the replies say it
    judges = ("testbed_policy", "refusal_prefix(common@1, prefix)")
    folder = write_run(tmp_path, shape(seeds(ALWAYS), judges=judges))
    assert not any("English" in each for each in cautions_in(folder))
    path = folder / "records" / "judge.parquet"
    rows = pq.read_table(path).to_pylist()
    read = [row for row in rows if "refusal_prefix" in row["record"]]
    few, many = len(read) // 100, len(read) // 2
    for number in (few, many):
        for row in read[:number]:
            record = orjson.loads(row["record"])
            row["record"] = orjson.dumps({**record, "reason": f"no refusal phrase; {FOREIGN}"}).decode()
        # a grader may quote the same words
        other = next(row for row in rows if "testbed_policy" in row["record"])
        other["record"] = other["record"].replace("by the invented policy", FOREIGN)
        pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(path)), path)
        found = [each for each in cautions_in(folder) if "English" in each]
        assert len(found) == (number == many)
    assert found[0].startswith(f"refusal_prefix: {many:,} of {len(read):,} responses are not English")


@pytest.mark.parametrize(
    ("searches", "targets", "says"),
    [
        (seeds(ALWAYS), ("testbed/queries",), "qi: one seed only, so the variance"),
        (seeds(ALWAYS, ALWAYS), ("testbed/queries",), ""),
        (
            seeds(ALWAYS, ALWAYS),
            ("testbed/linear",),
            "qi: not run on a model other than the one it was crafted on",
        ),
        (
            seeds(ALWAYS, ALWAYS, seen=frozenset({0, 1})),
            ("testbed/queries",),
            "qi: run on its training cases only",
        ),
        (seeds(ALWAYS, ALWAYS, seen=frozenset({0})), ("testbed/queries",), ""),
    ],
)
def test_what_a_study_of_crafted_attacks_leaves_open_is_said(tmp_path, searches, targets, says):
    text = part(page(tmp_path, shape(searches, targets=targets)), "method").text
    told = [
        line
        for line in ("one seed only", "not run on a model other", "run on its training cases")
        if line in text
    ]
    assert len(told) == bool(says)
    assert says in text


def test_seen_cases_are_not_among_the_main_differences(tmp_path):
    wanted = shape({"qi": Search(series="qi", seen=frozenset({0}), odds=ALWAYS)}, prompts=3)
    root = page(tmp_path, wanted)
    first, rest = (t for t in part(root, "results").find("table") if t.find("th")[0].text == "Comparison")
    assert "qi (held-out cases) − none" in first.text
    assert "qi (training cases)" not in first.text
    assert "qi (training cases) − none" in rest.text


def test_a_study_without_gradients_has_no_such_section(tmp_path):
    root = page(tmp_path, replace(BASE, attacks=("none", "figstep")))
    assert not [s for s in root.find("section") if s.attributes["id"] == "cost"]
    assert "Attack budget and cost" not in root.text


# -- how it was made -------------------------------------------------------------------------------------


def test_the_course_of_a_search_is_drawn_once_per_series(tmp_path):
    cost = part(page(tmp_path, shape(leveled())), "cost")
    (details,) = cost.find("details")
    assert details.find("summary")[0].text == "qi: white box: gradients of testbed/linear"
    assert (
        "at most 100 backward passes per artifact; cost 12 forward and 100 backward passes, 5 GFLOP"
        in details.text
    )
    assert (
        "validation loss 5 at the start, best 0.156, 0.156 at step 100, 100 % of its targets are greedy"
        in details.text
    )
    (svg,) = details.find("svg")
    assert {"loss", "step", "greedy, %"} <= {t.text for t in svg.find("text")}


def test_long_curves_are_thinned_and_keep_their_ends():
    curve = [(step, float(step)) for step in range(1001)]
    thin = thinned(curve, 100)
    assert len(thin) == 100
    assert (thin[0], thin[-1]) == (curve[0], curve[-1])
    assert thinned(curve[:100], 100) == curve[:100]
    assert len(search(curve, [], "d")) < 20_000


def test_a_search_that_was_never_asked_for_targets_has_no_share(tmp_path):
    svg = search([(0, 1.0), (5, 0.5)], [(0, 1.0, 0.0), (5, 0.5, 0.0)], "d")
    assert "forced" not in svg
    assert "loss" in svg


def test_hostile_names_stay_text(tmp_path):
    series = HOSTILE[1] + HOSTILE[5]
    root = page(
        tmp_path, shape({k.replace("qi", series): replace(s, series=series) for k, s in leveled().items()})
    )
    assert not [n for n, _ in root.walk() if "onerror" in n.attributes]
    assert "U+202E" in part(root, "cost").text
    drawn = equal_cost([CurvePoint(HOSTILE[0], 1, 0, 0, 1)], [HOSTILE[0]], "passes", "d")
    assert "<script" not in drawn


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7.5, "7.5"), (0.104, "0.104"), (999, "999"), (1240, "1,240"), (12_345, "12.3 k"),
     (999_999, "1 M"), (3.4e12, "3.4 T"), (5e27, "5e+06 Z")],
)  # fmt: skip
def test_amounts(value, text):
    assert amount(value).replace("\u00a0", " ") == text


def test_limits_in_words():
    assert limits(()) == ""
    assert limits((("backwards", 200), ("seconds", 60))) == "at most 200 backward passes and 60 seconds"


@pytest.mark.parametrize(
    ("artifacts", "shared", "seeds", "text"),
    [
        (24, True, "7", "30 forward and 20 backward passes, 2 TFLOP, once for all cases"),
        (48, True, "78", "15 forward and 10 backward passes, 1 TFLOP per seed, once for all cases"),
        (4, False, "7", "7.5 forward and 5 backward passes, 500 GFLOP per case"),
        (1, False, "7", "30 forward and 20 backward passes, 2 TFLOP"),
    ],
)
def test_price_in_words(artifacts, shared, seeds, text):
    crafted = Crafted(artifacts, shared, Price(30, 20, 2e12, 1), dict.fromkeys(seeds, "key"))
    assert price_text(crafted).replace("\u00a0", " ") == text


def test_the_gallery_shows_one_column_of_a_series(tmp_path):
    columns = {**leveled("a"), **seeds(ALWAYS, ALWAYS)}
    gallery = part(page(tmp_path, shape(columns)), "gallery")
    named = {article.find("h3")[0].text.partition(" ·")[0] for article in gallery.find("article")}
    assert {"a [backwards=100]", "qi [seed 7]"} <= named
    assert not named & {"a [backwards=10]", "qi [seed 8]"}
    assert "for each series at its largest budget and first seed" in gallery.text
