"""The stages of the build: what each trains, on what, for how long.

``vision`` (the role of CLIP pretraining) and ``language`` + ``alignment`` are independent; ``visual`` joins
them by visual instruction tuning; ``victim`` adds text safety, a heeded system prompt and review turns, with
the eyes frozen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from sightline.testbed import dialogues, pictures
from sightline.testbed.dialogues import IGNORED, Mixture, Sample
from sightline.testbed.model import DenseHeads, alignment_loss, new_model, patch_features
from sightline.testbed.render import Picture
from sightline.testbed.tokenizer import IMAGE, PAD, vocabulary
from sightline.testbed.train import Report, Settings, Spent, Stage, load_weights, run_stage

Trainer = Callable[[Path, Settings, Report, Stage], Spent]

VISION = Stage(
    name="vision",
    steps=5000,
    batch=64,
    rates={"tower": 1.5e-3, "heads": 1.5e-3},
    warmup=150,
    aim="dense labels of every patch: characters, word pieces, shapes, colors",
)
LANGUAGE = Stage(
    name="language",
    steps=700,
    batch=96,
    rates={"language": 2e-3},
    aim="documents about every topic, plain help with allowed topics",
)
ALIGNMENT = Stage(
    name="alignment",
    steps=400,
    batch=96,
    rates={"language": 1e-3},
    aim="name the class, then refuse or help; review turns",
)
VISUAL = Stage(
    name="visual",
    steps=2600,
    batch=32,
    rates={"tower": 3e-4, "heads": 3e-4, "projector": 1e-3, "language": 2.5e-4},
    starts={"tower": 80, "heads": 80, "language": 80},
    aim="plain visual instruction tuning without safety data",
)
VICTIM = Stage(
    name="victim",
    steps=800,
    batch=32,
    rates={"language": 2.5e-4},
    aim="text safety beside pictures, a heeded system prompt, review turns; eyes frozen",
)

#: weight of the dense labels and of the projector's alignment beside the language loss
DENSE_WEIGHT, ALIGNMENT_WEIGHT = 0.1, 0.5
#: share of the visual stage during which pages to read hold at most one, then two words
ONE_WORD_UNTIL, TWO_WORDS_UNTIL = 0.08, 0.25


class Batch(NamedTuple):
    """Padded on the right: ids, labels and mask (n, t); the pictures of those rows that have one."""

    ids: Tensor
    labels: Tensor
    mask: Tensor
    pictures: list[Picture]


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad token rows to equal length."""
    rows = [sample.tokens() for sample in samples]
    length = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), length), vocabulary()[PAD])
    labels = torch.full((len(rows), length), IGNORED)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    for row, (tokens, wanted) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, : len(wanted)] = torch.tensor(wanted)
        mask[row, : len(tokens)] = 1
    return Batch(ids, labels, mask, [s.picture for s in samples if s.picture is not None])


def picture_tensors(drawn: Sequence[Picture]) -> tuple[Tensor, Tensor]:
    """Return pixels, `uint8` (n, h, w, 3), and dense labels, (n, 64, 6)."""
    pixels = torch.from_numpy(np.stack([picture.pixels for picture in drawn]))
    labels = torch.from_numpy(np.stack([pictures.dense_labels(picture) for picture in drawn]))
    return pixels, labels


def language_loss(
    model: LlavaForConditionalGeneration, batch: Batch, projected: Tensor | None
) -> tuple[Tensor, float]:
    """Return the mean next-token loss on learned tokens, and the share of them predicted right.

    Only the rows of the hidden states that predict something are multiplied with the vocabulary.
    """
    embedded = model.get_input_embeddings()(batch.ids)
    if projected is not None:
        place = (batch.ids == vocabulary()[IMAGE]).unsqueeze(-1).expand_as(embedded)
        embedded = embedded.masked_scatter(place, projected.to(embedded.dtype))
    hidden = model.model.language_model(inputs_embeds=embedded, attention_mask=batch.mask).last_hidden_state
    wanted = batch.labels[:, 1:]
    learned = wanted != IGNORED
    logits = model.lm_head(hidden[:, :-1][learned]).float()
    loss = nn.functional.cross_entropy(logits, wanted[learned])
    return loss, (logits.detach().argmax(-1) == wanted[learned]).float().mean().item()


def new_heads(settings: Settings) -> DenseHeads:
    """Return dense heads with weights that follow from the seed."""
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed + 1)
        return DenseHeads()


