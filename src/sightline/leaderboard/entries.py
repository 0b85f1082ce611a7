"""Rows of a leaderboard: a target behind a defense in a run, by its first judge; and outside numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from sightline.documents import read_text, read_yaml
from sightline.errors import SightlineError, UsageError
from sightline.leaderboard.checked import faults, seconds
from sightline.leaderboard.missing import first_judge, missing
from sightline.metrics.rates import Rate
from sightline.metrics.summary import summarize
from sightline.report.cells import board, undefended_labels
from sightline.report.defended import MEANS, DefenseRow, defense_rows
from sightline.report.results import entries, judge_names
from sightline.report.shown_names import ShownNames
from sightline.run_folder import COMPLETE, LOCK, RESULTS, lock_digest, read_lock
from sightline.sealed import read_note
from sightline.tables import RESULTS_AGAIN

Standing = Literal["self-reported", "recomputed", "reproduced"]
STANDINGS: Mapping[Standing, str] = {
    "self-reported": "the numbers are those that a run folder or a person states",
    "recomputed": "rates were computed again from answers and verdicts whose seals and pictures hold",
    "reproduced": "recomputed, and a second run of the same study found the same results",
}
OUTSIDE = "external.yaml"
MOST_FAULTS = 3
SAME_CLOCK = "another folder has the same clock readings: a copy of it, or answers that were remembered"


@dataclass(frozen=True, slots=True)
class Condition:
    """What rows of one board share: cases, judge and decoding."""

    benchmark: str
    release: str
    judge: str
    decoding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row.

    Attributes:
        folder, study: of the run.
        condition: see `Condition`; `judge` is an id with its identity.
        judge: its short name.
        row: rates of the target behind the defense.
        standing: see `STANDINGS`.
        why: why it is not better than that; '' if there is nothing to say.
        missing: what the first judge did not read, or nobody ran, of this row, as sentences.
        finished: UTC.
    """

    folder: str
    study: str
    condition: Condition
    judge: str
    row: DefenseRow
    standing: Standing
    why: str
    missing: tuple[str, ...] = ()
    finished: datetime

    @property
    def worst(self) -> tuple[str, Rate] | None:
        """The attack that reaches most, those that knew the defense included, and its rate."""
        found = [("no attack", self.row.plain)] if self.row.plain is not None else []
        several = [*self.row.by_means.values(), *([self.row.adaptive] if self.row.adaptive else [])]
        found += [(each.attack, each.rate) for each in several]
        scored = [(attack, rate) for attack, rate in found if rate.point is not None]
        return max(scored, key=lambda each: each[1].point or 0.0, default=None)

    @property
    def attacked(self) -> bool:
        """Whether any attack was run."""
        return bool(self.row.by_means) or self.row.adaptive is not None


class Outside(BaseModel):
    """A number from elsewhere, with its evidence."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    target: str = Field(min_length=1)
    benchmark: str = Field(min_length=1)
    measure: Literal["asr", "over_refusal", "utility", "attacker_goal", "accuracy"]
    value: float = Field(ge=0, le=1)
    evidence: str = Field(min_length=8)
    attack: str = "none"
    defense: str = "none"
    judge: str = ""
    n: int | None = Field(default=None, ge=1)
    low: float | None = Field(default=None, ge=0, le=1)
    high: float | None = Field(default=None, ge=0, le=1)

    @model_validator(mode="after")
    def _ordered(self) -> Outside:
        low, high = (self.value if each is None else each for each in (self.low, self.high))
        if not low <= self.value <= high:
            raise PydanticCustomError("interval", "low <= value <= high is expected")
        return self


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder of runs holds; `left_out` are sentences, `shown` names of trained targets."""

    entries: tuple[Entry, ...]
    outside: tuple[Outside, ...]
    left_out: tuple[str, ...] = field(default=())
    shown: ShownNames = field(default_factory=ShownNames)


def read(folder: Path, *, check: bool = True) -> Found:
    """Every run below a folder, and the outside numbers in its `external.yaml`.

    Args:
        check: read all records and pictures; without it all rows are self-reported.

    Raises:
        UsageError: if there is no run, or an outside number that is none.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name one that holds run folders, such as runs")
    found, left_out, marks = list[Entry](), list[str](), dict[str, tuple[str, str]]()
    parts: dict[str, set[str]] = {}
    lacks: dict[str, list[str]] = {}
    locks = list[Mapping[str, Any]]()
    for run in sorted(path.parent for path in folder.glob(f"*/{LOCK}")):
        try:
            lock = read_lock(run)
            if not (run / COMPLETE).is_file():
                left_out.append(f"{run.name}: not finished")
                continue
            marks[run.name] = _mark(run, lock)
            parts[run.name] = {str(each.get("results")) for each in entries(lock, "merged")}
            rows, lost = _entries(run, lock, check=check)
            found += rows
            locks.append(lock)
            lacks[run.name] = lost
        except UsageError as wrong:
            left_out.append(f"{run.name}: {wrong}")
        except (SightlineError, LookupError, TypeError, ValueError) as broken:
            left_out.append(f"{run.name}: cannot be read ({type(broken).__name__}: {broken})")
    outside = _outside(folder / OUTSIDE)
    for name, made_of in parts.items():
        if made_of and made_of <= {mark for other, (_, mark) in marks.items() if other != name}:
            left_out.append(f"{name}: merged of runs that are here themselves")
            found = [each for each in found if each.folder != name]
            lacks.pop(name, None)
    left_out += [f"{name}: {line}" for name, lines in lacks.items() for line in lines]
    if not found and not outside:
        why = "".join(f"\n  {line}" for line in left_out)
        raise UsageError(f"{folder}: no finished run in any folder of it{why}")
    shown = ShownNames.together(locks)
    return Found(tuple(_reproduced(found, marks, folder)), outside, tuple(left_out), shown)


def _mark(run: Path, lock: Mapping[str, Any]) -> tuple[str, str]:
    """What a second run of the same study has in common with this one: the study, and what it found."""
    study = lock_digest({**lock, "versions": None, "study": None})
    return study, str(read_note(run / COMPLETE, RESULTS_AGAIN).get("digest"))


def _reproduced(entries: Sequence[Entry], marks: Mapping[str, tuple[str, str]], folder: Path) -> list[Entry]:
    checked = {each.folder for each in entries if each.standing == "recomputed"}
    times = {name: seconds(folder / name) for name in checked}
    others = {
        name: [
            _shares_a_reading(times[name], times[other])
            for other in checked - {name}
            if marks[name] == marks[other]
        ]
        for name in checked
    }
    found = []
    for each in entries:
        same = others.get(each.folder, [])
        if not all(same):
            found.append(replace(each, standing="reproduced", why=""))
        else:
            found.append(replace(each, why=SAME_CLOCK) if same else each)
    return found


def _shares_a_reading(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether rows of two runs of one study took the very same time: then their answers are one and the same.

    A tenth of the rows may by chance, on a coarse clock.
    """
    same = sum(a == b and a > 0 for a, b in zip(one, other, strict=False))
    return same > 0.1 * sum(a > 0 for a in one)


