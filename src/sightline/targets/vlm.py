"""Local Hugging Face image-text-to-text models: `vlm/FOLDER-or-id`, and `testbed/NAME` through it.

Any family that `AutoModelForImageTextToText` knows and whose pictures can be processed without
torchvision: tried are LLaVA, LLaVA-NeXT, BLIP-2, InstructBLIP, Idefics-1/2/3, Mllama, PaliGemma, and
Qwen2-VL / Qwen2.5-VL by a route of their own. Weights are loaded on the first question, once per
process, for its surrogates as well; opening a target only hashes its files. `from_memory` takes a model that
is loaded already.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.cases import Conversation
from sightline.closure import with_code
from sightline.contracts import Decoding, Images
from sightline.errors import UsageError
from sightline.records import Response
from sightline.targets import tuned
from sightline.targets._asked import checked
from sightline.targets.local.files import model_folder, need_local
from sightline.targets.local.settings import LocalSettings
from sightline.targets.local.source import FolderSource, MemorySource, ModelSource

if TYPE_CHECKING:
    from sightline.defending import Inside
    from sightline.targets.local.batcher import Batcher
    from sightline.targets.local.invariance import InvarianceReport
    from sightline.targets.local.model import LoadedModel

PACKAGES = ("torch", "transformers")
"""What prepares and decodes beside our code."""
_log = logging.getLogger(__name__)
_loading = threading.Lock()
_models: dict[tuple[str, str, str], LoadedModel] = {}
_batchers: dict[tuple[str, str, str, int, float], Batcher] = {}


class VlmTarget:
    """A model folder as a target.

    `id` is the name with the digests of the weights and of the code that prepares and decodes, and the number
    format; what only makes it faster (device, batch size) is not part of it.

    Raises:
        AbsentExtraError: if torch or transformers is not installed.
        UsageError: if the folder holds no model that may be loaded.
    """

    def __init__(
        self,
        name: str,
        source: str | Path | ModelSource,
        images: Images,
        settings: LocalSettings | None = None,
    ) -> None:
        need_local(f"target {name!r}")
        self._name = name
        self._settings = settings or LocalSettings.from_environment()
        if isinstance(source, str | Path):
            folder = model_folder(str(source), allow_download=self._settings.allow_download)
            source = FolderSource(folder, self._settings)
        self.source: ModelSource = source
        self._images = images
        self._opened: Batcher | None = None

    @cached_property
    def id(self) -> str:
        """See `Target.id`."""
        identity = f"{self._name}#{self.source.digest[:16]}@{self.source.dtype}"
        return with_code(identity, __name__, packages=PACKAGES)

    def __repr__(self) -> str:
        return f"VlmTarget({self.id!r})"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        """One reply, batched with the other requests that wait at the same time.

        A request that does not fit the model (too long, too many pictures) is answered with stop
        'error'. Raises UsageError for a picture that could not be read.
        """
        checked(conversation)
        batcher = self._opened
        if batcher is None or batcher.closed:
            batcher = await asyncio.to_thread(self.batcher)
        return await asyncio.wrap_future(batcher.submit(conversation, decoding, self._images.read))

    async def first_token(self, conversation: Conversation, decoding: Decoding) -> dict[str, float]:
        """Probabilities of the greedy reply's likeliest first tokens, by text; none for an unfit request."""
        from sightline.targets._asked import UnfitError
        from sightline.targets.local.first_token import first_token

        def found() -> dict[str, float]:
            model = self.loaded()
            return first_token(model, model.prepare(conversation, decoding, self._images.read))

        try:
            return await asyncio.to_thread(found)
        except UnfitError:
            return {}

    def loaded(self) -> LoadedModel:
        """The model in memory; loaded once per process for the same weights, number format and device.

        Raises:
            UsageError: if it cannot be loaded.
        """
        from sightline.targets.local.model import LoadedModel

        key = (self.source.key, self.source.dtype, self.source.device)
        with _loading:
            if key not in _models:
                _models[key] = LoadedModel(self.source, cache_bytes=self._settings.cache_mb * 1_000_000)
            return _models[key]

    def inside(self) -> Inside:
        """The model from inside; see `defending.Inside`."""
        from sightline.targets.local.inside import LocalInside

        return LocalInside(self.loaded(), self._images.read)

    @property
    def preprocessed(self) -> int:
        """How many pictures were preprocessed so far; with enough cache, the number of distinct ones."""
        return self.loaded().route.tensors.calls

    def batcher(self) -> Batcher:
        """The queue of this model with these settings; shared by all targets that name it."""
        from sightline.targets.local.batcher import Batcher

        model = self.loaded()
        settings = self._settings
        key = (self.source.key, model.dtype, model.device, settings.max_batch, settings.max_wait_ms)
        with _loading:
            if key not in _batchers or _batchers[key].closed:
                _batchers[key] = Batcher(
                    model,
                    max_batch=settings.max_batch,
                    max_wait_ms=settings.max_wait_ms,
                    invariant=lambda: self._is_invariant(),
                )
            found = self._opened = _batchers[key]
            return found

    def _is_invariant(self) -> bool:
        report = check_batch_invariance(self)
        if not report.passed:
            _log.warning(
                "%s: answers change with the batch (%d of %d agree, scores differ by %.2g): one at a time",
                self.id,
                report.agreed + report.ties,
                report.rows,
                report.max_diff,
            )
        return report.passed


