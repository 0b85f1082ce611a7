"""The hypothesis of a study, written down before it runs: what is compared, by which measure, which way.

    hypothesis: {primary: asr, contrast: [figstep, text_only], expect: greater, mde: 0.25}

The contrast is of two attacks, two defenses, two targets or labels of `train:`; all else is as in the plain
cell: no attack, no defense, the first target. `attack:` names one under which two defenses or targets are
compared. The lock holds it, so that it does not change after the fact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sightline.errors import UsageError, nearest
from sightline.metrics.rates import MEASURES
from sightline.study.named import Hypothesis, Study
from sightline.study.schema import HypothesisEntry

KINDS = ("attack", "defense", "target")
Complain = Callable[[Sequence[int | str], str], UsageError]


def names_of(study: Study) -> dict[str, list[str]]:
    """What may be compared, by kind: the names that tables show, and labels of trainings."""
    attacks = [name for each in study.attacks for name in (each.series, each.label)]
    targets = [*study.targets, *(each.label for each in study.trainings)]
    return {"attack": attacks, "defense": [each.label for each in study.defenses], "target": targets}


def hypothesis_of(entry: HypothesisEntry, study: Study, complain: Complain) -> Hypothesis:
    """The hypothesis of a study file.

    Raises:
        UsageError: for a measure, a benchmark or a name that the study does not have, or two of unlike kinds.
    """
    if entry.primary not in MEASURES:
        raise complain(("hypothesis", "primary"), nearest(entry.primary, MEASURES, "measure"))
    known = names_of(study)
    first, second = entry.contrast
    for name in entry.contrast:
        if not any(name in names for names in known.values()):
            everything = {each for names in known.values() for each in names}
            what = nearest(name, everything, "attack, defense or target of this study")
            raise complain(("hypothesis", "contrast"), what)
    kind = next((kind for kind in KINDS if first in known[kind] and second in known[kind]), None)
    if kind is None or first == second:
        what = f"{first!r} and {second!r}: name two attacks, two defenses or two targets"
        raise complain(("hypothesis", "contrast"), what)
    labels = [source.label for source in study.sources]
    if entry.benchmark is not None and entry.benchmark not in labels:
        raise complain(
            ("hypothesis", "benchmark"), nearest(entry.benchmark, labels, "benchmark of this study")
        )
    if entry.target is not None and entry.target not in known["target"]:
        what = nearest(entry.target, known["target"], "target of this study")
        raise complain(("hypothesis", "target"), what)
    if entry.attack is not None and kind == "attack":
        what = f"{first!r} and {second!r} are attacks: no third one stands beside them; leave `attack` out"
        raise complain(("hypothesis", "attack"), what)
    if entry.attack is not None and entry.attack not in known["attack"]:
        raise complain(
            ("hypothesis", "attack"), nearest(entry.attack, known["attack"], "attack of this study")
        )
    return Hypothesis(
        primary=entry.primary,
        kind=kind,
        contrast=(first, second),
        expect=entry.expect,
        mde=entry.mde,
        benchmark=entry.benchmark or "",
        target=entry.target or "",
        attack=entry.attack or "",
    )


def told(found: Hypothesis) -> str:
    """The hypothesis in words."""
    first, second = found.contrast
    sides = f"{found.primary} of {first} is {found.expect} than that of {second}"
    if found.kind != "attack":
        sides += f" under {found.attack}" if found.attack else " without an attack"
    return sides + (f" on {found.benchmark}" if found.benchmark else "")
