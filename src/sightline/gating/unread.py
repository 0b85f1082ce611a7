"""Cells that a lock promises and a judge did not read in full, or nobody ran, as in merged runs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sightline.metrics.cells import PLAIN, SPLITS, CellId, method_of
from sightline.metrics.summary import CellSummary
from sightline.report.cells import Role, role_of
from sightline.report.promised import expected_rows, found_rows, shown_cases
from sightline.report.results import Results, entries, judge_names
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
        answered: whether any judge has a row of it; without one nobody ran it.
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
    answered: bool
    others: tuple[str, ...]

    def hides(self, measure: str) -> bool:
        """Whether a rate of this measure is missing with it."""
        return _OF.get(measure, "") in self.kinds | {""}

    @property
    def system(self) -> str:
        """Target and defense."""
        return system_of(self.target, self.defense)

    @property
    def where(self) -> str:
        """Attack and benchmark."""
        return f"{'no attack' if self.is_plain else self.attack} on {self.benchmark}"

    @property
    def reason(self) -> str:
        """What is missing, and the cures."""
        if not self.answered:
            return (
                f"nobody ran the {self.promised:,} samples that the lock promises: run a study of this "
                "target, attack and benchmark and merge it too, or leave them out: check the runs that were "
                "merged one by one, or choose with --target and --defense"
            )
        cure = "run its study again with this judge and merge anew"
        if self.others:
            cure += f", or let another one decide that read all (--judge; here {few(self.others)})"
        return (
            f"this judge read {self.read:,} of the {self.promised:,} samples that the lock promises: {cure}, "
            "or choose with --target and --defense"
        )


def system_of(target: str, defense: str) -> str:
    """`TARGET, defense NAME`; the target alone if it is bare."""
    return target if defense == PLAIN else f"{target}, defense {defense}"


def place_of(cell: CellId) -> str:
    """Attack and benchmark: `figstep (held-out cases) on mm_safetybench`."""
    attack = "no attack" if cell.role == "plain" else cell.attack
    split = f" ({SPLITS[cell.seen]} cases)" if cell.seen else ""
    return f"{attack}{split} on {cell.benchmark}"


def named(judge: str, lock: Mapping[str, Any]) -> str:
    """A short name of a judge id, unlike that of any other judge of the lock."""
    ids = dict.fromkeys([judge, *(str(each["id"]) for each in entries(lock, "judges"))])
    return judge_names(list(ids), lock)[judge]


def unread(lock: Mapping[str, Any], results: Results, judge: str) -> Iterator[Unread]:
    """Cells that the judge of this id did not read in full, in the order of the lock."""
    found, promised = found_rows(results), expected_rows(lock)
    answered = {place[:4] for place in found}
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
            answered=place[:4] in answered,
            others=tuple(dict.fromkeys(readers.get(place[:4], ()))),
        )


def unread_told(cells: Iterable[Unread], judge: str) -> list[str]:
    """A sentence for each system: what the judge of this name did not read in full, and what nobody ran."""
    apart: dict[tuple[str, bool], list[Unread]] = {}
    for each in cells:
        apart.setdefault((each.system, each.answered), []).append(each)
    found = []
    for (system, answered), mine in apart.items():
        promised, read = sum(each.promised for each in mine), sum(each.read for each in mine)
        what = f"{judge} read {read:,} of" if answered else "nobody ran"
        where = few([each.where for each in mine])
        found.append(f"{system}: {what} the {promised:,} samples that the lock promises ({where})")
    return found


def unscored_told(
    cells: Iterable[CellSummary], names: Mapping[str, str], measures: Collection[str] = ()
) -> list[str]:
    """A sentence for each system and judge: rates that are missing, as no sample has a verdict.

    Args:
        cells: of a run.
        names: a short name of each judge id that counts.
        measures: the rates that count; none: all of them.
    """
    apart: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        rates = {name: rate for name, rate in cell.rates.items() if not measures or name in measures}
        lost = [name for name, rate in rates.items() if not rate.n and rate.unscored]
        if lost and cell.id.judge in names:
            of = place_of(cell.id) if len(lost) == len(rates) else f"{', '.join(lost)} of {place_of(cell.id)}"
            system = system_of(cell.id.target, cell.id.defense)
            apart.setdefault((system, names[cell.id.judge]), []).append(of)
    return [
        f"{system}: no sample has a verdict of {judge} ({few(places)})"
        for (system, judge), places in apart.items()
    ]
