"""Take the vision towers of the shipped models as finished stages, instead of training them again.

Towers are shared, frozen in all later stages, and most of what a build costs. As they ship (8 bits) they are
exactly what the other parts were trained behind, so that a build which starts from them gives models of the
same kind; training them anew gives other towers, and with these other models.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.errors import UsageError

if TYPE_CHECKING:
    from sightline.testbed.weights import Roots
    from sightline_testbed.training.plans import AnyStage
    from sightline_testbed.training.train import StageCost


def use_shipped_tower(
    name: str, stages: Sequence[AnyStage], checkpoints: Path, weights: Roots = None
) -> dict[str, StageCost]:
    """Write the tower of a shipped model as the checkpoint of its last vision stage.

    Args:
        name: of the model.
        stages: all of its build.
        checkpoints: folder to write to.
        weights: roots of model folders; what is installed by default.

    Returns:
        What each vision stage cost when it was trained, by the shipped manifest.

    Raises:
        UsageError: if the model is not there, or its manifest tells nothing of the stages.
    """
    import torch
    from safetensors.torch import load_file

    from sightline.testbed.families import family
    from sightline.testbed.weights import JOINED, find, materialize, read_manifest
    from sightline_testbed.training.stages import VisionStage, checkpoint
    from sightline_testbed.training.train import StageCost, save_weights

    vision = [stage for stage in stages if isinstance(stage, VisionStage)]
    known: dict[str, Any] = read_manifest(find(name, weights).folder).get("stages", {})
    missing = [stage.name for stage in vision if stage.name not in known]
    if missing:
        raise UsageError(
            f"the shipped model {name} does not say how {missing[0]!r} was made: train the tower"
        )
    spent = {
        stage.name: StageCost(
            **{key: known[stage.name][key] for key in ("steps", "wall_seconds", "cpu_seconds")}
        )
        for stage in vision
    }
    arch = family(stages[-1].family, stages[-1].size)
    model = arch.new_model(0)
    with tempfile.TemporaryDirectory() as cache:
        stored = load_file(materialize(name, root=weights, cache=Path(cache)) / JOINED)
    names = {id(weight): key for key, weight in model.named_parameters()}
    tower = arch.parts(model)["tower"]
    with torch.no_grad():
        for weight in tower.parameters():
            weight.copy_(stored[names[id(weight)]])
    save_weights(checkpoint(checkpoints, vision[-1].name), {"tower": tower}, spent[vision[-1].name])
    return spent
