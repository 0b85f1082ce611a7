"""What an attacker who knows a defense differentiates: the tools with which a defense says so, without torch.

A defense that changes requests, scores or the model itself may have a method `through`: of the model opened
for gradients (`Victim`) it makes the defended model opened for gradients, for attacks whose surrogate is
`defended/DEFENSE:TARGET`. Forward is what the defense does, by its own code; backward is the gradient where
there is one, and else that of what comes near it (BPDA; Athalye et al. 2018). What the defense draws at
random for a request an attacker does not know: a victim draws anew for every step, from the search's seed,
several times for each picture, and losses are averaged (EOT; Athalye et al. 2018).

    def through(self, victim: Victim) -> Victim:
        return through.changed(self, victim, prompt=self.instructed)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from sightline import registry
from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.rng import numpy_rng

if TYPE_CHECKING:
    from numpy.random import Generator
    from torch import Tensor

    from sightline.records import Pixels
    from sightline.whitebox.compute import RngStream
    from sightline.whitebox.victim import Victim
    from sightline.whitebox.within import OpenWithin

WITH_WEIGHTS = ("vlm", "testbed", "tuned", "swapped")
"""Kinds of targets that are models with weights at hand."""
DRAWS = 4
"""Of a defense that draws at random, for each picture and step."""


@runtime_checkable
class PassesGradients(Protocol):
    """A defense through which an attacker who knows it differentiates."""

    def through(self, victim: Victim) -> Victim:
        """The model behind this defense, opened for gradients.

        Args:
            victim: what stands behind it, opened for gradients: a model, or a model behind a defense.

        Raises:
            UsageError: for settings with which it passes none.
        """
        ...


@runtime_checkable
class MayPass(Protocol):
    """A defense that passes gradients with some settings alone."""

    def why_none(self) -> str:
        """Why it passes none with its settings; '' if it does."""
        ...


@runtime_checkable
class LooksAtTower(Protocol):
    """An attack whose settings say whether it looks at the vision tower alone, before any defense."""

    @property
    def tower_only(self) -> bool:
        """Whether it does."""
        ...


@runtime_checkable
class ManyPasses(Protocol):
    """A victim that runs a model several times for each picture."""

    @property
    def looks(self) -> int:
        """How many times."""
        ...


@runtime_checkable
class Drawing(Protocol):
    """A victim that draws at random: the loop says from what at every step."""

    def drawing(self, chance: Chance) -> Victim:
        """The same victim, whose next passes draw from `chance`."""
        ...


@dataclass(frozen=True, slots=True)
class Chance:
    """Where random choices come from: a place of a search, and whose picture each one is.

    There is no running state: a step can be tried again, and a search that is resumed draws as before. A
    picture's draws do not depend on the others of its batch.

    Attributes:
        seed: of the search.
        place: in the search: step and call of the step, or a negative number for checks, which draw the same
            every time.
        pictures: of each picture, the key of its artifact and its number among those that a constraint makes.
    """

    seed: int = 0
    place: tuple[int, ...] = ()
    pictures: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, rng: RngStream, samples: int = 1) -> Chance:
        """The chance at the place of a stream, for `samples` pictures of each artifact."""
        pictures = tuple((key, sample) for key in rng.keys for sample in range(samples))
        return cls(rng.seed, rng.place, pictures)

    def take(self, index: Iterable[int]) -> Chance:
        """The same for some of the pictures."""
        return Chance(self.seed, self.place, tuple(self.pictures[i] for i in index))

    def for_picture(self, picture: int, draw: int) -> Generator:
        """Of one draw for a picture, by its place in the batch; where none is named, that is its key."""
        whose = self.pictures[picture] if self.pictures else (picture, 0)
        return numpy_rng("through", self.seed, *self.place, "picture", *whose, draw)

    def for_prompts(self, draw: int) -> Generator:
        """Of one draw for the prompts, which all pictures of a batch share."""
        return numpy_rng("through", self.seed, *self.place, "prompts", draw)


def passes_of(victim: Victim) -> int:
    """How many passes of a model one of a victim is."""
    return victim.looks if isinstance(victim, ManyPasses) else 1


def drawing(victim: Victim, chance: Chance) -> Victim:
    """The victim, whose next passes draw from `chance` if it draws."""
    return victim.drawing(chance) if isinstance(victim, Drawing) else victim


def drawn(victims: Sequence[Victim], chance: Chance) -> tuple[Victim, ...]:
    """Victims whose next passes draw from `chance`."""
    return tuple(drawing(each, chance) for each in victims)


def changed(
    defense: Any,
    victim: Victim,
    *,
    prompt: Callable[..., Conversation] | None = None,
    pixels: Callable[[Pixels, Generator], Pixels] | None = None,
    like: Callable[[Tensor, Generator], Tensor] | None = None,
    kept: bool = False,
    random: tuple[bool, bool] = (False, False),
) -> Victim:
    """A model behind a defense that changes prompts, pictures or both before it answers.

    Args:
        defense: for the name.
        victim: what stands behind it.
        prompt: the conversation that the target sees for one; with a generator where it draws at random.
        pixels: the picture (uint8 RGB, height x width x 3) that it sees for one, exactly.
        like: a differentiable stand-in for `pixels` of one picture (3, h, w) in [0, 1], whose gradient is
            taken; it gets a generator that draws the same. None takes that of the identity.
        kept: whether a pixel that was changed passes no gradient: exact for those that were replaced.
        random: whether `prompt` draws at random, and whether `pixels` does.
    """
    from sightline.whitebox.defended import Changed

    return Changed(_name(defense), victim, prompt, pixels, like, kept=kept, random=random)


def contrasted(
    defense: Any, victim: Victim, *, principle: Callable[[Conversation], Conversation], weight: float
) -> Victim:
    """A model that decodes away from what it says without a principle: z + weight (z - z_plain), exactly.

    Args:
        defense: for the name.
        victim: what stands behind it.
        principle: the conversation with the principle.
        weight: see above.
    """
    from sightline.whitebox.defended import Contrasted

    return Contrasted(_name(defense), victim, principle, weight)


def within(defense: Any, victim: Victim, opened: OpenWithin) -> Victim:
    """A model whose blocks a defense watches or changes; see `whitebox.within`.

    Args:
        defense: for the name.
        victim: the model itself; this defense stands next to it.
        opened: makes what acts in one pass.

    Raises:
        UsageError: for a victim that is behind another defense, or whose blocks are not found.
    """
    from sightline.whitebox.within import acting

    return acting(_name(defense), victim, opened)


def guarded(
    defense: Any,
    victim: Victim,
    *,
    model: str,
    question: Callable[[Conversation], Conversation],
    words: tuple[str, str],
) -> Victim:
    """A model behind a guard that reads the request: how far it is from its safe verdict joins the loss.

    Args:
        defense: for the name.
        victim: what stands behind it.
        model: target string of the guard, a local model.
        question: what it is asked about a prompt; its picture is the attacked one.
        words: beginnings of its unsafe and its safe verdict.
    """
    from sightline.whitebox.guarded import Guarded
    from sightline.whitebox.model import open_victim

    return Guarded(_name(defense), victim, open_victim(model), question, words)


def stacked(defenses: Sequence[Any], victim: Victim) -> Victim:
    """A model behind several defenses, outermost first; all of them pass gradients (`check_passes`)."""
    for defense in reversed(defenses):
        victim = defense.through(victim)
    return victim


def check_passes(name: str, defenses: Sequence[Any]) -> None:
    """Make sure that an attacker can differentiate through defenses.

    Raises:
        UsageError: naming the first through which none can, and those through which one can.
    """
    for defense in defenses:
        why = defense.why_none() if isinstance(defense, MayPass) else ""
        if why or not isinstance(defense, PassesGradients):
            raise UsageError(
                f"{name}: defense {defense.card.name!r} passes no gradients{why and f': {why}'} (an attack "
                "that knows it has to ask it: a query attack with `oracle: defended`); defenses that do: "
                f"{', '.join(passing())}"
            )


def passing() -> list[str]:
    """Names of the defenses that pass gradients."""
    names = registry.names("defense")
    return [name for name in names if hasattr(registry.card("defense", name).factory, "through")]


def _name(defense: Any) -> str:
    return registry.spec(defense)
