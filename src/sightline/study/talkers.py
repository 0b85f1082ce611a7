"""The models that an attack may ask while it crafts, opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sightline import registry
from sightline.cases import Oracle
from sightline.contracts import IMAGE_SOURCE, IN_LOOP_JUDGE, TARGET, Decoding, Judge, OpenTarget, Target
from sightline.digests import digest
from sightline.study.stage_code import stage_code

if TYPE_CHECKING:
    from sightline.image_sources import ImageSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Talkers:
    """The models that a column's attack may ask, opened.

    Attributes:
        oracle: what the target is: `none` if there is none, else whether a defense stands before it.
        target: the model that the attack talks to.
        decoding: how the target is asked.
        helpers: the other models, by role.
        judge: the in-loop judge; it asks no grader yet.
        pictures: the image source.
        open_target: opens the in-loop judge's graders.
    """

    oracle: Oracle = "none"
    target: Target | None = None
    decoding: Decoding = field(default_factory=Decoding)
    helpers: Mapping[str, Target] = field(default_factory=dict)
    judge: Judge | None = None
    pictures: ImageSource | None = None
    open_target: OpenTarget | None = None

    @property
    def ids(self) -> Mapping[str, str]:
        """Who they are, by role: part of the key of every artifact."""
        found = {role: helper.id for role, helper in self.helpers.items()}
        if self.target is not None:
            found[TARGET] = f"{self.oracle} {self.target.id}"
        if self.judge is not None:
            found[IN_LOOP_JUDGE] = f"{self.judge.id} {registry.identity(self.judge)}"
        if self.pictures is not None:
            found[IMAGE_SOURCE] = self.pictures.id
        return found

    @property
    def identity(self) -> str:
        """Digest of who they are, of how the target is asked, and of the code between them and the attack."""
        asked = [self.decoding] if self.target is not None else []
        return digest(self.ids, *asked, stage_code("talk"))
