"""Where a local model comes from: a folder, whose weights are loaded once per process, or memory.

Whoever opens a source gets a model with modules of its own around shared weights, so that a target (repacked
for inference) and a surrogate (with gradients) of the same weights need the memory of one.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from sightline.targets.local.families import facts_of
from sightline.targets.local.files import weights_digest
from sightline.targets.local.settings import LocalSettings

if TYPE_CHECKING:
    from sightline.targets.local.processors import Route

#: what is opened, in messages
KIND = "an image-text-to-text model"
TEXT_KIND = "a language model"


class LibraryKind(NamedTuple):
    """The class of the library that a model is loaded by, and what that is in messages."""

    kind: Any
    what: str


def kind_of(config: Any) -> LibraryKind:
    """How a model of a configuration is loaded: as a language model, if it sees no pictures."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    if facts_of(str(config.model_type)).text_only:
        return LibraryKind(AutoModelForCausalLM, TEXT_KIND)
    return LibraryKind(AutoModelForImageTextToText, KIND)


class ModelSource(Protocol):
    """Weights and processor of one image-text-to-text model, in one number format on one device."""

    @property
    def where(self) -> str:
        """The folder, or what is in memory; for messages."""
        ...

    @property
    def key(self) -> str:
        """Names the weights within this process."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of all that decides what the model answers."""
        ...

    @property
    def dtype(self) -> str:
        """Name of the number format."""
        ...

    @property
    def device(self) -> str:
        """Where the model runs."""
        ...

    def config(self) -> Any:
        """The model's configuration; weights are not loaded."""
        ...

    def route(self, config: Any, cache_bytes: int) -> Route:
        """How requests become tensors."""
        ...

    def image_processor(self) -> Any:
        """The picture processor, on Pillow; None for a language model that sees no pictures."""
        ...

    def model(self, config: Any) -> Any:
        """The frozen model: its own modules around shared weights, which a folder's first call loads."""
        ...


class FolderSource:
    """A model folder; every error names it. See `ModelSource`."""

    def __init__(self, folder: Path, settings: LocalSettings) -> None:
        self.folder = folder
        self.where = str(folder)
        self.key = self.digest = weights_digest(folder)
        self.dtype = settings.resolved_dtype()
        self._settings = settings

    @property
    def device(self) -> str:
        """See `ModelSource.device`."""
        return self._settings.resolved_device()

    def config(self) -> Any:
        """See `ModelSource.config`."""
        from sightline.targets.local.loading import load_config

        return load_config(self.folder)

    def route(self, config: Any, cache_bytes: int) -> Route:
        """See `ModelSource.route`."""
        from sightline.targets.local.processors import route_for

        if facts_of(str(config.model_type)).text_only:
            from sightline.targets.local.limits import ForeignText
            from sightline.targets.local.text import text_route_for

            foreign = ForeignText(self.folder)
            foreign.check_tokenizer()
            return text_route_for(self.folder, str(config.model_type), foreign)
        return route_for(self.folder, config, cache_bytes)

    def image_processor(self) -> Any:
        """See `ModelSource.image_processor`."""
        from transformers.models.auto.image_processing_auto import AutoImageProcessor  # 5.17 exports a stub

        from sightline.targets.local.loading import LOCAL, one_sentence

        if facts_of(str(self.config().model_type)).text_only:
            return None
        with one_sentence(self.folder, f"cannot be loaded as {KIND}"):
            return AutoImageProcessor.from_pretrained(self.folder, backend="pil", **LOCAL)

    def model(self, config: Any) -> Any:
        """See `ModelSource.model`."""
        from sightline.targets.local.loading import shared_model

        kind, what = kind_of(config)
        return shared_model(
            kind,
            self.folder,
            what,
            digest=self.digest,
            dtype=self.dtype,
            device=self._settings.present_device(),
            config=config,
        )


class MemorySource:
    """A model and its processor that are in memory already; neither is changed. See `ModelSource`.

    The digest is computed when it is first asked for; open the model again after its weights were changed.

    Raises:
        UsageError: if the processor has no tokenizer, or no picture processor that exists on Pillow.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        from sightline.targets.local.processors import check_processor

        check_processor(processor)
        self._model, self._processor = model, processor
        self.where = f"the {type(model).__name__} in memory"
        self.key = f"in memory at {id(model)}"
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.device = str(model.device)

    @cached_property
    def digest(self) -> str:
        """See `ModelSource.digest`."""
        import torch

        total, tokenizer = hashlib.sha256(), self._processor.tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        texts = (
            self._model.config.to_json_string(),
            self._processor.image_processor.to_json_string(),
            backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items())),
            str(getattr(self._processor, "chat_template", None) or tokenizer.chat_template),
        )
        for text in texts:
            total.update(f"{text}\0".encode())
        for name, weight in sorted(self._model.state_dict().items()):
            total.update(f"{name}\0{tuple(weight.shape)}\0".encode())
            total.update(weight.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def config(self) -> Any:
        """See `ModelSource.config`."""
        return self._model.config

    def route(self, config: Any, cache_bytes: int) -> Route:
        """See `ModelSource.route`."""
        from sightline.targets.local.limits import ForeignText
        from sightline.targets.local.processors import route_of

        return route_of(self._processor, config, cache_bytes, ForeignText(Path(self.where)))

    def image_processor(self) -> Any:
        """See `ModelSource.image_processor`."""
        from sightline.targets.local.processors import on_pillow

        return on_pillow(self._processor.image_processor)

    def model(self, config: Any) -> Any:  # noqa: ARG002
        """See `ModelSource.model`."""
        from sightline.targets.local.loading import same_weights

        return same_weights(self._model)
