"""Cautions on attacks that their budget stopped before they were through."""

from __future__ import annotations

from collections import Counter

from sightline.report.results import Results
from sightline.study.conversing import STOPPED


def stopped(results: Results) -> list[str]:
    """Attacks with artifacts that a budget stopped: how many, and how many before the target was asked.

    Such an artifact is scored as an attempt. Of an attack with several levels of a budget, whose point is
    to be stopped, only levels at which the target was not asked are told.
    """
    found = results.stopped(STOPPED)
    levels = Counter(series for series, *_ in found)
    told = []
    for series, attack, artifacts, ended, unasked in found:
        if not ended or (levels[series] > 1 and not unasked):
            continue
        early = f", {unasked:,} of them before the target was asked" if unasked else ""
        told.append(
            f"{attack}: {ended:,} of {artifacts:,} artifacts were stopped by their budget{early}; they count "
            "as attempts: raise the budget, or read the rate as that of an attack cut short"
        )
    return told
