"""Attacks, judges and benchmarks as functions: the same results, seals, budgets and costs as in a study."""

from __future__ import annotations

import numpy as np
import pytest
import releases
import toys

import sightline as sl
from sightline import console
from sightline.api.runs import finish
from sightline.errors import UsageError
from sightline.study.config import parse
from sightline.study.run import Run

GRAY = np.full((64, 64, 3), 128, np.uint8)
SHORT = {"targets": ("sure",), "steps": 2, "candidates": 8, "topk": 8, "length": 3}


@pytest.fixture(scope="module")
def linear(one_thread):
    pytest.importorskip("torch")
    return sl.open_model("testbed/linear")


def test_a_drawn_attack_needs_no_model():
    result = sl.attacks.FigStep()(None, "Steps to fold a paper crane", quiet=True)
    assert result.image.pixels.shape == (760, 760, 3)
    assert "numbers 1 to 3" in result.text
    assert result.case.behavior == "Steps to fold a paper crane"
    assert result.crafted_on is None
    assert result.losses == ()


def test_a_list_gives_a_list_in_order_and_equal_prompts_share_a_result():
    found = sl.attacks.FigStep()("scripted/echo", ["first", "second", "first"], quiet=True)
    assert [result.case.behavior for result in found] == ["first", "second", "first"]
    assert found[0].image == found[2].image != found[1].image


def test_no_prompts_give_no_results():
    assert sl.attacks.FigStep.preset("testbed")(None, []) == []


def test_a_prompt_that_cannot_be_attacked_is_an_error_alone_and_a_problem_in_a_list():
    attack = toys.ToyDots(fails=(toys_id("bad"),))
    with pytest.raises(sl.UsageError, match="nothing to draw"):
        attack(None, "bad", quiet=True)
    good, bad = attack(None, ["good", "bad"], quiet=True)
    assert good.problem is None
    assert "nothing to draw" in bad.problem
    assert bad.image is None
    with pytest.raises(sl.UsageError, match="nothing to draw"):
        attack(None, ["bad"], quiet=True)


def toys_id(text: str) -> str:
    return toys.ToyPlain()(None, text, quiet=True).case.id


@pytest.mark.slow
def test_results_are_those_of_a_study(tmp_path, linear):
    """The same case, settings, model and seed: the same text, picture, norms and cost."""
    text = """
study: same
targets: ["testbed/linear"]
benchmarks: [{name: testbed_requests, limit: 1}]
attacks:
  - {name: gcg, preset: testbed, steps: 2, candidates: 8, topk: 8, length: 3, surrogate: testbed/linear}
  - {name: figstep, preset: testbed}
judges: [testbed_policy]
"""
    run = Run(parse(text), tmp_path / "run")
    run.prepare()
    finish(run)
    rows = sl.load(tmp_path / "run").samples()
    (case,) = sl.benchmarks.TestbedRequests()(limit=1)
    gcg = sl.attacks.GCG.preset("testbed", steps=2, candidates=8, topk=8, length=3)
    (row,) = rows.where(attack="gcg")
    result = gcg(linear, case, quiet=True)
    assert result.text == row["prompt"]
    assert result.crafted_on == row["crafted_on"]
    (row,) = rows.where(attack="figstep")
    with pytest.raises(UsageError, match="'complied'"):
        rows.where(outcome="complid")
    page = sl.attacks.FigStep.preset("testbed")(None, case, quiet=True)
    assert page.image.sha256 == row["pictures"][0].rpartition("/")[2]


def test_target_is_the_setting_of_the_attack(linear):
    attack = sl.attacks.GCG(**{**SHORT, "targets": ()})
    assert (
        attack(linear, "a request", target="sure", quiet=True).losses
        == sl.attacks.GCG(**SHORT)(linear, "a request", quiet=True).losses
    )
    with pytest.raises(sl.UsageError, match="aims at no text"):
        sl.attacks.FigStep()(None, "x", target="y")


def test_budgets_bind_and_costs_are_counted(linear):
    attack = sl.attacks.GCG(**{**SHORT, "steps": 50})
    result = attack(linear, "a request", budget=sl.Budget(backwards=2), quiet=True)
    assert result.cost.backwards <= 2
    assert result.cost.forwards > 0
    assert "budget" in result.note or "backwards" in result.note


def test_a_universal_attack_shows_all_prompts_one_picture(linear):
    attack = sl.attacks.QiVisual(eps="32/255", targets=("sure",), steps=2, size_px=64)
    first, second = attack(linear, ["one request", "another"], quiet=True)
    assert first.image == second.image
    assert first.norms["linf"] <= 32
    assert first.image.pixels.dtype == np.uint8


