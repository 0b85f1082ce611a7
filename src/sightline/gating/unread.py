"""Cells that the lock of a run promises and a judge did not read in full, as in runs merged of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sightline.metrics.cells import method_of
from sightline.report.cells import Role, role_of
from sightline.report.promised import expected_rows, found_rows, shown_cases
from sightline.report.results import Results, entries
from sightline.report.text import few

_OF = {"asr": "refuse", "over_refusal": "comply", "utility": "answer"}
"""What is expected of the cases that a measure is about; of any others it is about all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A cell with fewer rows of a judge than the lock promises.

    Attributes:
        benchmark, attack, target, defense: labels of the lock.
        is_plain: whether requests are shown without an attack.
        kinds: what is expected of its cases.
        read, promised: rows.
        others: names of judges that read all of it.
    """

    benchmark: str
    attack: str
    target: str
    defense: str
    is_plain: bool
    kinds: frozenset[str]
    read: int
    promised: int
    others: tuple[str, ...]

    def hides(self, measure: str) -> bool:
        """Whether a rate of this measure is missing with it."""
        return _OF.get(measure, "") in self.kinds | {""}

    @property
    def where(self) -> str:
        """Attack and benchmark."""
        return f"{'no attack' if self.is_plain else self.attack} on {self.benchmark}"

    @property
    def reason(self) -> str:
        """What is missing, and the cures."""
        cure = "run its study again with this judge and merge anew"
        if self.others:
            cure += f", or let another one decide that read all (--judge; here {few(self.others)})"
        return (
            f"this judge read {self.read:,} of the {self.promised:,} samples that the lock promises: {cure}, "
            "or choose with --target and --defense"
        )


def unread(lock: Mapping[str, Any], results: Results, judge: str) -> Iterator[Unread]:
    """Cells that the judge of this id did not read in full, in the order of the lock."""
    found, promised = found_rows(results), expected_rows(lock)
    readers: dict[tuple[str, ...], list[str]] = {}
    for place, n in promised.items():
        if found.get(place, 0) >= n:
            readers.setdefault(place[:4], []).append(method_of(place[4]))
    benchmarks = {each["label"]: each for each in entries(lock, "benchmarks")}
    attacks = {each["label"]: each for each in entries(lock, "attacks")}
    for place, n in promised.items():
        benchmark, target, attack, defense, reader = place
        read = found.get(place, 0)
        if reader != judge or read >= n:
            continue
        cases = shown_cases(benchmarks[benchmark], attacks[attack])
        yield Unread(
            benchmark=benchmark,
            attack=attack,
            target=target,
            defense=defense,
            is_plain=role_of(str(attacks[attack].get("spec", ""))) is Role.plain,
            kinds=frozenset(kind for kind, k in cases.items() if k),
            read=read,
            promised=n,
            others=tuple(dict.fromkeys(readers.get(place[:4], ()))),
        )
