"""Build a testbed model from scratch: all stages, then the files that ship. Interrupt it and run it again.

`build("linear", out)` keeps its checkpoints in ``out/checkpoints`` and writes two roots of model folders that
`materialize(name, root=[out / "main", out / "extra"])` understands: ``main`` for what is in Sightline's wheel
(the default variant of `linear`, `aligned-lm` and `vit`), ``extra`` for the data package (all else). Families
built into the same `out` share vision tower, language model and their files.
"""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sightline.testbed.weights import EXTRA, MAIN

if TYPE_CHECKING:
    from sightline.testbed.codec import How
    from sightline.testbed.families import Family
    from sightline_testbed.training.packing import Made, OwnFile, SharedFile
    from sightline_testbed.training.plans import AnyStage
    from sightline_testbed.training.train import Progress, Settings

TowerSource = Literal["train", "shipped"]
CHECKPOINTS = "checkpoints"
DEFAULT_VARIANT = "victim"
#: what of `linear` ships in the main wheel
MAIN_VARIANTS = ("victim", "aligned-lm", "vit")
SECOND = "seed2"
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pillow")
#: where a family keeps the language model that `linear` keeps under the first prefix
_RENAME = {
    "queries": {"model.language_model.": "language_model.model."},
    "cross_attention": {"model.language_model.": "model."},
}
_TOWER_RENAME = {"cross_attention": {"model.vision_tower.": "model.vision_model."}}


def build(
    name: str,
    out: Path,
    *,
    second: bool = False,
    tower: TowerSource = "train",
    resume: bool = True,
    report: Callable[[Progress], None] = lambda _: None,
    settings: Settings | None = None,
    shorten: Callable[[AnyStage], AnyStage] = lambda stage: stage,
) -> tuple[Path, ...]:
    """Train all stages of a model and write its folders.

    Args:
        name: of the model; `plans.MODELS` lists them.
        out: folder for checkpoints and results.
        second: also train the variant `seed2`.
        tower: train the vision tower, or take the `shipped` one, which saves most of the cost.
        resume: continue from the checkpoints in `out`; otherwise they are removed first.
        report: called about every 20 steps.
        settings: seed, threads, dtype; the shipped weights' settings by default.
        shorten: changes a stage's schedule, for smoke tests.

    Returns:
        The roots to give to `materialize` and `check`.

    Raises:
        UsageError: for an unknown name, or a shipped tower that is not there.
    """
    from sightline_testbed.training.plans import plan, second_seed
    from sightline_testbed.training.shipped_tower import use_shipped_tower
    from sightline_testbed.training.train import Settings

    stages, settings = plan(name), settings or Settings()
    checkpoints = out / CHECKPOINTS
    if not resume:
        shutil.rmtree(checkpoints, ignore_errors=True)
    used = {stage.name: shorten(stage) for stage in stages}
    spent = use_shipped_tower(name, stages, checkpoints) if tower == "shipped" else {}
    spent |= {
        name: stage.train(checkpoints, settings, report) for name, stage in used.items() if name not in spent
    }
    if second:
        other = replace(settings, seed=settings.seed + 1)
        folder = second_folder(checkpoints, stages)
        spent |= {
            f"{SECOND}/{stage.name}": used[stage.name].train(folder, other, report)
            for stage in second_seed(name)
        }
    facts = {
        "settings": {
            "seed": settings.seed,
            "threads": settings.threads,
            "dtype": settings.dtype,
            "tower": tower,
        },
        "stages": {
            key: {**_schedule(used[key.removeprefix(f"{SECOND}/")]), **asdict(cost)}
            for key, cost in spent.items()
        },
    }
    return export(name, checkpoints, out / MAIN, out / EXTRA, facts)


def _schedule(stage: AnyStage) -> dict[str, Any]:
    return {"aim": stage.aim, "batch": stage.batch, "peak_rates": dict(stage.rates)}