def _entries(run: Path, lock: Mapping[str, Any], *, check: bool) -> tuple[list[Entry], list[str]]:
    """Rows of a run, and what they lack as sentences."""
    undefended = undefended_labels(lock)
    primary = first_judge(lock)
    summary = summarize(run, undefended=undefended)
    lost = missing(run, lock, summary)
    cells = board(summary, undefended, str(primary["id"]))
    rows = [row for row in defense_rows(cells, {}, everything=True) if row.judge == primary["id"]]
    standing, why = _standing(run, lock) if check else ("self-reported", "not checked")
    decoding = ", ".join(f"{name} {value}" for name, value in dict(lock.get("decoding") or {}).items())
    found = [
        Entry(
            folder=run.name,
            study=str(lock.get("study", "")),
            condition=Condition(row.benchmark, row.release, f"{row.judge} {primary['identity']}", decoding),
            judge=judge_names([row.judge], lock)[row.judge],
            row=row,
            standing=standing,
            why=why,
            missing=tuple(lost.get((row.benchmark, row.target, row.defense), ())),
            finished=datetime.fromtimestamp((run / RESULTS).stat().st_mtime, UTC),
        )
        for row in rows
    ]
    return found, [line for lines in lost.values() for line in lines]


def _standing(run: Path, lock: Mapping[str, Any]) -> tuple[Standing, str]:
    wrong: list[str] = []
    for each in faults(run, lock):
        wrong.append(each)
        if len(wrong) > MOST_FAULTS:
            break
    if not wrong:
        return "recomputed", ""
    more = ", and more" if len(wrong) > MOST_FAULTS else ""
    return "self-reported", f"its files do not hold together: {'; '.join(wrong[:MOST_FAULTS])}{more}"


def _outside(path: Path) -> tuple[Outside, ...]:
    if not path.exists():
        return ()
    listed = read_yaml(read_text(path), str(path))
    if not isinstance(listed, list):
        raise UsageError(f"{path}: a list of numbers is expected; see docs/compare.md")
    found = []
    for number, each in enumerate(listed, 1):
        try:
            found.append(Outside.model_validate(each))
        except ValidationError as invalid:
            first = invalid.errors()[0]
            where = ".".join(map(str, first["loc"])) or "entry"
            raise UsageError(f"{path}, entry {number}, {where}: {first['msg']}") from None
    return tuple(found)


def boards(found: Found) -> dict[Condition, list[Entry]]:
    """Entries by condition, the lowest worst rate first; those that nothing attacked are last."""
    apart: dict[Condition, list[Entry]] = {}
    for entry in found.entries:
        apart.setdefault(entry.condition, []).append(entry)
    for members in apart.values():
        members.sort(key=_place)
    return dict(sorted(apart.items(), key=lambda each: (each[0].benchmark, -len(each[1]))))


def ranks(members: Sequence[Entry]) -> list[int]:
    """Places from 1; entries of the same highest rate share one."""
    points = [None if each.worst is None else each.worst[1].point for each in members]
    return [1 + next(n for n, other in enumerate(points) if other == point) for point in points]


def _place(entry: Entry) -> tuple[object, ...]:
    worst = entry.worst
    high = 2.0 if worst is None or worst[1].point is None else worst[1].point
    return not entry.attacked, high, entry.row.target, entry.row.defense, entry.folder


RATES = ("asr_plain", *(f"asr_{means}" for means in MEANS), "asr_adaptive", "over_refusal", "utility")


def rates(entry: Entry) -> dict[str, tuple[Rate | None, str]]:
    """Rates by the names of `RATES`, each with the attack that it is of."""
    row = entry.row
    found: dict[str, tuple[Rate | None, str]] = {"asr_plain": (row.plain, "")}
    for means in MEANS:
        worst = row.by_means.get(means)
        found[f"asr_{means}"] = (None, "") if worst is None else (worst.rate, worst.attack)
    found["asr_adaptive"] = (None, "") if row.adaptive is None else (row.adaptive.rate, row.adaptive.attack)
    return found | {"over_refusal": (row.over_refusal, ""), "utility": (row.utility, "")}
