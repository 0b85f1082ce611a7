"""What identifies a cell of a study, and the part that its attack plays."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Literal

from sightline import cards, registry
from sightline.cards import Role as Role
from sightline.errors import UsageError

PLAIN = "none"
SPLITS = {"seen": "training", "unseen": "held-out"}
"""Cases that an attack was optimized on, and others, as they are printed."""


@cache
def role_of(spec: str) -> Role:
    """The role of an attack with its settings; one that is not installed counts as attack.

    Settings that this version does not know leave the role that the card says.
    """
    try:
        return registry.role_of(registry.parse("attack", spec))
    except UsageError:
        pass
    try:
        return registry.card("attack", method_of(spec)).role
    except UsageError:
        return "attack"


@cache
def is_control_of(control: str, attack: str) -> bool:
    """Whether one attack, a control by its role, is compared with another: with every one, or its own alone.

    The attack's own control is one of its settings: both type, say, the same sentence. A control that is not
    installed here is compared with every attack.
    """
    try:
        one = registry.parse("attack", control)
        if isinstance(one, cards.OwnRole):
            return bool(attack) and one.controls(registry.parse("attack", attack))
        of = registry.control_of(one)
        if of != method_of(attack):
            return of == cards.ANY_ATTACK
        other = registry.parse("attack", attack)
    except UsageError:
        return True
    return all(getattr(one, name) == getattr(other, name) for name in one.card.alike)


Means = Literal["text", "drawn", "pixels"]


@cache
def means_of(spec: str) -> Means | None:
    """What an attack changes: words alone; a picture without a model; a picture by gradients or features.

    One that is not installed counts as drawn. None for recorded attacks, of which it is not known.
    """
    try:
        threat = registry.card("attack", method_of(spec)).threat
    except UsageError:
        threat = None
    if method_of(spec) == "recorded" or (threat is not None and threat.access == "unknown"):
        return None
    if threat is None or threat.access == "black":
        return "drawn" if threat is None or "image" in threat.may_edit else "text"
    return "pixels" if "image" in threat.may_edit else "text"


def method_of(spec: str) -> str:
    """`figstep` of `figstep(font_px=40)`."""
    return spec.partition("(")[0].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class CellId:
    """What is equal in all samples of a cell, and the judge that read them.

    `series` is the study's entry, of which `attack` is the column (at one budget, of all seeds). `seen` are
    cases that the attack was optimized on, `unseen` others; '' if it was optimized on none. `scores`
    says whose wish the judge's `complied` grants: the case's or the attacker's. `made_on_target` is 'true' or
    'false', '' where a table does not say it.
    """

    benchmark: str
    release: str
    target: str
    attack: str
    attack_params: str
    crafted_on: str
    oracle: str
    defense: str
    judge: str
    series: str = ""
    budget: str = ""
    seen: str = ""
    scores: str = "case"
    made_on_target: str = ""

    def __hash__(self) -> int:
        """Of what most often differs: cells are looked up many times."""
        return hash((self.target, self.attack, self.defense, self.judge, self.seen))

    @property
    def success(self) -> str:
        """The measure of an attack's success: `asr`, or `attacker_goal` if the judge scores that."""
        return "attacker_goal" if self.scores == "attacker_goal" else "asr"

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
    def condition(self) -> tuple[str, ...]:
        """Everything but the judge."""
        found: tuple[str, ...] = _CONDITION(self)
        return found

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
            self.series,
            limits_of(self.budget),
            self.attack,
            self.attack_params,
            self.crafted_on,
            self.seen,
        )

    @property
    def shown(self) -> str:
        """The attack as a table names it, with the split of the cases if it was optimized on some."""
        return f"{self.attack} ({SPLITS[self.seen]} cases)" if self.seen else self.attack

    @property
    def own(self) -> bool | None:
        """Whether the model that answers is one that the attack was crafted on; None if it was on none.

        An attack that talked to a defended target is of that target behind that defense.
        """
        if not self.crafted_on:
            return None
        if self.made_on_target:
            return self.made_on_target == "true"
        return self.target in models_of(self.crafted_on)

    @property
    def knew_defense(self) -> bool:
        """Whether an attack was made in asking the defended target, as far as the table says."""
        return self.oracle == "defended" and self.role == "attack" and self.own is not False

    @property
    def adaptive(self) -> bool:
        """Whether the attack was made in talking to the defended target that answers."""
        return self.oracle == "defended" and self.own is True


_CONDITION = attrgetter(*(each.name for each in fields(CellId) if each.name != "judge"))


def models_of(crafted_on: str) -> tuple[str, ...]:
    """The names of the models in `testbed/linear#0123456789abcdef@float32 + ...`, without their weights."""
    return tuple(each.rpartition("#")[0] or each for each in crafted_on.split(" + ") if each)


def limits_of(budget: str) -> tuple[tuple[str, float], ...]:
    """`backwards=200, seconds=60` as ((name, limit), ...); empty for no budget."""
    pairs = (limit.partition("=") for limit in budget.split(", ") if limit)
    return tuple((name, float(value)) for name, _, value in pairs)
