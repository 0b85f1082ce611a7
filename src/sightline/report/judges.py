"""The judges of a run, and how far two of them agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np

from sightline.metrics.agreement import JudgeCard, Share, both_read, judge_card
from sightline.metrics.summary import Summary
from sightline.records import Outcome
from sightline.report import provenance
from sightline.report.results import Results
from sightline.report.words import as_percent, bracket

MOST_PAIRS = 10


def judge_facts(results: Results, lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judges, what they read and their counts, in the order of the study; the first is the primary one."""
    rows = results.rows(
        "select judge, coalesce(any_value(reads), 'case'), count(*),"
        " count(*) filter (outcome in ('unparsed', 'error')) from results group by judge"
    )
    order = [entry["id"] for entry in lock.get("judges", ()) if "id" in entry]
    rows.sort(key=lambda row: (order.index(row[0]) if row[0] in order else len(order), row[0]))
    return [
        {
            "id": judge,
            "reads": reads,
            "n": n,
            "unscored": unscored,
            "errors": provenance.errors_of(results, judge),
        }
        for judge, reads, n, unscored in rows
    ]


def agreements(results: Results, summary: Summary, judges: Sequence[str]) -> list[Agreement]:
    """Judges beside the truth where the study has one, else beside each other, on restricted requests."""
    cards = [(card, True) for card in summary.judge_cards if card.measure == "asr"]
    if not cards:
        for first, second in islice(combinations(judges, 2), MOST_PAIRS):
            rows = results.cross(second, first)
            both = both_read(
                [Outcome(row[0]) for row in rows],
                [Outcome(row[1]) for row in rows],
                [row[2:4] for row in rows],
            )._replace(times=np.array([row[4] for row in rows], dtype=np.int64))
            cards.append((judge_card(both, judge=second, truth=first), False))
    return [Agreement.of(card, is_truth) for card, is_truth in cards]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A judge beside another, as printed. `is_truth`: the other is exact by construction."""

    judge: str
    other: str
    attack: str
    is_truth: bool
    n: int
    unscored: int
    same: str
    found: str
    left_alone: str
    kappa: str

    @classmethod
    def of(cls, card: JudgeCard, is_truth: bool) -> Agreement:
        """The card in words."""
        return cls(
            judge=card.judge,
            other=card.truth,
            attack=card.attack or "all",
            is_truth=is_truth,
            n=card.n,
            unscored=card.judge_unscored + card.truth_unscored,
            same=_share(card.agreement),
            found=_share(card.sensitivity),
            left_alone=_share(card.specificity),
            kappa="undefined" if card.kappa is None else f"{card.kappa:.2f}",
        )


def _share(share: Share) -> str:
    if share.point is None:
        return "none to judge"
    return f"{as_percent(share.point)} {bracket(share.low, share.high)}"
