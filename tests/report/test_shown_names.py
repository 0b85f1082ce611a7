"""Trained targets by the labels of their rows: what they are called, and that a page says nothing else."""

import json

import pyarrow.parquet as pq
import pytest
import yaml
from run_folder import HOSTILE, Search, Shape, write_run
from test_report_page import Tree

from sightline import report
from sightline.report.shown_names import LONGEST, ShownNames

BASE = "testbed/linear"


def tuned(digest, base=BASE, step=0):
    return f"tuned/sft@{digest * 12}{f'/step-{step}' * bool(step)}:{base}"


def run(label, digest, *, base=BASE, seed=0, checkpoints=()):
    return {
        "label": label,
        "role": "defense",
        "base": base,
        "seed": seed,
        "target": tuned(digest, base),
        "steps": 40,
        "checkpoints": [[step, tuned(digest, base, step)] for step in checkpoints],
        "rows": 320,
        "taught": 16,
        "cpu_seconds": 3.0,
        "tokens": 1,
        "flops": 1e9,
    }


def strings(runs):
    return [name for each in runs for name in (*(name for _, name in each["checkpoints"]), each["target"])]


def names(runs, *others):
    targets = [{"target": each, "defense": "none"} for each in (*others, *strings(runs))]
    return ShownNames.of({"trained": runs, "targets": targets})


SEEDS = [run("sft", "a", checkpoints=(20,)), run("sft", "b", seed=1, checkpoints=(20,))]
ON_SEEDS = [run("benign", digest, base=each["target"]) for digest, each in zip("cd", SEEDS, strict=True)]


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([run("sft", "a")], ["sft"]),
        ([run("sft", "a", checkpoints=(20,))], ["sft step 20", "sft step 40"]),
        ([run("sft", "a"), run("sft", "b", seed=1)], ["sft seed 0", "sft seed 1"]),
        (
            [*SEEDS, *ON_SEEDS],
            [
                *("sft seed 0 step 20", "sft seed 0 step 40", "sft seed 1 step 20", "sft seed 1 step 40"),
                *("benign on sft seed 0", "benign on sft seed 1"),
            ],
        ),
        ([run("sft + dpo", "a")], ["sft+dpo"]),  # ` + ` parts the models in `crafted_on`
        ([run("سلامة", "a"), run("安全", "b")], ["سلامة", "安全"]),
        ([run("x" * 500, "a", checkpoints=(20,))], [f"{'x' * (LONGEST - 1)}… step {n}" for n in (20, 40)]),
        ([run("a\u202eb\x00", "a")], ["a‹U+202E›b‹U+0000›"]),
    ],
)
def test_a_target_has_its_rows_label_and_what_tells_it_from_its_siblings(runs, expected):
    found = names(runs, BASE)
    assert list(found.of_string) == strings(runs)
    assert list(found.of_string.values()) == expected


@pytest.mark.parametrize(
    ("runs", "others"),
    [
        ([run(BASE, "a")], [BASE]),
        ([run("openai/gpt", "a")], ["openai/gpt"]),
        ([run("x" * 400 + "1", "a"), run("x" * 400 + "2", "b")], []),
        ([run("sft", "b", checkpoints=(20,)), run("sft step 20", "a")], []),
        ([run(tuned("b"), "a"), run("sft", "b")], []),
        ([run("sft", "a")], [f"defended/strict:{tuned('a')}", "defended/strict:sft"]),
    ],
)
def test_what_would_be_taken_for_another_target_keeps_its_string(runs, others):
    found = names(runs, *others)
    shown = [found.within(each) for each in dict.fromkeys((*others, *strings(runs)))]
    assert len(set(shown)) == len(shown)
    assert found.within(tuned("a")) == tuned("a")
    assert all(found.string(found.within(each)) == each for each in strings(runs))


def test_a_target_that_was_trained_on_another_is_not_cut_in_two():
    found = names([*SEEDS, *ON_SEEDS])
    assert found.within(f"{ON_SEEDS[0]['target']}#12@float32 + {BASE}#34@float32") == (
        f"benign on sft seed 0#12@float32 + {BASE}#34@float32"
    )


