"""Image classifiers and object detectors as encoders: what they see, as log-odds of their labels.

Kinds of features: see `encoders`. A probability is the sigmoid of its log-odds; at 0 a label is as likely as
all others together. Classifiers with a softmax compare each label with all others; those for several labels
at once, and detectors that were trained with a focal loss, score each by itself; DETR and YOLOS compare with
"nothing" as well. A detector's score for a label is that of the box where it is likeliest: a picture passes
as free of it when that box falls below the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sightline.errors import UsageError, nearest, require
from sightline.whitebox.frozen import FrozenEncoder
from sightline.whitebox.preprocessing.processor import ToFields
from sightline.whitebox.shapes import Features, Losses
from sightline.whitebox.victim import Encoder, Kind

SEVERAL = "multi_label_classification"


class Classifier(FrozenEncoder):
    """An image classifier; satisfies `Encoder`. `encoders.open_encoder` makes one."""

    @property
    def labels(self) -> tuple[str, ...]:
        return _labels(self.model.config)

    def features(self, x: Tensor, kind: Kind = "pooled") -> Features:
        """See `Encoder.features`.

        Raises:
            UsageError: for other kinds than `pooled` and `scores`.
        """
        if kind not in ("pooled", "scores"):
            raise self._lacks(kind, "'pooled' or 'scores'")
        read: list[Tensor] = []
        head = self.model.classifier
        with head.register_forward_pre_hook(lambda _, given: read.append(given[0])):
            logits: Tensor = self.model(**self._fields(x)).logits.float()
        if kind == "pooled":
            return read[0].float().flatten(1)
        alone = logits.shape[-1] == 1 or self.model.config.problem_type == SEVERAL
        return logits if alone else log_odds(logits)


class Detector(FrozenEncoder):
    """An object detector; satisfies `Encoder`. `encoders.open_encoder` makes one.

    Args:
        model: whose forward gives `logits`, (n, boxes, labels), with or without one for nothing at the end.
        preprocess: its picture processor, in the graph.
        name: its identity.
        masked: whether the model takes `pixel_mask`.
    """

    def __init__(self, model: Any, preprocess: ToFields, name: str, *, masked: bool = True) -> None:
        super().__init__(model, preprocess, name)
        self._masked = masked

    @property
    def labels(self) -> tuple[str, ...]:
        return _labels(self.model.config)

    def features(self, x: Tensor, kind: Kind = "pooled") -> Features:
        """See `Encoder.features`; `patches` are the vectors of the boxes.

        Raises:
            UsageError: for projected features, which it does not have.
        """
        if kind == "projected":
            raise self._lacks(kind, "'scores', 'pooled' or 'patches'")
        fields = self._fields(x)
        if not self._masked:
            fields.pop("pixel_mask", None)
        made = self.model(**fields)
        logits: Tensor = made.logits.float()
        if kind != "scores":
            boxes: Tensor = made.last_hidden_state[:, -logits.shape[1] :].float()
            return boxes if kind == "patches" else boxes.mean(1)
        known = len(self.labels)
        odds = logits if logits.shape[-1] == known else log_odds(logits)[..., :known]
        return odds.amax(1)


def log_odds(logits: Tensor) -> Tensor:
    """Log-odds of each outcome of a softmax over the last axis, however likely it is; the same shape.

    1 - p is taken from p, but for the likeliest outcome, where all others are summed up instead.
    """
    top = logits.argmax(-1, keepdim=True)
    others = logits.scatter(-1, top, -torch.inf).logsumexp(-1, keepdim=True)
    less = torch.log1p(-logits.softmax(-1).scatter(-1, top, 0.0))
    found = logits - logits.logsumexp(-1, keepdim=True) - less
    return found.scatter(-1, top, logits.gather(-1, top) - others)


def _labels(config: Any) -> tuple[str, ...]:
    return tuple(str(config.id2label[place]) for place in range(config.num_labels))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelScore:
    """Log-odds of the likeliest of some labels of a classifier or detector: a term on pictures.

    Attributes:
        encoder: whose scores are taken.
        labels: by name.
        weight: of the term, more than 0; low is unseen.

    Raises:
        UsageError: for a label that the encoder does not have.
    """

    encoder: Encoder
    labels: tuple[str, ...]
    weight: float = 1.0

    def __post_init__(self) -> None:
        require(self.weight > 0, "weight", self.weight, "more than 0")
        require(len(self.labels) > 0, "labels", self.labels, "at least one label")
        known = self.encoder.labels
        if not known:
            raise UsageError(
                f"{self.encoder.id} scores no labels: name an image classifier or an object detector, "
                "encoder/FOLDER"
            )
        for label in self.labels:
            if label not in known:
                raise UsageError(f"{self.encoder.id}: {nearest(label, known, 'label')}")

    @property
    def passes(self) -> int:
        """One pass."""
        return 1

    def losses(self, x: Tensor) -> Losses:
        places = [self.encoder.labels.index(label) for label in self.labels]
        return self.weight * self.encoder.features(x, "scores")[:, places].amax(1)

    def scaled(self, factor: float) -> LabelScore:
        return replace(self, weight=self.weight * factor)

    def take(self, _index: Sequence[int]) -> LabelScore:
        """All pictures are scored alike."""
        return self
