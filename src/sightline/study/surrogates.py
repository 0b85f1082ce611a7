"""Models that attacks are crafted on: a local target, whose weights are shared, or an encoder alone.

vlm/FOLDER, testbed/NAME   a local target: its gradients from end to end, or those of its vision tower
defended/DEFENSE:TARGET    a local target behind defenses that pass gradients (`whitebox.through`)
encoder/FOLDER[@LAYER]     a CLIP, SigLIP, ViT or DINOv2 tower, an image classifier, an object detector
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sightline import registry
from sightline.closure import with_code, without_code
from sightline.contracts import Attack, Defense, Surrogate, Target
from sightline.errors import UsageError
from sightline.study.stage_code import SURROGATES, THROUGH
from sightline.targets import LocalSettings
from sightline.targets._names import ENCODER, split_defended
from sightline.targets.defended import DefendedTarget
from sightline.targets.vlm import PACKAGES, VlmTarget
from sightline.whitebox import through
from sightline.whitebox.encoder_folders import EncoderFolder, encoder_folder

if TYPE_CHECKING:
    from sightline.whitebox.victim import Encoder, Victim

DEFENDED = "defended/"
"""Begins the string of a target behind a defense."""


def open_surrogate(name: str, target: Callable[[str], Target]) -> Surrogate:
    """The model behind a surrogate string; weights are hashed, not loaded.

    Args:
        name: as above.
        target: opens a target of the study.

    Raises:
        UsageError: for what gives no gradients, or a folder that holds no encoder.
        AbsentExtraError: if torch or transformers is not installed.
    """
    if name.partition("/")[0] == ENCODER:
        return EncoderSurrogate(name)
    opened = target(name)
    return (
        DefendedSurrogate(name, opened)
        if isinstance(opened, DefendedTarget)
        else LocalSurrogate(name, opened)
    )


def adapts(names: Sequence[str]) -> bool:
    """Whether an attack that is crafted on these knows a defense."""
    return any(name.strip().startswith(DEFENDED) for name in names)


def check_known(name: str, attack: Attack) -> None:
    """Make sure that an attack can be crafted through the defenses of a surrogate string; nothing is opened.

    Raises:
        UsageError: for a defense that passes no gradients, or is unknown, and for an attack that looks at
            what stands before a defense: tokens of a text, or the vision tower alone.
    """
    stack, inner = list[Defense](), name.strip()
    while inner.startswith(DEFENDED):
        spec, inner = split_defended(inner.removeprefix(DEFENDED))
        stack.append(registry.parse("defense", spec))
    through.check_passes(name, stack)
    if not stack:
        return
    card, bare = attack.card, f"name the bare model, {inner}, as its `surrogate`"
    grey = card.threat is not None and card.threat.access == "grey"
    if grey or (isinstance(attack, through.LooksAtTower) and attack.tower_only):
        raise UsageError(
            f"{name}: {card.name} looks at the vision tower alone, which stands behind the defense and not "
            f"through it: {bare}"
        )
    if card.threat is not None and "image" not in card.threat.may_edit:
        raise UsageError(
            f"{name}: {card.name} searches for tokens of a text, which is not crafted through a defense: "
            f"{bare}, or take an attack that asks the defended target, such as pair with `oracle: defended`"
        )


@dataclass(slots=True)
class EncoderSurrogate:
    """An encoder without a language model behind it; torch and weights are loaded when it first looks."""

    name: str
    local: LocalSettings | None = None
    _found: EncoderFolder = field(init=False, repr=False)
    _opened: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self._found = encoder_folder(self.name, self.local)

    @property
    def id(self) -> str:
        """See `Surrogate.id`."""
        return with_code(self._found.id, *SURROGATES, packages=PACKAGES)

    def victim(self) -> Victim:
        """See `Surrogate.victim`.

        Raises:
            UsageError: always: nothing here writes.
        """
        raise UsageError(
            f"{self.name} only looks at pictures, and this attack needs a model that answers: name a local "
            "target, vlm/FOLDER or testbed/NAME, as its surrogate"
        )

    def encoder(self) -> Encoder:
        """See `Surrogate.encoder`."""
        if self._opened is None:
            encoders = importlib.import_module("sightline.whitebox.encoders")
            self._opened = encoders.open_encoder(self._found, local=self.local)
        found: Encoder = self._opened
        return found


@dataclass(slots=True)
class LocalSurrogate:
    """A local target as a surrogate; torch and the weights are loaded when it is first looked into.

    Raises:
        UsageError: for a target that is not a local model.
    """

    name: str
    target: Target
    _victim: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.target, VlmTarget):
            raise UsageError(
                f"{self.name} gives no gradients: name a local model, vlm/FOLDER or testbed/NAME, or one "
                "behind defenses that pass gradients, defended/DEFENSE:vlm/FOLDER"
            )

    @property
    def id(self) -> str:
        """See `Surrogate.id`: the target's, with the code that opens it for gradients in place of its own."""
        return with_code(without_code(self.target.id), *SURROGATES, packages=PACKAGES)

    def victim(self) -> Victim:
        """See `Surrogate.victim`."""
        if self._victim is None:
            models = importlib.import_module("sightline.whitebox.model")
            settings = LocalSettings.from_environment()
            self._victim = models.open_victim(self.target, checkpointing=settings.checkpointing)
        found: Victim = self._victim
        return found

    def encoder(self) -> Encoder:
        """See `Surrogate.encoder`."""
        encoders = importlib.import_module("sightline.whitebox.encoders")
        found: Encoder = encoders.tower_of(self.victim())
        return found


@dataclass(slots=True)
class DefendedSurrogate:
    """A local target behind defenses, as an attacker who knows them differentiates it.

    Raises:
        UsageError: for a defense that passes no gradients, or a target behind it that is not a local model.
    """

    name: str
    target: DefendedTarget
    _defenses: tuple[Defense, ...] = field(init=False, repr=False)
    _model: LocalSurrogate = field(init=False, repr=False)
    _victim: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        stack = list[Defense]()
        found: Target = self.target
        while isinstance(found, DefendedTarget):
            stack.append(found.defense)
            found = found.inner
        self._model = LocalSurrogate(found.id.partition("#")[0], found)
        through.check_passes(self.name, stack)
        self._defenses = tuple(stack)

    @property
    def id(self) -> str:
        """See `Surrogate.id`: the defended target's, with the code that opens both for gradients."""
        return with_code(without_code(self.target.id), *SURROGATES, *THROUGH, packages=PACKAGES)

    def victim(self) -> Victim:
        """See `Surrogate.victim`."""
        if self._victim is None:
            self._victim = through.stacked(self._defenses, self._model.victim())
        found: Victim = self._victim
        return found

    def encoder(self) -> Encoder:
        """See `Surrogate.encoder`.

        Raises:
            UsageError: always: features of its tower are those before the defense.
        """
        raise UsageError(
            f"{self.name}: this attack looks at the vision tower alone, which stands behind the defense and "
            f"not through it: name the bare model, {self._model.name}, as its surrogate"
        )
