"""All recorded responses of a study: the cases that they answer, and who answered them under what."""

from __future__ import annotations

import base64
import binascii
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from sightline.cases import Case, Conversation, Expected, Image, Turn
from sightline.contracts import Images, Release
from sightline.digests import digest, sha256_bytes, sha256_file
from sightline.errors import UsageError
from sightline.readers import SHOWN, BadRows
from sightline.release import OfficialRelease
from sightline.responses.answers import Answer, PlainTurn, dumped, loaded
from sightline.stops import is_blank
from sightline.untrusted import whole

NO_PROMPT = "[the file does not hold what was shown]"
NO_RESPONSE = "the file has no response"
RECORDED = "recorded attack: "
"""Begins the note of an artifact, before the name of its attack in the table."""
PLAIN = "none"
LONGEST_NAME = 1000
KEPT = "with `on_bad_rows: keep` (`score --keep-bad-rows`) each is a sample whose `error` names the row"
SHORT, SAME = 16, 3
"""How long a text and how many responses there are at most and at least that may stand for no response."""
UNKNOWN_MODEL = "unknown model"


class Combination(NamedTuple):
    """Who answered, under which attack and defense, as tables name them; `none` for none."""

    model: str
    attack: str
    defense: str

    @property
    def target(self) -> str:
        """The target string."""
        return f"recorded/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of the files as a whole; plain values, for the lock.

    Attributes:
        format: how they were read.
        harness: what wrote them; '' if that is unknown.
        version: of the harness.
        decoding: how the models were sampled, as far as a file says.
        files: name, SHA-256, rows and whatever else a file says of itself.
        columns: which column was taken for what.
    """

    format: str
    harness: str = ""
    version: str = ""
    decoding: Mapping[str, Any] = field(default_factory=dict)
    files: Sequence[Mapping[str, Any]] = ()
    columns: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Known:
    """What the rows of a case have said of it: the row that its case is made of, what it asks and expects."""

    row: int
    plain: bool
    expected: str
    asked: str
    place: str


class ResponseTable:
    """The rows of a study's files, by case and combination. Rows lie in a temporary file, not in memory.

    Args:
        label: of the benchmark; case ids begin with it.
        root: the folder that pictures are named from.
        answers: the rows.
        keep_bad: whether a row that cannot be used becomes an error outcome.

    Raises:
        UsageError: listing rows that cannot be used, unless they are kept; for rows that cannot be told apart
            or matched; if there is none.
    """

    def __init__(self, label: str, root: Path, answers: Iterable[Answer], *, keep_bad: bool = False) -> None:
        self.label, self.root, self.attempts = label, root, 1
        self.facts = Facts(format="table")
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the table)
        self._ends = array("Q", [0])
        self._rows: dict[tuple[Combination, str, int], int] = {}
        self._cases: dict[str, _Known] = {}
        self._kinds: dict[str, set[str]] = {}
        self._repeats: Counter[tuple[Any, ...]] = Counter()
        self._by_prompt = ""
        self._marks: dict[str, str] = {}
        self._bad = BadRows()
        self._unlike: dict[str, str] = {}
        self._problems: list[str] = []
        self.combinations: dict[Combination, int] = {}
        for answer in answers:
            for what in () if keep_bad else answer.problems:
                self._bad.add(f"{answer.place}: {what}")
            self._add(answer)
        self._finish()

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _add(self, answer: Answer) -> None:
        at = Combination(
            _label(answer.model).removeprefix("recorded/") or UNKNOWN_MODEL,
            _label(answer.attack) or PLAIN,
            _label(answer.defense) or PLAIN,
        )
        name = self._case_of(answer, at)
        expected = answer.expected or Expected.refuse.value
        row = len(self)
        first = self._rows.setdefault((at, name, answer.attempt), row)
        if first != row:
            self._problems.append(
                f"{answer.place}: case {answer.case} was already answered by {' | '.join(at)} on "
                f"{self._row(first).place}; name the column that numbers tries (columns: {{attempt: ...}})"
            )
        plain = at.attack == PLAIN
        asked = digest("asked", whole(answer.behavior or ""))
        known = self._cases.setdefault(name, _Known(row, plain, expected, asked, answer.place))
        if known.asked != asked:
            self._unlike.setdefault(name, f"{answer.place} and {known.place}")
        if known.expected != expected:
            self._problems.append(
                f"{answer.place}: case {answer.case or name} expects {expected}, on {known.place} it "
                f"expected {known.expected}; an id names one case, whoever answers it"
            )
        if plain and not known.plain:
            known.row, known.plain = row, True
        self.combinations[at] = self.combinations.get(at, 0) + 1
        self._kinds.setdefault(at.attack, set()).add(expected)
        self.attempts = max(self.attempts, answer.attempt + 1)
        data = dumped(answer)
        self._file.write(data)
        self._ends.append(self._ends[-1] + len(data))

    def _case_of(self, answer: Answer, at: Combination) -> str:
        """The id of an answer's case: the file's own, else what is asked, numbered where it repeats."""
        if answer.case is not None:
            return f"{self.label}/{whole(answer.case)}"
        said: Any = answer.behavior
        if said is None:
            said = [list(turn["parts"]) for turn in answer.turns] if answer.turns else answer.place
            self._by_prompt = self._by_prompt or answer.place
        name = digest("asked", said if not isinstance(said, str) else whole(said))[:12]
        self._repeats[name, at, answer.attempt] += 1
        number = self._repeats[name, at, answer.attempt]
        return f"{self.label}/{name}" + (f"#{number}" if number > 1 else "")

    def _finish(self) -> None:
        if not len(self):
            raise UsageError(f"{self.root}: no responses found")
        attacks = {at.attack for at in self.combinations}
        if self._by_prompt and len(attacks) > 1:
            self._problems.insert(
                0,
                f"{self._by_prompt}: the rows of different attacks cannot be matched, for neither an id nor "
                "the plain behavior is given; name the column (columns: {id: ...} or {behavior: ...})",
            )
        if self._bad.count:
            raise UsageError(self._bad.message(str(self.root), KEPT))
        if self._problems:
            more = len(self._problems) - SHOWN
            listed = "\n".join(self._problems[:SHOWN]) + (f"\nand {more:,} more" if more > 0 else "")
            raise UsageError(f"{len(self._problems):,} problems with the recorded responses:\n{listed}")

    def kinds(self, attack: str) -> frozenset[str]:
        """Expectations of the cases that an attack was run on."""
        return frozenset(self._kinds[attack])

    def _row(self, number: int) -> Answer:
        start, end = self._ends[number], self._ends[number + 1]
        self._file.seek(start)
        return loaded(self._file.read(end - start))

    def answer(self, case: str, at: Combination, attempt: int = 0) -> Answer | None:
        """The row of a case and a combination, if there is one."""
        number = self._rows.get((at, case, attempt))
        return None if number is None else self._row(number)

    def warnings(self) -> Iterator[str]:
        """What the user should know: what no file said, and how many responses are not there."""
        unsaid = 0
        empty: Counter[Combination] = Counter()
        short: dict[Combination, Counter[str]] = {}
        for (at, _, _), number in self._rows.items():
            row = self._row(number)
            unsaid += not row.expected
            ended = row.stop == "stop" and row.error is None and not row.problems
            text = (row.text or "").strip() if ended else ""
            empty[at] += ended and row.text is not None and is_blank(row.text)
            if 0 < len(text) <= SHORT and text != row.reference:
                short.setdefault(at, Counter())[text] += 1
        if unsaid:
            yield (
                f"{unsaid:,} of {len(self):,} rows do not say what is expected: they count as requests that "
                "a safe model refuses (column `expected`: refuse, comply, answer)"
            )
        name = self.facts.columns.get("yes means", "")
        if name:
            yield (
                f"column {self.facts.columns.get('expected')!r} is taken for what is asked (yes: a safe "
                f"model is to {name}); if it says what the response is, write columns: {{verdict: ...}}"
            )
        if self._unlike:
            name, places = next(iter(self._unlike.items()))
            yield (
                f"{len(self._unlike):,} cases are asked in different words by different rows, the first is "
                f"{name} ({places}): judges read the first words; is the id that of the case?"
            )
        total = len(self._cases) * self.attempts
        for at, number in self.combinations.items():
            met = sum(known.expected in self.kinds(at.attack) for known in self._cases.values())
            wanted = total if at.attack == PLAIN else met * self.attempts
            if number < wanted:
                yield (
                    f"{' | '.join(at)}: {wanted - number:,} of {wanted:,} responses are not in the table; "
                    "they count as errors, so use the bounds"
                )
            if empty[at]:
                yield f"{' | '.join(at)}: {empty[at]:,} empty responses; each counts as off_topic"
            text, same = next(iter(short.get(at, Counter[str]()).most_common(1)), ("", 0))
            if same >= SAME and same * 20 >= number:
                yield (
                    f"{' | '.join(at)}: {same:,} of {number:,} responses are the same short text, {text!r}: "
                    "each is judged as it is; if it stands for no response, name it (error_markers)"
                )

    def mark(self, case: str, at: Combination) -> str:
        """Digest of all rows of a case and a combination, with the pictures that they name."""
        rows = (self.answer(case, at, attempt) for attempt in range(self.attempts))
        return digest(*("" if row is None else self._marked(row) for row in rows))

    def _marked(self, row: Answer) -> str:
        pictures = [
            self._picture_mark(part["image"])
            for turn in row.turns
            for part in turn["parts"]
            if not isinstance(part, str) and "image" in part
        ]
        return digest(sha256_bytes(dumped(replace(row, place=""))), pictures)

    def _picture_mark(self, name: str) -> str:
        if name not in self._marks:
            self._marks[name] = self._file_mark(name)
        return self._marks[name]

    def _file_mark(self, name: str) -> str:
        """SHA-256 of a picture file below the root; '' for none, and for what is no such name."""
        path = PurePosixPath(name)
        if len(name) > LONGEST_NAME or "\0" in name or path.is_absolute() or ".." in path.parts:
            return ""
        try:
            return sha256_file(self.root / path) if (self.root / path).is_file() else ""
        except OSError:
            return ""

    def cases(self, release: Release) -> Iterator[Case]:
        """The cases in the order of the rows; each as it was asked without an attack, where a row says."""
        for name, known in self._cases.items():
            row = self._row(known.row)
            behavior = whole(row.behavior or row.prompt or row.case or name)
            turns: Sequence[PlainTurn] = row.turns if known.plain else ()
            conversation = Conversation.user(behavior)
            if turns:
                conversation = conversation_of(turns, release)
            yield Case(
                id=name,
                conversation=conversation,
                behavior=behavior,
                expected=Expected(known.expected),
                category=whole(row.category) or "unknown",
                group=whole(row.group) or digest("group", behavior)[:16],
                hazard=row.hazard,
                twin=None if row.twin is None else f"{self.label}/{row.twin}",
                answer=row.reference,
            )

    def shown(self, row: Answer, images: Images) -> Conversation:
        """What the model was shown, with its pictures kept in `images`."""
        turns = row.turns or ({"role": "user", "parts": [NO_PROMPT]},)
        return conversation_of(turns, OfficialRelease(self.root, images))


def _label(name: str) -> str:
    """A name of a file as tables show it: whole characters, one line."""
    return " ".join(whole(name).split())[:200]


def conversation_of(turns: Sequence[PlainTurn], release: Release) -> Conversation:
    """Turns with their pictures: of the release, or held by the row itself."""
    return Conversation(
        tuple(Turn(turn["role"], tuple(_part(part, release) for part in turn["parts"])) for turn in turns)
    )


def _part(part: Any, release: Release) -> str | Image:
    if isinstance(part, str):
        return whole(part)
    name = part.get("image", "")
    data = part.get("data") or (name.partition(";base64,")[2] if name.startswith("data:") else "")
    if not data:
        return release.image(str(PurePosixPath(name.removeprefix("file://").replace("\\", "/"))))
    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error as broken:
        return Image("", 0, 0, problem=f"a picture of a row is not base64: {broken}")
    return release.picture(content, "a picture of a row")
