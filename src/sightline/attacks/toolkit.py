"""What attacks on gradients share: their surrogate's victim, the picture's place in a prompt, progress."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from sightline import whitebox
from sightline.budget import Budget, SpentError
from sightline.cases import Conversation, Image
from sightline.contracts import Craft, Searching, Surrogate
from sightline.errors import ContractError, UsageError
from sightline.records import NO_COST, Cost, Pixels

LOOKS = 100
T = TypeVar("T")


def surrogates(ctx: Craft, attack: str) -> tuple[Surrogate, ...]:
    """The models that the study names for crafting.

    Raises:
        ContractError: if the stage gave none.
    """
    if not ctx.surrogates:
        raise ContractError(f"attack {attack!r} was called without a surrogate")
    return ctx.surrogates


def victims(ctx: Craft, attack: str) -> tuple[whitebox.Victim, ...]:
    """The models that the study names for crafting, opened for gradients.

    Raises:
        ContractError: if the stage gave none.
    """
    return tuple(surrogate.victim() for surrogate in surrogates(ctx, attack))


def victim(ctx: Craft, attack: str) -> whitebox.Victim:
    """The only model that the study names for crafting.

    Raises:
        UsageError: if it names several.
    """
    return only(victims(ctx, attack), attack, "model")


def only(found: Sequence[T], attack: str, what: str) -> T:
    """The one of what a study names, for an attack that is crafted on one.

    Raises:
        UsageError: if it names several.
    """
    if len(found) > 1:
        raise UsageError(
            f"attack {attack!r} is crafted on one {what}, not on {len(found)}: name one surrogate"
        )
    return found[0]


def beside(text: str, picture: Pixels) -> Conversation:
    """A prompt of a text beside the attacked picture, in the order in which drafts are sealed."""
    return Conversation.user(Image("", picture.shape[1], picture.shape[0]), text)


def descend(
    problem: whitebox.Problem,
    ctx: Craft,
    *,
    steps: int,
    keys: Sequence[int] | None = None,
    every: int = 25,
    part: str = "",
    budget: Budget | None = None,
    before: Cost = NO_COST,
) -> whitebox.SearchResult:
    """A search of the loop, within the study's budget, shown, and kept so that it goes on after a crash.

    Args:
        problem: what is minimized.
        ctx: the attack's world.
        steps: of the optimizer.
        keys: names of the artifacts' random numbers.
        every: steps from check to check.
        part: tells the searches for one artifact apart.
        budget: what is left of the study's, for a search that is not the artifact's first.
        before: what an artifact took to prepare (features of a target, replies of a teacher); it is paid from
            the same budget and part of what was found.

    Raises:
        UsageError: as `whitebox.minimize`.
        SpentError: for a budget that `before` uses up.
    """
    allowed = ctx.budget if budget is None else budget
    left = allowed.less(before)
    if left is None:
        raise SpentError(f"budget {allowed} does not pay for what comes before the first step")
    named = None if keys is None else tuple(keys)
    bench = ctx.bench(repr((ctx.seed, named, part))) if ctx.bench is not None else None
    found = whitebox.minimize(
        problem,
        steps=steps,
        seed=ctx.seed,
        keys=keys,
        every=every,
        budget=left,
        callbacks=callbacks(ctx.report),
        checkpoint_file=whitebox.CheckpointFile(bench) if bench is not None else None,
    )
    if before == NO_COST:
        return found
    return replace(found, costs=tuple(before + cost for cost in found.costs))


def looks(found: whitebox.SearchResult, artifact: int = 0) -> tuple[tuple[int, float, float], ...]:
    """What the checks of an artifact saw, for its draft; thinned to `LOOKS`, the last one kept."""
    checks = found.checks[artifact]
    thin = max(1, -(-len(checks) // LOOKS))
    return tuple((check.step, check.loss, check.greedy_share) for check in checks[::-1][::thin][::-1])


def callbacks(report: Callable[[Searching], None]) -> whitebox.Callbacks:
    """What the loop tells, as an attack's progress."""

    def told(progress: whitebox.SearchProgress) -> None:
        report(
            Searching(step=progress.step, steps=progress.steps, loss=progress.loss, message=progress.message)
        )

    return whitebox.Callbacks(report=told)
