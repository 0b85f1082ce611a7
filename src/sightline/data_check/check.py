"""Check the data of a benchmark: read every row and picture once, run nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.contracts import Benchmark
from sightline.data_check.alike import alike
from sightline.data_check.found import DataCheck, PicturesFound, TableFound
from sightline.data_check.pictures import Looker, WatchedRelease
from sightline.data_check.tally import Tally
from sightline.encodings import encoding_of
from sightline.errors import EncodingError, UsageError
from sightline.readers import TableBenchmark
from sightline.study.progress import Progress

TEXTS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".txt")
STEP = 50
"""Cases after which the progress is told."""
ANY_BYTES = "latin-1"
"""An encoding in which whatever bytes are a text."""
FEW = 30
"""Groups below which intervals are wide."""


def check(
    method: Benchmark, root: Path | None, *, samples: int, progress: Progress, workers: int = 0
) -> DataCheck:
    """Read all rows of a benchmark and look at all pictures; whatever is wrong is in the result.

    Args:
        method: the benchmark with its settings; `on_bad_rows` does not matter.
        root: of its data.
        samples: cases that are shown.
        progress: told of each row.
        workers: threads that decode pictures; 0 is one for each core.
    """
    spec = registry.spec(method)
    looker = Looker(workers)
    tally = Tally(looker, samples)
    fault, release, elsewise = "", None, None
    progress.start("check data", 0, 0)
    try:
        with looker.working():
            release = WatchedRelease(root, looker)
            _read(method, release, tally, progress)
            if not tally.cases:
                fault = f"{release.root}: no rows with these settings"
    except UsageError as broken:
        fault = str(broken)
        if isinstance(broken, EncodingError):
            elsewise = _in_any_encoding(method)
    progress.finish()
    if elsewise is not None:
        if release is not None:
            release.close()
        found = check(elsewise, root, samples=0, progress=progress, workers=workers)
        note = f"read as {ANY_BYTES} to find what else is wrong; `sightline run` reads none of these rows"
        return replace(found, benchmark=spec, bad=(fault, *found.bad), notes=(*found.notes, note))
    if release is None:
        return DataCheck(benchmark=spec, root=str(root), bad=(fault,))
    try:
        return _found(method, spec, release, tally, fault)
    finally:
        release.close()


def _in_any_encoding(method: Benchmark) -> Benchmark | None:
    """The benchmark for an encoding in which no byte is wrong; None if an encoding was named or cannot be."""
    if not isinstance(method, TableBenchmark) or getattr(method, "encoding", None) != "":
        return None
    changed: dict[str, Any] = {"encoding": ANY_BYTES}
    return replace(method, **changed)


def _read(method: Benchmark, release: WatchedRelease, tally: Tally, progress: Progress) -> None:
    if not isinstance(method, TableBenchmark):
        for number, case in enumerate(method.cases(release), start=1):
            tally.add_case(f"case {number}", case)
            progress.advance()
        return
    tolerant = replace(method, on_bad_rows="keep")
    for number, (row, case) in enumerate(tolerant.pairs(release), start=1):
        tally.add_row(row, tolerant.roles(row))
        tally.add_case(row.where, case, row)
        if number % STEP == 0:
            progress.advance(STEP)
    progress.advance(tally.cases % STEP)


def _found(method: Benchmark, spec: str, release: WatchedRelease, tally: Tally, fault: str) -> DataCheck:
    tally.odd.tell(release)
    facts = method.card.release
    known = {} if facts is None else facts.known
    files = {name: known[sha256] for name, sha256 in release.files.items() if sha256 in known}
    return DataCheck(
        benchmark=spec,
        root=str(release.root),
        tables=tuple(_tables(method, release, tally)),
        rows=sum(table.rows for table in tally.tables.values()),
        cases=tally.cases,
        bad=tuple([*tally.problems(), *([fault] if fault else [])]),
        notes=tuple([*release.warnings, *_notes(method, tally)]),
        expected=dict(tally.expected),
        categories=dict(tally.categories.most_common()),
        languages=dict(tally.languages.most_common()),
        groups=len(tally.groups),
        repeated=tally.repeated,
        identical=tuple(tally.identical()),
        pictures=_pictures(tally),
        measures=_measures(tally),
        official=method.official(tally.categories) if isinstance(method, TableBenchmark) else {},
        known=files,
        samples=tuple(tally.sample(where, case) for where, case in tally.first),
    )


def _tables(method: Benchmark, release: WatchedRelease, tally: Tally) -> Iterator[TableFound]:
    encodings = {}
    for member in release.members:
        try:
            with member.open() as opened:
                start = opened.read(4)
            if member.where.casefold().endswith(TEXTS):
                encodings[member.where] = encoding_of(start, member.where, getattr(method, "encoding", ""))
        except (UsageError, OSError):
            continue  # told where its rows are read
    for file, table in tally.tables.items():
        yield table.found(
            file, next((coding for name, coding in encodings.items() if file.startswith(name)), "")
        )


def _pictures(tally: Tally) -> PicturesFound:
    looker = tally.looker
    places: dict[str, dict[str, None]] = {}
    for shown in looker.shown:
        places.setdefault(shown.sha256, {})[shown.where] = None
    whole = [sha256 for sha256, look in looker.looks.items() if not look.problem]
    looks = [looker.looks[sha256] for sha256 in whole]
    groups = alike([look.hash for look in looks], [look.miniature for look in looks])
    return PicturesFound(
        shown=len(looker.shown),
        files=len(places),
        without=tally.without,
        unreadable=len(looker.looks) - len(whole),
        missing=tally.missing,
        same=tuple(tuple(names) for names in places.values() if len(names) > 1),
        alike=tuple(tuple(next(iter(places[whole[place]])) for place in group) for group in groups),
        shared=tally.sharing(),
    )


def _measures(tally: Tally) -> dict[str, str]:
    """What each measure of a report lacks."""
    asked = tally.expected
    if not asked:
        return {}
    answers = asked["answer"] + asked["classify"]
    own = len(tally.groups) == len(tally.ids)
    return {
        "attack success": "" if asked["refuse"] else "no case is `refuse`: nothing can be attacked",
        "over-refusal": "" if asked["comply"] else "no case is `comply` (safe, benign): it is not measured",
        "utility": (
            "no case is `answer` or `classify`: it is not measured"
            if not answers
            else f"{tally.unanswered:,} of {answers:,} cases to answer have no reference"
            if tally.unanswered
            else ""
        ),
        "by category": "" if any(tally.categories) else "no categories",
        "by hazard": "" if tally.hazards else "no codes of the common taxonomy (`sightline taxonomy`)",
        "intervals": (
            f"only {len(tally.groups)} groups: wide below {FEW}"
            if len(tally.groups) < FEW
            else "no groups: each case is a cluster of its own"
            if own
            else ""
        ),
    }


def _notes(method: Benchmark, tally: Tally) -> Iterator[str]:
    rows = {
        name for table in tally.tables.values() for role in table.roles.values() for name in role.split(", ")
    }
    if tally.tables and rows and "expected" not in rows:
        default = getattr(method, "expected", "refuse")
        yield f"no column of labels: all cases count as `{default}` (setting `expected`)"
        if "answer" in rows and default == "refuse":
            yield "there are reference answers: if these are questions to answer, set `expected: answer`"
    if tally.placeholders:
        yield (
            f"{len(tally.placeholders):,} texts hold `<image>` ({tally.placeholders[0]}), which is sent as "
            "it is; pictures stand before the text"
        )
    if tally.replaced:
        yield (
            f"{len(tally.replaced):,} cases hold halves of surrogate pairs or control characters "
            f"({tally.replaced[0]}): U+FFFD is sent in their place, and what draws words may fail on it"
        )
    lone = tally.lone_twins()
    if lone:
        yield f"{len(lone):,} cases have a twin that is not there, such as {lone[0]}"
    sharing = tally.sharing()
    if sharing and len(tally.groups) == len(tally.ids):
        yield f"{sharing:,} cases share a picture with another: a column `group` would make them one cluster"
