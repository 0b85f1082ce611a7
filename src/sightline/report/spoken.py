"""Replies of a run by language, and what each judge says of them: computed when asked, once per text.

A report reads a sample of the answers, those with the smallest keys: these are digests, so that it is as good
as drawn at random.
"""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sightline.counting import plural
from sightline.judges._phrases import LANGUAGES
from sightline.judges._tags import UND, Tag, tag
from sightline.metrics.cells import method_of
from sightline.metrics.rates import MEASURES, Rate, outcome_counts, rate
from sightline.records import Outcome
from sightline.report.results import Results, entries, judge_names
from sightline.report.text import as_percent, bracket
from sightline.testbed.tokenizer import vocabulary
from sightline.testbed.world import nouns

SAMPLED = 1000
"""Answers that a report tags."""
MUCH = 0.02
UNTAGGED = "The languages of the responses were not tagged: pip install 'sightline[languages]'."
MEASURED = ("asr", "over_refusal", "attacker_goal")
_WORD = re.compile(r"[^\W\d_]+")
_CODES = {"english": "en", **{name: code for code, name in LANGUAGES.items()}}


class Spoken(NamedTuple):
    """The tag of one answered sample."""

    sample: str
    response_hash: str
    tag: Tag


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRate:
    """A rate of a judge over the tagged replies of one language."""

    language: str
    judge: str
    measure: str
    rate: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLanguage:
    """Replies by language.

    Attributes:
        tagged: answers whose language was tagged; `answers` of all.
        languages: number of tagged answers by code, commonest first.
        rates: of every judge on those of each language.
        unread: cautions for lists and scorers that do not know a language of the replies.
    """

    tagged: int
    answers: int
    languages: Mapping[str, int]
    rates: tuple[LanguageRate, ...]
    unread: tuple[str, ...]


def can_tag() -> bool:
    """Whether the extra `languages` is installed."""
    return importlib.util.find_spec("py3langid") is not None


def tags(results: Results, most: int | None = None) -> list[Spoken]:
    """The language of every answered sample, or of `most` of them, drawn by their keys.

    Samples without any answer (errors) have no tag.
    """
    rows = results.rows(
        "select lower(hex(sample)), lower(hex(any_value(response_hash))) from raw where outcome <> 'error'"
        " group by sample order by sample limit ?",
        [2**62 if most is None else most],
    )
    texts = {
        row["key"]: str(row.get("text", "")) for row in results.records("answer", "key", [s for s, _ in rows])
    }
    known: dict[str, Tag] = {}
    found = []
    for sample, content in rows:
        if sample not in texts:
            continue
        if content not in known:
            known[content] = Tag("en", 1.0) if of_testbed(texts[sample]) else tag(texts[sample])
        found.append(Spoken(sample, content, known[content]))
    return found


def of_testbed(text: str) -> bool:
    """Whether a text names a thing of the testbed's world and is made of that world's words: its English.

    A tagger of languages takes the invented nouns for a language that it knows few texts of.
    """
    found = _WORD.findall(text.casefold())
    known = [word for word in found if word in _things() or word in vocabulary()]
    return any(word in _things() for word in found) and 3 * len(known) >= 2 * len(found)


@cache
def _things() -> frozenset[str]:
    return frozenset(nouns())


def by_language(results: Results, lock: Mapping[str, Any], most: int | None = SAMPLED) -> ByLanguage:
    """Replies by language, with the rates of each judge. Needs the extra `languages`."""
    found = tags(results, most)
    answers = results.rows("select count(distinct sample) from raw where outcome <> 'error'")[0][0]
    counts = Counter(each.tag.code for each in found)
    return ByLanguage(
        tagged=len(found),
        answers=int(answers),
        languages=dict(counts.most_common()),
        rates=tuple(_rates(results, {each.sample: each.tag.code for each in found})),
        unread=tuple(_unread(counts, lock)),
    )


