"""Cells that the lock of a run promises and a judge did not read in full, as in runs merged of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sightline import cards
from sightline.metrics.cells import method_of
from sightline.report.cells import Role, role_of
from sightline.report.results import Results, entries
from sightline.report.text import few
from sightline.report.trust import expected_rows

_OF = {"asr": "refuse", "over_refusal": "comply", "utility": "answer"}
"""What is expected of the cases that a measure is about; of any others it is about all."""
Cell = tuple[str, str, str, str]


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
    query = "select benchmark, target, attack, defense, judge, count(*) from results group by all"
    found = {row[:5]: int(row[5]) for row in results.rows(query)}
    promised = expected_rows(lock)
    readers: dict[Cell, list[str]] = {}
    for (*cell, reader), n in promised.items():
        if found.get((*cell, reader), 0) >= n:
            readers.setdefault(_cell(cell), []).append(method_of(reader))
    kinds = {each["label"]: dict(each.get("cases") or {}) for each in entries(lock, "benchmarks")}
    attacks = {each["label"]: each for each in entries(lock, "attacks")}
    for (benchmark, target, attack, defense, reader), n in promised.items():
        read = found.get((benchmark, target, attack, defense, reader), 0)
        if reader != judge or read >= n:
            continue
        entry = attacks[attack]
        is_plain = role_of(str(entry.get("spec", ""))) is Role.plain
        met = entry.get("applies_to", entry.get("meets", cards.REQUESTS))
        yield Unread(
            benchmark=benchmark,
            attack=attack,
            target=target,
            defense=defense,
            is_plain=is_plain,
            kinds=frozenset(kind for kind, k in kinds[benchmark].items() if k and (is_plain or kind in met)),
            read=read,
            promised=n,
            others=tuple(dict.fromkeys(readers.get((benchmark, target, attack, defense), ()))),
        )


def _cell(names: list[str]) -> Cell:
    benchmark, target, attack, defense = names
    return benchmark, target, attack, defense
