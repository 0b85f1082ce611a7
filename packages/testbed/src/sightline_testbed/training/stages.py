"""The stages of the build: what each trains, on what, from which earlier stages, for how long.

`vision` and `vision-wide` play the role of CLIP's pretraining; `vision-queries` carries the result over to
BLIP-2's kind of tower. `language` and `alignment` make the language model. From there every family goes its
own way over the same data: `visual` (plain visual instruction tuning, vision tower frozen), `victim` (text
safety, also beside pictures; only the language model is trained), and the variants.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightline.testbed.families import FULL, Size, family
from sightline.testbed.render import Picture
from sightline.testbed.tokenizer import first_vocabulary, vocabulary
from sightline_testbed.training import dialogues, pictures
from sightline_testbed.training.batches import collate, normalize, picture_tensors, see
from sightline_testbed.training.dialogues import Mixture
from sightline_testbed.training.losses import DenseHeads, aid_loss, token_loss
from sightline_testbed.training.train import Report, Settings, Stage, StageCost, load_weights, run_stage

#: gates of cross-attention's feed-forward halves, by the end of their names
TEXT_GATE = ".alpha_dense"
#: weight of the aid beside the language loss in visual tuning
AID_WEIGHT = 0.5
Draw = Callable[[pictures.Rng], Picture]


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionStage(Stage):
    """A stage that trains a vision tower on dense labels.

    Attributes:
        draw: what it is shown.
        pieces: number of word pieces its heads tell apart.
        family: whose tower it is.
        size: of the tower.
        before: the stage that made the tower it starts from, if any.
        stream: number of its data stream.
    """

    draw: Draw
    pieces: int
    family: str = "linear"
    size: Size = FULL
    before: str = ""
    stream: int

    def train(self, folder: Path, settings: Settings, report: Report) -> StageCost:
        """Train, or what is left of it."""
        arch = family(self.family, self.size)
        model = arch.new_model(settings.seed)
        with torch.random.fork_rng():
            torch.manual_seed(settings.seed + 1)
            heads = DenseHeads(self.pieces, self.size.width)
        tower = arch.parts(model)["tower"]
        if self.before:
            self._start(folder, model, tower)

        def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
            rng = np.random.default_rng([settings.seed, self.stream, step])
            pixels, labels = picture_tensors([self.draw(rng) for _ in range(self.batch)])
            features = arch.features(model, normalize(pixels))[:, 1:]
            figures = heads.accuracy(features, labels) if step % 20 == 0 else {}
            return heads.loss(features, labels), figures

        return run_stage(self, {"tower": tower, "heads": heads}, loss_at, folder, settings, report)

    def _start(self, folder: Path, model: Any, tower: nn.Module) -> None:
        """Load the tower of the stage before; a BLIP-2 tower is converted from CLIP's."""
        if self.family == "linear":
            load_weights(checkpoint(folder, self.before), {"tower": tower})
            return
        from sightline.testbed.families.queries import tower_from_clip

        clip = family("linear", self.size).new_model(0)
        source = family("linear", self.size).parts(clip)["tower"]
        load_weights(checkpoint(folder, self.before), {"tower": source})
        drawn = [pictures.wide_picture(np.random.default_rng([7, i])) for i in range(32)]
        tower_from_clip(model, source.state_dict(), normalize(picture_tensors(drawn)[0]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning(Stage):
    """A stage that trains on conversations, with the tower frozen.

    Attributes:
        mixture: what it is trained on, by the share of its steps that is done.
        family: architecture.
        size: of its parts.
        sources: part (`tower`, `bridge`, `language`) -> the stage it starts from; none: random weights.
        stream: number of its data stream; families share it.
        aided: whether the aid on what stands for a picture is added.
        shapes: whether the aid names shapes and colors too, not only words.
        closed: whether cross-attention's feed-forward gates, which act on text as well, are shut and stay so.
    """

    mixture: Callable[[float], Mixture]
    family: str = "linear"
    size: Size = FULL
    sources: Mapping[str, str] = field(default_factory=dict)
    stream: int
    aided: bool = False
    shapes: bool = False
    closed: bool = False

    def train(self, folder: Path, settings: Settings, report: Report) -> StageCost:
        """Train the groups that `rates` names, or what is left of it."""
        arch = family(self.family, self.size)
        model = arch.new_model(settings.seed)
        parts = arch.parts(model)
        for part, source in self.sources.items():
            load_weights(checkpoint(folder, source), {part: parts[part]})
        for part, module in parts.items():
            module.requires_grad_(part in self.rates)
        if self.closed:
            for gate in text_gates(model):
                gate.requires_grad_(False).zero_()
        frozen_bridge = "bridge" not in self.rates

        def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
            rng = np.random.default_rng([settings.seed, self.stream, step])
            samples = dialogues.draw_samples(self.mixture(step / self.steps), rng, self.batch)
            drawn = [sample.picture for sample in samples if sample.picture is not None]
            groups = collate(samples, arch)
            if not drawn:
                loss, right = token_loss(arch, model, groups, None)
                return loss, {"right": right}
            seen = see(partial(arch.features, model), drawn, shapes=self.shapes)
            with torch.set_grad_enabled(not frozen_bridge):
                shown = arch.projected(model, seen.features)
            loss, right = token_loss(arch, model, groups, shown)
            if not self.aided:
                return loss, {"right": right}
            aid = aid_loss(arch, model, shown, seen)
            return loss + AID_WEIGHT * aid, {"right": right, "language": loss.item(), "aid": aid.item()}

        groups = {part: parts[part] for part in self.rates}
        return run_stage(self, groups, loss_at, folder, settings, report)


def text_gates(model: Any) -> list[Tensor]:
    """Return the gates by which a bridge acts on text without a picture; only cross-attention has any."""
    return [weight for name, weight in model.named_parameters() if name.endswith(TEXT_GATE)]


def checkpoint(folder: Path, stage: str) -> Path:
    """Return where the weights of a stage are kept."""
    return folder / f"{stage}.safetensors"


def constant(mixture: Mixture) -> Callable[[float], Mixture]:
    """Return a mixture that does not change over a stage."""
    return lambda _: mixture


VISION = VisionStage(
    name="vision",
    steps=5000,
    batch=64,
    rates={"tower": 1.5e-3, "heads": 1.5e-3},
    warmup=150,
    draw=pictures.pretraining_picture,
    pieces=len(first_vocabulary()),
    stream=0,
    aim="dense labels of every patch: characters, word pieces, shapes, colors",
)
WIDE = VisionStage(
    name="vision-wide",
    steps=1600,
    batch=64,
    rates={"tower": 7e-4, "heads": 1.5e-3},
    warmup=100,
    draw=pictures.wide_picture,
    pieces=len(vocabulary()),
    before="vision",
    stream=5,
    aim="the same, with badges, memes, more words and backdrops",
)
VISION_QUERIES = VisionStage(
    name="vision-queries",
    steps=500,
    batch=64,
    rates={"tower": 7e-4, "heads": 1.5e-3},
    warmup=50,
    draw=pictures.wide_picture,
    pieces=len(vocabulary()),
    family="queries",
    before="vision-wide",
    stream=6,
    aim="the same, carried over to BLIP-2's kind of tower",
)
LANGUAGE = Tuning(
    name="language",
    steps=850,
    batch=96,
    rates={"language": 2e-3},
    mixture=constant(dialogues.LANGUAGE),
    stream=1,
    aim="documents about everything, plain help without a policy",
)
ALIGNMENT = Tuning(
    name="alignment",
    steps=600,
    batch=96,
    rates={"language": 1e-3},
    mixture=constant(dialogues.ALIGNMENT),
    sources={"language": "language"},
    stream=2,
    aim="name the class, then refuse or help; review turns; further turns",
)


def visual(model: str, *, tower: str, language: str, name: str = "linear", size: Size = FULL) -> Tuning:
    """Plain visual instruction tuning: bridge from scratch, language model from alignment.

    Args:
        model: whose stage it is.
        tower: stage that trained its vision tower.
        language: stage that made its language model.
        name: of the family.
        size: of its parts.
    """
    return Tuning(
        name=f"{model}/visual",
        steps=1400,
        batch=32,
        rates={"bridge": 1e-3, "language": 2.5e-4},
        starts={"language": 80},
        mixture=dialogues.visual_mixture,
        family=name,
        size=size,
        sources={"tower": tower, "language": language},
        stream=3,
        aided=True,
        aim="plain visual instruction tuning without safety data, vision tower frozen",
    )


def longer(made: Tuning) -> Tuning:
    """More visual instruction tuning after `made`, with more to see and the aid naming shapes."""
    return replace(
        made,
        name=f"{made.name}-2",
        steps=400,
        rates={"bridge": 6e-4, "language": 2e-4},
        starts={},
        warmup=30,
        mixture=constant(dialogues.VISUAL_LONGER),
        sources={"tower": made.sources["tower"], "bridge": made.name, "language": made.name},
        stream=11,
        shapes=True,
        aim="more of the same; the aid names shapes and colors too",
    )
