"""The loss of robust towers: a tower's features move as little as an attacker can make them (FARE).

Schlarmann et al., ICML 2024, eq. 3: min over phi of E max over |d|_inf <= eps of ||phi(x + d) - phi0(x)||^2,
phi0 the tower before the first step. The inner maximum is found by projected sign ascent from a random start;
bounds, starts and preprocessing are the white-box engine's, on pictures in [0, 1] at the size of their files.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.families import FAMILIES
from sightline.targets.local.source import FolderSource
from sightline.training.model import TrainableModel
from sightline.tuning import Example, Plan, Robust
from sightline.whitebox.compute import RngStream
from sightline.whitebox.constraints import LinfBall
from sightline.whitebox.encoders import VisionEncoder
from sightline.whitebox.pixels import from_pixels, unit
from sightline.whitebox.preprocessing.processor import preprocessor


class Moved(NamedTuple):
    """A step's loss on attacked pictures, and the same on the clean ones (which were not trained on)."""

    loss: Tensor
    clean: float


@dataclass(frozen=True, slots=True, eq=False)
class RobustTower:
    """A model's tower in training, beside what it was.

    Attributes:
        model: whose tower is trained.
        settings: bound and steps of the attack, and what features are.
        tower, before: the tower, and a frozen copy of it from before the first step.
    """

    model: TrainableModel
    settings: Robust
    tower: VisionEncoder
    before: VisionEncoder

    def loss(self, plan: Plan, step: int) -> Moved:
        """The loss of a step's pictures; what is drawn at random follows from step and picture alone."""
        numbers = plan.batches[step]
        clean = self._pictures([plan.examples[number] for number in numbers])
        with torch.no_grad():
            known = self._features(self.before, unit(clean))
            still = _distance(self._features(self.tower, unit(clean)), known).mean()
        rng = RngStream(seed=self.settings.seed, keys=numbers, place=(step,), device=clean.device)
        attacked = self.attacked(clean, known, rng)
        loss = _distance(self._features(self.tower, attacked), known).mean()
        return Moved(loss, float(still))

    def attacked(self, clean: Tensor, known: Tensor, rng: RngStream) -> Tensor:
        """Pictures within the bound whose features are far from `known`; float32 (n, 3, h, w)."""
        ball = LinfBall(clean=clean, eps=self.settings.eps, init="ball")
        theta = ball.start(rng)
        for _ in range(self.settings.steps):
            theta = theta.detach().requires_grad_(True)
            loss = _distance(self._features(self.tower, ball.image(theta, rng)), known).sum()
            (slope,) = torch.autograd.grad(loss, theta)
            theta = ball.project(theta.detach() + self.settings.alpha.unit * slope.sign())
        return theta.detach()

    def _features(self, tower: VisionEncoder, x: Tensor) -> Tensor:
        """What a tower makes of pictures in [0, 1]: (n, vectors, width)."""
        found = tower.features(x, self.settings.features)
        return found[:, None] if found.dim() == 2 else found

    def tokens(self, count: int) -> int:
        """Patch vectors of so many pictures, which stand for tokens where costs are counted."""
        config = self.tower.model.config
        return count * (int(config.image_size) // int(config.patch_size)) ** 2

    def _pictures(self, examples: Sequence[Example]) -> Tensor:
        images = [next(iter(each.prompt.images)) for each in examples]
        return from_pixels([self.model.picture(image) for image in images], self.model.device)


def robust_tower(model: TrainableModel, settings: Robust) -> RobustTower:
    """The tower of a model that holds its base's weights; none of them wants a gradient afterwards.

    Raises:
        UsageError: for a family whose tower stands in no module of its own, or has several layers read.
    """
    config = model.model.config
    facts = FAMILIES.get(str(config.model_type))
    if facts is None or not facts.tower:
        known = ", ".join(sorted(name for name, each in FAMILIES.items() if each.tower))
        raise UsageError(
            f"{model.folder}: the vision tower of a {config.model_type} model cannot be trained alone; there "
            f"is a way for {known}"
        )
    layer = getattr(config, facts.tower_layer) if facts.tower_layer else -1
    if not isinstance(layer, int):
        raise UsageError(
            f"{model.folder}: several layers of its tower are read: a patch has no single vector"
        )
    processor = FolderSource(model.folder, model.settings).image_processor()
    preprocess = preprocessor(str(config.model_type), processor)
    tower = getattr(model.model.base_model, facts.tower)
    now, before = (
        VisionEncoder(each, preprocess, f"tower of {model.folder}", layer=layer)
        for each in (tower, copy.deepcopy(tower))
    )
    return RobustTower(model, settings, now, before)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """Squared Euclidean distance of each picture's vectors, their mean: (n,)."""
    return (one - other).square().sum(-1).mean(-1)
