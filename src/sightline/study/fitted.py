"""Which rows of a study show a case that a defense has learned from."""

from __future__ import annotations

from collections.abc import Iterator

from sightline import registry
from sightline.contracts import Defense
from sightline.fitting import Fits, asked_digest
from sightline.shards import Row
from sightline.study.context import StudyTarget
from sightline.targets._names import split_defended


def cases_used(target: StudyTarget) -> frozenset[str] | None:
    """Digests of what the cases ask that the defenses of a target have learned from; None if none learns."""
    stack = (*target.defense.stack, *_defenses_in(target.name))
    learning = [each for each in stack if isinstance(each, Fits)]
    states = [each.learned() for each in learning if each.state or each.must_learn]
    return frozenset(key for state in states for key in state.cases) if states else None


def seen(case: Row, artifact: Row, used: frozenset[str] | None) -> bool | None:
    """Whether an attack was optimized on a case or a defense has learned from it; None if neither learns."""
    crafted: bool | None = artifact.get("in_training_set")
    if used is None:
        return crafted
    return bool(crafted) or asked_digest(case["conversation"]) in used


def _defenses_in(name: str) -> Iterator[Defense]:
    """The defenses that a target string names, outermost first."""
    name = name.strip()
    while name.startswith("defended/"):
        spec, name = split_defended(name.removeprefix("defended/"))
        yield registry.parse("defense", spec)
        name = name.strip()
