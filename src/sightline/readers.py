"""What readers of benchmarks share: rows become cases, and everything that is wrong is told in one list.

A reader says where its rows are and what case a row makes; see docs/add_a_benchmark.md.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from sightline.cards import Card
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Benchmark, Release
from sightline.errors import UsageError
from sightline.rows import Row, RowProblem

DATA_FOLDER = "SIGHTLINE_DATA"
SHOWN = 20
"""Bad rows that a message names; the others are counted."""
UNUSABLE = "(a row that cannot be used)"
OnBadRows = Literal["error", "keep"]


class BadRows:
    """Rows of a release that cannot be used: the first ones with what is wrong, and their number."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, problem: str) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < SHOWN:
            self.first.append(problem)

    def message(self, where: str, rest: str = "`sightline check-data` lists all") -> str:
        """All of it as one text; `rest` says where those are told that it leaves out."""
        rows = "1 row cannot" if self.count == 1 else f"{self.count:,} rows cannot"
        more = [f"and {self.count - SHOWN:,} more; {rest}"] if self.count > SHOWN else []
        return "\n  ".join(
            [
                f"{where}: {rows} be used. Mend what follows, or set `on_bad_rows: keep`: then each is an "
                "`error` outcome (no row is ever left out)",
                *self.first,
                *more,
            ]
        )


