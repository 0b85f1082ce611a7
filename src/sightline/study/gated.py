"""Names in a study's `gate:` that the study does not have, told when it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sightline.contracts import Judge
from sightline.errors import UsageError, nearest
from sightline.gating.limits import Limits
from sightline.metrics.cells import method_of
from sightline.study.named import NamedDefense

Complain = Callable[[Sequence[int | str], str], UsageError]


def check_gate(
    limits: Limits,
    targets: Iterable[str] | None,
    defenses: Iterable[NamedDefense],
    judges: Sequence[Judge],
    complain: Complain,
) -> None:
    """Make sure that targets, defenses and judge of a gate are the study's.

    Args:
        limits: of the gate.
        targets: of the study; None where its trainings name further ones.
        defenses: of the study.
        judges: of the study. An id that goes on behind the name is compared when the gate decides: it may
            hold what is known then.
        complain: the error for a key of the study.

    Raises:
        UsageError: for a name that is none of them, with its line and the nearest ones.
    """
    for name, chosen, there in (
        ("target", limits.target, limits.target if targets is None else tuple(targets)),
        ("defense", limits.defense, tuple(each.label for each in defenses)),
    ):
        for each in chosen:
            if each not in there:
                raise complain(("gate", name), nearest(each, there, f"{name} of this study"))
    names = [judge.card.name for judge in judges]
    wanted = limits.judge
    if not wanted or method_of(wanted) in {*names, *filter(None, map(_method, judges))}:
        if (several := names.count(wanted)) > 1:
            what = f"{several} judges of this study are {wanted}: give the id of one, as a run has it"
            raise complain(("gate", "judge"), what)
        return
    raise complain(("gate", "judge"), nearest(wanted, names, "judge of this study"))


def _method(judge: Judge) -> str:
    """The name that its id begins with; '' where that is known only once its grader is."""
    try:
        return method_of(judge.id)
    except UsageError:
        return ""
