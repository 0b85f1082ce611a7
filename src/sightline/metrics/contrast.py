"""What is said of two cells on the same samples."""

from __future__ import annotations

from typing import Literal, NamedTuple

from sightline.metrics.cells import CellId
from sightline.metrics.intervals import ALPHA, smallest_p
from sightline.metrics.rates import Rate

Kind = Literal["attack", "control", "unaware", "defense", "run"]


class Contrast(NamedTuple):
    """A cell minus its base on the same samples.

    `attack` is an attack or a control against none, `control` an attack against each of its controls in the
    same setting (success, utility), `unaware` an attack that knew the defense against the one that reached
    most there of those that did not and change the same (words, a drawn picture, pixels), `defense` against
    none, `run` against the same cell of another run. Of an attack's contrasts with controls, `strongest` is
    the one with the control that reaches most on these samples: most successes, or fewest right answers.

    `pairs` were scored in both cells, `unscored_pairs` were not; `cell_share` and `base_share` are of the
    former. `p` is clustered (sign flips of the `discordant` clusters, those that differ), `p_holm` adjusted
    over the `comparisons` of its `family`, `q` the same by Benjamini and Hochberg (for exploration, at .10);
    `p_mcnemar` takes samples as independent and is a check only. `flip_rate` (attack; ASR, disclosure): of
    the requests withheld in the base cell, the share obeyed in this one; of the protected questions that the
    base cell abstained from, the share answered.
    """

    kind: Kind
    measure: str
    cell: CellId
    base: CellId
    point: float
    low: float
    high: float
    method: str
    cell_share: float
    base_share: float
    pairs: int
    unscored_pairs: int
    groups: int
    discordant: int
    only_cell: int
    only_base: int
    p: float
    p_mcnemar: float
    flip_rate: Rate | None = None
    p_holm: float = 1.0
    q: float = 1.0
    comparisons: int = 1
    strongest: bool = False

    @property
    def family(self) -> tuple[object, ...]:
        """What stands under one heading: the same comparison of all attacks, or defenses, on one target."""
        return (self.kind, self.strongest, self.measure, *heading(self.kind, self.cell))

    @property
    def is_clear(self) -> bool:
        """Whether the 95 % interval leaves out zero."""
        return bool(self.pairs) and (self.low > 0 or self.high < 0)

    @property
    def too_few_groups(self) -> bool:
        """Whether no result of so few discordant clusters could have had an adjusted p below .05."""
        return self.comparisons * smallest_p(self.discordant) > ALPHA


def heading(kind: Kind, cell: CellId) -> tuple[object, ...]:
    """What the cells of one family have in common."""
    place = (cell.judge, cell.benchmark, cell.release, cell.target)
    return (cell.role, cell.seen == "seen", *place, *(() if kind == "defense" else (cell.defense,)))
