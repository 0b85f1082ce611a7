"""Make a judge's card: ask it about the labelled answers of a release, and compare."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import combinations, pairwise
from math import log2
from typing import get_args

import numpy as np

from sightline import registry
from sightline.benchmarks._labels import LabelledAnswer
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Judge
from sightline.digests import digest
from sightline.errors import UsageError, require
from sightline.judge_check.asking import Asked, Asking, HasGrammar, asks_model
from sightline.judge_check.card import By, HumanCard, LengthErrors, Positive, Repeated, Stratum
from sightline.metrics.agreement import Share, share
from sightline.metrics.confusion import confusion, estimates
from sightline.metrics.krippendorff import raters_agree, share_of_ceiling
from sightline.metrics.logit import logit_slope
from sightline.records import NO_COST, SCORED, Outcome, Verdict

THIRDS = 3
AGAIN = 200
"""Answers about which a judge that asks a model is asked again, evenly over the table."""
AGAIN_BY_RULE = 20
_UNSAFE = frozenset({Outcome.complied, Outcome.partial})


def positive_of(answers: Sequence[LabelledAnswer]) -> Positive:
    """What these labels are about: harm if any label says so, else refusals."""
    return "unsafe" if any(answer.harmful is not None for answer in answers) else "refused"


async def card(
    judge: Judge,
    answers: Sequence[LabelledAnswer],
    labels: str,
    *,
    positive: Positive | None = None,
    repeat: int = 1,
) -> HumanCard:
    """The card of a judge; equal answers to equal requests are asked once.

    Args:
        judge: bound and keyed already, if it asks a model. It sees no picture: the tables hold none.
        answers: with their labels.
        labels: the benchmark's name with its settings.
        positive: what counts as yes; by default what the labels are about.
        repeat: how often the same is asked in all, of up to 200 answers; a judge by rule cannot change, and
            is tried on 20.

    Raises:
        UsageError: if no label says what is asked for, or for a judge that wants pictures.
    """
    require(1 <= repeat <= 20, "repeat", repeat, "1..20 times")
    if registry.settings(judge).get("sees_image"):
        raise UsageError(
            "the judge is set to see pictures (sees_image), and tables of labelled answers hold none: "
            "make the card without that setting; it is a card of that judge alone"
        )
    about = positive_of(answers)
    wanted = positive or about
    truths = [_people(answer, wanted) for answer in answers]
    kept = [(answer, truth) for answer, truth in zip(answers, truths, strict=True) if truth is not None]
    if not kept:
        raise UsageError(f"{labels}: none of its {len(answers)} labels says whether an answer is {wanted}")
    asking = Asking(judge)
    verdicts = await asyncio.gather(*(asking.verdict(_asked(answer)) for answer, _ in kept))
    rows = [
        _Row(answer, truth, verdict, wanted) for (answer, truth), verdict in zip(kept, verdicts, strict=True)
    ]
    once = list({id(each): each for each in verdicts}.values())
    read = [row for row in rows if row.judged is not None]
    groups = [row.group for row in rows]
    votes = [list(row.answer.votes.values()) if wanted == about else [] for row in rows]
    people = raters_agree(votes, values=(False, True), groups=groups)
    return HumanCard(
        judge=judge.id,
        identity=registry.identity(judge),
        grammar=judge.grammar if isinstance(judge, HasGrammar) else "",
        labels=labels,
        labels_digest=digest([(a.case_id, a.model, a.response, a.label) for a in answers]),
        positive=wanted,
        left_out=len(answers) - len(kept),
        raters=tuple(dict.fromkeys(rater for answer, _ in kept for rater in answer.human)),
        raters_agree=_raters_agree([answer for answer, _ in kept]),
        alpha=people.alpha,
        ceiling=people.pairs,
        of_ceiling=share_of_ceiling(votes, [row.judged for row in rows]),
        strata=tuple(_strata(rows)),
        by_length=_by_length(rows),
        length_slope=logit_slope(
            [row.judged != row.people for row in read],
            [log2(max(1, row.length)) for row in read],
            [row.group for row in read],
        ),
        repeated=await _repeated(judge, kept, verdicts, repeat) if repeat > 1 else None,
        asked=len(once),
        cost=sum((verdict.cost for verdict in once), NO_COST),
    )


async def _repeated(
    judge: Judge,
    kept: Sequence[tuple[LabelledAnswer, bool]],
    verdicts: Sequence[Verdict],
    times: int,
) -> Repeated:
    """Ask again about some of the answers, evenly over the table."""
    count = min(len(kept), AGAIN if asks_model(judge) else AGAIN_BY_RULE)
    chosen = [number * len(kept) // count for number in range(count)]
    said = [[verdicts[number].outcome] for number in chosen]
    for _ in range(times - 1):
        asking = Asking(judge)
        found = await asyncio.gather(*(asking.verdict(_asked(kept[number][0])) for number in chosen))
        for outcomes, verdict in zip(said, found, strict=True):
            outcomes.append(verdict.outcome)
    alive = [Outcome.error not in outcomes for outcomes in said]
    groups = [_group(kept[number][0]) for number in chosen]
    changed = [there and len(set(outcomes)) > 1 for there, outcomes in zip(alive, said, strict=True)]
    return Repeated(times=times, changed=_part(groups, changed, alive), failed=alive.count(False))


def _group(answer: LabelledAnswer) -> str:
    return answer.group or answer.case_id


class _Row:
    """An answer with people's yes or no, and the judge's (None: no verdict)."""

    def __init__(self, answer: LabelledAnswer, people: bool, verdict: Verdict, positive: Positive) -> None:
        self.answer, self.group, self.people = answer, _group(answer), people
        self.length = len(answer.response)
        self.failed = verdict.outcome is Outcome.error
        found = _UNSAFE if positive == "unsafe" else {Outcome.refused}
        self.judged = verdict.outcome in found if verdict.outcome in SCORED else None


def _people(answer: LabelledAnswer, positive: Positive) -> bool | None:
    if positive == "unsafe":
        if answer.harmful is not None:
            return answer.harmful
        return None if answer.outcome is None else answer.outcome in _UNSAFE
    return None if answer.outcome is None else answer.outcome is Outcome.refused


def _asked(answer: LabelledAnswer) -> Asked:
    conversation = Conversation.user(answer.prompt)
    case = Case(
        id=answer.case_id,
        conversation=conversation,
        behavior=answer.prompt,
        expected=answer.expected or Expected.refuse,
        category=answer.category,
        group=_group(answer),
    )
    return Asked(case, conversation, answer.response)


def _strata(rows: Sequence[_Row]) -> list[Stratum]:
    """All answers, then those of each model, category and so on, where there are several."""
    found = [_stratum("", "", rows)]
    for by in get_args(By)[1:]:
        parts: dict[str, list[_Row]] = {}
        for row in rows:
            parts.setdefault(getattr(row.answer, by), []).append(row)
        if len(parts) > 1:
            found += [_stratum(by, name or "(not said)", part) for name, part in parts.items()]
    return found


def _stratum(by: By, name: str, rows: Sequence[_Row]) -> Stratum:
    alive = [row for row in rows if not row.failed]
    read = [row for row in alive if row.judged is not None]
    people, judged = [row.people for row in read], [bool(row.judged) for row in read]
    groups = [row.group for row in read]
    both = [yes and true for yes, true in zip(judged, people, strict=True)]
    neither = [not yes and not true for yes, true in zip(judged, people, strict=True)]
    figures = estimates(confusion(judged, people, groups))
    return Stratum(
        by=by,
        name=name,
        answers=len(rows),
        n=len(read),
        groups=len(set(groups)),
        unparsed=_part([r.group for r in alive], [r.judged is None for r in alive], [True] * len(alive)),
        failed=len(rows) - len(alive),
        prevalence=_part(groups, people, [True] * len(read)),
        sensitivity=_part(groups, both, people),
        specificity=_part(groups, neither, [not true for true in people]),
        precision=_part(groups, both, judged),
        kappa=figures["kappa"],
        ac1=figures["ac1"],
        bias=figures["bias"],
    )


def _by_length(rows: Sequence[_Row]) -> tuple[LengthErrors, ...]:
    """Errors among the shortest third of the answers with a verdict, the middle, and the longest."""
    read = sorted((row for row in rows if row.judged is not None), key=lambda row: row.length)
    ends = [len(read) * third // THIRDS for third in range(THIRDS + 1)]
    parts = [read[start:end] for start, end in pairwise(ends) if end > start]
    return tuple(
        LengthErrors(
            shortest=part[0].length,
            longest=part[-1].length,
            errors=_part(
                [row.group for row in part], [row.judged != row.people for row in part], [True] * len(part)
            ),
        )
        for part in parts
    )


def _part(groups: Sequence[str], hits: Sequence[bool], of: Sequence[bool]) -> Share:
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    return share(np.array([numbers[name] for name in groups], dtype=np.int64), hits, of)


def _raters_agree(answers: Sequence[LabelledAnswer]) -> Share:
    """Of all pairs of raters of one answer, those that give the same label."""
    pairs: list[tuple[str, bool]] = []
    for answer in answers:
        group = _group(answer)
        pairs += [(group, one == other) for one, other in combinations(answer.human.values(), 2)]
    return _part([group for group, _ in pairs], [same for _, same in pairs], [True] * len(pairs))
