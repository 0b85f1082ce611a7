"""Risk 3, step by step: how visual tuning wears text safety away, and what slows it.

Every run starts from the aligned language model and trained vision (tower and bridge of the finished visual
stage) and is tuned on the visual stage's data, which hold no safety data. What differs is the language
model's learning rate, whether it moves at all, and the text that takes the place of a quarter of each
batch: none, `plain` (documents and harmless chat in the style of pictures' answers) or `policy` (documents
and the requests and refusals of alignment). All conditions of one seed see the same pictures in the same
order. Every 15 steps the same written requests are asked: a curve is a matter of the weights alone.

In the cross-attention family a gated layer's feed-forward half also acts on requests without a picture. Its
gates (`alpha_dense`) therefore start closed, and every point is measured twice: as the model is, and with
these gates closed again, which leaves the language model by itself.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from sightline.errors import UsageError, nearest
from sightline.testbed import grading, wordings
from sightline.testbed.families import Family, family
from sightline.testbed.grading import Grade
from sightline.testbed.world import SEED, world
from sightline_testbed.evaluation.answering import Ask, Model
from sightline_testbed.training import dialogues, text_tasks
from sightline_testbed.training.batches import Seen, collate, see
from sightline_testbed.training.losses import aid_loss, token_loss
from sightline_testbed.training.plans import plan
from sightline_testbed.training.samples import Sample
from sightline_testbed.training.stages import AID_WEIGHT, Tuning, checkpoint, text_gates
from sightline_testbed.training.train import Progress, Report, Settings, autocast, deterministic, load_weights

Gates = Literal["open", "closed"]
Text = Literal["none", "plain", "policy"]

STEPS, EVERY, BATCH = 120, 15, 32
#: of a batch, where text is rehearsed
REHEARSED = 8
REHEARSALS: Mapping[Text, dialogues.Mixture] = {
    "plain": dialogues.REHEARSAL,
    "policy": {text_tasks.document: 0.4, text_tasks.considered_request: 0.6},
}
WARMUP = 10
BRIDGE_RATE, FRESH_BRIDGE_RATE = 3e-4, 1e-3
ALLOWED = 12
TRAINED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One way to tune.

    Attributes:
        name: in tables and figures.
        rate: learning rate of the language model; 0 freezes it.
        text: what a quarter of each batch is replaced by.
        fresh: whether the bridge starts from random weights, and learns three times as fast.
    """

    name: str
    rate: float
    text: Text = "none"
    fresh: bool = False


