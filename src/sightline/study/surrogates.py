"""Models that attacks are crafted on: a target of the study, loaded a second time for its gradients."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sightline.contracts import Target
from sightline.errors import UsageError
from sightline.targets.vlm import VlmTarget

if TYPE_CHECKING:
    from sightline.whitebox.victim import Encoder, Victim


@dataclass(slots=True)
class LocalSurrogate:
    """A local target as a surrogate; torch and the weights are loaded when it is first looked into.

    Raises:
        UsageError: for a target that is not a local model, or is defended.
    """

    name: str
    target: Target
    _victim: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.target, VlmTarget):
            raise UsageError(
                f"{self.name} gives no gradients: name a local, undefended model, vlm/FOLDER or testbed/NAME"
            )

    @property
    def id(self) -> str:
        """See `Surrogate.id`."""
        return self.target.id

    def victim(self) -> Victim:
        """See `Surrogate.victim`."""
        if self._victim is None:
            opening = importlib.import_module("sightline.whitebox.opening")
            self._victim = opening.open_victim(self.name)
        found: Victim = self._victim
        return found

    def encoder(self) -> Encoder:
        """See `Surrogate.encoder`."""
        encoders = importlib.import_module("sightline.whitebox.encoders")
        found: Encoder = encoders.tower_of(self.victim())
        return found
