"""What identifies a cell of a study, and the part that its attack plays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from sightline import registry
from sightline.errors import UsageError

PLAIN = "none"
Role = Literal["plain", "control", "attack"]


@cache
def role_of(spec: str) -> Role:
    """The role of an attack: its card's first word tells a control; one not installed counts as attack."""
    name = spec.partition("(")[0].strip()
    if name == PLAIN:
        return "plain"
    try:
        return "control" if registry.card("attack", name).summary.startswith("Control") else "attack"
    except UsageError:
        return "attack"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellId:
    """What is equal in all samples of a cell, and the judge that read them."""

    benchmark: str
    release: str
    target: str
    attack: str
    attack_params: str
    crafted_on: str
    oracle: str
    defense: str
    judge: str

    @property
    def name(self) -> str:
        """`benchmark | target | attack | defense`."""
        return " | ".join((self.benchmark, self.target, self.attack, self.defense))

    @property
    def role(self) -> Role:
        """Whether the cell holds plain requests, a control or an attack."""
        return role_of(self.attack_params)

    @property
    def setting(self) -> tuple[str, ...]:
        """Everything but the attack."""
        return (self.benchmark, self.release, self.target, self.defense, self.judge)

    @property
    def place(self) -> tuple[object, ...]:
        """For sorting: judge, benchmark, target; the bare target first, plain requests and controls first."""
        return (
            self.judge,
            self.benchmark,
            self.release,
            self.target,
            self.defense != PLAIN,
            self.defense,
            ("plain", "control", "attack").index(self.role),
            self.attack,
            self.attack_params,
            self.crafted_on,
        )
