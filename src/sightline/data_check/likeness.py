"""Cases that are nearly the same: their texts are close, and their pictures look the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sightline.cases import Case
from sightline.data_check.alike import alike
from sightline.data_check.pictures import Look
from sightline.metrics.near_texts import LEAST, near_texts


def text_of(case: Case) -> str:
    """All texts of a case, its system prompt included."""
    return "\n".join(turn.text for turn in case.conversation.turns)


def near_cases(
    cases: Sequence[Case], looks: Mapping[str, Look], least: float = LEAST
) -> list[tuple[int, int]]:
    """Pairs of places of cases whose texts have a cosine of at least `least` and whose pictures look alike.

    Args:
        cases: in any order; one without a text is compared by its pictures alone.
        looks: of each picture, by its SHA-256; one that could not be looked at is like itself alone.
        least: of the texts.
    """
    known = [sha256 for sha256, look in looks.items() if not look.problem]
    found = alike([looks[each].hash for each in known], [looks[each].miniature for each in known])
    same = {known[place]: min(known[one] for one in group) for group in found for place in group}
    texts = {text: number for number, text in enumerate(dict.fromkeys(text_of(case) for case in cases))}
    near: list[set[int]] = [{number} for number in range(len(texts))]
    for one, other in near_texts(list(texts), least):
        near[one].add(other)
        near[other].add(one)
    shown: dict[tuple[str, ...], dict[int, list[int]]] = {}
    for place, case in enumerate(cases):
        pictures = tuple(same.get(image.sha256, image.sha256) for image in case.conversation.images)
        shown.setdefault(pictures, {}).setdefault(texts[text_of(case)], []).append(place)
    return sorted(
        (one, other)
        for by_text in shown.values()
        for text, places in by_text.items()
        for one in places
        for close in near[text] & by_text.keys()
        for other in by_text[close]
        if one < other
    )


def joined(names: Sequence[str], pairs: Sequence[tuple[int, int]]) -> dict[str, str]:
    """For each name the least of those that pairs connect it with: groups that near cases make one."""
    parent = {name: name for name in names}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for one, other in pairs:
        first, second = sorted((root(names[one]), root(names[other])))
        parent[second] = first
    return {name: root(name) for name in names}
