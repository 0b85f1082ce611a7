"""The page of metrics names every function, and benchmarks name functions that exist."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

from sightline import registry

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
MODULES = (
    "calls",
    "captions",
    "classification",
    "krippendorff",
    "logit",
    "pictures",
    "safety",
    "texts",
    "toxicity",
    "vqa",
)
PARTS = {
    "bleu_tokens",
    "calls_in",
    "longest_common",
    "ngrams",
    "parse_call",
    "squad_tokens",
}
"""Public steps of a metric, which are none themselves."""


def functions(module: str) -> set[str]:
    found = importlib.import_module(f"sightline.metrics.{module}")
    return {
        name
        for name, thing in vars(found).items()
        if inspect.isfunction(thing) and thing.__module__ == found.__name__ and not name.startswith("_")
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_metric_has_a_row_and_a_docstring(module: str) -> None:
    rows = set(re.findall(rf"^\|[^|]*\| `{module}\.(\w+)` \|", PAGE, re.MULTILINE))
    assert rows == functions(module) - PARTS
    for name in functions(module):
        assert inspect.getdoc(getattr(importlib.import_module(f"sightline.metrics.{module}"), name))


def test_scoring_rules_of_benchmarks_name_functions_that_exist() -> None:
    known = set().union(*map(functions, MODULES))
    named = {
        name: re.findall(r"`(\w+)`", card.release.scoring)
        for name in registry.names("benchmark")
        if (card := registry.card("benchmark", name)).release is not None
    }
    assert {each for names in named.values() for each in names} <= known
    assert named["privqa"] == ["protection_score", "response_f1"]
    assert named["vqa_v2"] == named["ok_vqa"] == ["vqa_accuracy"]
    assert named["coco_captions"] == ["cider_d", "coco_bleu"]
