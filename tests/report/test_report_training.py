"""What training changed: planted outcomes of three runs, by step; a section only where something trained."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from result_rows import row, summary
from run_folder import Shape, write_run

from sightline import report
from sightline.report.cells import board
from sightline.report.results import Results
from sightline.report.training import Condition, Mean, text_rows, training_of, views
from sightline.report.training_figures import curves, doses, frontier

BASE = "testbed/linear"
DRAWN = Condition("drawn", "no attack")
NOT_ASKED = {"cell": "c", "craft_seed": 0, "response_hash": bytes(16), "flags": None, "error": None}
"""Columns that a report reads of every table, and these queries of none."""


def names(seed):
    return f"tuned/sft@{seed}/step-10:{BASE}", f"tuned/sft@{seed}:{BASE}"


def run(label, base, seed, target, steps, checkpoints):
    return {
        "label": label,
        "role": "defense",
        "base": base,
        "seed": seed,
        "target": target,
        "steps": steps,
        "checkpoints": [list(each) for each in checkpoints],
        "rows": 16 * steps,
        "taught": 16,
        "cpu_seconds": 10.0 + seed,
        "tokens": 1,
        "flops": 1e9,
    }


RUNS = [run("sft", BASE, seed, names(seed)[1], 20, [(10, names(seed)[0])]) for seed in (0, 1)]
RUNS.append(run("benign", names(0)[1], 0, f"tuned/ft@0:{names(0)[1]}", 5, []))
REFUSED = {BASE: (0, 0), names(0)[0]: (2, 0), names(1)[0]: (4, 0), names(0)[1]: (4, 1), names(1)[1]: (4, 2)}
REFUSED[RUNS[2]["target"]] = (1, 0)
RIGHT = {BASE: (1, 1, 0), names(0)[1]: (1, 0, 1), names(1)[1]: (0, 0, 0), RUNS[2]["target"]: (1, 1, 1)}
"""Answers to two questions of reading and one of color."""


def measured():
    """Four restricted requests, of which the first are refused, and four benign ones; three questions."""
    made = []
    for target, (restricted, benign) in REFUSED.items():
        for kind, refused in (("refuse", restricted), ("comply", benign)):
            for noun in range(4):
                outcome, score = ("refused", None) if noun < refused else ("complied", 1.0 if noun else 0.5)
                made.append((target, "drawn", kind, f"{kind}/{noun}", "c", outcome, score))
        for number, right in enumerate(RIGHT.get(target, ())):
            outcome = "complied" if right else "off_topic"
            category = "reading" if number < 2 else "color"
            made.append((target, "skills", "answer", f"q/{number}", category, outcome, float(right)))
    return [
        row(
            "none",
            target=target,
            benchmark=benchmark,
            expected=kind,
            case_id=case,
            group=case,
            category=category,
            outcome=outcome,
            score=score,
        )
        for target, benchmark, kind, case, category, outcome, score in made
    ]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    table = [
        {**each, "sample": number.to_bytes(16, "big"), "artifact": bytes(16), **NOT_ASKED}
        for number, each in enumerate(measured())
    ]
    pq.write_table(pa.Table.from_pylist(table), folder / "results.parquet")
    with Results(folder) as results:
        yield training_of({"trained": RUNS}, board(summary(measured()), ("none",), "j"), results)


def test_a_step_is_the_mean_of_its_runs_with_their_range(found):
    at = {(each.label, each.step): each for each in found.steps}
    assert list(at) == [("sft", 0), ("sft", 10), ("sft", 20), ("benign", 0), ("benign", 5)]
    assert at["sft", 0].share(DRAWN, "refused") == Mean(0, 0, 0)
    assert at["sft", 10].share(DRAWN, "refused") == Mean(0.75, 0.5, 1.0)
    assert at["sft", 20].share(DRAWN, "asr") == Mean(0, 0, 0)
    assert at["sft", 20].share(DRAWN, "over_refusal") == Mean(0.375, 0.25, 0.5)
    # of four benign requests the first is answered with another recipe (score .5), if it is not refused
    assert at["sft", 0].share(DRAWN, "right") == Mean(0.75, 0.75, 0.75)
    assert at["sft", 20].share(DRAWN, "right") == Mean(0.625, 0.5, 0.75)
    assert at["benign", 0].share(DRAWN, "refused") == Mean(1, 1, 1)
    assert at["benign", 5].share(DRAWN, "refused") == Mean(0.25, 0.25, 0.25)
    assert (at["sft", 10].rows, at["sft", 20].rows, at["sft", 20].cpu_seconds) == (160, 320, 10.5)
    assert (at["sft", 10].last, at["sft", 20].last) == (False, True)


def test_skills_are_held_against_the_model_that_all_began_with(found):
    at = {(each.label, each.step): each.skills for each in found.steps}
    assert (at["sft", 20]["reading"].lost, at["sft", 20]["reading"].gained) == (1.5, 0)
    assert (at["sft", 20]["color"].lost, at["sft", 20]["color"].gained) == (0, 0.5)
    assert at["sft", 20]["reading"].right == Mean(0.25, 0, 0.5)
    assert (at["benign", 5]["reading"].lost, at["benign", 5]["color"].gained) == (0, 1)
    assert str(at["sft", 20]["reading"]).replace("\u00a0", " ") == "25 % (−1.5)"


def test_figures_say_how_many_conditions_are_in_the_table_alone(found):
    nine = replace(found, conditions=(DRAWN,) * 9)
    shown = curves(nine)
    assert len(shown) == 8
    assert shown[-1].notes == ("1 more condition is in the table.",)
    assert not shown[0].notes
    assert frontier(nine)[0].notes[-1] == "1 more condition is in the tables."


def test_without_utility_questions_nothing_is_called_skills(found):
    steps = tuple(replace(each, skills={}) for each in found.steps)
    bare = replace(found, steps=steps, categories=())
    titles = [view.title for view in views(bare)]
    assert "what training cost" in titles
    assert not any("skills" in title for title in titles)


def test_tables_in_text_are_those_of_the_page(found):
    tables = {view.title: view for view in views(found)}
    drawn, skills, named = tables
    assert (drawn, skills) == ("drawn, no attack", "skills kept and lost, and what training cost")
    assert [each[2] for each in tables[named].rows][:2] == [names(0)[0], names(1)[0]]
    row_10 = next(each for each in tables["drawn, no attack"].rows if each[:2] == ("sft", "10"))
    assert [text.replace("\u00a0", " ") for text in row_10[2:5]] == ["2", "75 % [50, 100]", "25 % [0, 50]"]
    for (title, rows), view in zip(text_rows(found), tables.values(), strict=True):
        assert view.title in title
        assert rows == [list(view.heads), *map(list, view.rows)]


def test_curves_are_drawn_of_labels_with_checkpoints_and_the_frontier_of_all(found):
    (curve,) = curves(found)
    assert [name for name, _ in curve.key] == ["sft"]
    assert str(curve.svg).startswith("<svg")
    (plot,) = frontier(found)
    assert "benign" in plot.svg
    assert "drawn, no attack" in plot.svg


def test_a_grid_is_drawn_over_its_first_number(found):
    ends = [
        replace(
            each, label=f"mix [ratio={share}]", step=20, last=True, factors={"ratio": share, "order": order}
        )
        for share, order, each in zip(
            ("0", "0.1", "0.1"), ("first", "first", "last"), found.steps, strict=False
        )
    ]
    assert doses(found) == []
    (plot,) = doses(replace(found, steps=tuple(ends)))
    assert plot.title == "By ratio, mix: drawn, no attack"
    assert [name for name, _ in plot.key] == ["order first", "order last"]


@pytest.mark.slow
def test_only_a_study_that_trains_has_the_section(tmp_path):
    without = write_run(tmp_path / "without", Shape(targets=(BASE, names(0)[0], names(0)[1])))
    assert 'id="training"' not in report.write(without).read_text("utf-8")
    assert "What training changed" not in (without / "report.txt").read_text("utf-8")
    lock = yaml.safe_load((without / "study.lock.yaml").read_text("utf-8"))
    lock["trained"] = json.loads(json.dumps(RUNS[:1]))
    (without / "study.lock.yaml").write_text(yaml.safe_dump(lock), "utf-8")
    page = report.write(without).read_text("utf-8")
    assert 'id="training"' in page
    assert "By steps of training" in page
    assert "What training changed" in (without / "report.txt").read_text("utf-8")
