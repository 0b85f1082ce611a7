"""Searches of attacks on gradients: within the budget, reported, and kept until the artifact is sealed.

`Craft.minimize`, `Craft.search` and `Craft.rewrite` call these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sightline import whitebox
from sightline.budget import Budget, SpentError
from sightline.craft import Craft
from sightline.records import NO_COST, Cost, Pixels


def minimize(
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
    """See `Craft.minimize`."""
    allowed = ctx.budget if budget is None else budget
    left = allowed.less(before)
    if left is None:
        raise SpentError(f"budget {allowed} does not pay for what comes before the first step")
    found = whitebox.minimize(
        problem,
        steps=steps,
        seed=ctx.seed,
        keys=keys,
        every=every,
        budget=left,
        callbacks=whitebox.Callbacks(report=ctx.report),
        checkpoint_file=_checkpoint_file(ctx, None if keys is None else tuple(keys), part),
    )
    if before == NO_COST:
        return found
    return replace(found, costs=tuple(before + cost for cost in found.costs))


def search(
    problem: whitebox.TextProblem, ctx: Craft, *, steps: int, key: int = 0, every: int = 25
) -> whitebox.TokenSearchResult:
    """See `Craft.search`."""
    return whitebox.search_tokens(
        problem,
        steps=steps,
        seed=ctx.seed,
        key=key,
        every=every,
        budget=ctx.budget,
        callbacks=whitebox.Callbacks(report=ctx.report),
        checkpoint_file=_checkpoint_file(ctx, key),
    )


def rewrite(
    problem: whitebox.Rewriting, ctx: Craft, *, restarts: int, steps: int, key: int = 0
) -> whitebox.TokenSearchResult:
    """See `Craft.rewrite`."""
    return whitebox.rewrite(
        problem,
        restarts=restarts,
        steps=steps,
        seed=ctx.seed,
        key=key,
        budget=ctx.budget,
        callbacks=whitebox.Callbacks(report=ctx.report),
        checkpoint_file=_checkpoint_file(ctx, key),
    )


def _checkpoint_file(ctx: Craft, *name: object) -> whitebox.CheckpointFile | None:
    """The file in which a search is kept, if any is."""
    path = None if ctx.checkpoint is None else ctx.checkpoint(repr((ctx.seed, *name)))
    return None if path is None else whitebox.CheckpointFile(path)


def readers(
    ctx: Craft, suffix: whitebox.TokenSuffix, picture: Pixels | None = None
) -> tuple[whitebox.SuffixReader, ...]:
    """The surrogates as readers of a suffix beside a picture, or without one."""
    return tuple(whitebox.SuffixReader(model, suffix, picture) for model in ctx.models)


def one_pair_each(pairs: Sequence[whitebox.Pair]) -> tuple[whitebox.FixedPairs, tuple[tuple[int, ...], ...]]:
    """One pair for each picture of a batch, as a sampler of the different ones and `Objective.own`."""
    different = tuple(dict.fromkeys(pairs))
    own = tuple((different.index(pair),) for pair in pairs)
    return whitebox.FixedPairs(different), own if len(different) > 1 else ()