def train_vision(folder: Path, settings: Settings, report: Report, stage: Stage = VISION) -> Spent:
    """Pretrain the vision tower on dense patch labels."""
    model, heads = new_model(settings.seed), new_heads(settings)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([settings.seed, 0, step])
        drawn = [pictures.pretraining_picture(rng) for _ in range(stage.batch)]
        pixels, labels = picture_tensors(drawn)
        features = patch_features(model, pixels)
        figures = heads.accuracy(features, labels) if step % 20 == 0 else {}
        return heads.loss(features, labels), figures

    groups = {"tower": model.model.vision_tower, "heads": heads}
    return run_stage(stage, groups, loss_at, folder, settings, report)


def _text_stage(
    number: int, mixture: Mixture, stage: Stage, before: str, folder: Path, settings: Settings, report: Report
) -> Spent:
    """Train the language model alone, from the stage `before` or from scratch."""
    model = new_model(settings.seed)
    groups = {"language": model.model.language_model}
    if before:
        load_weights(folder / f"{before}.safetensors", groups)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([settings.seed, number, step])
        loss, right = language_loss(model, collate(dialogues.draw_samples(mixture, rng, stage.batch)), None)
        return loss, {"right": right}

    return run_stage(stage, groups, loss_at, folder, settings, report)


def train_language(folder: Path, settings: Settings, report: Report, stage: Stage = LANGUAGE) -> Spent:
    """Teach the language model the world and plain helpfulness."""
    return _text_stage(1, dialogues.LANGUAGE, stage, "", folder, settings, report)


def train_alignment(folder: Path, settings: Settings, report: Report, stage: Stage = ALIGNMENT) -> Spent:
    """Teach the language model the policy."""
    return _text_stage(2, dialogues.ALIGNMENT, stage, LANGUAGE.name, folder, settings, report)


def train_visual(folder: Path, settings: Settings, report: Report, stage: Stage = VISUAL) -> Spent:
    """Join vision tower and language model by visual instruction tuning."""
    model, heads = new_model(settings.seed), new_heads(settings)
    language = {"language": model.model.language_model}
    eyes: dict[str, nn.Module] = {"tower": model.model.vision_tower, "heads": heads}
    load_weights(folder / f"{ALIGNMENT.name}.safetensors", language)
    load_weights(folder / f"{VISION.name}.safetensors", eyes)

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([settings.seed, 3, step])
        samples = dialogues.draw_samples(visual_mixture(step / stage.steps), rng, stage.batch)
        batch = collate(samples)
        pixels, labels = picture_tensors(batch.pictures)
        features = patch_features(model, pixels)
        projected = model.model.multi_modal_projector(features)
        loss, right = language_loss(model, batch, projected)
        aligned = alignment_loss(model, projected, labels)
        figures = {"right": right, "language": loss.item(), "aligned": aligned.item()}
        return loss + DENSE_WEIGHT * heads.loss(features, labels) + ALIGNMENT_WEIGHT * aligned, figures

    groups = {**eyes, "projector": model.model.multi_modal_projector, **language}
    return run_stage(stage, groups, loss_at, folder, settings, report)


def visual_mixture(done: float) -> Mixture:
    """Return the mixture of the visual stage at a share of its steps: short pages first."""
    most = 1 if done < ONE_WORD_UNTIL else 2 if done < TWO_WORDS_UNTIL else 4

    def read_short(rng: pictures.Rng) -> Sample:
        return dialogues.read(rng, most)

    return {
        (read_short if task is dialogues.read else task): share for task, share in dialogues.VISUAL.items()
    }


def train_victim(folder: Path, settings: Settings, report: Report, stage: Stage = VICTIM) -> Spent:
    """Tune the language model behind frozen eyes."""
    model = new_model(settings.seed)
    eyes = {"tower": model.model.vision_tower, "projector": model.model.multi_modal_projector}
    language = {"language": model.model.language_model}
    load_weights(folder / f"{VISUAL.name}.safetensors", {**eyes, **language})

    def loss_at(step: int) -> tuple[Tensor, dict[str, float]]:
        rng = np.random.default_rng([settings.seed, 4, step])
        batch = collate(dialogues.draw_samples(dialogues.VICTIM, rng, stage.batch))
        with torch.no_grad():
            projected = model.model.multi_modal_projector(
                patch_features(model, picture_tensors(batch.pictures)[0])
            )
        loss, right = language_loss(model, batch, projected)
        return loss, {"right": right}

    return run_stage(stage, language, loss_at, folder, settings, report)


#: stages in order, with the functions that train them
PLAN: tuple[tuple[Stage, Trainer], ...] = (
    (VISION, train_vision),
    (LANGUAGE, train_language),
    (ALIGNMENT, train_alignment),
    (VISUAL, train_visual),
    (VICTIM, train_victim),
)