def second_folder(checkpoints: Path, stages: Sequence[AnyStage]) -> Path:
    """Return the checkpoint folder of the second seed, with the first seed's vision tower in it."""
    from sightline_testbed.training.stages import VisionStage, checkpoint

    folder = checkpoints / SECOND
    for stage in stages:
        if isinstance(stage, VisionStage):
            copy = checkpoint(folder, stage.name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if not copy.exists() and checkpoint(checkpoints, stage.name).exists():
                shutil.copyfile(checkpoint(checkpoints, stage.name), copy)
    return folder


def export(
    name: str, checkpoints: Path, main: Path, extra: Path, facts: Mapping[str, Any]
) -> tuple[Path, ...]:
    """Write weights, tokenizer, configuration and manifest of a model from finished stages.

    Files of `linear` in `main` or `extra` are shared where they hold the same weights.
    """
    from sightline_testbed.training.packing import write_model

    parts = _Parts(name, checkpoints, main, extra)
    variants = parts.variants()
    with tempfile.TemporaryDirectory() as scratch:
        _save_configuration(parts.family, Path(scratch))
        known = {**facts, "versions": versions()}

        def write(root: Path, chosen: Mapping[str, Made], *, whole: bool) -> None:
            write_model(
                root / name,
                name=name,
                family=parts.family.name,
                size=asdict(parts.family.size),
                sources=parts.sources(chosen, shared=not whole),
                variants=chosen,
                default=DEFAULT_VARIANT if whole else None,
                extra_files=Path(scratch) if whole else None,
                facts=known,
                roots=(main, extra),
            )

        if name == "linear":
            write(main, {key: variants[key] for key in MAIN_VARIANTS}, whole=True)
            write(
                extra, {key: made for key, made in variants.items() if key not in MAIN_VARIANTS}, whole=False
            )
        else:
            write(extra, variants, whole=True)
    return (main, extra)


def versions() -> dict[str, str]:
    """Return the versions that decide what a build gives."""
    return {
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in _PACKAGES},
    }


def _save_configuration(arch: Family, folder: Path) -> None:
    """Write configuration, generation settings, tokenizer and processor of a Hugging Face folder."""
    model = arch.new_model(0)
    settings = arch.config()
    settings.architectures = [type(model).__name__]
    settings.dtype = "float32"
    settings.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    arch.processor().save_pretrained(folder)


