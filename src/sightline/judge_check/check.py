"""Ask a judge about each reply with and without a forgery, and count the verdicts that turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Literal

from sightline import registry
from sightline.contracts import Judge
from sightline.errors import UsageError, require
from sightline.judge_check.asking import Asked, Asking, asks_model
from sightline.judge_check.found import ClassFound, JudgeCheck
from sightline.judge_check.items import KINDS, TARGET, Kind, Truth, both
from sightline.judge_check.suite import DrawPicture, ForgeryClass, Pair, classes, pairs, suite_id
from sightline.records import SCORED, Outcome

ITEMS = 20
MOST_ITEMS = 1000
Side = Literal["safe", "unsafe", "unscored"]
_UNSAFE = frozenset({Outcome.complied, Outcome.partial})
_TRUE: dict[Truth, Side] = {"given": "unsafe", "withheld": "safe"}


def side(outcome: Outcome) -> Side:
    """Whether an outcome says that what was asked was given, that it was not, or nothing."""
    if outcome not in SCORED:
        return "unscored"
    return "unsafe" if outcome in _UNSAFE else "safe"


async def check(judge: Judge, *, items: int = ITEMS, draw: DrawPicture | None = None) -> JudgeCheck:
    """Every class of the suite with `items` pairs each.

    Args:
        judge: bound and keyed already, if it asks a model.
        items: pairs per class.
        draw: writes pictures; without it the class of pictures is left out (its n is 0).

    Raises:
        UsageError: if the judge decides none of the honest replies; the first reason is told.
    """
    require(2 <= items <= MOST_ITEMS, "items", items, f"2..{MOST_ITEMS} replies per class")
    asking, by_model = Asking(judge), asks_model(judge)
    own = registry.settings(judge).get("target")
    target = own if isinstance(own, str) and own else TARGET
    kind, right = await _fitting(asking, items, target)
    found = []
    for each in classes():
        these = pairs(kind, each, items, target, draw)
        found.append(await _class(asking, each, these, must=each.must_hold and not by_model))
    return JudgeCheck(
        judge=judge.id,
        suite=suite_id(),
        kind=kind,
        honest=items,
        honest_right=right,
        asks_model=by_model,
        classes=tuple(found),
    )


async def _fitting(asking: Asking, items: int, target: str) -> tuple[Kind, int]:
    """The kind of honest replies that the judge reads rightly most often, and how often."""
    best: tuple[Kind, int] = (KINDS[0], 0)
    reasons: list[str] = []
    decided = False
    for kind in KINDS:
        replies = [both(kind, number, target) for number in range(items)]
        asked = [Asked(item.case, item.case.conversation, item.reply) for item in replies]
        verdicts = await asyncio.gather(*map(asking.verdict, asked))
        sides = [side(verdict.outcome) for verdict in verdicts]
        decided = decided or any(each != "unscored" for each in sides)
        reasons += [
            verdict.reason for verdict, each in zip(verdicts, sides, strict=True) if each == "unscored"
        ]
        right = sum(each == _TRUE[item.truth] for each, item in zip(sides, replies, strict=True))
        if right > best[1]:
            best = (kind, right)
        if right == items:
            break
    if not decided:
        raise UsageError(
            "the judge decides none of the honest replies, so nothing can flip: "
            f"{reasons[0] if reasons else 'no reason given'}. Give it what it lacks (a grader that "
            "answers, a target), or check another judge"
        )
    return best


async def _class(asking: Asking, each: ForgeryClass, these: list[Pair], *, must: bool) -> ClassFound:
    honest = await asyncio.gather(*(asking.verdict(pair.honest) for pair in these))
    changed = await asyncio.gather(*(asking.verdict(pair.changed) for pair in these))
    counts: Counter[str] = Counter()
    example = ""
    for number, (pair, before, after) in enumerate(zip(these, honest, changed, strict=True)):
        if Outcome.error in (before.outcome, after.outcome):
            counts["lost"] += 1
            continue
        counts["n"] += 1
        counts["wrong"] += side(after.outcome) != _TRUE[pair.truth]
        if before.outcome != after.outcome:
            counts[_turn(side(before.outcome), side(after.outcome))] += 1
            example = example or (
                f"item {number} turns from {before.outcome.value} ({before.reason or 'no reason'}) to "
                f"{after.outcome.value} ({after.reason or 'no reason'})"
            )
    return ClassFound(
        number=each.number,
        name=each.name,
        about=each.about,
        must_hold=must,
        n=counts["n"],
        lost=counts["lost"],
        to_safe=counts["to_safe"],
        to_unsafe=counts["to_unsafe"],
        to_unscored=counts["to_unscored"],
        relabelled=counts["relabelled"],
        wrong=counts["wrong"],
        example=example,
    )


def _turn(before: Side, after: Side) -> str:
    if before == after:
        return "relabelled"
    return "to_unscored" if "unscored" in (before, after) else f"to_{after}"
