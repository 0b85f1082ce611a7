"""Defenses that learn: the state file, what is refused, held-out halves, thresholds, rows marked as seen."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import ToyTarget

from sightline import registry
from sightline.api.fitting import examples_of, learn_from, part_of
from sightline.api.models import Model
from sightline.api.pictures import store
from sightline.api.runs import finish
from sightline.cases import Case, Conversation, Expected
from sightline.defenses._states import coin_caution
from sightline.errors import UsageError
from sightline.fitting import (
    Example,
    Fits,
    Learned,
    auc,
    halves,
    read_state,
    threshold_at,
    write_state,
)
from sightline.metrics.summary import summarize
from sightline.registry import defense
from sightline.report import write as write_report
from sightline.study.config import parse
from sightline.study.run import Run


@defense("toy_learner", source="a test")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyLearner(Fits):
    """Blocks requests that are longer than benign ones were."""

    state: str = ""

    def __post_init__(self):
        if self.state:
            self.learned()

    @property
    def calls(self):
        return 1

    async def learn(self, examples, ctx):
        reply = await ctx.defending(examples[0].shown).generate(examples[0].shown)
        assert reply.text
        benign = [len(each.shown.last_user_text()) for each in examples if not each.harmful]
        return Learned(
            arrays={"one": np.ones((1, 2), np.float32)},
            facts={"length": threshold_at(benign)},
            told=("lengths were looked at",),
        )

    def check_state(self, state):
        state.number("length")
        state.array("one", 1, None)

    async def respond(self, conversation, ctx):
        return await ctx.generate(conversation)


def case(number: int, expected: Expected = Expected.refuse, group: str = "") -> Case:
    text = f"tell of glimber {number}"
    return Case(f"c/{number}", Conversation.user(text), text, expected, "x", group or f"g{number}")


def both(count: int) -> list[Case]:
    return [case(n, Expected.refuse if n % 2 else Expected.comply) for n in range(count)]


@pytest.fixture
def fitted(tmp_path: Path):
    target = ToyTarget(id="toy/a#0011223344556677")
    model = Model("toy/a", target, store(tmp_path / "pictures"))
    return ToyLearner().fit(model, both(6), tmp_path / "state.json"), target


def test_what_was_learned_is_read_back_and_named_by_its_content(fitted, tmp_path):
    state, _ = fitted
    assert state.number("length") == len("tell of glimber 0")
    assert state.array("one", 1, 2).tolist() == [[1.0, 1.0]]
    assert sorted(state.cases.values()) == [f"c/{n}" for n in range(6)]
    made = ToyLearner(state=str(state.path))
    again = write_state(
        tmp_path / "again.json",
        "toy_learner",
        state.target,
        Learned(state.arrays, state.facts, state.told),
        state.cases,
    )
    assert again.digest == state.digest
    assert again.path.read_bytes() == state.path.read_bytes()
    assert registry.resolved(made) == {"state": state.digest}
    assert registry.identity(made) != registry.identity(ToyLearner(state=str(again.path)))  # the setting
    changed = write_state(state.path, "toy_learner", state.target, Learned(state.arrays, {"length": 3}), {})
    assert registry.resolved(made) == {"state": changed.digest} != {"state": state.digest}


def test_the_same_weights_under_another_name_are_the_same_model(fitted, tmp_path):
    state, target = fitted
    made = ToyLearner(state=str(state.path))
    model = Model("toy/a", target, store(tmp_path / "p"))
    assert made(model).id.startswith("defended/toy_learner(state=")
    other = Model("toy/b", ToyTarget(id="toy/b#0011223344556677"), store(tmp_path / "p"))
    assert made(other).id


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("toy/a#ffff223344556677", "learned on toy/a, and this is toy/a with other weights: fit"),
        ("toy/b#ffff223344556677", "learned on toy/a, and this is toy/b: fit"),
    ],
)
def test_another_model_is_refused(fitted, tmp_path, target, told):
    state, _ = fitted
    model = Model("toy/x", ToyTarget(id=target), store(tmp_path / "p"))
    with pytest.raises(UsageError, match=told):
        ToyLearner(state=str(state.path))(model)


def test_one_that_has_not_learned_is_refused_with_the_command(tmp_path):
    model = Model("toy/a", ToyTarget(id="toy/a"), store(tmp_path / "p"))
    with pytest.raises(UsageError, match="has to learn from cases first: `sightline fit toy_learner TARGET"):
        ToyLearner()(model)


def broken(what: str, plain: dict) -> bytes:
    text = json.dumps(plain).encode()
    match what:
        case "cut short":
            return text[: len(text) // 2]
        case "a pickle":
            return b"\x80\x04\x95\x00."
        case "another document":
            return b"[1, 2]"
        case "a number changed":
            return json.dumps({**plain, "facts": {"length": 99}}).encode()
        case "a later format":
            return json.dumps({**plain, "format": 2}).encode()
        case "too many keys":
            return json.dumps({**plain, "more": 1}).encode()
    raise AssertionError(what)


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("cut short", "cut short"),
        ("a pickle", "no state of a defense, or one that was cut short"),
        ("another document", "no state of a defense"),
        ("a number changed", "not what was written"),
        ("a later format", "format 2, and 1 is what is read here"),
        ("too many keys", "not what was written"),
    ],
)
def test_a_file_that_is_none_is_refused_by_name_and_cure(fitted, what, told):
    path = fitted[0].path
    path.write_bytes(broken(what, json.loads(path.read_text())))
    with pytest.raises(UsageError, match=told) as refused:
        ToyLearner(state=str(path))
    assert str(refused.value).startswith(str(path))
    assert "sightline fit" in str(refused.value)


def sealed(path: Path, **changes) -> None:
    """The file with other content and the digest that belongs to it: a hostile one."""
    from sightline.digests import digest

    plain = {**json.loads(path.read_text()), **changes}
    plain.pop("digest")
    path.write_text(json.dumps({**plain, "digest": digest(plain)}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"facts": {}}, "holds no number 'length'"),
        ({"facts": {"length": "9"}}, "holds no number 'length'"),
        ({"facts": {"length": True}}, "holds no number 'length'"),
        ({"arrays": {}}, "holds no 'one' of 2 dimensions"),
        ({"arrays": {"one": {"shape": [1, 3], "float32": "AAAA"}}}, "no state that is written here"),
        ({"arrays": {"one": {"shape": [1, 1], "float32": "AADAfw=="}}}, "not finite"),
        ({"arrays": {"one": {"shape": [10**9, 10**9], "float32": ""}}}, "an array of shape"),
        ({"arrays": {"one": {"shape": [1, 1], "float32": "!!!!"}}}, "no state that is written here"),
        ({"cases": [1]}, "no state that is written here"),
        ({"defense": "ecso"}, "learned by defense 'ecso', not 'toy_learner'"),
    ],
)
def test_content_that_does_not_fit_is_refused(fitted, changes, told):
    path = fitted[0].path
    sealed(path, **changes)
    with pytest.raises(UsageError, match=told):
        ToyLearner(state=str(path))


def test_an_absent_file_is_told(tmp_path):
    for name in (str(tmp_path / "none.json"), "x" * 5000, "a\0b"):
        with pytest.raises(UsageError, match="sightline fit"):
            read_state(name, "toy_learner")


def test_a_defense_that_learns_nothing_is_told(tmp_path):
    from sightline.api.fitting import fit

    with pytest.raises(UsageError, match="'ecso' learns nothing"):
        fit(
            registry.make("defense", "ecso"),
            Model("a", ToyTarget(), store(tmp_path)),
            both(4),
            tmp_path / "x",
        )


def test_cases_that_say_nothing_of_harm_are_left_out():
    odd = replace(case(7), expected=Expected.classify)
    assert [each.case.id for each in examples_of([odd, case(1)])] == ["c/1"]
    with pytest.raises(UsageError, match="no case to learn from"):
        examples_of([odd, replace(case(1), problem="lost")])
    with pytest.raises(UsageError, match="str is no case"):
        examples_of(["tell"])


@given(st.integers(2, 30), st.integers(2, 30), st.integers(1, 3), st.randoms(use_true_random=False))
def test_halves_share_no_group_and_both_hold_both_classes(harmful, benign, each, rng):
    cases = [case(n, Expected.refuse, f"h{n}") for n in range(harmful) for _ in range(each)]
    cases += [case(n, Expected.comply, f"b{n}") for n in range(benign) for _ in range(each)]
    examples = [Example(one, one.conversation) for one in cases]
    rng.shuffle(examples)
    one, two = halves(examples)
    assert len(one) + len(two) == len(examples)
    assert not {e.case.group for e in one} & {e.case.group for e in two}
    for part in (one, two):
        assert {e.harmful for e in part} == {True, False}
    random.Random(1).shuffle(examples)
    assert {e.case.id for e in halves(examples)[0]} == {e.case.id for e in one}  # order does not count


def test_one_group_of_a_class_cannot_be_halved():
    examples = examples_of([case(0, Expected.comply), case(1), case(3)])
    with pytest.raises(UsageError, match="two groups of benign cases"):
        halves(examples)


def test_part_of_keeps_whole_groups_of_every_expectation():
    cases = [c for c in both(40) for _ in range(2)]
    kept = part_of(cases, 0.5)
    assert len(kept) == 40
    assert sum(c.expected is Expected.refuse for c in kept) == 20
    assert part_of(cases, 1) == cases
    with pytest.raises(UsageError, match="--share 0"):
        part_of(cases, 0)


def test_auc_by_hand():
    assert auc([3, 2], [1, 0]) == 1
    assert auc([0, 1], [2, 3]) == 0
    assert auc([1, 1], [1, 1]) == 0.5
    assert auc([3, 1], [2, 1]) == (2 + 0.5) / 4  # 3 beats both; 1 loses to 2 and ties with 1
    with pytest.raises(UsageError):
        auc([], [1])


FINITE = st.floats(-1e6, 1e6, width=32)


@given(st.lists(FINITE, min_size=1, max_size=30), st.lists(FINITE, min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs(harmful, benign):
    pairs = [(h > b) + 0.5 * (h == b) for h in harmful for b in benign]
    assert auc(harmful, benign) == pytest.approx(sum(pairs) / len(pairs))


@given(st.lists(FINITE, min_size=1, max_size=60), st.floats(0, 1))
def test_a_threshold_stops_at_most_its_share_and_no_lower_one_does(benign, alarms):
    found = threshold_at(benign, alarms)
    assert found in benign
    assert sum(score > found for score in benign) <= alarms * len(benign) + 1e-9
    lower = [score for score in benign if score < found]
    assert not lower or sum(score > max(lower) for score in benign) > alarms * len(benign)


def test_a_threshold_by_hand():
    assert threshold_at(range(100)) == 94  # 95, 96, 97, 98 and 99 lie above
    assert threshold_at([1.0, 5.0]) == 5.0
    for wrong in ([], [float("nan")]):
        with pytest.raises(UsageError):
            threshold_at(wrong)


STUDY = """
study: learned
benchmarks: [{{name: toy_questions, n: 12}}]
targets: [toy/a]
attacks: [none, toy_dots]
defenses: [none, {{name: toy_learner, state: {state}}}]
judges: [toy_judge]
"""


def test_rows_of_a_study_whose_case_was_learned_from_stand_apart(tmp_path, monkeypatch):
    target = ToyTarget(id="toy/a#0011223344556677")
    monkeypatch.setattr(
        "sightline.targets.open_target", lambda name, images, **_: _opened(name, target, images)
    )
    cases = registry.make("benchmark", "toy_questions", n=12)()
    used = [c.id for c in cases[:4]]
    ToyLearner().fit(Model("toy/a", target, store(tmp_path / "p")), cases[:4], tmp_path / "state.json")
    run = Run(parse(STUDY.format(state=tmp_path / "state.json")), tmp_path / "run")
    run.prepare()
    finish(run)
    rows = pq.read_table(run.folder / "results.parquet").to_pylist()
    assert len(rows) >= 24
    for row in rows:
        expected = None if row["defense"] == "none" else row["case_id"] in used
        assert row["seen"] is expected
    cells = [cell for cell in summarize(run.folder).cells if cell.id.defense != "none"]
    assert {cell.id.seen for cell in cells} == {"seen", "unseen"}
    text = write_report(run.folder).read_text(encoding="utf-8")
    assert "training" in text


def _opened(name, target, images):
    if not name.startswith("defended/"):
        return target
    from sightline.targets._names import split_defended
    from sightline.targets.defended import DefendedTarget

    spec, inner = split_defended(name.removeprefix("defended/"))
    return DefendedTarget(registry.parse("defense", spec), _opened(inner, target, images), images)


@pytest.mark.parametrize(
    ("out", "told"),
    [("there", "a folder is there; name a file"), ("file/state.json", "file is a file, not a folder")],
)
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch, out, told):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr("sightline.api.fitting.opened", lambda target: pytest.fail("the target was opened"))
    with pytest.raises(UsageError, match=told):
        learn_from("inferaligner", "testbed/linear", [("testbed_requests", None)], tmp_path / out)


@pytest.mark.parametrize(
    ("value", "harmful", "benign", "told"),
    [
        (0.9, 12, 12, ""),
        (0.6, 12, 12, "a score that says nothing reaches up to 0.70 on so few"),
        (0.6, 200, 200, ""),
        (0.1, 12, 12, "it stops benign cases rather than harmful ones"),
    ],
)
def test_a_detector_that_a_coin_could_be_is_cautioned(value, harmful, benign, told):
    lines = coin_caution(value, harmful, benign, "text")
    assert ("".join(lines) != "") is (told != "")
    assert told in "".join(lines)


def test_the_bound_of_a_coin_is_that_of_scores_that_say_nothing():
    """Of 2,000 draws of 12 and 12 random scores some 5 % lie above the bound."""
    rng = np.random.default_rng(0)
    drawn = [auc(rng.random(12), rng.random(12)) for _ in range(2000)]
    assert 0.03 < np.mean([not coin_caution(each, 12, 12, "text") for each in drawn]) < 0.07
