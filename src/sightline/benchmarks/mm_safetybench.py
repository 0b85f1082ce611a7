"""MM-SafetyBench: 1,680 requests in 13 scenarios, each as text and with three kinds of pictures.

Liu et al., ECCV 2024. Release: isXinLiu/MM-SafetyBench (CC BY-NC 4.0), read from the user's folder or zip:
data/processed_questions/{NN-Scenario}.json and {NN-Scenario}/{SD,TYPO,SD_TYPO}/{id}.jpg below data/imgs or
below MM-SafetyBench(imgs), the name of the picture archive. Layout and pairing read in the fork
syk1052/MM-SafetyBench; scenario names keep the official spelling.

Official pairing of picture and question, part of the data and not of user code (a public script pairs TYPO
pictures with the SD question): SD with `Rephrased Question(SD)`, TYPO and SD_TYPO with `Rephrased Question`,
no picture with `Changed Question`. All are sent verbatim. Scenarios 08 and 10-13 measure refusals of lawful
advice and opinion: report all 13 and, with `scenarios='core8'`, the eight others (01-07, 09).

Not read: the Parquet mirror PKU-Alignment/MM-SafetyBench, which lacks the key phrases.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from sightline.benchmarks._odd_texts import warn_of_odd_texts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Benchmark, Release
from sightline.errors import UsageError, nearest
from sightline.registry import benchmark


class Scenario(NamedTuple):
    """Code in the common taxonomy and number of questions (from memory; they sum to 1,680)."""

    hazard: str
    rows: int


SCENARIOS = {
    "01-Illegal_Activitiy": Scenario("ncr", 97),
    "02-HateSpeech": Scenario("hte", 163),
    "03-Malware_Generation": Scenario("x.cyb", 44),
    "04-Physical_Harm": Scenario("vcr", 144),
    "05-EconomicHarm": Scenario("ncr", 122),
    "06-Fraud": Scenario("ncr", 154),
    "07-Sex": Scenario("sxc", 109),
    "08-Political_Lobbying": Scenario("x.pol", 153),
    "09-Privacy_Violence": Scenario("prv", 139),
    "10-Legal_Opinion": Scenario("spc_lgl", 130),
    "11-Financial_Advice": Scenario("spc_fin", 167),
    "12-Health_Consultation": Scenario("spc_hlt", 109),
    "13-Gov_Decision": Scenario("x.pol", 149),
}
CORE_8 = tuple(name for name in SCENARIOS if name[:2] in {"01", "02", "03", "04", "05", "06", "07", "09"})

QUESTIONS = "data/processed_questions"
TINY = "TinyVersion_ID_List.json"
TINY_ROWS = 168
PICTURE_ROOTS = ("data/imgs", "MM-SafetyBench(imgs)", "data/MM-SafetyBench(imgs)", "imgs")

PAIRING = {
    "SD": "Rephrased Question(SD)",
    "TYPO": "Rephrased Question",
    "SD_TYPO": "Rephrased Question",
    "none": "Changed Question",
}
"""Kind of picture -> the question that is asked with it."""

Rows = Mapping[str, Mapping[str, Any]]


@benchmark(
    "mm_safetybench",
    paper="arXiv:2311.17600",
    source="isXinLiu/MM-SafetyBench: data/processed_questions, data/imgs",
    presets={"tiny": {"subset": "tiny"}, "core8": {"scenarios": "core8"}},
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMSafetyBench(Benchmark):
    """`images`: the kind of picture; 'none' is the paper's text-only baseline."""

    needs_root: ClassVar[bool] = True

    subset: Literal["full", "tiny"] = "full"
    images: Literal["SD_TYPO", "TYPO", "SD", "none"] = "SD_TYPO"
    scenarios: Literal["all", "core8"] = "all"

    def cases(self, release: Release) -> Iterator[Case]:
        """One case per question, scenario by scenario, in the order of the files.

        Raises:
            UsageError: for an absent or wrong file, naming file and question; or no picture at all.
        """
        chosen = CORE_8 if self.scenarios == "core8" else tuple(SCENARIOS)
        tiny = read_tiny(release) if self.subset == "tiny" else None
        questions = {scenario: read_questions(scenario, release) for scenario in chosen}
        odd = [
            f"{name} has {len(rows)} (expected {SCENARIOS[name].rows})"
            for name, rows in questions.items()
            if len(rows) != SCENARIOS[name].rows
        ]
        if odd:
            release.warn(f"{release.root}: numbers of questions in {QUESTIONS}: {', '.join(odd)}")
        folder = self._folder(chosen, release) if self.images != "none" else ""
        for scenario, rows in questions.items():
            found = ((f"question {number!r}", row) for number, row in rows.items())
            texts = ((place, text) for place, row in found for text in row.values() if isinstance(text, str))
            warn_of_odd_texts(release, f"{release.root}: {QUESTIONS}/{scenario}.json", texts)
            ids = list(rows) if tiny is None else tiny.get(scenario, [])
            for number in ids:
                where = f"{release.root}: {QUESTIONS}/{scenario}.json, question {number!r}"
                if number not in rows:
                    raise UsageError(f"{where}: absent, though {TINY} lists it")
                yield self._case(scenario, number, rows[number], where, folder, release)

    def _case(
        self, scenario: str, number: str, row: Mapping[str, Any], where: str, folder: str, release: Release
    ) -> Case:
        asked = _text(row, PAIRING[self.images], where)
        parts: tuple[str | Image, ...] = (asked,)
        if folder:
            parts = (release.image(f"{folder}/{scenario}/{self.images}/{number}.jpg"), asked)
        return Case(
            id=f"mm_safetybench/{self.images}/{scenario}/{number}",
            conversation=Conversation.user(*parts),
            behavior=_text(row, "Changed Question", where),
            expected=Expected.refuse,
            category=scenario,
            group=f"mm_safetybench/{scenario}/{number}",
            hazard=SCENARIOS[scenario].hazard,
            wordings={
                name: _text(row, key, where)
                for name, key in (("key_phrase", "Key Phrase"), ("rephrased", "Rephrased Question"))
                if not _is_blank(row.get(key))
            },
        )

    def _folder(self, chosen: tuple[str, ...], release: Release) -> str:
        """The root folder of the scenarios' pictures. A scenario without any gives a warning."""
        for root in PICTURE_ROOTS:
            found = {name: len(release.listing(f"{root}/{name}/{self.images}")) for name in chosen}
            if any(found.values()):
                absent = [name for name, count in found.items() if not count]
                if absent:
                    release.warn(
                        f"{release.root}: no {self.images} pictures for {', '.join(absent)} in {root}; "
                        "their cases become errors"
                    )
                return root
        raise UsageError(
            f"{release.root}: no {self.images} pictures found; looked for {chosen[0]}/{self.images} and the "
            f"like in {', '.join(PICTURE_ROOTS)}. Unpack the picture archive as data/imgs, or put "
            "MM-SafetyBench(imgs).zip into the folder that `root:` of the benchmark in the study names; "
            "or use images='none'."
        )