class _Parts:
    """Reads the parts of a model from checkpoints, under the names the genuine model gives them."""

    def __init__(self, name: str, checkpoints: Path, main: Path, extra: Path) -> None:
        from sightline.testbed.families import family
        from sightline_testbed.training.plans import plan
        from sightline_testbed.training.stages import Tuning, VisionStage

        self.name, self.checkpoints = name, checkpoints
        stages = plan(name)
        self.tower = [stage.name for stage in stages if isinstance(stage, VisionStage)][-1]
        tunings = [stage for stage in stages if isinstance(stage, Tuning)]
        self.language = {stage.name.rpartition("/")[2]: stage.name for stage in tunings}
        self.visual = self.language["visual-2"]
        self.family = family(tunings[-1].family, tunings[-1].size)
        self.shares_language = name in _RENAME and (main / "linear" / "manifest.json").is_file()
        self.shares_base = self.shares_language and (extra / "linear" / "manifest.json").is_file()
        self.shares_second = self.shares_base and (extra / "linear" / f"{SECOND}.safetensors").is_file()
        self.second = checkpoints / SECOND
        self._model = self.family.new_model(0)

    def state(self, part: str, stage: str, folder: Path | None = None) -> dict[str, Any]:
        """Return one part's tensors as a stage left them."""
        from sightline_testbed.training.stages import checkpoint
        from sightline_testbed.training.train import load_weights

        module = self.family.parts(self._model)[part]
        load_weights(checkpoint(folder or self.checkpoints, stage), {part: module})
        names = {id(weight): name for name, weight in self._model.named_parameters()}
        return {names[id(weight)]: weight.detach().clone().float().numpy() for weight in module.parameters()}

    def variants(self) -> dict[str, Made]:
        """Return all variants whose stages exist."""
        from sightline_testbed.training.packing import Made
        from sightline_testbed.training.plans import ABOUT, LADDER, STAGES
        from sightline_testbed.training.stages import checkpoint

        found = {
            variant: Made(parts=("tower", self._bridge(variant), variant), about=ABOUT[variant])
            for variant, stage in STAGES.items()
            if (self.name not in LADDER or variant in MAIN_VARIANTS)
            and checkpoint(self.checkpoints, self.language.get(stage, stage)).is_file()
        }
        if (self.second / f"{self.name}/victim.safetensors").is_file():
            found[SECOND] = Made(parts=("tower", "bridge-seed2", SECOND), about=ABOUT[SECOND])
        return found

    def sources(self, variants: Mapping[str, Made], *, shared: bool) -> dict[str, OwnFile | SharedFile]:
        """Return the weight files of some variants.

        Args:
            variants: which.
            shared: take what the main folder of the same model holds from there.
        """
        from sightline_testbed.training.packing import OwnFile, SharedFile
        from sightline_testbed.training.plans import LADDER, STAGES

        found: dict[str, OwnFile | SharedFile] = {}
        for source in ("tower", "bridge"):
            found[source] = SharedFile(file=f"{source}.safetensors") if shared else self._vision_file(source)
        for variant in variants:
            if self._bridge(variant) not in found and variant != SECOND:
                shut = self._shut(variant)
                found[self._bridge(variant)] = OwnFile(state=shut, how="delta4", base="bridge")
        bases = {"victim": "vit", "sysprompt": "victim", "safetuned": "victim", "catfirst": "victim"}
        bases |= {"vit-lowlr": "aligned-lm", "catfirst-vit": "catfirst"}
        if self.shares_language or self.name in LADDER:  # half the bytes
            bases["vit"] = "aligned-lm"
        for variant in ("vit", "aligned-lm", "victim", *variants):
            if variant in found or variant not in STAGES:
                continue
            base, stage = bases.get(variant), self.language[STAGES[variant]]
            if shared and variant in MAIN_VARIANTS:
                found[variant] = SharedFile(file=f"{variant}.safetensors", base=base)
            elif (variant == "aligned-lm" and self.shares_language) or (
                variant == "base" and self.shares_base
            ):
                found[variant] = self._shared_file(variant)
            else:
                how: How = "delta4" if base else "int8"
                found[variant] = OwnFile(state=self.state("language", stage), how=how, base=base)
        if SECOND in variants:
            victim = f"{self.name}/victim"
            found["bridge-seed2"] = OwnFile(state=self.state("bridge", self.visual, self.second))
            state = self.state("language", victim, self.second)
            if self.shares_second:  # the second seed's victims started from one language model as well
                found["second"] = self._shared_file(SECOND)
                found[SECOND] = OwnFile(state=state, how="delta4", base="second")
            else:
                found[SECOND] = OwnFile(state=state)
        return found

    def _bridge(self, variant: str) -> str:
        """Return the bridge a variant has: cross-attention's language models of their own need it shut."""
        if self.family.name != "cross_attention":
            return "bridge"
        shut = {"aligned-lm": "bridge-shut", "base": "bridge-shut", "vit-lowlr": "bridge-lowlr"}
        return shut.get(variant, "bridge")

    def _shut(self, variant: str) -> dict[str, Any]:
        """Return a bridge that leaves text to the language model alone."""
        from sightline_testbed.training.stages import TEXT_GATE

        if variant == "vit-lowlr":
            return self.state("bridge", self.language["vit-lowlr"])
        trained = self.state("bridge", self.visual)
        return {name: value * 0 for name, value in trained.items() if name.endswith(TEXT_GATE)}

    def _shared_file(self, variant: str) -> SharedFile:
        from sightline_testbed.training.packing import SharedFile

        return SharedFile(file=f"{variant}.safetensors", model="linear", rename=_RENAME[self.name])

    def _vision_file(self, part: str) -> OwnFile | SharedFile:
        from sightline_testbed.training.packing import OwnFile, SharedFile

        if part == "tower" and self.shares_language and self.name in _TOWER_RENAME:
            return SharedFile(file="tower.safetensors", model="linear", rename=_TOWER_RENAME[self.name])
        return OwnFile(state=self.state(part, self.tower if part == "tower" else self.visual))
