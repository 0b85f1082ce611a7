"""`map_shards`: one worker after another shard, wherever the workers are."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator

from sightline.scale.shards import (
    Done,
    Failed,
    Listener,
    NoProgress,
    Opening,
    Resources,
    S,
    Work,
)

HERE, NO_PROGRESS = Resources(), NoProgress()


def map_shards(
    open_work: Opening[S],
    shards: Iterable[S],
    resources: Resources = HERE,
    *,
    listener: Listener = NO_PROGRESS,
) -> Iterator[Done[S] | Failed[S]]:
    """Work on every shard, at least once; yields each as it ends, in no order that can be relied on.

    In this process whatever goes wrong in the work is raised. Over Ray so are errors of the work, but a
    worker process that dies is replaced, and its shard handed out again twice at most.

    Args:
        open_work: makes a worker's work, once in each.
        shards: taken as workers get free; nothing is opened or started for none.
        resources: where.
        listener: is told how far it is.

    Raises:
        UsageError: from the work, or for a cluster that cannot be had.
        AbsentExtraError: if Ray is asked for and not installed.
        ContractError: from the work.
    """
    if resources.ray is not None:
        ray_pool = importlib.import_module("sightline.scale.ray_pool")
        yield from ray_pool.map_over_ray(open_work, shards, resources, listener)
        return
    work: Work[S] | None = None
    try:
        for shard in shards:
            work = work or open_work(listener)
            yield Done(shard, work(shard, again=False))
    finally:
        if work is not None:
            work.close()
