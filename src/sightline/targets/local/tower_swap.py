"""A local model with another vision tower: the weights of a folder in place of its own, and nothing else.

For towers that were trained to be robust, such as FARE and TeCoA (Schlarmann et al., ICML 2024): CLIP
weights. All tensors of the tower must be in the folder, in the same shapes; what the tower has no place for
(a deeper one's layers) is refused, too. Text tower and projections of the folder are not used.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.digests import digest
from sightline.errors import UsageError
from sightline.targets.local.families import FAMILIES
from sightline.targets.local.files import weights_digest
from sightline.targets.local.source import KIND, FolderSource, ModelSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sightline.targets.local.processors import Route

_PREFIXES = ("", "vision_model.", "vision_tower.", "vision_tower.vision_model.", "visual.")
_SETTINGS = ("hidden_act", "num_attention_heads", "patch_size", "image_size", "layer_norm_eps")
"""What weights do not show, and what must therefore be alike where the folder says it."""
_CURE = "a tower can take the place of one of the same architecture, width, patch and resolution"


class SwappedSource:
    """The source `inner` with the vision tower of `folder`. Satisfies `ModelSource`.

    Its digest is of both, so that no other target has its answers.
    """

    def __init__(self, inner: ModelSource, folder: Path) -> None:
        self._inner = inner
        self._folder = folder
        self.where = f"{inner.where} with the vision tower of {folder}"
        self.dtype = inner.dtype

    @property
    def key(self) -> str:
        """See `ModelSource.key`."""
        return self.digest

    @cached_property
    def digest(self) -> str:
        """See `ModelSource.digest`."""
        both = (self._inner.digest, weights_digest(self._folder))
        return digest("tower swap", *both) + digest("swap of towers", *both)

    @property
    def device(self) -> str:
        """See `ModelSource.device`."""
        return self._inner.device

    def config(self) -> Any:
        """See `ModelSource.config`."""
        return self._inner.config()

    def route(self, config: Any, cache_bytes: int) -> Route:
        """See `ModelSource.route`."""
        return self._inner.route(config, cache_bytes)

    def image_processor(self) -> Any:
        """See `ModelSource.image_processor`."""
        return self._inner.image_processor()

    def model(self, config: Any) -> Any:
        """See `ModelSource.model`.

        Raises:
            UsageError: for a family whose tower is not known, and a folder whose tower does not fit.
        """
        import torch

        model = self._inner.model(config)
        tower = tower_in(model)
        check_settings(self._folder, tower.config)
        found = tower_tensors(tower_places(self._folder, set(tower.state_dict())))
        with torch.inference_mode(False):
            for name, own in tower.named_parameters():
                put_tensor(tower, name, own, found[name], self._folder)
        return model


def check_tower(folder: Path, inner: FolderSource) -> None:
    """Make sure that the folder's tower fits the model's, by names and shapes; no weights are loaded.

    Raises:
        UsageError: as `SwappedSource.model`, but for what numbers alone show.
    """
    from safetensors import safe_open
    from transformers import AutoModelForImageTextToText

    from sightline.targets.local.loading import described, one_sentence

    with one_sentence(inner.folder, f"cannot be loaded as {KIND}"):
        tower = tower_in(described(AutoModelForImageTextToText, inner.folder, inner.config()))
    check_settings(folder, tower.config)
    shapes = {name: tuple(each.shape) for name, each in tower.named_parameters()}
    for name, (path, key) in tower_places(folder, set(tower.state_dict())).items():
        with safe_open(path, "pt") as file:
            found = tuple(file.get_slice(key).get_shape())
        if name in shapes and found != shapes[name]:
            raise UsageError(f"{folder}: {name} is {found}, the model's {shapes[name]}: {_CURE}")


def tower_in(model: Any) -> Any:
    """The vision tower of a model.

    Raises:
        UsageError: for a family whose tower stands in no module of its own.
    """
    kind = str(model.config.model_type)
    known = {name: facts.tower for name, facts in FAMILIES.items() if facts.tower}
    if kind not in known:
        raise UsageError(
            f"the vision tower of a {kind} model cannot be swapped; there is a way for "
            f"{', '.join(sorted(known))}"
        )
    return getattr(model.base_model, known[kind])


def check_settings(folder: Path, own: Any) -> None:
    """Make sure that the folder's tower computes as the model's does, as far as its config.json says.

    Raises:
        UsageError: naming the setting.
    """
    from sightline.targets.local.loading import load_config

    config = load_config(folder)
    theirs = getattr(config, "vision_config", config)
    for name in _SETTINGS:
        one, other = getattr(own, name, None), getattr(theirs, name, None)
        if one is not None and other is not None and one != other:
            raise UsageError(f"{folder}: its tower has {name} {other}, the model's {one}: {_CURE}")


def tower_places(folder: Path, wanted: set[str]) -> dict[str, tuple[Path, str]]:
    """File and name there of each tensor of a tower, by the names that the model gives them.

    Raises:
        UsageError: naming a tensor that is absent, or one that the model's tower has no place for.
    """
    from safetensors import safe_open

    from sightline.targets.local.loading import one_sentence

    held: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with one_sentence(path, "not a whole safetensors file"), safe_open(path, "pt") as file:
            held |= dict.fromkeys(file.keys(), path)
    starts = [f"{outer}{prefix}" for outer in ("", "model.") for prefix in _PREFIXES]
    start = max(starts, key=lambda each: sum(f"{each}{name}" in held for name in wanted))
    found = {name.removeprefix(start): (path, name) for name, path in held.items() if name.startswith(start)}
    absent = sorted(name for name in wanted if name not in found and not name.endswith("position_ids"))
    if absent:
        raise UsageError(
            f"{folder}: {len(absent)} tensors of the tower are absent, such as {absent[0]}: {_CURE}"
        )
    families = {name.partition(".")[0] for name in wanted}
    odd = sorted(name for name in found if name.partition(".")[0] in families and name not in wanted)
    odd = [name for name in odd if not name.endswith("position_ids")]
    if odd:
        raise UsageError(
            f"{folder}: {len(odd)} of its tensors have no place in the tower, such as {odd[0]}: {_CURE}"
        )
    return found


def tower_tensors(places: Mapping[str, tuple[Path, str]]) -> Mapping[str, Any]:
    """The tensors of a tower, from where `tower_places` found them."""
    from safetensors import safe_open

    from sightline.targets.local.loading import one_sentence

    found: dict[str, Any] = {}
    for path in sorted({path for path, _ in places.values()}):
        with one_sentence(path, "not a whole safetensors file"), safe_open(path, "pt") as file:
            found |= {name: file.get_tensor(key) for name, (at, key) in places.items() if at == path}
    return found


def put_tensor(tower: Any, name: str, own: Any, tensor: Any, folder: Path) -> None:
    """Put a tensor in the place of a tower's own; what shares the old one keeps it.

    Raises:
        UsageError: naming the tensor, for another shape or numbers that are not finite.
    """
    import torch

    if tuple(tensor.shape) != tuple(own.shape):
        raise UsageError(
            f"{folder}: {name} is {tuple(tensor.shape)}, the model's {tuple(own.shape)}: {_CURE}"
        )
    if not bool(torch.isfinite(tensor.float()).all()):
        raise UsageError(f"{folder}: {name} is not finite (NaN or infinite): take the folder whole")
    module, _, last = name.rpartition(".")
    fresh = torch.nn.Parameter(tensor.to(device=own.device, dtype=own.dtype), requires_grad=False)
    setattr(tower.get_submodule(module), last, fresh)