RUNS = [run("sft", "a", checkpoints=(20,))]
SHAPE = Shape(
    targets=(BASE, tuned("a", step=20), tuned("a")),
    attacks=("none", "figstep", "blank_image", "qi"),
    defenses=("none",),
    judges=("testbed_policy",),
    prompts=1,
    utility=2,
    searches={"qi": Search(series="qi", crafted_on=f"{tuned('a')}#0123456789abcdef@float32")},
)


def with_trained(folder, runs, shape):
    """A run whose lock says what its targets are."""
    write_run(folder, shape)
    lock = yaml.safe_load((folder / "study.lock.yaml").read_text("utf-8"))
    (folder / "study.lock.yaml").write_text(yaml.safe_dump(lock | {"trained": json.loads(json.dumps(runs))}))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same rows, named by strings and by labels."""
    home = tmp_path_factory.mktemp("names")
    found = write_run(home / "strings", SHAPE), with_trained(home / "labels", RUNS, SHAPE)
    for folder in found:
        report.write(folder)
    return found


def sections(folder):
    page = Tree((folder / "report.html").read_text("utf-8")).root
    return {"": page} | {n.attributes["id"]: n for n, _ in page.walk() if n.attributes.get("id")}


def rows(part):
    return [row.text for row in part.find("tr")]


def test_a_page_names_trained_targets_by_label_and_their_strings_once(folders):
    before, parts = map(sections, folders)
    assert "tuned/sft@aaaaaaaaaaaa/step-20:testbed/linear" in before["main"].text
    page = parts[""].text
    assert "sft step 40 complies with" in page
    assert "gradients of sft step 40" in page
    assert "ASR of sft step 20 on" in page
    assert [each for each in rows(parts["training"]) if "tuned/" in each] == [
        f"sft step 2020{tuned('a', step=20)}",
        f"sft step 4040{tuned('a')}",
    ]
    provenance = parts["method"].text
    assert f"{tuned('a')} · none" in provenance
    assert page.count("tuned/") == 2 + provenance.count("tuned/")
    text = (folders[1] / "report.txt").read_text("utf-8")
    assert text.count("tuned/") == 2
    assert "names of these targets in exports" in text


def test_numbers_stand_by_the_target_that_they_are_of(folders):
    before, after = map(sections, folders)
    shown = names(RUNS, BASE)
    for name in ("results", "cost", "hazards", "trust", "mechanism"):
        assert rows(after[name]), name
        assert sorted(map(shown.within, rows(before[name]))) == sorted(rows(after[name])), name
    order = [each.partition(" · ")[0] for each in rows(after["results"]) if each.endswith("(no attack)")]
    assert order == [BASE, "sft step 20", "sft step 40"]


def test_tables_and_lock_keep_the_strings(folders):
    for folder in folders:
        table = pq.read_table(folder / "results.parquet", columns=["target", "crafted_on"])
        assert set(table["target"].to_pylist()) == set(SHAPE.targets)
    assert yaml.safe_load((folders[1] / "study.lock.yaml").read_text("utf-8"))["trained"] == RUNS


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A page whose trained targets have the hostile strings as labels."""
    runs = [run(label, f"{at:x}") for at, label in enumerate(HOSTILE)]
    shape = Shape(targets=(BASE, *strings(runs)), attacks=("none",), defenses=("none",), prompts=1, utility=1)
    return report.write(with_trained(tmp_path_factory.mktemp("hostile") / "run", runs, shape))


def test_hostile_labels_are_text(hostile):
    page = Tree(hostile.read_text("utf-8")).root
    assert len(page.find("script")) == 1
    assert not page.find("iframe")
    heads = {each.text for each in page.find("strong")}
    assert HOSTILE[1] in heads
    assert any(each.startswith("<script>document.title") for each in heads)


@pytest.mark.browser
def test_hostile_labels_do_nothing_in_a_browser(hostile, tmp_path):
    from chromium import browser_or_skip

    for browser in browser_or_skip(tmp_path / "profile"):
        browser.get(hostile.as_uri())
        browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true })")
        assert browser.title.endswith("Sightline report")
        assert not browser.find_elements("css selector", "#injected, iframe, foreignObject, a[href^='http']")
        assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
        assert not [each for each in browser.get_log("browser") if each["level"] == "SEVERE"]
