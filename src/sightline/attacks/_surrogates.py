"""What attacks on gradients share: their surrogate's victim, the picture's place in a prompt, progress."""

from __future__ import annotations

from collections.abc import Callable

from sightline import whitebox
from sightline.cases import Conversation, Image
from sightline.contracts import Craft, Surrogate
from sightline.errors import ContractError, UsageError
from sightline.records import Pixels


def surrogates(ctx: Craft, attack: str) -> tuple[Surrogate, ...]:
    """The models that the study names for crafting.

    Raises:
        ContractError: if the stage gave none.
    """
    if not ctx.surrogates:
        raise ContractError(f"attack {attack!r} was called without a surrogate")
    return ctx.surrogates


def victims(ctx: Craft, attack: str) -> tuple[whitebox.Victim, ...]:
    """The models that the study names for crafting, opened for gradients.

    Raises:
        ContractError: if the stage gave none.
    """
    return tuple(surrogate.victim() for surrogate in surrogates(ctx, attack))


def victim(ctx: Craft, attack: str) -> whitebox.Victim:
    """The only model that the study names for crafting.

    Raises:
        UsageError: if it names several.
    """
    found = victims(ctx, attack)
    if len(found) > 1:
        raise UsageError(
            f"attack {attack!r} is crafted on one model, not on {len(found)}: name one surrogate"
        )
    return found[0]


def beside(text: str, picture: Pixels) -> Conversation:
    """A prompt of a text beside the attacked picture, in the order in which drafts are sealed."""
    return Conversation.user(Image("", picture.shape[1], picture.shape[0]), text)


def watch(report: Callable[[int, float], None]) -> whitebox.Watch:
    """What the loop tells, as an attack's progress."""

    def told(progress: whitebox.Progress) -> None:
        report(progress.step, progress.loss)

    return whitebox.Watch(report=told)
