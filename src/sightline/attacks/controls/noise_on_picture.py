"""The case's own picture under random noise that is as large as a bounded attack may be.

Every value moves by exactly eps, up or down at random: no perturbation within the same bound is larger in l2,
up to clipping at black and white. What a question or a request still gets is not the attack's doing. A case
without a picture gets a drawing of shapes, as attacks on gradients give it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sightline.attacks.scenes import check_scene
from sightline.attacks.wordings import plain_text
from sightline.cards import ANY_ATTACK
from sightline.cases import Case, Eps, ThreatModel
from sightline.contracts import Attack, Craft
from sightline.errors import require
from sightline.records import Draft
from sightline.registry import attack
from sightline.rng import numpy_rng


@attack(
    "noise_on_picture",
    threat=ThreatModel(),
    role="control",
    control_of=ANY_ATTACK,
    source="Sightline",
    applies_to=frozenset({"answer", "classify", "comply", "refuse"}),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOnPicture(Attack):
    """Settings.

    Attributes:
        eps: by how much every value moves, a whole number of levels such as 16/255.
        size_px: side of the drawing for cases without a picture.
        shapes: in that drawing.
    """

    eps: str = "16/255"
    size_px: int = 224
    shapes: int = 5

    def __post_init__(self) -> None:
        raw = Eps.parse(self.eps).raw
        require(raw == int(raw), "eps", self.eps, "a whole number of levels, such as 16/255")
        check_scene(self.size_px, self.shapes)

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        """Noise of its own for every case, the same whatever cases are crafted with it."""
        levels = int(Eps.parse(self.eps).raw)
        for case in cases:
            pictures = list(case.conversation.images)
            if any(picture.problem for picture in pictures):
                yield Draft(case=case)
                continue
            clean = ctx.source_image(case, size_px=self.size_px, shapes=self.shapes).clean
            signs = numpy_rng(self.card.name, ctx.seed, case.id).choice([-1, 1], clean.shape)
            moved = np.clip(clean.astype(np.int32) + levels * signs, 0, 255).astype(np.uint8)
            text = None if pictures else plain_text(case)
            yield Draft(case=case, text=text, image=moved, clean=clean)
