"""The builder: every stage runs, a killed build ends in the same weights, folders hold what was trained."""

# ruff: noqa: E402
from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging

from sightline.errors import UsageError
from sightline.testbed import wordings
from sightline.testbed.families import NAMES, family
from sightline.testbed.render import blank
from sightline.testbed.weights import materialize, names, read_manifest, verify
from sightline_testbed.evaluation.answering import Ask, Model
from sightline_testbed.training.build import CHECKPOINTS, MAIN_VARIANTS, build
from sightline_testbed.training.plans import ABOUT, LADDER, STAGES, AnyStage, find, plan, second_seed
from sightline_testbed.training.stages import VisionStage, checkpoint
from sightline_testbed.training.train import Progress, Settings, load_weights

pytestmark = pytest.mark.slow  # by rotation, as a whole

SETTINGS = Settings(dtype="fp32", save_every=1)
STEPS = 2
SMALL = next(iter(LADDER))
BUILT = (*NAMES, SMALL)
#: models that are also built with a second seed
AGAIN = ("linear", "cross_attention")


def short(stage: AnyStage) -> AnyStage:
    """Two steps of four samples, at the full rate from the first one on."""
    return replace(stage, steps=STEPS, batch=4, warmup=1, starts={})


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """All families and a smaller model, built into one folder; of two also the second seed."""
    folder = tmp_path_factory.mktemp("built")
    logging.disable_progress_bar()
    for name in BUILT:
        roots = build(name, folder, settings=SETTINGS, shorten=short, second=name in AGAIN)
        assert roots == (folder / "main", folder / "extra")
    yield folder
    logging.enable_progress_bar()


def roots(out: Path) -> tuple[Path, Path]:
    return out / "main", out / "extra"


def kill_at(name: str, folder: Path, stage: str, step: int) -> None:
    """Build until a stage reports a step."""

    def report(progress: Progress) -> None:
        if (progress.stage, progress.step) == (stage, step):
            raise KilledError

    with pytest.raises(KilledError):
        build(name, folder, settings=SETTINGS, shorten=short, report=report)


def same_tensors(one: Path, two: Path, prefix: str = "") -> bool:
    """Whether weights and moments (or what begins with `prefix`) are equal, bit by bit."""
    first, second = (
        {key: value for key, value in load_file(path).items() if key.startswith(prefix)}
        for path in (one, two)
    )
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def same_checkpoint(stage: str, one: Path, two: Path) -> bool:
    return same_tensors(*(checkpoint(folder / CHECKPOINTS, stage) for folder in (one, two)))


def test_a_killed_build_ends_in_the_same_weights(out: Path, tmp_path: Path) -> None:
    kill_at("linear", tmp_path, "vision", STEPS)  # after the checkpoint of the first step
    kill_at("linear", tmp_path, "alignment", 1)  # before the stage's first one
    kill_at("linear", tmp_path, "linear/visual", STEPS)
    build("linear", tmp_path, settings=SETTINGS, shorten=short)
    for stage in plan("linear"):
        assert same_checkpoint(stage.name, out, tmp_path), stage.name
    for root in ("main", "extra"):
        one, two = (read_manifest(folder / root / "linear") for folder in (out, tmp_path))
        assert two["files"] == {key: one["files"][key] for key in two["files"]}
        assert one["files"].keys() - two["files"].keys() <= {"seed2.safetensors", "bridge-seed2.safetensors"}
        assert all(facts["steps"] == STEPS for facts in two["stages"].values())


@pytest.mark.parametrize("name", ["vision-queries", "queries/visual", "cross_attention/victim"])
def test_a_killed_stage_of_another_family_ends_in_the_same_weights(
    name: str, out: Path, tmp_path: Path
) -> None:
    for path in (out / CHECKPOINTS).rglob("*.safetensors"):
        link = tmp_path / path.relative_to(out / CHECKPOINTS)
        link.parent.mkdir(parents=True, exist_ok=True)
        if link != checkpoint(tmp_path, name):
            link.symlink_to(path)

    def kill_last(progress: Progress) -> None:
        if progress.step == STEPS:
            raise KilledError

    with pytest.raises(KilledError):
        short(find(name)).train(tmp_path, SETTINGS, kill_last)
    assert not same_tensors(checkpoint(tmp_path, name), checkpoint(out / CHECKPOINTS, name))
    short(find(name)).train(tmp_path, SETTINGS, lambda _: None)
    assert same_tensors(checkpoint(tmp_path, name), checkpoint(out / CHECKPOINTS, name))