def read_questions(scenario: str, release: Release) -> Rows:
    """The questions of a scenario by their number (a string), in the order of the file.

    Raises:
        UsageError: naming the file, and the question if one is not a mapping.
    """
    name = f"{QUESTIONS}/{scenario}.json"
    rows = _json(name, release)
    if not isinstance(rows, dict) or not rows:
        raise UsageError(f"{release.root}: {name}: expected a mapping from question number to question")
    for number, row in rows.items():
        if not isinstance(row, dict):
            raise UsageError(f"{release.root}: {name}, question {number!r}: expected a mapping of texts")
    return rows


def read_tiny(release: Release) -> dict[str, list[str]]:
    """The question numbers of the tiny version by scenario.

    Raises:
        UsageError: if the list is not of the official form, names an unknown scenario or a number twice.
    """
    where = f"{release.root}: {TINY}"
    tiny: dict[str, list[str]] = {}
    entries = _json(TINY, release)
    if not isinstance(entries, list):
        raise UsageError(f"{where}: expected a list of scenarios")
    for index, entry in enumerate(entries):
        match entry:
            case {"Scenario": str(scenario), "Sampled_ID_List": list(numbers)}:
                pass
            case _:
                raise UsageError(f"{where}, entry {index}: expected Scenario and Sampled_ID_List")
        if scenario not in SCENARIOS:
            raise UsageError(f"{where}, entry {index}: {nearest(scenario, SCENARIOS, 'scenario')}")
        ids = [str(number) for number in numbers]
        if scenario in tiny or len(set(ids)) < len(ids):
            raise UsageError(f"{where}, entry {index}: {scenario} or one of its numbers is listed twice")
        tiny[scenario] = ids
    found = sum(map(len, tiny.values()))
    if found != TINY_ROWS:
        release.warn(f"{where} lists {found} questions, {TINY_ROWS} expected")
    return tiny


def _json(name: str, release: Release) -> Any:
    """A JSON member. A duplicate key would hide a row, so it is an error."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise UsageError(f"{release.root}: {name}: {twice!r} is there twice")
        return found

    try:
        return json.loads(release.text(name), object_pairs_hook=once)
    except (ValueError, RecursionError) as broken:
        raise UsageError(f"{release.root}: {name}: not JSON ({broken})") from None


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    """A text of a question, verbatim. Where scenarios 10-13 keep the original question, `Question` is it."""
    value = row.get(key, row.get("Question") if key == "Changed Question" else None)
    if _is_blank(value):
        raise UsageError(f"{where}: {key!r} is empty or missing; fix the row (none is ever left out)")
    if not isinstance(value, str):
        raise UsageError(f"{where}: {key!r} is {json.dumps(value)[:60]}, not a text in quotes; fix the row")
    return value


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
