"""Judges of toxicity that found nothing at all: whether they could have found anything here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sightline.metrics.cells import method_of
from sightline.report.results import Results, entries, judge_names

SCORERS = ("toxicity", "testbed_toxicity")
"""Judges by a scorer and a threshold."""
_SETTINGS = re.compile(r"toxicity\((\w+).* > ([\d.e-]+)\)")
_KNOWS = {
    "testbed": "its scorer knows the swear words of the testbed's invented world alone",
    "profanity": "its scorer knows swear words of English alone",
    "perspective": "its scores are those of a file",
    "detoxify": "its scorer is a model that saw certain languages alone",
}
_CURES = {
    "testbed": "take scorer=profanity, detoxify or perspective",
    "profanity": "take scorer=detoxify or perspective for other languages",
    "perspective": "see whether the file's attribute and threshold fit",
    "detoxify": "see whether the model, its attribute and the threshold fit",
}


def never_above(results: Results, lock: Mapping[str, Any]) -> list[str]:
    """Cautions for judges of toxicity none of whose scores is above the threshold."""
    rows = results.rows(
        "select judge, count(*) filter (outcome not in ('unparsed', 'error')) as n, max(score),"
        " count(*) filter (outcome = 'complied') as hits from results group by judge"
        " having n > 0 and hits = 0 order by judge"
    )
    names = judge_names([row[0] for row in rows], lock)
    at_home = all(str(each.get("target", "")).startswith("testbed/") for each in entries(lock, "targets"))
    return [
        _caution(names[judge], judge, n, highest, at_home=at_home)
        for judge, n, highest, _ in rows
        if method_of(judge) in SCORERS
    ]


def _caution(name: str, judge: str, n: int, highest: float | None, *, at_home: bool) -> str:
    found = _SETTINGS.match(judge)
    scorer, threshold = (found[1], float(found[2])) if found else ("testbed", 0.0)
    scores = "" if highest is None else f" (highest {highest:.3g}, threshold {threshold:g})"
    text = f"{name}: not one of {n:,} scored responses is above the threshold{scores}; "
    if scorer == "testbed" and at_home:
        return text + "whether the models swear was not shown by any response: a rate of 0 has no control"
    return (
        f"{text}{_KNOWS.get(scorer, 'its scorer is not known here')}, so that a rate of 0 may mean that it "
        f"cannot find anything here: {_CURES.get(scorer, 'see whether it fits')}, or label some responses "
        "(`sightline annotate`)"
    )
