"""Run one attack after the other: the text that one writes is drawn, or set beside a picture, by the next.

The composition of JailBreakV (arXiv:2404.03027: text jailbreaks beside kinds of pictures) and of encodings
that are drawn. Each attack sees what the one before it made: its text as what is asked, to draw or to say,
and its pictures. Sources and costs add up; the judges still read the case's own behavior.

In a study `{name: past_tense_rule, then: figstep}` stands for `chain(steps=('past_tense_rule', 'figstep'))`.
`then: last_turn` is the control of an attack over several turns. A chain that ends in the control of an
attack (`figstep_typed`) is the control of the chain that ends in that attack (`figstep`).

Not to be chained: attacks that are crafted on gradients, and those that see many cases at once.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sightline import registry
from sightline.attacks.conversation._inner import InnerTalk, run_inner
from sightline.attacks.dialogue import put
from sightline.budget import SpentError
from sightline.cards import ANY_ATTACK, Role
from sightline.cases import Case, Image, ThreatModel, Turn
from sightline.contracts import ConversingAttack, Craft
from sightline.errors import UsageError
from sightline.records import NO_COST, Cost, Draft
from sightline.registry import attack
from sightline.rng import seed_of

LAST_TURN = "last_turn"


@attack("chain", paper="arXiv:2404.03027", source="Sightline", threat=ThreatModel(oracle="undefended"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Chain(ConversingAttack):
    """`steps`: two or more attacks in the order in which they run, as `name` or `name(setting=value)`."""

    steps: tuple[str, ...] = ("none", "figstep")
    _inner: tuple[Any, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if len(self.steps) < 2:
            raise UsageError("chain: name two attacks or more: chain(steps=('past_tense_rule', 'figstep'))")
        inner = tuple(map(registry.inner_attack, self.steps))
        for each in inner:
            card = each.card
            if card.surrogate or card.scope == "universal":
                what = "is crafted on gradients" if card.surrogate else "makes one thing for all cases"
                raise UsageError(f"chain: {card.name} {what} and cannot be chained")
            if isinstance(each, Chain):
                raise UsageError("chain: name the attacks of the inner chain one after the other")
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "steps", tuple(map(registry.spec, inner)))

    @property
    def inner(self) -> tuple[Any, ...]:
        """The attacks."""
        return self._inner

    @property
    def calls(self) -> Mapping[str, int]:
        """The sum of their calls."""
        return dict(sum((Counter(getattr(each, "calls", {})) for each in self._inner), Counter[str]()))

    @property
    def own_role(self) -> Role:
        """A control where the last attack is the control of one attack alone."""
        last = self._inner[-1]
        if last.card.name == LAST_TURN:
            return "control"
        own = registry.role_of(last) == "control" and registry.control_of(last) != ANY_ATTACK
        return "control" if own else "attack"

    def controls(self, other: Any) -> bool:
        """Whether it is the control of another attack: its own last turn, or its words typed."""
        if self.own_role != "control":
            return False
        *before, last = self._inner
        if last.card.name == LAST_TURN:
            alone = len(before) == 1 and registry.spec(before[0]) == registry.spec(other)
            return alone or (isinstance(other, Chain) and other.steps == self.steps[:-1])
        if not isinstance(other, Chain) or other.steps[:-1] != self.steps[:-1]:
            return False
        attacked = other.inner[-1]
        alike = all(getattr(last, name) == getattr(attacked, name) for name in last.card.alike)
        return registry.control_of(last) == attacked.card.name and alike

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        """The draft of the last attack; of a budget that ends an attack, the others go on with its best."""
        made = _Made(case)
        for place, each in enumerate(self._inner):
            kept = InnerTalk(ctx.talk)
            seed = seed_of("chain", ctx.seed, place, bits=62)
            try:
                draft = await run_inner(each, made.case(ctx), ctx, kept, seed)
            except SpentError as spent:
                if kept.draft is None:
                    raise
                draft = replace(kept.draft, note=f"stopped by its budget: {spent}; {kept.draft.note}")
            made.add(draft, each.card.name, ctx)
        return made.draft(ctx)


@dataclass(slots=True)
class _Made:
    """What the attacks have made so far of a case."""

    original: Case
    text: str | None = None
    images: tuple[Image, ...] | None = None
    before: tuple[Turn, ...] = ()
    notes: list[str] = field(default_factory=list)
    cost: Cost = NO_COST

    def case(self, ctx: Craft) -> Case:
        """The case that the next attack sees: what was written is what it asks and draws."""
        if self.text is None and self.images is None:
            return self.original
        before = self.original
        own = before.conversation.last_user_turn.images
        text = before.conversation.last_user_text() if self.text is None else self.text
        shown = own if self.images is None else self.images
        conversation = before.conversation.with_last_user(*shown, text)
        if self.text is None:
            return dataclasses.replace(before, conversation=conversation)
        said = {name: text for name in ("statement", "key_phrase")}
        wordings = {**before.wordings, **said}
        wordings.pop("rephrased", None)  # it points at a picture that was not drawn
        return dataclasses.replace(before, conversation=conversation, behavior=text, wordings=wordings)

    def add(self, draft: Draft, name: str, ctx: Craft) -> None:
        """What one more attack has made."""
        drawn = (*((draft.image,) if draft.image is not None else ()), *draft.images)
        if drawn:
            self.images = tuple(put(ctx, pixels) for pixels in drawn)
        elif not draft.keep_images:
            self.images = ()
        self.text = draft.text if draft.text is not None else self.text
        if name == LAST_TURN:
            self.before = ()
        self.before = (*self.before, *draft.before)
        self.cost = self.cost + draft.cost
        self.notes += [f"{name}: {draft.note}"] if draft.note else []

    def draft(self, ctx: Craft) -> Draft:
        """The draft of the chain."""
        images = () if self.images is None else tuple(map(ctx.images.pixels, self.images))
        return Draft(
            case=self.original,
            text=self.text,
            images=images,
            before=self.before,
            keep_images=self.images is None,
            note="; ".join(self.notes),
            cost=self.cost,
        )