def check_batch_invariance(target: VlmTarget) -> InvarianceReport:
    """Whether the model answers alike alone and in a batch; measured once per weights and versions."""
    from sightline.targets.local import invariance

    return invariance.remembered(target.loaded(), target.source.digest)


def forget_models() -> None:
    """Drop all loaded models (for tests and long-lived processes); running requests finish."""
    with _loading:
        for batcher in _batchers.values():
            batcher.close()
        _models.clear()
        _batchers.clear()


def _forget(source: str) -> None:
    """Drop what is held of a source: the weights behind it may have been changed since."""
    with _loading:
        for key in [key for key in _batchers if key[0] == source]:
            _batchers.pop(key).close()
        for loaded in [key for key in _models if key[0] == source]:
            _models.pop(loaded)


def from_memory(
    model: Any, processor: Any, images: Images, *, name: str = "", settings: LocalSettings | None = None
) -> VlmTarget:
    """A loaded model of `transformers` and its processor as a target; nothing is loaded, neither is changed.

    Args:
        model: an image-text-to-text model, on its device and in its number format.
        processor: as `AutoProcessor.from_pretrained` loads it.
        images: where the pictures of conversations are read from.
        name: in the target's id and in messages; by default that of the model's configuration.
        settings: of batches; device and number format are the model's.

    Raises:
        AbsentExtraError: if torch or transformers is not installed.
        UsageError: if the processor lacks a part, or works on torchvision only.
    """
    source = MemorySource(model, processor)
    _forget(source.key)
    given = name or Path(model.config.name_or_path).name or str(model.config.model_type)
    return VlmTarget(f"memory/{given}", source, images, settings)


def open_vlm(name: str, rest: str, images: Images, settings: LocalSettings | None = None) -> VlmTarget:
    """`vlm/REST`."""
    return VlmTarget(name, rest, images, settings)


def open_testbed(name: str, rest: str, images: Images, settings: LocalSettings | None = None) -> VlmTarget:
    """`testbed/REST`: one of the small models that come with Sightline."""
    need_local(f"target {name!r}")
    fetched: Any = importlib.import_module("sightline.testbed.smol.places")
    if fetched.is_ours(rest):
        return VlmTarget(name, fetched.find(rest), images, settings)
    weights: Any = importlib.import_module("sightline.testbed.weights")
    return VlmTarget(name, weights.materialize(rest), images, settings)


def open_tuned(name: str, rest: str, images: Images, settings: LocalSettings | None = None) -> VlmTarget:
    """`tuned/REST`: what a recipe of training made of a local model."""
    need_local(f"target {name!r}")
    return VlmTarget(name, tuned.find(rest).folder, images, settings)


def open_swapped(name: str, rest: str, images: Images, settings: LocalSettings | None = None) -> VlmTarget:
    """`swapped/TOWER:TARGET`: a local model with the vision tower of the folder TOWER.

    Raises:
        UsageError: for another form, an inner target that is no local model, or a tower that does not fit it.
    """
    from sightline.targets.local.source import FolderSource
    from sightline.targets.local.tower_swap import SwappedSource, check_tower

    tower, colon, inner = rest.partition(":")
    kind, _, place = inner.strip().partition("/")
    openers = {"vlm": open_vlm, "testbed": open_testbed, "tuned": open_tuned}
    if not colon or not tower.strip() or not place or kind not in openers:
        raise UsageError(f"target {name!r}: write swapped/TOWER_FOLDER:vlm/FOLDER, or testbed/NAME behind it")
    need_local(f"target {name!r}")
    found = settings or LocalSettings.from_environment()
    folder = model_folder(tower.strip(), allow_download=found.allow_download, kind="CLIPVisionModel")
    model = openers[kind](inner.strip(), place, images, found)
    if isinstance(model.source, FolderSource):
        check_tower(folder, model.source)
    return VlmTarget(name, SwappedSource(model.source, folder), images, found)