def test_starting_anew_forgets_the_checkpoints(out: Path, tmp_path: Path) -> None:
    stray = tmp_path / CHECKPOINTS / "vision.safetensors"
    stray.parent.mkdir()
    stray.write_bytes(b"of an older form")
    with pytest.raises(KilledError):
        build("linear", tmp_path, resume=False, settings=SETTINGS, shorten=short, report=_kill)
    assert not stray.exists()


def _kill(_: Progress) -> None:
    raise KilledError


def test_the_names_are_those_of_the_plan(out: Path) -> None:
    main, _ = roots(out)
    listed = set(names(roots(out)))
    assert listed == {
        *BUILT,
        *(f"{name}@{variant}" for name in NAMES for variant in STAGES),
        *(f"{name}@seed2" for name in AGAIN),
        *(f"{SMALL}@{variant}" for variant in MAIN_VARIANTS),
    }
    assert set(read_manifest(main / "linear")["variants"]) == set(MAIN_VARIANTS)
    assert sorted(path.name for path in main.iterdir()) == ["linear"]
    for root in roots(out):
        for folder in root.iterdir():
            manifest = read_manifest(folder)
            verify(folder, manifest)
            for variant, entry in manifest["variants"].items():
                assert entry["about"] == ABOUT[variant]


def test_the_manifest_says_how_the_weights_came_about(out: Path) -> None:
    main, extra = roots(out)
    for name in BUILT:
        manifest = read_manifest((main if name == "linear" else extra) / name)
        stages = [stage.name for stage in plan(name)]
        if name in AGAIN:
            stages += [f"seed2/{stage.name}" for stage in second_seed(name)]
        assert list(manifest["stages"]) == stages
        assert manifest["settings"] == {
            "seed": SETTINGS.seed,
            "threads": 1,
            "dtype": "fp32",
            "tower": "train",
        }
        assert manifest["default"] == "victim"
        assert {"torch", "transformers", "python"} <= manifest["versions"].keys()
        for key, facts in manifest["stages"].items():
            planned = find(key.removeprefix("seed2/"))
            assert facts["peak_rates"] == dict(planned.rates)
            assert facts["aim"] == planned.aim
            assert (facts["steps"], facts["batch"]) == (STEPS, 4)
            assert facts["cpu_seconds"] > 0
        assert manifest["bytes"] <= 14_000_000
    assert "default" not in read_manifest(extra / "linear")


def test_what_families_share_is_stored_once(out: Path) -> None:
    _, extra = roots(out)
    stored = {name: set(read_manifest(extra / name)["files"]) for name in ("queries", "cross_attention")}
    own = {"bridge", "vit", "victim", "vit-lowlr", "sysprompt", "safetuned", "catfirst", "catfirst-vit"}
    shut = {"bridge-shut", "bridge-lowlr"}  # gated layers must leave text to a language model of its own
    for name, more in (("queries", {"tower"}), ("cross_attention", {"bridge-seed2", "seed2", *shut})):
        weights = {file for file in stored[name] if file.endswith(".safetensors")}
        assert weights == {f"{source}.safetensors" for source in own | more}
    lent = {
        part["file"]
        for entry in read_manifest(extra / "cross_attention")["variants"].values()
        for part in entry["parts"]
        if part.get("model") == "linear"
    }
    assert lent == {f"{part}.safetensors" for part in ("tower", "aligned-lm", "base", "seed2")}
    assert "tower.safetensors" not in read_manifest(extra / "linear")["files"]


def source_of(name: str, variant: str, part: str) -> tuple[str, str]:
    """Checkpoint folder, within `checkpoints`, and stage that a part of a variant is to come from."""
    stages = {stage.name.rpartition("/")[2]: stage.name for stage in plan(name)}
    if part == "tower":
        return "", [stage.name for stage in plan(name) if isinstance(stage, VisionStage)][-1]
    folder = "seed2" if variant == "seed2" else ""
    if part == "bridge":
        alone = name == "cross_attention" and variant == "vit-lowlr"
        return folder, stages["vit-lowlr" if alone else "visual-2"]
    return folder, stages["victim" if variant == "seed2" else STAGES[variant]]


