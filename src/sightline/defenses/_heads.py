"""Trained classifiers of texts in folders, as parts of defenses: the chance of one label for a text."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

from sightline.errors import UsageError, nearest
from sightline.targets.local.files import model_folder, need_local, weights_digest


@dataclass(frozen=True, slots=True)
class TextHead:
    """A classifier in a folder; `label` is what its chance is of. A long text is read in windows.

    Attributes:
        folder: with config.json, tokenizer.json and *.safetensors.
        label: one of its labels, or '' where it has only one.
        worst: which window counts: the one with the least or with the most chance.
    """

    folder: str
    label: str
    worst: Literal["least", "most"]

    @property
    def digest(self) -> str:
        """Of weights, configuration, labels and tokenizer.

        Raises:
            UsageError: for a folder that holds no model.
        """
        return weights_digest(model_folder(self.folder))

    async def chance(self, text: str) -> float:
        """The label's chance, in [0, 1].

        Raises:
            AbsentExtraError: without torch.
            UsageError: for a folder that is no classifier with this label.
        """
        need_local("a trained head")
        return await asyncio.to_thread(self._chance, text)

    def _chance(self, text: str) -> float:
        from sightline.targets.local.text_classifier import text_classifier

        labels, windows = text_classifier(model_folder(self.folder), self.digest).scores(text)
        label = self.label.lower() or labels[0]
        if label not in labels or (not self.label and len(labels) > 1):
            raise UsageError(f"{self.folder}: {nearest(label, labels, 'label of the trained head')}")
        place = labels.index(label)
        chances = [window[place] for window in windows]
        return min(chances) if self.worst == "least" else max(chances)
