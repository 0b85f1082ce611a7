"""Local Hugging Face image-text-to-text models: `vlm/FOLDER-or-id`, and `testbed/NAME` through it.

Any family that `AutoModelForImageTextToText` knows and whose pictures can be processed without
torchvision: tried are LLaVA, LLaVA-NeXT, BLIP-2, InstructBLIP, Idefics-1/2/3, Mllama, PaliGemma, and
Qwen2-VL / Qwen2.5-VL by a route of their own. Weights are loaded on the first question, once per
process; opening a target only hashes its files.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.cases import Conversation
from sightline.closure import with_code
from sightline.contracts import Decoding, Images
from sightline.records import Response
from sightline.targets._asked import checked
from sightline.targets.local.files import model_folder, need_local, weights_digest
from sightline.targets.local.settings import LocalSettings

if TYPE_CHECKING:
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
        self, name: str, folder: str | Path, images: Images, settings: LocalSettings | None = None
    ) -> None:
        need_local(f"target {name!r}")
        self._settings = settings or LocalSettings.from_environment()
        self.folder = model_folder(str(folder), allow_download=self._settings.allow_download)
        self.weights = weights_digest(self.folder)
        self._dtype = self._settings.resolved_dtype()
        self._images = images
        self._opened: Batcher | None = None
        self.id = with_code(f"{name}#{self.weights[:16]}@{self._dtype}", __name__, packages=PACKAGES)

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

    def loaded(self) -> LoadedModel:
        """The model in memory; loaded once per process for the same weights, number format and device.

        Raises:
            UsageError: if it cannot be loaded.
        """
        from sightline.targets.local.model import LoadedModel

        key = (self.weights, self._dtype, self._settings.resolved_device())
        with _loading:
            if key not in _models:
                room = self._settings.cache_mb * 1_000_000
                _models[key] = LoadedModel(self.folder, device=key[2], dtype=self._dtype, cache_bytes=room)
            return _models[key]

    @property
    def preprocessed(self) -> int:
        """How many pictures were preprocessed so far; with enough cache, the number of distinct ones."""
        return self.loaded().route.tensors.calls

    def batcher(self) -> Batcher:
        """The queue of this model with these settings; shared by all targets that name it."""
        from sightline.targets.local.batcher import Batcher

        model = self.loaded()
        settings = self._settings
        key = (self.weights, model.dtype, model.device, settings.max_batch, settings.max_wait_ms)
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

    return invariance.remembered(target.loaded(), target.weights)


def forget_models() -> None:
    """Drop all loaded models (for tests and long-lived processes); running requests finish."""
    with _loading:
        for batcher in _batchers.values():
            batcher.close()
        _models.clear()
        _batchers.clear()


def open_vlm(name: str, rest: str, images: Images, settings: LocalSettings | None = None) -> VlmTarget:
    """`vlm/REST`."""
    return VlmTarget(name, rest, images, settings)


def open_testbed(name: str, rest: str, images: Images, settings: LocalSettings | None = None) -> VlmTarget:
    """`testbed/REST`: one of the small models that come with Sightline."""
    need_local(f"target {name!r}")
    weights: Any = importlib.import_module("sightline.testbed.weights")
    return VlmTarget(name, weights.materialize(rest), images, settings)