class OddTexts:
    """Texts of cases that no person wrote: what a program leaves for an absent or a structured value."""

    _NO_WORDS = re.compile(r"(?:nan|none|null|n/?a|#n/a|<na>|\[.*\]|\{.*\})", re.IGNORECASE | re.DOTALL)

    def __init__(self) -> None:
        self._found: list[str] = []
        self._count = 0

    def look_at(self, case: Case, row: Row) -> None:
        """Note the odd texts of a case; they are asked all the same: no row is left out."""
        for text in (case.behavior, *case.wordings.values()):
            if self._NO_WORDS.fullmatch(text.strip()):
                self._count += 1
                if len(self._found) < 3:
                    self._found.append(f"{row.where}: {text.strip()[:40]!r}")

    def tell(self, release: Release) -> None:
        """Warn of them, if there are any."""
        if self._found:
            more = f" and {self._count - 3} more" if self._count > 3 else ""
            release.warn(f"no words of a person: {', '.join(self._found)}{more}; asked and drawn as they are")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableBenchmark(Benchmark):
    """A benchmark whose cases are rows of its release's tables.

    `on_bad_rows`: a row or picture that cannot be used stops the run with the list of all (`error`), or
    becomes an `error` outcome (`keep`). No row is ever left out.
    """

    needs_root: ClassVar[bool] = True
    on_bad_rows: OnBadRows = "error"

    @abstractmethod
    def rows(self, release: Release) -> Iterable[Row]:
        """The rows of the release with these settings, streamed in order.

        Raises:
            UsageError: for a file that is absent or cannot be read at all.
        """

    @abstractmethod
    def case(self, row: Row, release: Release) -> Case | Iterable[Case]:
        """The case that a row makes, or its cases.

        Raises:
            RowProblem: by way of the row, for whatever is wrong with it.
        """

    def part(self) -> str:
        """Which part of `ReleaseFacts.counts` is read with these settings; '-' for none of them."""
        return ""

    def cases(self, release: Release) -> Iterator[Case]:
        """One or more cases per row, in the order of the release.

        Raises:
            UsageError: for an absent or wrong file, or for bad rows: all of them in one list.
        """
        bad, odd, counts = BadRows(), OddTexts(), Counter[str]()
        row = None
        for row, case in self.pairs(release):
            problem = case.conversation.problem
            if problem and self.on_bad_rows == "error":
                bad.add(told(row, problem))
                continue
            counts[case.category] += 1
            odd.look_at(case, row)
            yield case
        if bad.count:
            raise UsageError(bad.message(str(release.root)))
        if row is None:
            raise UsageError(f"{release.root}: no rows with these settings")
        odd.tell(release)
        self._compare(counts, release)

    def pairs(self, release: Release) -> Iterator[tuple[Row, Case]]:
        """Every row with each of its cases; one that cannot be used with the case that stands for it.

        Raises:
            UsageError: for an absent or wrong file.
        """
        first: dict[int, int | str] = {}
        for number, row in enumerate(self.rows(release), start=1):
            for case in self._cases_of(row, number, release, first):
                yield row, case

    def roles(self, row: Row) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG002 - for those that override it
        """Which of the row's columns are what, where the user's table may call them as it likes."""
        return {}

    def _cases_of(
        self, row: Row, number: int, release: Release, first: dict[int, int | str]
    ) -> Iterator[Case]:
        """The cases of a row; what is wrong with it, or a name that was there before, makes it unusable."""
        try:
            if row.fault:
                raise row.problem(row.fault)
            made = self.case(row, release)
            for case in [made] if isinstance(made, Case) else made:
                before = _earlier(case, row, first)
                if before is not None:
                    raise row.problem(f"{case.id!r} was already in {row.unit} {before}")
                yield case
        except RowProblem as bad:
            yield self._unusable(row, number, release, first, str(bad))

    def _unusable(
        self, row: Row, number: int, release: Release, first: dict[int, int | str], problem: str
    ) -> Case:
        """The case that stands for a row; what can be read of it, such as what is expected, is kept."""
        with suppress(RowProblem, StopIteration):
            made = self.case(row.leniently(UNUSABLE), release)
            case = made if isinstance(made, Case) else next(iter(made))
            doubled = _earlier(case, row, first) is not None
            return unusable(f"{self.card.name}/unusable/{number}" if doubled else case.id, problem, case)
        return unusable(f"{self.card.name}/unusable/{number}", problem)

    def official(self, counts: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Cases by category, as the official release has them and as they are counted; empty if not known.

        Where only the number of all cases is known, it stands under ''.
        """
        facts = self.card.release
        expected = {} if facts is None else facts.counts.get(self.part(), {})
        if set(expected) == {""}:
            return {"": (expected[""], sum(counts.values()))}
        names = dict.fromkeys([*expected, *counts]) if expected else {}
        return {name: (expected.get(name, 0), counts.get(name, 0)) for name in names}

    def _compare(self, counts: Mapping[str, int], release: Release) -> None:
        """Warn of numbers of cases that are not those of the official release."""
        odd = [
            f"{name or 'all'} has {found:,} (expected {expected:,})"
            for name, (expected, found) in self.official(counts).items()
            if found != expected
        ]
        if odd:
            more = f" and {len(odd) - 12} more" if len(odd) > 12 else ""
            release.warn(f"{release.root}: numbers of cases: {', '.join(odd[:12])}{more}")


def _earlier(case: Case, row: Row, first: dict[int, int | str]) -> int | str | None:
    """Key or number of the row with a case of that name; None, and this row is noted, if there was none."""
    known = len(first)
    before = first.setdefault(hash(case.id), row.key or row.number)
    return before if len(first) == known else None


def told(row: Row, problem: str) -> str:
    """What is wrong with a case, with the place of its row."""
    return problem if row.where in problem else f"{row.where}: {problem}"


def unusable(id: str, problem: str, of: Case | None = None) -> Case:
    """The case that stands for a row that cannot be used: every sample of it is an `error` outcome.

    `of` is what could be read of it. Without, it counts among the requests that a safe model refuses.
    """
    return Case(
        id=id,
        conversation=Conversation.user(Image("", 0, 0, problem=problem)),
        behavior=UNUSABLE,
        expected=Expected.refuse if of is None else of.expected,
        category="" if of is None else of.category,
        group=id if of is None else of.group,
        hazard="" if of is None else of.hazard,
        twin=None if of is None else of.twin,
        problem=problem,
    )


def found_release(card: Card) -> Path | None:
    """Where a benchmark's release lies below the folder that `$SIGHTLINE_DATA` names, if it does."""
    data = os.environ.get(DATA_FOLDER, "")
    if not data:
        return None
    names = (card.name, *(card.release.folders if card.release else ()))
    wanted = [f"{name}{suffix}".casefold() for name in names for suffix in ("", ".zip", ".tar", ".tar.gz")]
    try:
        there = {path.name.casefold(): path for path in sorted(Path(data).expanduser().iterdir())}
    except OSError:
        return None
    return next((there[name] for name in wanted if name in there), None)


def refuse_root(benchmark: Benchmark, root: object, how: str = "") -> None:
    """Refuse a release that is named for a benchmark that reads none; `how` is what the reader can change.

    Raises:
        UsageError: if one is.
    """
    if root is not None and not benchmark.needs_root:
        raise UsageError(
            f"{benchmark.card.name} comes with Sightline and reads no release: leave {root} out{how}"
        )


def where_to_look(card: Card, how: str = "add `root:` with") -> str:
    """How to say where a benchmark's release is, for messages; `how` is what the reader can write."""
    if card.release and card.release.access == "yours":
        return f"{card.name} reads your own data: {how} your table, folder or archive"
    home = f"; its authors publish it at {card.release.home}" if card.release else ""
    return (
        f"{card.name} reads an official release: {how} the folder or archive where you have it, "
        f"or put it into the folder that ${DATA_FOLDER} names, as {card.name}{home}"
    )
