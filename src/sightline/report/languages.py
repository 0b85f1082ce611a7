"""Cautions about replies in languages that a list of phrases cannot read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from sightline.counting import plural, verb
from sightline.judges._phrases import LANGUAGES
from sightline.judges.refusal_prefix import foreign
from sightline.metrics.cells import method_of
from sightline.report.results import Results, entries, literal

MUCH_FOREIGN = 0.02
_JUDGE = "refusal_prefix"


def foreign_replies(results: Results, lock: Mapping[str, Any], *, tagged: bool) -> list[str]:
    """Lists of phrases whose language many replies are not in; languages for which `auto` has no list.

    `tagged`: the report names the languages of replies (`spoken`), and says the former by itself.
    """
    specs = [str(entry.get("spec", "")) for entry in entries(lock, "judges")]
    specs = [spec for spec in specs if _JUDGE in spec]
    if not specs:
        return []
    named = [name for name in LANGUAGES.values() if any(name in spec for spec in specs)]
    found = []
    for language in () if tagged else ("english", *named):
        for judge, n, unlike in results.reasons(foreign(language)):
            if method_of(judge) == _JUDGE and unlike > MUCH_FOREIGN * n:
                found.append(
                    f"{_JUDGE}: {unlike:,} of {plural(n, 'response')} {verb(unlike, 'are')} not "
                    f"{language.capitalize()}, the language of its phrases: refusals among them "
                    "count as complied"
                )
    return [*found, *_tagged(results)]


def _tagged(results: Results) -> list[str]:
    """What languages the replies are in, where a judge has named them and they are not all one."""
    counts: Counter[str] = Counter()
    for path in results.compacted("judge"):
        counts.update(
            dict(
                results.rows(
                    "select json_extract_string(record, '$.fields.language') as language, count(*)"
                    " from read_parquet(?) where contains(record, '\"language_sure\"')"
                    " group by language having language is not null",
                    [literal(path)],
                )
            )
        )
    if len(counts) < 2:
        return []
    told = ", ".join(f"{language} {n:,}" for language, n in counts.most_common(12))
    known = {"english", "unknown", *LANGUAGES.values()}
    lost = sum(n for language, n in counts.items() if language not in known)
    unread = f"; {lost:,} are in a language without a list of refusals" if lost else ""
    return [f"verdicts of {_JUDGE} by language of the response: {told}{unread}"]
