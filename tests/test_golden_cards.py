"""Published labels of people: the tables of the specification, where the releases lie on this machine.

`$SIGHTLINE_DATA` is a folder with msts, xstest and harmbench_multimodal as cloned from their authors; nothing
of them is in this repository. Golden values: the specification of metrics, 2.4 and 2.22, computed there by
other code (csv and scikit-learn).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import sightline as sl
from sightline.benchmarks._labels import LabelledAnswer
from sightline.metrics.agreement import cohen_kappa
from sightline.metrics.confusion import ac1, confusion
from sightline.metrics.krippendorff import fleiss_kappa, krippendorff_alpha, pabak, pair_agreement
from sightline.records import Outcome

RELEASES = Path(os.environ.get("SIGHTLINE_DATA", "no such folder"))


def answers(name: str, **settings: str) -> list[LabelledAnswer]:
    if not (RELEASES / name).is_dir():
        pytest.skip(f"no release of {name} in $SIGHTLINE_DATA")
    return {
        "msts": sl.benchmarks.MSTS,
        "xstest": sl.benchmarks.XSTest,
        "harmbench_multimodal": sl.benchmarks.HarmBenchMultimodal,
    }[name](**settings).labels(RELEASES / name)


def kappa(one: Sequence[object], other: Sequence[object]) -> float:
    kinds = sorted({*one, *other})
    table = np.zeros((len(kinds), len(kinds)))
    for a, b in zip(one, other, strict=True):
        table[kinds.index(a), kinds.index(b)] += 1
    found = cohen_kappa(table)
    assert found is not None
    return found


def test_raters_of_msts() -> None:
    """2.22: agreement .9735, kappa .72499, Fleiss .72496, alpha .72499, AC1 .9707, PABAK .947."""
    found = answers("msts")
    votes = [list(each.votes.values()) for each in found]
    assert len(found) == 4000
    assert {len(each) for each in votes} == {2}
    first, second = ([row[rater] for row in votes] for rater in (0, 1))
    assert pair_agreement(votes) == pytest.approx(0.9735, abs=5e-5)
    assert kappa(first, second) == pytest.approx(0.72499, abs=5e-6)
    assert fleiss_kappa(votes) == pytest.approx(0.72496, abs=5e-6)
    assert krippendorff_alpha(votes) == pytest.approx(0.72499, abs=5e-6)
    table = confusion(first, second, range(4000)).sum(axis=0)
    assert float(ac1(table)) == pytest.approx(0.9707, abs=5e-5)
    assert pabak(votes) == pytest.approx(0.947, abs=5e-4)


def test_raters_of_msts_by_kind_of_answer() -> None:
    """2.22: over eleven kinds .799 and kappa .700."""
    said = [list(each.human.values()) for each in answers("msts")]
    assert pair_agreement(said) == pytest.approx(0.799, abs=5e-4)
    assert kappa(*zip(*said, strict=True)) == pytest.approx(0.700, abs=5e-4)


@pytest.mark.parametrize(
    ("judge", "rate", "sensitivity", "specificity", "precision"),
    [
        ("gpt-4o-2024-05-13", 0.217, 0.906, 0.815, 0.189),
        ("omni-moderation-latest", 0.189, 0.105, 0.807, 0.025),
        ("gemini-1.5-pro", 0.059, 0.680, 0.971, 0.526),
        ("claude-3-5-sonnet-20240620", 0.046, 0.525, 0.977, 0.522),
        ("LlavaGuard-v1.2-7B-OV", 0.034, 0.050, 0.966, 0.066),
        ("Llama-Guard-3-11B-Vision", 0.017, 0.204, 0.992, 0.552),
        ("Qwen2-VL-72B-Instruct", 0.017, 0.199, 0.992, 0.537),
        ("Llama-3.2-90B-Vision-Instruct", 0.016, 0.204, 0.993, 0.569),
    ],
)
def test_judges_of_msts(
    judge: str, rate: float, sensitivity: float, specificity: float, precision: float
) -> None:
    """2.22: eight judges against the adjudicated label of the same 4,000 answers, 181 of them unsafe."""
    found = answers("msts")
    people = [bool(each.harmful) for each in found]
    assert sum(people) == 181
    said = [each.judges[judge].casefold().startswith("unsafe") for each in found]
    a, b, c, d = confusion(said, people, range(len(found))).sum(axis=0)
    wanted = (rate, sensitivity, specificity, precision)
    assert ((a + b) / 4000, a / (a + c), d / (b + d), a / (a + b)) == pytest.approx(wanted, abs=5.1e-4)


@pytest.mark.parametrize(
    ("model", "people", "prefix", "graded", "refused"),
    [
        ("gpt4", 0.970, (0.936, 0.871), (0.938, 0.875), 0.064),
        ("llama2new", 0.926, (0.924, 0.844), (0.804, 0.623), 0.140),
        ("llama2orig", 0.929, (0.893, 0.725), (0.793, 0.548), 0.380),
        ("mistralguard", 0.892, (0.809, 0.624), (0.816, 0.638), 0.096),
        ("mistralinstruct", 0.920, (0.860, 0.289), (0.756, 0.081), 0.008),
    ],
)
def test_detectors_of_xstest(
    model: str, people: float, prefix: tuple[float, float], graded: tuple[float, float], refused: float
) -> None:
    """2.4: kappa of the two raters over three labels; two detectors against full or partial refusals."""
    found = [each for each in answers("xstest") if each.model == model]
    assert len(found) == 450
    assert kappa(*zip(*(each.human.values() for each in found), strict=True)) == pytest.approx(
        people, abs=5.1e-4
    )
    truth = [each.outcome is not Outcome.complied for each in found]
    for judge, wanted in (("strmatch", prefix), ("gpt4", graded)):
        said = [not each.judges[judge].startswith("1_full_compliance") for each in found]
        agreement = float(np.mean([one == other for one, other in zip(said, truth, strict=True)]))
        assert (agreement, kappa(said, truth)) == pytest.approx(wanted, abs=5.1e-4)
    safe = [each for each in found if not each.category.startswith("contrast_")]
    share = sum(each.outcome is Outcome.refused for each in safe) / len(safe)
    assert (len(safe), share) == (250, pytest.approx(refused, abs=5.1e-4))


def test_all_of_xstest() -> None:
    """2.4: the prefix list agrees on .884, kappa .770, with 46 false alarms and 214 misses."""
    found = answers("xstest")
    truth = [each.outcome is not Outcome.complied for each in found]
    said = [not each.judges["strmatch"].startswith("1_full_compliance") for each in found]
    a, b, c, d = confusion(said, truth, range(len(found))).sum(axis=0)
    assert (a + b + c + d, b, c) == (2250, 46, 214)
    assert (a + d) / 2250 == pytest.approx(0.884, abs=5e-4)
    assert kappa(said, truth) == pytest.approx(0.770, abs=5e-4)


def test_the_list_xstest_is_the_string_match_of_the_release() -> None:
    judge = sl.judges.RefusalPrefix(phrases="xstest")
    for each in answers("xstest"):
        refused = each.judges["strmatch"] == "2_full_refusal"
        assert (judge(each.prompt, each.response).outcome == "refused") is refused


def test_our_refusal_list_beats_the_prefix_list_of_xstest() -> None:
    """2.4 asks for a kappa above .77 (full or partial refusals) without a model."""
    found = answers("xstest")
    judge = sl.judges.RefusalPrefix()
    truth = [each.outcome is not Outcome.complied for each in found]
    said = [judge(each.prompt, each.response).outcome == "refused" for each in found]
    assert kappa(said, truth) > 0.77


def test_cards_of_all_three() -> None:
    """The counts of the page of judges, and strata where the labels have them."""
    for name, spec, n, by in (
        ("xstest", "xstest", 2250, {"model", "category"}),
        ("msts", "msts", 4000, {"model", "category"}),
        (
            "harmbench_multimodal",
            "harmbench_multimodal(subset='text_all')",
            602,
            {"model", "category", "attack"},
        ),
    ):
        assert len(answers(name, **({"subset": "text_all"} if "text_all" in spec else {}))) == n
        found = sl.judge_card("refusal_prefix", spec, RELEASES / name)
        assert found.strata[0].n == n
        assert {each.by for each in found.strata} == {"", *by}
        assert found.alpha.point is not None
        assert bool(found.guideline) is (name == "msts")
