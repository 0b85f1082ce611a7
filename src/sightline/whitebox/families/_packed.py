"""What a family is given: the tokens of all pairs as one tree, on the model's device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sightline.targets.local.processors import Fields
from sightline.whitebox.packing import visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Pairs as one sequence of nodes; see `packing.Tree`. Integer tensors unless said otherwise.

    Attributes:
        ids: (nodes,), tokens.
        positions: (axes, nodes), as the family counts them.
        end: (nodes,), one past the last node behind each.
        places: (shown,), the nodes that stand for picture features.
        slots: (shown,), which feature each of them stands for; None if simply the first, second, ...
        looks: (nodes, ...), what each node sees of the picture, for cross-attention; else None.
        readings: fields of the prompts whose picture is encoded differently; one entry for most families.
        read: (t,), the node that predicts each target token.
        targets: (t,), target tokens.
        pair: (t,), the pair that each belongs to.
        nudged: per stretch of nudged tokens: which nudge, and its nodes, (tokens,).
        common: how many of the first nodes all pairs share; 0 for one pair alone.
        constant: tokens of the first nodes, if all rows begin with them and neither pixels nor a nudge
            change what the model makes of them; () if they are too few to gain by it.
    """

    ids: Tensor
    positions: Tensor
    end: Tensor
    places: Tensor
    slots: Tensor | None
    looks: Tensor | None
    readings: tuple[Fields, ...]
    read: Tensor
    targets: Tensor
    pair: Tensor
    nudged: tuple[tuple[int, Tensor], ...]
    common: int
    constant: tuple[int, ...]

    def mask(self, dtype: torch.dtype) -> Tensor:
        """What is added to attention scores, (1, 1, nodes, nodes): 0 for what is seen, else the lowest."""
        found: Tensor = torch.zeros(1, 1, len(self.end), len(self.end), dtype=dtype, device=self.end.device)
        return found.masked_fill_(~visible(self.end), torch.finfo(dtype).min)

    def spliced(self, embeds: Tensor, features: Tensor) -> Tensor:
        """Embeddings (n, nodes, width) with picture features (n, features, width) in their places."""
        shown = features if self.slots is None else features.index_select(1, self.slots)
        found: Tensor = embeds.index_copy(1, self.places, shown.to(embeds.dtype))
        return found