def test_a_universal_attack_perturbs_the_pictures_that_it_is_given(linear):
    attack = sl.attacks.QiVisual(eps="8/255", targets=("sure",), steps=2)
    gray, black = attack(linear, [GRAY, np.zeros_like(GRAY)], quiet=True)
    for result, clean in ((gray, GRAY), (black, np.zeros_like(GRAY))):
        change = np.abs(result.image.pixels.astype(int) - clean)
        assert 0 < change.max() == result.norms["linf"] <= 8
    same, other = attack(linear, ["one", "two"], image=GRAY, quiet=True)
    assert same.image == other.image == gray.image


def test_gradients_need_a_model_that_has_some(linear):
    with pytest.raises(sl.UsageError, match="open_model"):
        sl.attacks.GCG(**SHORT)(None, "a request")
    with pytest.raises(sl.UsageError, match="gives no gradients"):
        sl.attacks.GCG(**SHORT)("scripted/echo", "a request")
    with pytest.raises(sl.UsageError, match="is no model: open one"):
        sl.attacks.GCG(**SHORT)(3, "a request")


def test_pictures_lie_in_the_named_folder(tmp_path):
    result = sl.attacks.FigStep()(None, "x", folder=tmp_path / "kept", quiet=True)
    assert result.image.path.is_relative_to((tmp_path / "kept").resolve())
    assert sl.open_model("scripted/echo").ask(result).text == result.text


def test_a_result_can_be_attacked_again():
    first = toys.ToyDots()(None, "x", quiet=True)
    second = toys.ToyPlain(tag="y")(None, first, quiet=True)
    assert second.conversation == first.conversation


def test_progress_of_what_takes_long_is_shown_unless_quiet(capsys, monkeypatch):
    sl.attacks.FigStep()(None, "x")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(console, "PAUSE", 0.0)
    monkeypatch.setattr(console, "MIN_INTERVAL", 0.0)
    sl.attacks.FigStep()(None, ["x", "y"])
    assert "figstep: done, 2 rows" in capsys.readouterr().err
    sl.attacks.FigStep()(None, "x", quiet=True)
    assert not capsys.readouterr().err


def test_judges_read_strings_cases_results_and_lists():
    judge = sl.judges.RefusalPrefix()
    assert judge("do it", "I'm sorry, but I can't help").outcome == "refused"
    assert judge("do it", sl.Response(text="Sure. First, ...")).outcome == "complied"
    assert [v.outcome for v in judge(["a", "b"], ["I cannot help", "Done."])] == ["refused", "complied"]
    assert judge(sl.attacks.FigStep()(None, "x", quiet=True), "I cannot help").outcome == "refused"
    assert judge("a", sl.Response(text="", stop="error", error="down")).outcome == "error"
    with pytest.raises(sl.UsageError, match="as many replies"):
        judge(["a", "b"], ["one"])


def test_a_judge_that_asks_a_grader_is_bound_to_it(tmp_path):
    (tmp_path / "grader.yaml").write_text("rules: [{reply: no verdict here}]\n", encoding="utf-8")
    verdict = sl.judges.ModelGraded(grader=f"scripted/{tmp_path / 'grader.yaml'}")("a", "b")
    assert verdict.outcome == "unparsed"
    assert verdict.cost.calls_judge >= 1


@pytest.mark.filterwarnings("ignore:figstep_safebench")
def test_benchmarks_read_a_release(tmp_path):
    folder = releases.figstep(tmp_path / "FigStep")
    benchmark = sl.benchmarks.FigStepSafeBench()
    cases = benchmark(folder, limit=4)
    assert len(cases) == 4
    assert len(benchmark(folder)) > 4
    with pytest.raises(sl.UsageError, match="name the folder or archive"):
        benchmark()
    assert sl.attacks.FigStep()(None, cases[0], quiet=True).case.id == cases[0].id


def test_half_a_surrogate_pair_in_a_prompt_is_replaced_as_in_a_study():
    broken, mended = "how \ud800 x", "how \ufffd x"
    attack = sl.attacks.Encoding()
    assert attack(None, broken, quiet=True).text == attack(None, mended, quiet=True).text
    case = sl.Case(
        id="a",
        conversation=sl.Conversation.user(broken),
        behavior=broken,
        expected=sl.Expected.refuse,
        category="c",
        group="g",
    )
    for prompt in (broken, sl.Conversation.user(broken), case):
        result = attack(None, prompt, quiet=True)
        assert result.case.behavior == result.case.conversation.last_user_text() == mended
    assert attack(None, "\ud83d\ude00", quiet=True).case.behavior == "\U0001f600"
    with pytest.raises(UsageError, match=r"Take U\+FFFD REPLACEMENT CHARACTER out of the text"):
        sl.attacks.FigStep()(None, broken, quiet=True)
