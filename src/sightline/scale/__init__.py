"""Work in shards: in this process, or over the processes, GPUs and machines of a Ray cluster."""

from sightline.scale.mapping import map_shards
from sightline.scale.shards import (
    Done,
    Failed,
    Listener,
    NoProgress,
    Opening,
    Resources,
    Shard,
    Tally,
    Work,
)

__all__ = [
    "Done",
    "Failed",
    "Listener",
    "NoProgress",
    "Opening",
    "Resources",
    "Shard",
    "Tally",
    "Work",
    "map_shards",
]
