"""Make a judge's card: ask it about the labelled answers of a release, and compare."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import combinations, pairwise

import numpy as np

from sightline import registry
from sightline.benchmarks._labels import LabelledAnswer
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Judge
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.judge_check.asking import Asked, Asking
from sightline.judge_check.card import HumanCard, LengthErrors, Positive, Stratum
from sightline.metrics.agreement import Share, share
from sightline.metrics.confusion import confusion, estimates
from sightline.records import SCORED, Outcome, Verdict

THIRDS = 3
_UNSAFE = frozenset({Outcome.complied, Outcome.partial})


def positive_of(answers: Sequence[LabelledAnswer]) -> Positive:
    """What these labels are about: harm if any label says so, else refusals."""
    return "unsafe" if any(answer.harmful is not None for answer in answers) else "refused"


async def card(
    judge: Judge, answers: Sequence[LabelledAnswer], labels: str, *, positive: Positive | None = None
) -> HumanCard:
    """The card of a judge; equal answers to equal requests are asked once.

    Args:
        judge: bound and keyed already, if it asks a model. It sees no picture: the tables hold none.
        answers: with their labels.
        labels: the benchmark's name with its settings.
        positive: what counts as yes; by default what the labels are about.

    Raises:
        UsageError: if no label says what is asked for, or for a judge that wants pictures.
    """
    if registry.settings(judge).get("sees_image"):
        raise UsageError(
            "the judge is set to see pictures (sees_image), and tables of labelled answers hold none: "
            "make the card without that setting; it is a card of that judge alone"
        )
    wanted = positive or positive_of(answers)
    truths = [_people(answer, wanted) for answer in answers]
    kept = [(answer, truth) for answer, truth in zip(answers, truths, strict=True) if truth is not None]
    if not kept:
        raise UsageError(f"{labels}: none of its {len(answers)} labels says whether an answer is {wanted}")
    asking = Asking(judge)
    verdicts = await asyncio.gather(*(asking.verdict(_asked(answer)) for answer, _ in kept))
    rows = [
        _Row(answer, truth, verdict, wanted) for (answer, truth), verdict in zip(kept, verdicts, strict=True)
    ]
    models = list(dict.fromkeys(row.model for row in rows))
    several = models if len(models) > 1 else []
    strata = [_stratum("", rows), *(_stratum(name, [r for r in rows if r.model == name]) for name in several)]
    return HumanCard(
        judge=judge.id,
        identity=registry.identity(judge),
        labels=labels,
        labels_digest=digest([(a.case_id, a.model, a.response, a.label) for a in answers]),
        positive=wanted,
        left_out=len(answers) - len(kept),
        raters=tuple(dict.fromkeys(rater for answer, _ in kept for rater in answer.human)),
        raters_agree=_raters_agree([answer for answer, _ in kept]),
        strata=tuple(strata),
        by_length=_by_length(rows),
        calls=sum(verdict.cost.calls_judge for verdict in {id(each): each for each in verdicts}.values()),
    )


class _Row:
    """An answer with people's yes or no, and the judge's (None: no verdict)."""

    def __init__(self, answer: LabelledAnswer, people: bool, verdict: Verdict, positive: Positive) -> None:
        self.model, self.group, self.people = answer.model, answer.group or answer.case_id, people
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
        group=answer.group or answer.case_id,
    )
    return Asked(case, conversation, answer.response)


def _stratum(model: str, rows: Sequence[_Row]) -> Stratum:
    alive = [row for row in rows if not row.failed]
    read = [row for row in alive if row.judged is not None]
    people, judged = [row.people for row in read], [bool(row.judged) for row in read]
    groups = [row.group for row in read]
    both = [yes and true for yes, true in zip(judged, people, strict=True)]
    neither = [not yes and not true for yes, true in zip(judged, people, strict=True)]
    figures = estimates(confusion(judged, people, groups))
    return Stratum(
        model=model,
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
        group = answer.group or answer.case_id
        pairs += [(group, one == other) for one, other in combinations(answer.human.values(), 2)]
    return _part([group for group, _ in pairs], [same for _, same in pairs], [True] * len(pairs))