def _rates(results: Results, codes: Mapping[str, str]) -> Iterator[LanguageRate]:
    order = [code for code, _ in Counter(codes.values()).most_common()]
    rows = results.rows(
        "select sample, judge, coalesce(scores, 'case'), expected, outcome, benchmark, \"group\" from results"
        " where sample in (select unnest(?::varchar[]))",
        [sorted(codes)],
    )
    cells: dict[tuple[str, str, str], tuple[list[Any], list[Outcome]]] = {}
    for sample, judge, scores, expected, outcome, *group in rows:
        for name in MEASURED:
            kind = MEASURES[name]
            goal = name == "attacker_goal"
            if goal != (scores == "attacker_goal") or not (goal or str(kind.expected) == expected):
                continue
            groups, outcomes = cells.setdefault((codes[sample], judge, name), ([], []))
            groups.append(tuple(group))
            outcomes.append(Outcome(outcome))
    for key in sorted(cells, key=lambda key: (order.index(key[0]), key[1], key[2])):
        language, judge, name = key
        made = rate(MEASURES[name], outcome_counts(*cells[key]), judge)
        yield LanguageRate(language=language, judge=judge, measure=name, rate=made)


def known_languages(spec: str) -> frozenset[str] | None:
    """Codes of the languages that a judge's words are of; None if it has none, or names languages itself."""
    method = method_of(spec)
    if method == "toxicity" and "profanity" in spec:
        return frozenset({"en"})
    if method != "refusal_prefix" or "auto" in spec:
        return None
    named = {code for name, code in _CODES.items() if name in spec}
    return frozenset(named or {"en"})


def _unread(counts: Mapping[str, int], lock: Mapping[str, Any]) -> Iterator[str]:
    """Cautions for judges whose words are of other languages than many replies."""
    listed = entries(lock, "judges")
    names = judge_names([str(each.get("id")) for each in listed], lock)
    told = sum(counts.values())
    for each in listed:
        known = known_languages(str(each.get("spec", "")))
        if known is None:
            continue
        others = {code: n for code, n in counts.items() if code not in known and code != UND}
        lost = sum(others.values())
        if lost <= MUCH * told:
            continue
        which = ", ".join(f"{code} {n:,}" for code, n in Counter(others).most_common(6))
        misses = "swearing" if "profanity" in str(each.get("spec", "")) else "a refusal"
        yield (
            f"{names[str(each.get('id'))]}: {lost:,} of {told:,} tagged responses are in a language that its "
            f"words are not of ({which}): {misses} in them is not found; use `phrases: auto` or a judge that "
            "asks a model"
        )


@dataclass(frozen=True, slots=True)
class SpokenLine:
    """A row of the report's table: a judge's rates on the replies of one language."""

    language: str
    replies: str
    judge: str
    rates: tuple[str, ...]


HEADS = ("ASR", "over-refusal", "targeted ASR")
MOST_LINES = 40


def lines(found: ByLanguage) -> list[SpokenLine]:
    """The table; empty where all replies are English, or undetermined."""
    if not set(found.languages) - {"en", UND}:
        return []
    made = {(each.language, each.judge, each.measure): each.rate for each in found.rates}
    pairs = dict.fromkeys((each.language, each.judge) for each in found.rates)
    return [
        SpokenLine(
            language,
            f"{found.languages[language]:,}",
            judge,
            tuple(_told(made.get((language, judge, name))) for name in MEASURED),
        )
        for language, judge in list(pairs)[:MOST_LINES]
    ]


def _told(found: Rate | None) -> str:
    if found is None:
        return "\u2013"
    if found.point is None:
        return f"none of {found.unscored:,} scored"
    lost = f", {found.unscored:,} unscored" if found.unscored else ""
    return f"{as_percent(found.point)} {bracket(found.low, found.high)}, n = {found.n:,}{lost}"


def sentence(found: ByLanguage) -> str:
    """How many replies are in which language, and of how many that was read."""
    told = ", ".join(f"{code} {n:,}" for code, n in list(found.languages.items())[:12])
    of = "" if found.tagged == found.answers else f", drawn at random of {found.answers:,}"
    return f"Languages of {plural(found.tagged, 'response')}{of} (ISO 639; {UND}: undetermined): {told}."


def added(values: Mapping[str, Any], results: Results, lock: Mapping[str, Any]) -> dict[str, Any]:
    """What a page prints, with the languages of the replies; where they cannot be tagged, it is said."""
    if not can_tag():
        untagged = [*values["not_measured"], UNTAGGED]
        return {**values, "not_measured": untagged, "languages": "", "spoken": [], "spoken_heads": HEADS}
    found = by_language(results, lock)
    return {
        **values,
        "warnings": [*values["warnings"], *found.unread],
        "languages": sentence(found),
        "spoken": lines(found),
        "spoken_heads": HEADS,
    }