@pytest.mark.parametrize("name", BUILT)
def test_every_variant_holds_what_its_stages_trained(name: str, out: Path, tmp_path: Path) -> None:
    """Oracle: the checkpoints; each part is its own stage's within what 8 or 4 bits lose, and no other's."""
    arch = family(name if name in NAMES else "linear", plan(name)[0].size)
    trained = arch.new_model(0)

    @cache
    def as_trained(part: str, folder: str, stage: str) -> Any:
        module = arch.parts(trained)[part]
        load_weights(checkpoint(out / CHECKPOINTS / folder, stage), {part: module})
        return flat(module)

    variants = [full.partition("@")[2] for full in names(roots(out)) if full.startswith(f"{name}@")]
    sources = {variant: source_of(name, variant, "language") for variant in variants}
    for variant in variants:
        folder = materialize(f"{name}@{variant}", root=roots(out), cache=tmp_path)
        model, info = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
        assert not any(info.values()), info
        assert type(model) is type(trained)
        assert model.dtype == torch.float32
        found = {part: flat(module) for part, module in arch.parts(model).items()}
        for part, weights in found.items():
            assert distance(weights, as_trained(part, *source_of(name, variant, part))) < 0.01, (
                variant,
                part,
            )
        away = {
            other: distance(found["language"], as_trained("language", *sources[other])) for other in variants
        }
        assert min(variants, key=lambda other: away[other]) == variant
        answers(model, folder, shown=variant not in ("base", "aligned-lm"))


def flat(module: Any) -> Any:
    """All weights in one vector."""
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def distance(one: Any, two: Any) -> float:
    """Relative difference."""
    return float((one - two).norm() / two.norm())


def answers(model: Any, folder: Path, *, shown: bool) -> None:
    """Through the folder's own processor, the model says something about a page."""
    pixels = blank().pixels if shown else None
    ask = Ask(user=wordings.READ_QUESTIONS[0], subject="", group="", pixels=pixels)
    [said] = Model(model, AutoProcessor.from_pretrained(folder)).answers([ask])
    assert isinstance(said, str)


def test_a_trained_bridge_leaves_text_to_a_language_model_of_its_own(out: Path, tmp_path: Path) -> None:
    """Cross-attention's feed-forward gates act on text as well, so they are shut where no tuning met them."""
    asked = [Ask(user="steps for lumopi", subject="", group="")]
    for variant in ("aligned-lm", "base", "vit-lowlr"):
        folder = materialize(f"cross_attention@{variant}", root=roots(out), cache=tmp_path)
        model = AutoModelForImageTextToText.from_pretrained(folder)
        gates = [weight for name, weight in model.named_parameters() if name.endswith(".alpha_dense")]
        assert len(gates) == 4
        assert not any(gate.any() for gate in gates)
        if variant == "vit-lowlr":
            continue
        other = materialize(f"linear@{variant}", root=roots(out), cache=tmp_path)
        alone = Model(
            AutoModelForImageTextToText.from_pretrained(other), AutoProcessor.from_pretrained(other)
        )
        crossed = Model(model, AutoProcessor.from_pretrained(folder))
        logits = [found.model(**found.inputs(asked)).logits[0, -1].detach() for found in (alone, crossed)]
        assert torch.allclose(*logits, atol=1e-4)
    victim = materialize("cross_attention@victim", root=roots(out), cache=tmp_path)
    model = AutoModelForImageTextToText.from_pretrained(victim)
    assert any(w.any() for name, w in model.named_parameters() if name.endswith(".alpha_dense"))


def test_the_second_seed_shares_the_eyes_only(out: Path) -> None:
    checkpoints = out / CHECKPOINTS
    for stage in plan("linear"):
        other = checkpoint(checkpoints / "seed2", stage.name)
        if isinstance(stage, VisionStage):
            assert other.read_bytes() == checkpoint(checkpoints, stage.name).read_bytes()
        elif stage.name in [again.name for again in second_seed("linear")]:
            assert not same_tensors(other, checkpoint(checkpoints, stage.name), "weight/")
        else:
            assert not other.exists()
    parts = read_manifest(out / "extra" / "linear")["variants"]["seed2"]["parts"]
    assert [part["file"] for part in parts] == [
        "tower.safetensors",
        "bridge-seed2.safetensors",
        "seed2.safetensors",
    ]


def test_only_what_a_stage_names_is_trained(out: Path) -> None:
    """A checkpoint holds the groups of its rates and nothing else."""
    for stage in plan("queries"):
        keys = load_file(checkpoint(out / CHECKPOINTS, stage.name)).keys()
        assert {key.partition("/")[2].partition(".")[0] for key in keys} == set(stage.rates)


def test_progress_is_told(tmp_path: Path) -> None:
    seen: list[Progress] = []
    replace(short(find("language")), steps=22).train(tmp_path, SETTINGS, seen.append)
    assert [(p.stage, p.step, p.steps) for p in seen] == [("language", step, 22) for step in (1, 21, 22)]
    assert all(np.isfinite(p.figures["loss"]) for p in seen)
    assert seen[-1].figures["loss"] < seen[0].figures["loss"]
    assert json.loads(json.dumps(seen[-1].figures)) == seen[-1].figures


def test_unknown_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'linear'"):
        build("liner", tmp_path)
    assert not any(tmp_path.iterdir())
