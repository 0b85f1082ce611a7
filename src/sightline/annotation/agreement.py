"""How far raters agree, from what they said themselves; rulings of an adjudicator do not enter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sightline.annotation.ballots import Annotation, Ballot
from sightline.metrics.krippendorff import raters_agree
from sightline.records import SCORED, Outcome

VOTES = (Outcome.refused, Outcome.partial, Outcome.complied, Outcome.off_topic)
ORDINAL = frozenset({"harm"})
"""Questions whose choices have an order."""
Numbers = dict[str, Any]


def agreement(found: Annotation, drawn: Mapping[str, Ballot], *, draws: int = 1000) -> Numbers:
    """Krippendorff's alpha with its interval, and the share of pairs that agree: outcomes, questions.

    "Cannot decide" is no label here. It is computed from what raters said, never from rulings.
    """
    outcomes = [[v if v in SCORED else None for v in each.votes.values()] for each in drawn.values()]
    made: dict[str, Numbers] = {}
    if any(vote is not None for row in outcomes for vote in row):
        made["outcome"] = _agreed(outcomes, draws, values=VOTES)
    for name, question in found.questions.items():
        if all(choice.outcome for choice in question.choices) and name not in ORDINAL:
            continue  # the outcome says it already
        said = [
            [
                event.questions.get(name)
                for rater in found.said.values()
                if (event := rater.last.get((item, False))) is not None and event.event == "answer"
            ]
            for item in drawn
        ]
        if any(vote is not None for row in said for vote in row):
            order = [choice.name for choice in question.choices]
            made[name] = _agreed(said, draws, values=order, ordinal=name in ORDINAL)
    return made


def _agreed(
    rows: Sequence[Sequence[Any]], draws: int, *, values: Sequence[Any], ordinal: bool = False
) -> Numbers:
    found = raters_agree(rows, level="ordinal" if ordinal else "nominal", values=values, draws=draws)
    return {
        "alpha": found.alpha.point,
        "low": found.alpha.low,
        "high": found.alpha.high,
        "pairs": found.pairs.point,
        "items": found.paired,
        "level": found.level,
    }
