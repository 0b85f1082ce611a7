"""A judge's card: how its verdicts agree with what people said of the same answers of a release.

A card holds for the judge by whose id it was made, and for no other: one byte of a prompt or of a phrase list
changes the id, and the card is void. So does another guideline of the people who labelled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sightline.errors import UsageError
from sightline.metrics.agreement import Share
from sightline.metrics.confusion import Estimate
from sightline.records import NO_COST, Cost

FORMAT = "sightline judge card 2"
Positive = Literal["unsafe", "refused"]
"""What a judge looks for: replies that do harm (`complied` or `partial`), or full refusals."""
By = Literal["", "model", "category", "language", "attack"]
NOTHING = Estimate(point=None, low=None, high=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """The answers that have one thing in common, or all (`by` is '').

    Attributes:
        by: what they have in common; `name` is its value.
        answers: labelled answers; `n` of them have a verdict, in `groups` clusters.
        unparsed: share of the answers whose verdict scores nothing; `failed`: the judge failed.
        prevalence: share of positives by people, among the `n`.
        sensitivity: of people's positives, the share that the judge calls positive; `specificity` of their
            negatives, the share that it does not; `precision` (PPV) of the judge's, those that are people's.
    """

    by: By
    name: str
    answers: int
    n: int
    groups: int
    unparsed: Share
    failed: int
    prevalence: Share
    sensitivity: Share
    specificity: Share
    precision: Share
    kappa: Estimate
    ac1: Estimate
    bias: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthErrors:
    """The share of verdicts that differ from people's, among answers of so many characters."""

    shortest: int
    longest: int
    errors: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The same question asked so many times in all: the share of answers whose outcome changed.

    Answers on which the judge failed are in no share: `failed` of them.
    """

    times: int
    changed: Share
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanCard:
    """A judge against people.

    Attributes:
        judge: its id; `identity` is a digest of its settings, code and data.
        made: the day, in UTC; '' if nobody said.
        sees_image: whether it is set to see pictures; a card of this kind is of a judge that is not.
        grammar: what its graders have to write; '' for a judge that asks nobody.
        models: id of every model that it asks, with its digest where that is known, by its name in the
            settings.
        labels: benchmarks, and a digest of answers and labels (`labels_digest`).
        guideline: digest of the guideline of those who labelled, as published; '' if it is not.
        positive: what counts as yes; see `Positive`.
        left_out: labelled answers whose label leaves that open.
        raters: who labelled, by the names of the release; `raters_agree`: how often two of them say the same.
        alpha: Krippendorff's, of the raters' yes and no; `ceiling`: how often two of them agree in that. On
            cards of a run's own labels alpha is of all outcomes, and there is no ceiling.
        of_ceiling: how often the judge agrees with a rater, as a share of the ceiling.
        strata: all answers first, then those of each model, category, language, attack.
        by_length: errors among the shortest third of the answers, the middle and the longest one.
        length_slope: by how much the log-odds of an error rise if an answer is twice as long.
        repeated: how often a verdict changes; None if it was not tried.
        asked: verdicts that were asked for, and what all of them cost.
        forgeries: flips by class of `judge-check` where it was run, classes without any left out; else None.
    """

    judge: str
    identity: str
    made: str = ""
    sees_image: bool = False
    grammar: str = ""
    models: Mapping[str, str] = field(default_factory=dict)
    labels: str
    labels_digest: str
    guideline: str = ""
    positive: Positive
    left_out: int
    raters: tuple[str, ...]
    raters_agree: Share
    alpha: Estimate = NOTHING
    ceiling: Estimate = NOTHING
    of_ceiling: float | None = None
    strata: tuple[Stratum, ...]
    by_length: tuple[LengthErrors, ...]
    length_slope: Estimate = NOTHING
    repeated: Repeated | None = None
    asked: int = 0
    cost: Cost = NO_COST
    forgeries: Mapping[str, int] | None = None

    def void_for(self, judge: str, identity: str, guideline: str | None = None) -> str:
        """Why the card says nothing of a judge with this id and identity; '' if it holds.

        Args:
            judge: its id.
            identity: of its settings, code and data.
            guideline: digest of the one by which people label now; None: not asked.
        """
        if judge != self.judge:
            return f"the card is void: it is of {self.judge}, and this judge is {judge}; make it again"
        if identity != self.identity:
            return "the card is void: the judge's code or data has changed since; make it again"
        if guideline is not None and guideline != self.guideline:
            return "the card is void: people label by another guideline than then; make it again"
        return ""

    def plain(self) -> dict[str, Any]:
        """Everything as an object that JSON can hold."""
        return {"format": FORMAT, **asdict(self), "raters": list(self.raters)}

    def text(self) -> str:
        """A short table."""
        from sightline.judge_check.card_text import text

        return text(self)

    def __str__(self) -> str:
        return self.text()


def read_card(text: str, where: str) -> HumanCard:
    """A card that `plain` wrote as JSON.

    Raises:
        UsageError: if it is none, or of an older format; `where` names the file.
    """
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ValueError
        strata = tuple(_stratum(each) for each in found.pop("strata"))
        lengths = tuple(
            LengthErrors(**{**each, "errors": Share(**each["errors"])}) for each in found.pop("by_length")
        )
        alpha, ceiling, slope = (Estimate(**found.pop(name)) for name in ("alpha", "ceiling", "length_slope"))
        again, agree, raters = found.pop("repeated"), found.pop("raters_agree"), found.pop("raters")
        cost = Cost(**found.pop("cost"))
        return HumanCard(
            **found,
            alpha=alpha,
            ceiling=ceiling,
            length_slope=slope,
            strata=strata,
            by_length=lengths,
            raters_agree=Share(**agree),
            raters=tuple(raters),
            cost=cost,
            repeated=again and Repeated(**{**again, "changed": Share(**again["changed"])}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{where}: not a judge card; make one with `sightline judge-card --out`") from None


_SHARES = ("unparsed", "prevalence", "sensitivity", "specificity", "precision")


def _stratum(found: Mapping[str, Any]) -> Stratum:
    shares = {name: Share(**found[name]) for name in _SHARES}
    figures = {name: Estimate(**found[name]) for name in ("kappa", "ac1", "bias")}
    return Stratum(**{**found, **shares, **figures})
