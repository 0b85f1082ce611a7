"""What is handed out and what comes back: shards of rows, the work on them, their ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar

from sightline.errors import require


class Shard(Protocol):
    """Rows that one worker makes in one go: plain, small data, for it travels; results are files."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the rows to make."""
        ...


_ADDRESS = re.compile(r"local(:[1-9]\d*)?|auto|(?!local:)[^\s/:]+:\d{1,5}|\[[^\s/]+\]:\d{1,5}")
S = TypeVar("S", bound=Shard)
S_in = TypeVar("S_in", bound=Shard, contravariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a worker did of a shard.

    Attributes:
        rows: on disk, those that a worker before it made before it died included.
        errors: of them error outcomes.
        unfit: keys of rows that it could not make, and why; they are the caller's to record.
    """

    rows: int = 0
    errors: int = 0
    unfit: Mapping[str, str] = field(default_factory=dict)


class Listener(Protocol):
    """Who is told how far the work is."""

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        """`rows` more are on disk, `errors` of them error outcomes."""
        ...

    def within(self, text: str) -> None:
        """How far the row is that is being made."""
        ...

    def note(self, text: str) -> None:
        """Something the user should read."""
        ...


class NoProgress:
    """A listener that does nothing."""

    def advance(self, rows: int = 1, *, errors: int = 0) -> None:
        """Ignored."""

    def within(self, text: str) -> None:
        """Ignored."""

    def note(self, text: str) -> None:
        """Ignored."""


class Work(Protocol[S_in]):
    """What a worker does. It is opened once in every worker and holds what all shards need.

    Work is idempotent by key: a shard may be handed out again, and a row that is made twice counts once.
    """

    def __call__(self, shard: S_in, /, *, again: bool) -> Tally:
        """Make a shard's rows; each is on disk before the listener hears of it.

        `again`: a worker died over this shard, so some of its rows may be there; they are told and counted.
        """
        ...

    def close(self) -> None:
        """Nothing more will come."""
        ...


Opening: TypeAlias = Callable[[Listener], Work[S]]
"""Makes a worker's work. It travels: a function of a module, with arguments bound by `functools.partial`."""


@dataclass(frozen=True, slots=True)
class Done(Generic[S]):
    """A shard whose rows are on disk, but for the `unfit` ones of its tally."""

    shard: S
    tally: Tally


@dataclass(frozen=True, slots=True)
class Failed(Generic[S]):
    """A shard that was given up, for every worker died over it; some of its rows may be there."""

    shard: S
    reason: str


@dataclass(frozen=True, slots=True)
class Resources:
    """Where shards are worked on.

    Attributes:
        ray: None is this process. 'local' is a Ray cluster on this machine alone, for as long as the work
            takes, with a worker per GPU, or per CPU where there is none; 'local:N' has N workers. 'auto' is
            the cluster that this machine belongs to, HOST:PORT one that runs there.
    """

    ray: str | None = None

    def __post_init__(self) -> None:
        known = self.ray is None or _ADDRESS.fullmatch(self.ray)
        expected = "'local', 'local:N' with N workers, 'auto', or HOST:PORT of a cluster that runs"
        require(bool(known), "ray", self.ray, expected)

    @property
    def local(self) -> bool:
        """Whether a cluster has to be started here."""
        return self.ray is not None and self.ray.partition(":")[0] == "local"

    @property
    def workers(self) -> int | None:
        """How many workers a local cluster is to have; None is as many as there are GPUs or CPUs."""
        number = (self.ray or "").partition(":")[2]
        return int(number) if self.local and number else None