CONDITIONS = (
    Condition(name="low rate", rate=5e-5),
    Condition(name="high rate", rate=3e-4),
    Condition(name="low rate, plain text", rate=5e-5, text="plain"),
    Condition(name="high rate, plain text", rate=3e-4, text="plain"),
    Condition(name="high rate, policy text", rate=3e-4, text="policy"),
    Condition(name="language model frozen", rate=0.0, fresh=True),
)
SEEDS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What one model answered to one group of text requests at one step.

    Attributes:
        family: of the model.
        condition: name of how it was tuned.
        seed: of data and fresh weights.
        step: number of steps so far.
        gates: whether the gates of cross-attention's feed-forward halves were as trained or closed.
        asked: `restricted, unseen`, `restricted, trained` or `allowed, unseen`.
        n: number of requests, one per topic.
        refused: how many were refused.
        obeyed: how many got a recipe for the right noun.
        exact: how many got the right recipe.
    """

    family: str
    condition: str
    seed: int
    step: int
    gates: Gates
    asked: str
    n: int
    refused: int
    obeyed: int
    exact: int


class Portion(NamedTuple):
    """The data of one step: visual tuning, what the tower sees of its pictures, texts to rehearse."""

    samples: Sequence[Sample]
    seen: Seen
    texts: Mapping[Text, Sequence[Sample]]


def requests() -> dict[str, list[Ask]]:
    """Return the text requests that every point asks, by group; one held-out wording per topic."""
    restricted, allowed = (world().select(restricted=flag, split="heldout") for flag in (True, False))
    groups = {
        "restricted, unseen": restricted,
        "restricted, trained": world().select(restricted=True, split="train")[:TRAINED],
        "allowed, unseen": allowed[:ALLOWED],
    }
    return {
        name: [
            Ask(
                user=wordings.REQUESTS_HELDOUT[i % len(wordings.REQUESTS_HELDOUT)].format(noun=topic.noun),
                subject=topic.noun,
                group=topic.noun,
            )
            for i, topic in enumerate(topics)
        ]
        for name, topics in groups.items()
    }


def start(arch: Family, folder: Path, seed: int, *, fresh: bool = False) -> Any:
    """Return a model with the aligned language model behind a trained tower and bridge.

    Args:
        arch: family of the model.
        folder: checkpoints of a build.
        seed: of a fresh bridge.
        fresh: leave the bridge's weights random.

    Raises:
        UsageError: if a stage it starts from has not been trained.
    """
    model = arch.new_model(seed)
    parts = arch.parts(model)
    tunings = {stage.name: stage for stage in plan(arch.name) if isinstance(stage, Tuning)}
    sources = dict(tunings[f"{arch.name}/victim"].sources)  # whose tower and bridge are the finished ones
    sources["language"] = tunings[f"{arch.name}/visual"].sources["language"]
    if fresh:
        del sources["bridge"]
    for part, stage in sources.items():
        path = checkpoint(folder, stage)
        if not path.is_file():
            raise UsageError(f"{path} is missing: train it by `sightline testbed build {arch.name}` first")
        load_weights(path, {part: parts[part]})
    with torch.no_grad():
        for gate in text_gates(model):
            gate.zero_()
    return model


@contextlib.contextmanager
def closed(model: Any) -> Iterator[None]:
    """Close the gates of `text_gates` for a while."""
    gates = text_gates(model)
    kept = [gate.detach().clone() for gate in gates]
    with torch.no_grad():
        for gate in gates:
            gate.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            for gate, value in zip(gates, kept, strict=True):
                gate.copy_(value)


def portions(arch: Family, model: Any, seed: int, steps: int = STEPS) -> list[Portion]:
    """Draw the data of all steps of a seed and look at the pictures once, with the frozen tower."""
    found = []
    for step in range(steps):
        rng = np.random.default_rng([SEED, 30, seed, step])
        samples = dialogues.draw_samples(dialogues.visual_mixture(1.0), rng, BATCH)
        drawn = [sample.picture for sample in samples if sample.picture is not None]
        texts = {
            name: dialogues.draw_samples(mixture, np.random.default_rng([SEED, 31, seed, step]), REHEARSED)
            for name, mixture in REHEARSALS.items()
        }
        found.append(Portion(samples, see(partial(arch.features, model), drawn), texts))
    return found


def loss(arch: Family, model: Any, portion: Portion, text: Text) -> Tensor:
    """Return a step's loss; text to rehearse takes the place of the last conversations."""
    rehearsed = portion.texts.get(text, ())
    kept = portion.samples[: len(portion.samples) - len(rehearsed)]
    pictures = sum(sample.picture is not None for sample in kept)
    seen = Seen(*(value[:pictures] for value in portion.seen))
    shown = arch.projected(model, seen.features)
    words, _ = token_loss(arch, model, collate([*kept, *rehearsed], arch), shown)
    return words + AID_WEIGHT * aid_loss(arch, model, shown, seen)


def measured(model: Model, asks: Mapping[str, Sequence[Ask]], facts: Mapping[str, Any]) -> list[Point]:
    """Ask the text requests; models with `text_gates` are asked with these open and closed."""
    ways: dict[Gates, Callable[[Any], contextlib.AbstractContextManager[None]]] = {
        "open": lambda _: contextlib.nullcontext()
    }
    if text_gates(model.model):
        ways["closed"] = closed
    found = []
    for gates, way in ways.items():
        with way(model.model):
            answers = iter(model.answers([ask for group in asks.values() for ask in group], batch=128))
        for name, group in asks.items():
            grades = [grading.classify(next(answers), ask.subject) for ask in group]
            found.append(
                Point(
                    **facts,
                    gates=gates,
                    asked=name,
                    n=len(grades),
                    refused=sum(grade is Grade.refuse for grade in grades),
                    obeyed=sum(grade.obeyed for grade in grades),
                    exact=sum(grade is Grade.exact for grade in grades),
                )
            )
    return found


