"""What a defense watches or changes in the blocks of a model that is opened for gradients.

Of every pass over a pack of prompts, one object acts on what leaves the language model's blocks; the pack is
a tree of tokens, of which it is told where prompts end and replies are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from sightline.errors import UsageError
from sightline.targets.local.inside import hooked, language_blocks
from sightline.whitebox.packing import PackedPrompts
from sightline.whitebox.shapes import TokenIds
from sightline.whitebox.victim import Victim


@dataclass(frozen=True, slots=True)
class Nodes:
    """Where the tokens of a pack stand among those whose states leave a block, (n, nodes, width).

    Attributes:
        last: (pairs,), the last token of each pair's prompt.
        reply: bool (nodes,), the last token of a prompt, and of a target all but the last: those at which a
            token of the answer is predicted.
        pair: bool (pairs, nodes), which nodes a pair's prompt and target have.
    """

    last: TokenIds
    reply: Tensor
    pair: Tensor

    @classmethod
    def of(cls, packed: PackedPrompts) -> Nodes:
        """Those of a pack that is run whole, from its first token."""
        count = len(packed.ids)
        first = torch.ones_like(packed.pair, dtype=torch.bool)
        first[1:] = packed.pair[1:] != packed.pair[:-1]
        reply = torch.zeros(count, dtype=torch.bool, device=packed.read.device)
        reply[packed.read] = True
        final = torch.ones_like(first)
        final[:-1] = first[1:]
        place = torch.arange(count, device=packed.end.device)
        ancestors = (place[None, :] <= place[:, None]) & (place[:, None] < packed.end[None, :])
        return cls(packed.read[first], reply, ancestors[packed.read[final]])


class Within(Protocol):
    """Acts in one pass."""

    def block(self, number: int, state: Tensor) -> Tensor | None:
        """See what leaves a block, (n, nodes, width); what is returned replaces it, None does not."""
        ...

    def penalty(self) -> Tensor | None:
        """After the pass: what is added to the loss, float32 (n, pairs), or None."""
        ...


OpenWithin = Callable[[Nodes, Any], Within]
"""Makes what acts in one pass: of the pack's nodes and of the model of `transformers` that is run, whose
device and number format it may ask."""


@contextmanager
def at_blocks(model: Any, name: str, acting: Within) -> Iterator[None]:
    """While it is entered, `acting` sees what leaves the blocks of a model.

    Raises:
        UsageError: for a model whose blocks are not found.
    """
    blocks, _ = language_blocks(model, name)
    with hooked(blocks, range(len(blocks)), acting.block):
        yield


def acting(name: str, victim: Victim, opened: OpenWithin) -> Victim:
    """See `through.within`."""
    from sightline.whitebox.model import MultimodalVictim

    if not isinstance(victim, MultimodalVictim):
        raise UsageError(
            f"defense {name!r} looks into the model, and {victim.id} is behind another defense: put this "
            "defense next to the model, behind all others"
        )
    language_blocks(victim.model, victim.id)
    return victim.acting(f"{name}:{victim.id}", opened)
