"""When an artifact is done, given its scores on the probe batch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from sightline.errors import UsageError
from sightline.whitebox.objectives import Scores

Stop = Callable[[Scores], Tensor]
"""Which artifacts are done, bool (n,), given their scores on the probe batch."""


def all_targets_greedy(probed: Scores) -> Tensor:
    """Done when greedy decoding writes the target of every probe pair with every victim.

    Raises:
        UsageError: for an objective without victims, which writes nothing.
    """
    if probed.target_is_greedy.shape[1] == 0:
        raise UsageError("nothing is written without victims and pairs: stop with loss_below(loss) instead")
    return probed.target_is_greedy.all(1)


def any_target_greedy(probed: Scores) -> Tensor:
    """Done when greedy decoding writes the target of at least one probe pair, with every victim."""
    return probed.target_is_greedy.any(1)


def loss_below(loss: float) -> Stop:
    """Done when the loss on the probe batch is at most `loss`."""
    return lambda probed: probed.loss <= loss