def tune(
    arch: Family,
    model: Any,
    condition: Condition,
    data: Sequence[Portion],
    *,
    seed: int,
    settings: Settings,
    every: int = EVERY,
    report: Report = lambda _: None,
) -> list[Point]:
    """Tune a model under one condition; return what it answered before, every few steps, and at the end.

    Args:
        arch: family of the model.
        model: changed in place.
        condition: learning rates and data.
        data: one portion per step.
        seed: recorded with every point.
        settings: threads and dtype of the tuning; answers are always fp32.
        every: steps between points.
        report: told at every point.
    """
    asked, asks, began = Model(model, arch.processor()), requests(), time.monotonic()
    parts = arch.parts(model)
    rates = {"bridge": FRESH_BRIDGE_RATE if condition.fresh else BRIDGE_RATE, "language": condition.rate}
    for part, module in parts.items():
        module.requires_grad_(rates.get(part, 0.0) > 0)
    groups = {part: list(parts[part].parameters()) for part, rate in rates.items() if rate > 0}
    optimizer = torch.optim.AdamW(
        [{"params": weights, "name": part} for part, weights in groups.items()],
        betas=(0.9, 0.98),
        weight_decay=0.01,
    )
    points: list[Point] = []
    for step in range(len(data) + 1):
        if step % every == 0 or step == len(data):
            facts = {"family": arch.name, "condition": condition.name, "seed": seed, "step": step}
            points += measured(asked, asks, facts)
            unseen = next(p for p in points[::-1] if p.asked == "restricted, unseen" and p.gates == "open")
            _tell(
                report,
                f"{arch.name}, {condition.name}, seed {seed}",
                (step, len(data)),
                began,
                unseen,
            )
        if step == len(data):
            break
        for group in optimizer.param_groups:
            group["lr"] = rates[group["name"]] * min(1.0, (step + 1) / WARMUP)
        with deterministic(settings), autocast(settings):
            lost = loss(arch, model, data[step], condition.text)
        optimizer.zero_grad(set_to_none=True)
        lost.backward()
        for weights in groups.values():
            nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return points


def _tell(report: Report, stage: str, place: tuple[int, int], began: float, point: Point) -> None:
    step, steps = place
    figures = {"refused": point.refused / point.n, "obeyed": point.obeyed / point.n}
    report(Progress(stage=stage, step=step, steps=steps, seconds=time.monotonic() - began, figures=figures))


def trace(
    name: str,
    folder: Path,
    out: Path,
    *,
    conditions: Sequence[str] = (),
    seeds: Sequence[int] = SEEDS,
    steps: int = STEPS,
    settings: Settings | None = None,
    report: Report = lambda _: None,
) -> list[Point]:
    """Run the experiment of one family, or what is left of it, and keep its points in a file.

    Args:
        name: of the family.
        folder: checkpoints of a build: vision tower, bridge, aligned language model.
        out: JSON file; runs that it holds already are not repeated.
        conditions: names of some of `CONDITIONS`; by default all, but the frozen language model only in
            the cross-attention family (elsewhere its answers to text cannot change).
        seeds: of data and fresh bridges.
        steps: of each run.
        settings: threads and dtype.
        report: told at every point.

    Raises:
        UsageError: for an unknown family or condition, or if a stage it starts from is missing.
    """
    known = {condition.name: condition for condition in CONDITIONS}
    for wanted in conditions:
        if wanted not in known:
            raise UsageError(nearest(wanted, known, "condition"))
    usual = [c.name for c in CONDITIONS if c.rate > 0 or name == "cross_attention"]
    arch, points = family(name), read(out) if out.is_file() else []
    done = {(point.condition, point.seed) for point in points}
    for seed in seeds:
        left = [known[c] for c in conditions or usual if (c, seed) not in done]
        data: list[Portion] = []
        for condition in left:
            model = start(arch, folder, seed, fresh=condition.fresh)
            data = data or portions(arch, model, seed, steps)
            points += tune(
                arch,
                model,
                condition,
                data,
                seed=seed,
                settings=settings or Settings(),
                report=report,
            )
            write(points, out)
    return points


def write(points: Sequence[Point], path: Path) -> None:
    """Write points as JSON, one per line, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial_path = path.with_suffix(".partial")
    lines = ",\n".join(json.dumps(asdict(point)) for point in points)
    partial_path.write_text(f"[\n{lines}\n]\n", "utf-8")
    partial_path.replace(path)


def read(path: Path) -> list[Point]:
    """Read points that `write` wrote.

    Raises:
        UsageError: if the file holds anything else.
    """
    try:
        return [Point(**entry) for entry in json.loads(path.read_text("utf-8"))]
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} does not hold the points of a risk-3 experiment: {error}") from error
