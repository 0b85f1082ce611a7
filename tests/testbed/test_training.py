"""The builder: every stage runs, and a build that was killed ends in the same weights."""

# ruff: noqa: E402
from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sightline.errors import UsageError
from sightline.testbed import stages
from sightline.testbed.build import build
from sightline.testbed.train import Progress, Settings
from sightline.testbed.weights import materialize, read_manifest, verify

TINY = {stage.name: replace(stage, steps=5, batch=8, warmup=2, starts={}) for stage, _ in stages.PLAN}
SETTINGS = Settings(dtype="fp32", save_every=2)


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    build("linear", out, settings=SETTINGS, stages=TINY)
    return out


def test_a_killed_build_ends_in_the_same_weights(whole: Path, tmp_path: Path) -> None:
    def kill_at(stage: str, step: int) -> None:
        def report(progress: Progress) -> None:
            if (progress.stage, progress.step) == (stage, step):
                raise KilledError

        with pytest.raises(KilledError):
            build("linear", tmp_path, settings=SETTINGS, stages=TINY, report=report)

    kill_at("vision", 5)  # after the checkpoint of step 4
    kill_at("alignment", 1)
    kill_at("visual", 5)
    build("linear", tmp_path, settings=SETTINGS, stages=TINY)
    one, two = (read_manifest(folder / "linear")["files"] for folder in (whole, tmp_path))
    assert one == two


def test_a_build_is_a_loadable_folder(whole: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText

    manifest = read_manifest(whole / "linear")
    verify(whole / "linear", manifest)
    assert manifest["bytes"] <= 14_000_000
    assert manifest["settings"] == {"seed": SETTINGS.seed, "threads": 1, "dtype": "fp32"}
    for stage, _ in stages.PLAN:
        assert manifest["stages"][stage.name]["steps"] == 5
        assert manifest["stages"][stage.name]["cpu_seconds"] > 0
    folder = materialize("linear@vit", root=whole, cache=tmp_path)
    model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.dtype == torch.float32


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[Progress] = []
    stages.train_language(tmp_path, SETTINGS, seen.append, TINY["language"])
    assert [(p.stage, p.step, p.steps) for p in seen] == [("language", 1, 5), ("language", 5, 5)]
    assert all(np.isfinite(p.figures["loss"]) for p in seen)


def test_the_training_loss_is_the_models_own() -> None:
    from sightline.testbed import dialogues
    from sightline.testbed.model import new_model, normalize, patch_features

    model = new_model(0).eval()
    batch = stages.collate(dialogues.draw_samples(dialogues.VISUAL, np.random.default_rng(0), 8))
    pixels, _ = stages.picture_tensors(batch.pictures)
    with torch.no_grad():
        projected = model.model.multi_modal_projector(patch_features(model, pixels))
        ours, _ = stages.language_loss(model, batch, projected)
        theirs = model(
            input_ids=batch.ids,
            attention_mask=batch.mask,
            pixel_values=normalize(pixels),
            labels=batch.labels,
        ).loss
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_unknown_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'linear'"):
        build("liner", tmp_path)
