"""Shapes and number formats of the engine's tensors, as types; tests check every call against them.

An axis of one name has one size within a call. `n` counts artifacts, which are searched independently of each
other; `tokens` are the target tokens of all pairs of prompt and target, one pair after the other.
"""

from __future__ import annotations

from typing import TypeAlias

from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

Images: TypeAlias = Float32[Tensor, "n 3 height width"]
"""Pictures in [0, 1] at the size of their files."""
Samples: TypeAlias = Float32[Tensor, "samples 3 height width"]
"""Pictures in [0, 1] that are made of artifacts: an artifact's samples stand together."""
Levels: TypeAlias = UInt8[Tensor, "n 3 height width"]
"""Pictures as the values of a file, 0 to 255."""
Theta: TypeAlias = Float32[Tensor, "n *parameters"]
"""What is optimized, artifacts first."""
Losses: TypeAlias = Float32[Tensor, " n"]
"""One loss per artifact; lower is better."""
Features: TypeAlias = Float32[Tensor, "n *features"]
"""An encoder's features or scores of pictures."""
Logits: TypeAlias = Float[Tensor, "n tokens vocabulary"]
"""What a model predicts at target tokens, in the model's number format."""
TokenIds: TypeAlias = Int64[Tensor, " tokens"]
"""Target tokens, or one whole number for each."""
TokenLosses: TypeAlias = Float32[Tensor, "n tokens"]
"""One loss per artifact and target token."""
TokenFlags: TypeAlias = Bool[Tensor, "n tokens"]
"""One truth value per artifact and target token."""
PairFlags: TypeAlias = Bool[Tensor, "n pairs"]
"""One truth value per artifact and pair."""
