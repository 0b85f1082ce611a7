"""Build a testbed model from scratch: all stages, then the files that ship. Interrupt it and run it again.

`build("linear", out)` keeps its checkpoints in ``out/checkpoints`` and writes weights, tokenizer,
configuration and manifest to ``out/linear``, which `materialize(name, root=out)` understands.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.digests import sha256_file
from sightline.errors import ContractError, UsageError, nearest
from sightline.testbed.weights import MANIFEST

if TYPE_CHECKING:
    from sightline.testbed.train import Progress, Settings, Spent, Stage

MODELS = ("linear",)
VISION_FILE = "vision.safetensors"
#: variant -> the stage whose language model it is
VARIANTS = {"victim": "victim", "aligned-lm": "alignment", "vit": "visual"}
DEFAULT_VARIANT = "victim"
MOST_BYTES = 14_000_000
_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pillow")


def build(
    name: str,
    out: Path,
    *,
    resume: bool = True,
    report: Callable[[Progress], None] = lambda _: None,
    settings: Settings | None = None,
    stages: Mapping[str, Stage] | None = None,
) -> Path:
    """Train all stages and write the model's folder.

    Args:
        name: of the model; `MODELS` lists them.
        out: folder for checkpoints and result.
        resume: continue from the checkpoints in `out`; otherwise they are removed first.
        report: called about every 20 steps.
        settings: seed, threads, dtype; the shipped weights' settings by default.
        stages: other schedules, by stage name, for smoke tests.

    Returns:
        The folder with weights, configuration and manifest.

    Raises:
        UsageError: for an unknown name.
    """
    if name not in MODELS:
        raise UsageError(nearest(name, MODELS, "testbed model"))
    from sightline.testbed import stages as plan
    from sightline.testbed.train import Settings

    settings = settings or Settings()
    checkpoints = out / "checkpoints"
    if not resume:
        shutil.rmtree(checkpoints, ignore_errors=True)
    spent: dict[str, Spent] = {}
    used: dict[str, Stage] = {}
    for stage, train in plan.PLAN:
        used[stage.name] = (stages or {}).get(stage.name, stage)
        spent[stage.name] = train(checkpoints, settings, report, used[stage.name])
    folder = out / name
    export(checkpoints, folder)
    facts = {
        "settings": {"seed": settings.seed, "threads": settings.threads, "dtype": settings.dtype},
        "stages": {key: {**_schedule(used[key]), **asdict(spent[key])} for key in spent},
    }
    _write_manifest(name, folder, facts)
    return folder


def _schedule(stage: Stage) -> dict[str, Any]:
    return {"aim": stage.aim, "batch": stage.batch, "peak_rates": dict(stage.rates)}


def export(checkpoints: Path, folder: Path) -> None:
    """Write fp16 weights, tokenizer and configuration from finished stages."""
    import torch
    from safetensors.torch import save_file

    from sightline.testbed import model as parts
    from sightline.testbed.train import load_weights

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    whole = parts.new_model(0)
    language = {"language": whole.model.language_model}
    eyes = {"tower": whole.model.vision_tower, "projector": whole.model.multi_modal_projector}
    load_weights(checkpoints / "visual.safetensors", eyes)

    def write(file: str, prefixes: tuple[str, ...]) -> None:
        state = {key: value for key, value in whole.state_dict().items() if key.startswith(prefixes)}
        tensors = {key: value.detach().to(torch.float16).contiguous() for key, value in state.items()}
        save_file(tensors, folder / file, metadata={"format": "pt"})
        (folder / file).chmod(0o644)  # safetensors makes files for the owner only

    write(VISION_FILE, ("model.vision_tower.", "model.multi_modal_projector."))
    for variant, stage in VARIANTS.items():
        load_weights(checkpoints / f"{stage}.safetensors", language)
        write(f"{variant}.safetensors", ("model.language_model.",))
    settings = parts.config()
    settings.architectures = [type(whole).__name__]
    settings.dtype = "float32"
    settings.save_pretrained(folder)
    whole.generation_config.save_pretrained(folder)
    parts.processor().save_pretrained(folder)


def _write_manifest(name: str, folder: Path, facts: dict[str, Any]) -> None:
    """Write sizes, hashes, versions and costs beside the weights."""
    files: dict[str, dict[str, Any]] = {
        path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
        if path.name not in (MANIFEST, "CARD.md")
    }
    total = sum(entry["bytes"] for entry in files.values())
    if total > MOST_BYTES:
        raise ContractError(f"{name} takes {total} bytes; at most {MOST_BYTES} may ship")
    manifest = {
        "name": name,
        "default": DEFAULT_VARIANT,
        "variants": {variant: [VISION_FILE, f"{variant}.safetensors"] for variant in VARIANTS},
        "bytes": total,
        "files": files,
        "versions": {
            "python": platform.python_version(),
            **{package: importlib.metadata.version(package) for package in _PACKAGES},
        },
        **facts,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
