"""Limits that an attack does not count, or that end it before its first step, are told in the plan."""

import re

import pytest

from sightline import registry
from sightline.api import attacking
from sightline.budget import Budget
from sightline.errors import UsageError
from sightline.study.config import parse
from sightline.study.limits import counted, first_step, useless

STUDY = """
study: limits
targets: [testbed/linear, testbed/queries]
benchmarks: [{{name: testbed_requests, subset: requests}}]
roles: {{attacker: scripted/echo, in_loop_judge: refusal_prefix}}
attacks:
  - none
  - {{{entry}}}
judges: [testbed_policy]
"""
GCG = "name: gcg, preset: testbed, candidates: 60, surrogate: testbed/linear"
PAIR = "name: pair"


def refused(entry):
    with pytest.raises(UsageError) as told:
        parse(STUDY.format(entry=entry), name="limits.yaml")
    return str(told.value)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (f"{GCG}, budget: {{forwards: 63}}", "forwards: gcg with these settings takes 64 forwards or more"),
        (f"{GCG}, budget: {{forwards: [64, 500, 5]}}", "5 would craft nothing; give 64 or more"),
        (
            f"{GCG}, budget: {{calls: 5}}",
            "calls: gcg spends no calls, .* limit forwards, backwards, flops or",
        ),
        (f"{GCG}, budget: {{backwards: 9, tokens: 5}}", "tokens: gcg spends no tokens"),
        (
            "name: qi_visual, preset: testbed, surrogate: [testbed/linear, testbed/queries], "
            "budget: {backwards: [1, 40]}",
            "takes 2 backwards or more through 2 models .* 1 would craft nothing",
        ),
        (f"{PAIR}, budget: {{backwards: 5}}", "backwards: pair spends no backwards, .* target_calls"),
        (f"{PAIR}, budget: {{forwards: [5, 10]}}", "forwards: pair spends no forwards"),
        ("name: past_tense, budget: {target_calls: 5}", "past_tense spends no target_calls, .* aux_calls"),
        ("name: best_of_n, budget: {aux_calls: 5}", "aux_calls: best_of_n spends no aux_calls"),
    ],
)
def test_a_limit_that_means_nothing_is_told_with_its_line_and_the_cure(entry, told):
    found = refused(entry)
    assert found.startswith("limits.yaml:8: attacks.1.budget.")
    assert re.search(told, found)


@pytest.mark.parametrize(
    "entry",
    [
        f"{GCG}, budget: {{forwards: [64, 500]}}",
        f"{GCG}, budget: {{flops: 1, seconds: 0.1, backwards: 1}}",
        f"{GCG}, baseline: true, budget: {{forwards: 1}}",
        f"{PAIR}, budget: {{calls: 1, target_calls: 1, aux_calls: 1, judge_calls: 1, tokens: 1, flops: 1}}",
        "name: past_tense, budget: {calls: 1, aux_calls: 1}",
    ],
)
def test_other_budgets_are_taken(entry):
    assert parse(STUDY.format(entry=entry), name="limits.yaml").attacks


STEPS = (
    ("gcg", {"targets": ("yes",), "candidates": 6, "length": 4}),
    ("qi_text", {"targets": ("yes",), "candidates": 6, "length": 4}),
    ("tpgd", {"reach": ("yes",), "keep": "blick"}),
    ("bard", {"spectra": 3}),
    ("qi_visual", {"targets": ("yes",)}),
    ("carlini", {"targets": ("yes",)}),
    ("image_hijack", {"preset": "testbed"}),
    (
        "image_hijack",
        {"preset": "testbed", "bound": "moving_patch", "places_per_step": 3, "judged_places": 2},
    ),
)


@pytest.mark.parametrize(("name", "settings"), STEPS)
def test_the_bound_is_what_the_engine_asks_for_a_first_step(name, settings, monkeypatch):
    method = registry.make("attack", name, **settings)
    least = first_step(method, 1)
    assert useless(method, Budget(forwards=least.forwards, backwards=least.backwards), 1) is None
    assert useless(method, Budget(forwards=least.forwards - 1), 1).limit == "forwards"
    monkeypatch.setattr(attacking, "useless", lambda *_: None)
    with pytest.raises(UsageError, match=rf"takes up to {least.forwards} forward passes"):
        method(
            "testbed/linear",
            "how do i make a blick ?",
            budget=Budget(forwards=least.forwards - 1),
            quiet=True,
        )
    if least.backwards > 1:
        with pytest.raises(UsageError, match=r"budget.backwards=\d+ does not pay for one step"):
            method("testbed/linear", "a blick ?", budget=Budget(backwards=least.backwards - 1), quiet=True)


def test_every_attack_that_spends_anything_has_a_limit_of_its_own_kind():
    for name in registry.names("attack"):
        try:
            method = registry.make("attack", name)
        except UsageError:  # it has settings without a default
            continue
        assert set(counted(method)) >= {"flops", "seconds"}
        assert ("backwards" in counted(method)) == method.card.surrogate


def test_an_attack_in_python_says_so_too():
    with pytest.raises(UsageError, match=r"budget, 'calls': gcg spends no calls"):
        registry.make("attack", "gcg")("testbed/linear", "a blick ?", budget={"calls": 5}, quiet=True)
