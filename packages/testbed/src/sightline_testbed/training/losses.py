"""What the stages minimize: next tokens, dense labels of patches, two aids that place words in pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sightline.testbed.families import Family
from sightline.testbed.world import COLORS, SHAPES
from sightline_testbed.training.batches import Rows, Seen
from sightline_testbed.training.pictures import CHARACTERS
from sightline_testbed.training.samples import IGNORED


class DenseHeads(nn.Module):
    """Linear read-outs of what each patch shows: characters, word pieces, shape, color."""

    def __init__(self, pieces: int, width: int) -> None:
        """Create one head per label column of `dense_labels`; `pieces` is the size of the vocabulary."""
        super().__init__()
        characters = len(CHARACTERS) + 1
        self.sizes = (characters, characters, pieces, pieces, len(SHAPES) + 1, len(COLORS) + 1)
        self.read = nn.Linear(width, sum(self.sizes))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return logits per label column, each (n, 64, classes)."""
        logits: Tensor = self.read(features)
        return tuple(logits.split(self.sizes, dim=-1))

    def loss(self, features: Tensor, labels: Tensor, background: float = 0.25) -> Tensor:
        """Return the mean cross-entropy of the six columns; the background has a weight of its own."""
        total = features.new_zeros(())
        for column, logits in enumerate(self(features)):
            weight = torch.ones(logits.shape[-1])
            weight[0] = background
            total = total + nn.functional.cross_entropy(
                logits.float().flatten(0, 1), labels[..., column].flatten(), weight=weight
            )
        return total / len(self.sizes)

    @torch.no_grad()
    def accuracy(self, features: Tensor, labels: Tensor) -> dict[str, float]:
        """Return the share of right labels among patches that show something."""
        hits = [
            (logits.argmax(-1) == labels[..., column])[labels[..., column] > 0].float()
            for column, logits in enumerate(self(features))
        ]
        names = {"character": (0, 1), "piece": (2, 3), "shape": (4,), "color": (5,)}
        return {name: torch.cat([hits[c] for c in columns]).mean().item() for name, columns in names.items()}


def token_loss(
    family: Family, model: Any, groups: Sequence[Rows], shown: Tensor | None
) -> tuple[Tensor, float]:
    """Return the mean next-token loss on learned tokens of a batch, and the share of them predicted right.

    Only the hidden states that predict something are multiplied with the vocabulary.

    Args:
        family: of the model.
        model: genuine Hugging Face model.
        groups: the batch, from `collate`.
        shown: what `Family.projected` made of the batch's pictures; none if there are none.
    """
    table = family.parts(model)["language"].get_parameter("embed_tokens.weight")
    losses, hits, count = [], 0, 0
    for rows in groups:
        some = shown[rows.shown] if shown is not None and len(rows.shown) else None
        hidden = family.joined(model, rows.ids, some)
        wanted = rows.labels[:, 1:]
        learned = wanted != IGNORED
        logits = (hidden[:, :-1][learned] @ table.T).float()
        losses.append(nn.functional.cross_entropy(logits, wanted[learned], reduction="sum"))
        hits += int((logits.detach().argmax(-1) == wanted[learned]).sum())
        count += int(learned.sum())
    return torch.stack(losses).sum() / count, hits / count


def aid_loss(family: Family, model: Any, shown: Tensor, seen: Seen, scale: float = 15.0) -> Tensor:
    """Pull what stands for a picture toward the word embeddings of what it shows.

    Of `linear`, each projected text patch toward the piece it shows; of `queries`, the k-th query toward the
    k-th word piece in reading order. A cross-entropy over cosine similarities with the (detached) table;
    zero if nothing is to be read on any of the pictures.
    """
    wanted = (seen.pieces if family.aid == "patches" else seen.reading).flatten()
    places = wanted > 0
    if family.aid == "none" or not places.any():
        return shown.new_zeros(())
    table = family.parts(model)["language"].get_parameter("embed_tokens.weight").detach()
    table = nn.functional.normalize(table.float(), dim=-1)
    cosine = nn.functional.normalize(shown.flatten(0, 1)[places].float(), dim=-1) @ table.T
    return nn.functional.cross_entropy(scale * cosine, wanted[places])
