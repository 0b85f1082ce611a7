"""Placeholder pictures: shapes whose kinds, colors and places follow from the prompt and the seed."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.attacks.scenes import check_scene, scene
from sightline.cases import Case
from sightline.closure import with_code
from sightline.errors import UsageError
from sightline.records import Pixels
from sightline.rng import numpy_rng

DEFAULT_PX = 512
SHAPES = 5
NOT_COMPARABLE = "placeholder picture: not comparable"
"""In the id of the source, and in the note of every draft that shows such a picture."""


@dataclass(frozen=True, slots=True)
class PlaceholderSource:
    """Scenes of shapes, `size_px` wide and high.

    Raises:
        UsageError: for a size that no scene has.
    """

    size_px: int = DEFAULT_PX

    def __post_init__(self) -> None:
        check_scene(self.size_px, SHAPES)

    @property
    def id(self) -> str:
        """Says that results are not comparable."""
        return with_code(f"placeholder/{self.size_px} ({NOT_COMPARABLE})", __name__)

    @property
    def note(self) -> str:
        """See `ImageSource.note`."""
        return NOT_COMPARABLE

    async def picture(self, case: Case, prompt: str, *, seed: int) -> Pixels:
        """A scene that follows from the prompt and the seed.

        Raises:
            UsageError: for an empty prompt.
        """
        if not prompt.strip():
            raise UsageError(f"case {case.id}: the prompt of a picture is empty")
        return scene(self.size_px, SHAPES, numpy_rng("placeholder", prompt, seed))
