"""A judge's card: how its verdicts agree with what people said of the same answers of a release.

A card holds for the judge by whose id it was made, and for no other: one byte of a prompt or of a phrase list
changes the id, and the card is void.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sightline.errors import UsageError
from sightline.metrics.agreement import Share
from sightline.metrics.confusion import Estimate

FORMAT = "sightline judge card 1"
Positive = Literal["unsafe", "refused"]
"""What a judge looks for: replies that do harm (`complied` or `partial`), or full refusals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """The answers of one model, or of all ('').

    Attributes:
        answers: labelled answers; `n` of them have a verdict, in `groups` clusters.
        unparsed: share of the answers whose verdict scores nothing; `failed`: the judge failed.
        prevalence: share of positives by people, among the `n`.
        sensitivity: of people's positives, the share that the judge calls positive; `specificity` of their
            negatives, the share that it does not; `precision` (PPV) of the judge's, those that are people's.
    """

    model: str
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
class HumanCard:
    """A judge against people.

    Attributes:
        judge: its id; `identity` is a digest of its settings, code and data.
        labels: benchmark, and a digest of answers and labels (`labels_digest`).
        positive: what counts as yes; see `Positive`.
        left_out: labelled answers whose label leaves that open.
        raters: who labelled, by the names of the release; `raters_agree`: how often two of them say the same.
        strata: all answers first, then those of each model.
        by_length: errors among the shortest third of the answers, the middle and the longest one.
        calls: calls to graders that the verdicts took.
        forgeries: flips by class of `judge-check` where it was run, classes without any left out; else None.
    """

    judge: str
    identity: str
    labels: str
    labels_digest: str
    positive: Positive
    left_out: int
    raters: tuple[str, ...]
    raters_agree: Share
    strata: tuple[Stratum, ...]
    by_length: tuple[LengthErrors, ...]
    calls: int
    forgeries: Mapping[str, int] | None = None

    def void_for(self, judge: str, identity: str) -> str:
        """Why the card says nothing of a judge with this id and identity; '' if it holds."""
        if judge != self.judge:
            return f"the card is void: it is of {self.judge}, and this judge is {judge}; make it again"
        if identity != self.identity:
            return "the card is void: the judge's code or data has changed since; make it again"
        return ""

    def plain(self) -> dict[str, Any]:
        """Everything as an object that JSON can hold."""
        return {"format": FORMAT, **asdict(self), "raters": list(self.raters)}

    def text(self) -> str:
        """A short table."""
        head = (
            "answers of",
            "n",
            "groups",
            "unparsed",
            self.positive,
            "Se",
            "Sp",
            "PPV",
            "kappa",
            "AC1",
            "bias",
        )
        rows = [head, *(_row(each) for each in self.strata)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        table = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines = [
            f"judge: {self.judge}",
            f"labels: {self.labels} ({self.labels_digest[:12]}); positive: {self.positive}",
            f"raters: {', '.join(self.raters) or 'not published'}; "
            f"two of them agree: {_share(self.raters_agree)}",
            "",
            *table,
            "",
            "With 95 % intervals over groups. Se, Sp: the judge's share of people's positives and negatives; "
            "PPV: people's share of the judge's positives.",
        ]
        lines += [
            f"errors at {each.shortest}-{each.longest} characters: {_share(each.errors)}"
            for each in self.by_length
        ]
        if self.forgeries is not None:
            flips = ", ".join(f"{name} {count}" for name, count in self.forgeries.items())
            lines.append(f"flips by forgery (judge-check): {flips or 'none'}")
        if self.left_out:
            lines.append(f"{self.left_out} answers are left out: their label does not say.")
        if failed := self.strata[0].failed:
            lines.append(f"The judge failed on {failed} answers: they are in no share.")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()


def read_card(text: str, where: str) -> HumanCard:
    """A card that `plain` wrote as JSON.

    Raises:
        UsageError: if it is none; `where` names the file.
    """
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ValueError
        strata = tuple(_stratum(each) for each in found.pop("strata"))
        lengths = tuple(
            LengthErrors(**{**each, "errors": Share(**each["errors"])}) for each in found.pop("by_length")
        )
        agree, raters = Share(**found.pop("raters_agree")), tuple(found.pop("raters"))
        return HumanCard(**found, strata=strata, by_length=lengths, raters_agree=agree, raters=raters)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise UsageError(f"{where}: not a judge card; make one with `sightline judge-card --out`") from None


_SHARES = ("unparsed", "prevalence", "sensitivity", "specificity", "precision")


def _stratum(found: Mapping[str, Any]) -> Stratum:
    shares = {name: Share(**found[name]) for name in _SHARES}
    figures = {name: Estimate(**found[name]) for name in ("kappa", "ac1", "bias")}
    return Stratum(**{**found, **shares, **figures})


def _row(each: Stratum) -> Sequence[str]:
    shares = (each.unparsed, each.prevalence, each.sensitivity, each.specificity, each.precision)
    figures = (each.kappa, each.ac1, each.bias)
    return (each.model or "all", str(each.n), str(each.groups), *map(_share, shares), *map(_figure, figures))


def _share(each: Share) -> str:
    if each.point is None:
        return "-"
    return f"{100 * each.point:.1f} % ({100 * each.low:.1f}-{100 * each.high:.1f})"


def _figure(each: Estimate) -> str:
    if each.point is None:
        return "-"
    if each.low is None or each.high is None:
        return f"{each.point:.2f}"
    return f"{each.point:.2f} ({each.low:.2f} to {each.high:.2f})"
