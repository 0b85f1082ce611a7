"""Cases -> lessons: what each case teaches, where it comes from, and that none of it is measured later."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sightline.cases import Case
from sightline.contracts import Benchmark, Images
from sightline.errors import UsageError
from sightline.plain import case_of, plain_case
from sightline.readers import found_release, where_to_look
from sightline.registry import parse, spec
from sightline.release import OfficialRelease
from sightline.tuning import LABELS, Lesson
from sightline.untrusted import sanitized_row

REFUSAL, ASKED = "refusal", "asked"
"""Wordings of a case: how a model of the testbed refuses it, and the harmless recipe that it asks for."""
FEEDBACK = ("response", "rating", "critique", "refinement")
"""Wordings of a case that hold an answer, and feedback on it (DRESS: LVLM_NLF)."""
_SHOWN = 3


class Cases(NamedTuple):
    """The cases of one benchmark, and its name."""

    source: str
    cases: tuple[Case, ...]


def named(text: str, folder: Path = Path()) -> tuple[Benchmark, Path | None]:
    """A benchmark and its root from `NAME`, `NAME(setting=value)` or either with `=FOLDER` behind it.

    Raises:
        UsageError: for a text of another form, or an unknown name.
    """
    head, closing, tail = text.rpartition(")")
    name, _, root = tail.partition("=")
    if closing and name.strip():
        raise UsageError(f"{text!r}: write NAME, NAME(setting=value), or either with =FOLDER behind it")
    found: Benchmark = parse("benchmark", f"{head}{closing}{name}")  # the rows themselves are in the key
    return found, folder / Path(root).expanduser() if root else None


def read(benchmark: Benchmark, root: Path | None, images: Images) -> Cases:
    """The cases of a benchmark.

    Raises:
        UsageError: if its release is not there or a row of it cannot be read.
    """
    where = root if root is not None else found_release(benchmark.card)
    if benchmark.needs_root and where is None:
        raise UsageError(where_to_look(benchmark.card, "name"))
    release = OfficialRelease(where, images)
    try:
        found = tuple(case_of(sanitized_row(plain_case(case))) for case in benchmark.cases(release))
    finally:
        release.close()
    return Cases(spec(benchmark), found)


def lessons_of(tables: Iterable[Cases]) -> tuple[Lesson, ...]:
    """What cases teach, in their order.

    Raises:
        UsageError: for a case without a label that can be taught, or one that cannot be read.
    """
    found = tuple(_lesson(table.source, case) for table in tables for case in table.cases)
    if not found:
        raise UsageError("there is no row to train on: name a benchmark with `--on`, or `rows:` in a study")
    twice = [id for id, count in Counter(each.id for each in found).items() if count > 1]
    if twice:
        raise UsageError(
            f"{len(twice)} rows to train on stand there twice, such as {twice[0]}: name each source once"
        )
    return found


def _lesson(source: str, case: Case) -> Lesson:
    label = LABELS.get(case.expected)
    if label is None:
        raise UsageError(
            f"{source}, case {case.id}: expected is {case.expected.value!r}, which says nothing that can be "
            f"taught; rows "
            f"to train on are labelled {', '.join(LABELS)}"
        )
    if case.problem or case.conversation.problem:
        why = case.problem or case.conversation.problem
        raise UsageError(f"{source}, case {case.id} cannot be trained on: {why}")
    return Lesson(
        id=case.id,
        prompt=case.conversation,
        label=label,
        source=source,
        group=case.group,
        twin=case.twin or "",
        given=(case.wordings.get(REFUSAL) if label == "refuse" else "") or case.answer or "",
        refusal=case.wordings.get(REFUSAL, ""),
        asked=case.wordings.get(ASKED, ""),
        case=case,
        **{name: case.wordings.get(name, "") for name in FEEDBACK},
    )


def refuse_leaks(taught: Sequence[Cases], measured: Iterable[Cases]) -> None:
    """Make sure that nothing is measured on what was trained on: no group, picture or request is in both.

    Raises:
        UsageError: naming the first ones.
    """
    found = leaks(taught, measured)
    if found:
        shown = "; ".join(f"{one} and {other} share {what}" for one, other, what in found[:_SHOWN])
        raise UsageError(
            f"{len(found)} cases to be measured are among the rows to train on: {shown}. Choose another "
            f"part of "
            "the data (`split=`), or allow it (--allow-leakage, `leakage: allow`): the record then says so"
        )


def leaked(taught: Sequence[Cases], measured: Iterable[Cases], *, allowed: bool) -> int:
    """How many cases to be measured are among the rows to train on.

    Raises:
        UsageError: if there are any and they are not allowed.
    """
    if allowed:
        return len(leaks(taught, measured))
    refuse_leaks(taught, measured)
    return 0


def leaks(taught: Sequence[Cases], measured: Iterable[Cases]) -> list[tuple[str, str, str]]:
    """Measured cases that share something with a row to train on: the two ids, and what they share."""
    seen: dict[tuple[str, str], str] = {}
    for table in taught:
        for case in table.cases:
            for mark in _marks(table.source, case):
                seen.setdefault(mark, case.id)
    found = []
    for table in measured:
        for case in table.cases:
            shared = next((mark for mark in _marks(table.source, case) if mark in seen), None)
            if shared is not None:
                found.append((case.id, seen[shared], f"the {shared[0]} {shared[1][:60]!r}"))
    return found


def _marks(source: str, case: Case) -> list[tuple[str, str]]:
    """What a case is known by: its group (of the same kind of data), its pictures, else its text."""
    family = source.partition("(")[0].partition("_")[0]
    pictures = [("picture", image.sha256) for image in case.conversation.images]
    text = [] if pictures else [("request", " ".join(case.conversation.last_user_text().split()).casefold())]
    return [*pictures, *text, ("group", f"{family}: {case.group}")]


def counts(lessons: Iterable[Lesson]) -> Mapping[str, Mapping[str, int]]:
    """Lessons by source and label."""
    found: dict[str, Counter[str]] = {}
    for each in lessons:
        found.setdefault(each.source, Counter())[each.label] += 1
    return {source: dict(sorted(labels.items())) for source, labels in sorted(found.items())}


def whole_sentences(text: str) -> str:
    """An answer without the sentence in which it was cut off; as it is if it has no whole one.

    A list's bare number ("2.") is no sentence.
    """
    text = text.strip()
    ends = [found.end() for found in re.finditer(r"(?<!\d)[.!?](?=\s|$)", text)]
    return text[: ends[-1]] if ends else text
