"""The loop: `minimize` moves the thetas of a batch of artifacts until they succeed, or steps or budget end.

Every artifact goes the way it would go alone: losses, states, random numbers and stops are its own. What is
kept is the theta that did best on a fixed probe batch, rounded as the file will be; never a training loss.
Values are read back from the device only at checks, every few steps. A run that was interrupted goes on
from its last check as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sightline.budget import UNLIMITED, Budget
from sightline.errors import require
from sightline.whitebox._problem import (
    Found,
    Problem,
    Watch,
)
from sightline.whitebox._run import Plan, Run
from sightline.whitebox.checkpoint import Bench, Checkpoint


def minimize(
    problem: Problem,
    *,
    steps: int,
    seed: int = 0,
    keys: Sequence[int] | None = None,
    every: int = 25,
    budget: Budget = UNLIMITED,
    watch: Watch | None = None,
    resume: Checkpoint | None = None,
    bench: Bench | None = None,
) -> Found:
    """Minimize the objective over each artifact's theta.

    Args:
        problem: what, over what, how.
        steps: of the optimizer.
        seed: of all random numbers and of the sampler.
        keys: name the artifacts' random numbers; default 0, 1, ...: give them to make the same artifact
            in another batch.
        every: steps from check to check; a check costs one forward pass.
        budget: of one artifact; never exceeded, but that the first step's FLOPs are not known before.
        watch: the world outside.
        resume: a run of the same settings, taken up where it was kept.
        bench: keeps the run and takes it up by itself; what it holds of other settings is overwritten.

    Raises:
        UsageError: for settings out of range, a budget too small for one step, a loss that does not depend on
            the picture or has no gradient, one picture too large for memory, or a run of other settings.
    """
    require(steps >= 1, "steps", steps, "at least 1")
    require(every >= 1, "every", every, "at least 1 step from check to check")
    n = len(problem.constraint.clean)
    keys = tuple(range(n)) if keys is None else tuple(keys)
    require(len(keys) == n, "keys", keys, f"{n} keys, one per artifact")
    plan = Plan(steps, seed, every, budget, keys)
    watch = watch or Watch()
    run = Run(problem, plan, watch if bench is None else replace(watch, keep=bench.keep))
    if resume is not None:
        run.restore(resume)
    elif bench is not None:
        bench.resume(run, run.device)
    if run.checked < 0:
        run.begin()
    limit = None
    while run.active and run.step < steps and limit is None:
        limit = run.meter.forbids(run.price)
        if limit is not None and run.step == 0:
            raise run.too_poor(limit)
        if limit is None:
            run.advance()
            if run.step % every == 0:
                run.check()
                run.save()
    return run.finish("steps" if limit is None else "budget")
