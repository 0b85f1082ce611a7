"""Into how many packs a step's pairs are split: attention costs the square of a pack's length.

A pack of n tokens costs n times the products with the weights and n * n times what attention does for a pair
of tokens. What the pairs have in common is run once per pack, so few pairs belong together and many do not:
on testbed/linear, where 70 tokens are common and a pair adds 17, 64 pairs in one pack take 1.3 times as long
as in four, and 16 in one take less than in two (`benchmarks/whitebox.py`, figures `split_*`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sightline.whitebox.packing import PackedPrompts

#: operations, forward, that mask, softmax and moving scores are worth per head and pair of tokens; and those
#: that calling a layer is worth. Fitted to times of testbed/linear on one core
SCORE, CALL = 250.0, 2.5e8


@dataclass(frozen=True, slots=True)
class PassCost:
    """What a pass costs, in operations per layer of the language model.

    Attributes:
        token: for each token.
        look: for each pair of tokens.
    """

    token: float
    look: float

    @classmethod
    def of(cls, model: Any) -> PassCost:
        """By the sizes of a model's language model; forward and backward."""
        config = model.config.get_text_config()
        width, heads = int(config.hidden_size), int(config.num_attention_heads)
        inner = int(getattr(config, "intermediate_size", 0) or getattr(config, "ffn_dim", 0) or 4 * width)
        return cls(4.0 * (4 * width * width + 3 * width * inner), 2.0 * (4 * width + SCORE * heads))

    def __call__(self, tokens: float) -> float:
        """Of one pack."""
        return CALL + tokens * self.token + tokens * tokens * self.look


def packs(whole: PackedPrompts, pairs: int, cost: PassCost) -> int:
    """How many packs of equally many pairs cost least, given the pack of all."""
    own = len(whole.ids) - whole.common
    return min(range(1, pairs + 1), key=lambda count: count * cost(whole.common + own / count))
