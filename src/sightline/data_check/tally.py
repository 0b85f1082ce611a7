"""What is counted while the rows of a benchmark are read once."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from sightline.cases import Case, Expected, Image
from sightline.data_check.found import ColumnFound, SampleRow, TableFound
from sightline.data_check.pictures import Looker
from sightline.digests import digest
from sightline.readers import OddTexts, told
from sightline.rng import seed_of
from sightline.rows import Row
from sightline.untrusted import whole

LANGUAGES = ("language", "lang")
_PLACEHOLDER = "<image>"


class _Table:
    """One table so far."""

    def __init__(self) -> None:
        self.rows = 0
        self.names: dict[str, dict[str, int]] = {}
        self.present: Counter[str] = Counter()
        self.roles: dict[str, str] = {}

    def add(self, row: Row, roles: Mapping[str, tuple[str, ...]]) -> None:
        self.rows += 1
        for column, cell in row.fields.items():
            nothing = self.names.setdefault(str(column), {"empty": 0, "null": 0, "nan": 0})
            self.present[str(column)] += 1
            if cell is None:
                nothing["null"] += 1
            elif isinstance(cell, str):
                nothing["empty"] += not cell.strip()
            elif isinstance(cell, float) and math.isnan(cell):
                nothing["nan"] += 1
        for role, columns in roles.items():
            for column in columns:
                said = self.roles.setdefault(column, role)
                if role not in said.split(", "):
                    self.roles[column] = f"{said}, {role}"

    def found(self, file: str, encoding: str) -> TableFound:
        columns = (
            ColumnFound(name, self.roles.get(name, ""), **nothing, absent=self.rows - self.present[name])
            for name, nothing in self.names.items()
            if name
        )
        return TableFound(file, encoding, self.rows, tuple(columns))


class Problem(NamedTuple):
    """A picture of a case whose fault is known only when it has been looked at."""

    row: str
    picture: int


class Tally:
    """Counts over rows and cases, in flat memory for a million of them."""

    def __init__(self, looker: Looker, samples: int) -> None:
        self.looker = looker
        self.odd = OddTexts()
        self.tables: dict[str, _Table] = {}
        self.cases = self.unanswered = self.repeated = 0
        self.bad: list[str | Problem] = []
        self.missing = self.without = 0
        self.expected: Counter[str] = Counter()
        self.categories: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.placeholders: list[str] = []
        self.replaced: list[str] = []
        self.hazards = 0
        self.ids = array("Q")
        self.twins: list[tuple[str, str]] = []
        self.texts: set[int] = set()
        self.groups: set[int] = set()
        self.asked: list[tuple[str, int, tuple[int, ...]]] = []
        self.first: list[tuple[str, Case]] = []
        self._samples = samples
        self._row: Row | None = None

    def add_row(self, row: Row, roles: Mapping[str, tuple[str, ...]]) -> None:
        """A row, once for all of its cases."""
        if row is self._row:
            return
        self._row = row
        self.tables.setdefault(row.file, _Table()).add(row, roles)
        if not row.fault and (column := row.column(*LANGUAGES)):
            self.languages[str(row.fields[column])[:40]] += 1

    def add_case(self, where: str, case: Case, row: Row | None = None) -> None:
        """A case and its pictures."""
        self.cases += 1
        unusable = case.problem is not None
        pictures, images = [], list(case.conversation.images)
        for image in images:
            if image.problem is None:
                pictures.append(int(image.sha256))
                self.bad.append(Problem(where, int(image.sha256)))
            else:
                self.bad.append(image.problem if row is None else told(row, image.problem))
                self.missing += not unusable
        if unusable:
            return
        self.without += not images
        self.expected[case.expected.value] += 1
        self.categories[case.category] += 1
        self.hazards += bool(case.hazard)
        self.groups.add(seed_of(case.group, bits=64))
        self.ids.append(seed_of(case.id, bits=64))
        if case.twin:
            self.twins.append((case.id, case.twin))
        if row is not None:
            self.odd.look_at(case, row)
        self.unanswered += case.expected in (Expected.answer, Expected.classify) and not case.answer
        text = digest([[turn.role, whole(turn.text)] for turn in case.conversation.turns])
        key = seed_of(text, bits=64)
        self.repeated += key in self.texts
        self.texts.add(key)
        self.asked.append((case.id, key, tuple(pictures)))
        if any(_PLACEHOLDER in turn.text for turn in case.conversation.turns):
            self.placeholders.append(where)
        texts = (*(turn.text for turn in case.conversation.turns), case.behavior, *case.wordings.values())
        if any(whole(text) != text for text in texts):
            self.replaced.append(where)
        if len(self.first) < self._samples:
            self.first.append((where, case))

    def identical(self) -> list[tuple[str, ...]]:
        """Cases with the same text and the same pictures."""
        groups: dict[tuple[int, tuple[str, ...]], list[str]] = {}
        for id, text, pictures in self.asked:
            shas = tuple(self.looker.shown[place].sha256 for place in pictures)
            groups.setdefault((text, shas), []).append(id)
        return [tuple(ids) for ids in groups.values() if len(ids) > 1]

    def sharing(self) -> int:
        """Cases that show a picture which another case shows too."""
        cases: dict[str, set[int]] = {}
        for number, (_, _, pictures) in enumerate(self.asked):
            for place in pictures:
                cases.setdefault(self.looker.shown[place].sha256, set()).add(number)
        return len({number for numbers in cases.values() if len(numbers) > 1 for number in numbers})

    def lone_twins(self) -> list[str]:
        """Cases whose twin is not among the cases."""
        ids = set(self.ids)
        return [id for id, twin in self.twins if seed_of(twin, bits=64) not in ids]

    def problems(self) -> list[str]:
        """Everything that is wrong with rows and pictures, in the order of the rows, each once."""
        found: dict[str, None] = {}
        for each in self.bad:
            if isinstance(each, str):
                found[each] = None
                continue
            shown = self.looker.shown[each.picture]
            look = self.looker.looks.get(shown.sha256)
            if look is not None and look.problem:
                what = look.problem if shown.where in look.problem else f"{shown.where}: {look.problem}"
                found[what if each.row in what else f"{each.row}: {what}"] = None
        return list(found)

    def sample(self, where: str, case: Case) -> SampleRow:
        """A case as the model will see it."""
        messages = tuple(
            (
                turn.role,
                tuple(whole(part) if isinstance(part, str) else self._described(part) for part in turn.parts),
            )
            for turn in case.conversation.turns
        )
        return SampleRow(where, case.id, case.expected.value, case.category, messages)

    def _described(self, image: Image) -> str:
        if image.problem:
            return f"[picture: {image.problem}]"
        shown = self.looker.shown[int(image.sha256)]
        look = self.looker.looks.get(shown.sha256)
        if look is None or look.problem:
            return f"[picture {shown.where}: {look.problem if look else 'not read'}]"
        size = f"{look.width} x {look.height} pixels, {look.size:,} bytes"
        return f"[picture {shown.where}: {look.kind} of {size}]"
