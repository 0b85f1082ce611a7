"""The loop for text: `search` changes the tokens of one suffix until it succeeds, or steps or budget end.

A search makes one artifact; what fills a pass are its candidates. A forward pass is one candidate through
one model, however many prompts and targets are packed behind it, or the beginning that all candidates share.
What is kept is the suffix that did best on a fixed probe batch. A candidate becomes the next suffix only if
the target would read its text as the very tokens that were scored.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from sightline.budget import UNLIMITED, Budget
from sightline.errors import require
from sightline.whitebox._problem import Watch
from sightline.whitebox._search import Search, TextPlan
from sightline.whitebox._text_problem import FoundText, TextProblem
from sightline.whitebox.checkpoint import Bench, Checkpoint
from sightline.whitebox.objectives import Probed


def any_forced(probed: Probed) -> Tensor:
    """Done when greedy decoding writes the target of at least one probe pair, with every model; a `Stop`."""
    return probed.forced.any(1)


def search(
    problem: TextProblem,
    *,
    steps: int,
    seed: int = 0,
    key: int = 0,
    every: int = 25,
    budget: Budget = UNLIMITED,
    watch: Watch | None = None,
    resume: Checkpoint | None = None,
    bench: Bench | None = None,
) -> FoundText:
    """Minimize the loss over the tokens of a suffix.

    Args:
        problem: what, over what, how.
        steps: of the optimizer.
        seed: of all random numbers and of the sampler.
        key: names the artifact's random numbers.
        every: steps from check to check. A check costs one forward pass, and none where every step sees the
            pairs of the probe: then each step is one, and each `every`-th is put on record.
        budget: of the artifact; never exceeded, but that the very first pass's FLOPs are not known before.
        watch: the world outside.
        resume: a search of the same settings, taken up where it was kept.
        bench: keeps the search and takes it up by itself; what it holds of other settings is overwritten.

    Raises:
        UsageError: for settings out of range, a budget too small for one step, a start that cannot be read
            back, a loss without gradient to the text, one candidate too large for memory, or a search of
            other settings.
    """
    require(steps >= 1, "steps", steps, "at least 1")
    require(every >= 1, "every", every, "at least 1 step from check to check")
    watch = watch or Watch()
    watch = watch if bench is None else replace(watch, keep=bench.keep)
    run = Search(problem, TextPlan(steps, seed, every, budget, key), watch)
    if resume is not None:
        run.restore(resume)
    elif bench is not None:
        bench.resume(run)
    if run.checked < 0:
        run.begin()
    limit = None
    while run.ending is None and run.step < steps and limit is None:
        limit = run.meter.forbids(run.price)
        if limit is None:
            run.advance()
            if run.ending is None and run.step % every == 0:
                if run.checked != run.step:
                    run.check()
                run.save()
    return run.finish("steps" if limit is None else "budget")
