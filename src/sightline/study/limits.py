"""What limits of a budget mean for an attack, as far as its settings say: told before anything is crafted."""

from __future__ import annotations

from typing import NamedTuple

from sightline import plugins
from sightline.budget import UNLIMITED, Budget
from sightline.contracts import IN_LOOP_JUDGE, TARGET, Attack, KnowsFirstStep
from sightline.records import NO_COST, Cost
from sightline.study.roles import calls_of

PASSES = ("forwards", "backwards")
"""Limits whose lower bound settings tell; what a step takes of the others is known when one was made."""


class Useless(NamedTuple):
    """A limit that an attack does not count, or that ends it before its first step: which, and what to do."""

    limit: str
    told: str


def counted(attack: Attack) -> tuple[str, ...]:
    """The limits that an attack's crafting is held against."""
    looks = attack.card.surrogate
    asked = {role for role, most in calls_of(attack).items() if most}
    helpers = bool(asked - {TARGET, IN_LOOP_JUDGE})
    found = {
        "forwards": looks,
        "backwards": looks,
        "flops": True,
        "calls": TARGET in asked or helpers,
        "target_calls": TARGET in asked,
        "aux_calls": helpers,
        "judge_calls": IN_LOOP_JUDGE in asked,
        "tokens": bool(asked),
        "seconds": True,
    }
    return tuple(name for name, counts in found.items() if counts)


def first_step(attack: Attack, models: int) -> Cost:
    """What the first step of an artifact takes at least, the checks at start and end included.

    The engine's searches for a picture look four times through every model: twice at the start, at the step
    and at the end. Of a search of another package nothing is known, unless it says so.
    """
    if isinstance(attack, KnowsFirstStep):
        return attack.first_step(models)
    ours = type(attack).__module__.partition(".")[0] == plugins.OURS
    return Cost(forwards=4 * models, backwards=models) if ours and attack.card.surrogate else NO_COST


def useless(attack: Attack, budget: Budget, models: int) -> Useless | None:
    """The first limit that is none, or too low for a step; `models` is how many it is crafted on at once."""
    if budget == UNLIMITED:
        return None
    name, known = attack.card.name, counted(attack)
    for limit, most in budget.limits():
        if most is not None and limit not in known:
            which = f"{', '.join(known[:-1])} or {known[-1]}"
            return Useless(limit, f"{name} spends no {limit}, so this limits nothing: limit {which}")
    least = first_step(attack, models)
    for limit in PASSES:
        most, needed = getattr(budget, limit), getattr(least, limit)
        if most is not None and most < needed:
            through = "" if models == 1 else f" through {models} models"
            told = (
                f"{name} with these settings takes {needed} {limit} or more{through} for its first step and "
                f"the checks around it: {most} would craft nothing; give {needed} or more, or settings of a "
                "cheaper step"
            )
            return Useless(limit, told)
    return None
