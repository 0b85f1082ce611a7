"""What an attack may spend, and the count of what it has spent.

Counts (passes, FLOPs, calls) are those of one artifact, so that a batch of n buys n times as much and ends
where n runs of one would; seconds are wall time of the whole run. A forward pass is one picture through
one model once, however many targets are packed behind it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from sightline.errors import UsageError, require
from sightline.records import NO_COST, Cost

STOPPED = "stopped by its budget"
"""How the note of an artifact begins whose search ended so, with the best that it had."""
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits; None is no limit. `calls` are questions to a target or a helper model, together.

    `tokens` are those read and written by all of them: no call begins once they are used up. What operations
    (`flops`) a call takes is known afterwards, too: none begins that could not be paid for if it took as much
    as the dearest before it.
    """

    forwards: int | None = None
    backwards: int | None = None
    flops: float | None = None
    calls: int | None = None
    target_calls: int | None = None
    aux_calls: int | None = None
    judge_calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits():
            require(limit is None or limit > 0, f"budget.{name}", limit, "more than 0, or None for no limit")

    def limits(self) -> tuple[tuple[str, float | None], ...]:
        """Every limit by name."""
        return tuple((field.name, getattr(self, field.name)) for field in fields(self))

    def at_most(self, other: Budget) -> Budget:
        """The stricter of two budgets, limit by limit."""
        strict = {}
        for (name, mine), (_, theirs) in zip(self.limits(), other.limits(), strict=True):
            both = [limit for limit in (mine, theirs) if limit is not None]
            strict[name] = min(both) if both else None
        return Budget(**strict)  # type: ignore[arg-type]  # each limit keeps its own type

    def less(self, cost: Cost) -> Budget | None:
        """What is left of it after `cost`; None if a limit is used up."""
        used = _used(cost)
        left = {name: None if limit is None else limit - used[name] for name, limit in self.limits()}
        if any(rest is not None and rest <= 0 for rest in left.values()):
            return None
        return Budget(**left)  # type: ignore[arg-type]  # each limit keeps its own type

    def __str__(self) -> str:
        return ", ".join(f"{name}={_plain(limit)}" for name, limit in self.limits() if limit is not None)

    def exceeded(self, cost: Cost) -> str | None:
        """The first limit that `cost` goes beyond, or None. A budget that is just used up is not exceeded."""
        used = _used(cost)
        beyond = (name for name, limit in self.limits() if limit is not None and used[name] > limit)
        return next(beyond, None)


UNLIMITED = Budget()


class SpentError(UsageError):
    """What is left of a budget does not pay for one step."""


def _plain(limit: float) -> str:
    """A limit as one writes it, without losing a digit."""
    short = f"{limit:g}"
    return short if float(short) == limit else repr(limit)


def _used(cost: Cost) -> dict[str, float]:
    """A cost in the words of a budget."""
    return {
        "forwards": cost.forwards,
        "backwards": cost.backwards,
        "flops": cost.flops,
        "calls": cost.calls_target + cost.calls_aux,
        "target_calls": cost.calls_target,
        "aux_calls": cost.calls_aux,
        "judge_calls": cost.calls_judge,
        "tokens": cost.tokens_in + cost.tokens_out,
        "seconds": cost.seconds,
    }


class Meter:
    """Counts what a run spends and says when the next purchase would be too much.

    Args:
        budget: the limits.
        clock: seconds, from any origin.
        spent: before this meter was made, for a run that goes on.
    """

    def __init__(self, budget: Budget, *, clock: Clock = time.monotonic, spent: Cost = NO_COST) -> None:
        self.budget = budget
        self._clock = clock
        self._counted = spent
        self._start = clock() - spent.seconds

    def add(self, cost: Cost) -> None:
        """Count `cost`; its times are ignored, the clock has them."""
        self._counted = self._counted + replace(cost, latency=0.0, cpu_seconds=0.0)

    @property
    def flops(self) -> float:
        """What was counted of them."""
        return self._counted.flops

    @property
    def spent(self) -> Cost:
        """All that was counted, with the seconds until now."""
        return replace(self._counted, seconds=self._clock() - self._start)

    def forbids(self, price: Cost = NO_COST) -> str | None:
        """The limit that would be passed if `price` were paid now, or None. Time that is up forbids all."""
        limit, now = self.budget.seconds, self.spent
        if limit is not None and now.seconds >= limit:
            return "seconds"
        return self.budget.exceeded(now + price)
