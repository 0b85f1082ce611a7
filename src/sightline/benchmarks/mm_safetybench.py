"""MM-SafetyBench: 1,680 requests in 13 scenarios, each as text and with three kinds of pictures.

Liu et al., ECCV 2024. Release: isXinLiu/MM-SafetyBench (CC BY-NC 4.0), read from the user's folder or zip:
data/processed_questions/{NN-Scenario}.json and {NN-Scenario}/{SD,TYPO,SD_TYPO}/{id}.jpg below data/imgs or
below MM-SafetyBench(imgs), the name of the picture archive. Numbers of questions were counted in the question
files of another copy (KeyJayY/MIO-Project). Layout and pairing read in the fork
syk1052/MM-SafetyBench; scenario names keep the official spelling. Or its Parquet mirror
PKU-Alignment/MM-SafetyBench, data/{Scenario}/{SD,TYPO,SD_TYPO,Text_only}.parquet with the columns id,
question, image, which lacks the key phrases that attacks draw.

Official pairing of picture and question, part of the data and not of user code (a public script pairs TYPO
pictures with the SD question): SD with `Rephrased Question(SD)`, TYPO and SD_TYPO with `Rephrased Question`,
no picture with `Changed Question`. All are sent verbatim. Scenarios 08 and 10-13 measure refusals of lawful
advice and opinion: report all 13 and, with `scenarios='core8'`, the eight others (01-07, 09).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.errors import UsageError
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard


class Scenario(NamedTuple):
    """Numbers of questions: in all, and in the tiny version."""

    rows: int
    tiny: int


SCENARIOS = {
    "01-Illegal_Activitiy": Scenario(97, 10),
    "02-HateSpeech": Scenario(163, 16),
    "03-Malware_Generation": Scenario(44, 5),
    "04-Physical_Harm": Scenario(144, 14),
    "05-EconomicHarm": Scenario(122, 12),
    "06-Fraud": Scenario(154, 15),
    "07-Sex": Scenario(109, 11),
    "08-Political_Lobbying": Scenario(153, 15),
    "09-Privacy_Violence": Scenario(139, 14),
    "10-Legal_Opinion": Scenario(130, 13),
    "11-Financial_Advice": Scenario(167, 17),
    "12-Health_Consultation": Scenario(109, 11),
    "13-Gov_Decision": Scenario(149, 15),
}
CORE_8 = tuple(name for name in SCENARIOS if name[:2] in {"01", "02", "03", "04", "05", "06", "07", "09"})

QUESTIONS = "data/processed_questions"
TINY = "TinyVersion_ID_List.json"
PICTURE_ROOTS = ("data/imgs", "MM-SafetyBench(imgs)", "data/MM-SafetyBench(imgs)", "imgs")
PAIRING = {
    "SD": "Rephrased Question(SD)",
    "TYPO": "Rephrased Question",
    "SD_TYPO": "Rephrased Question",
    "none": "Changed Question",
}
"""Kind of picture -> the question that is asked with it."""


@benchmark(
    "mm_safetybench",
    paper="arXiv:2311.17600",
    source="isXinLiu/MM-SafetyBench: data/processed_questions, data/imgs",
    presets={"tiny": {"subset": "tiny"}, "core8": {"scenarios": "core8"}},
    release=ReleaseFacts(
        home="isXinLiu/MM-SafetyBench; HF: PKU-Alignment/MM-SafetyBench",
        licence="CC BY-NC 4.0",
        folders=("MM-SafetyBench", "MM-SafetyBench-main"),
        counts={
            "full": {name: scenario.rows for name, scenario in SCENARIOS.items()},
            "full core8": {name: SCENARIOS[name].rows for name in CORE_8},
            "tiny": {name: scenario.tiny for name, scenario in SCENARIOS.items()},
            "tiny core8": {name: SCENARIOS[name].tiny for name in CORE_8},
        },
        scoring="unsafe / (safe + unsafe) per scenario and kind of picture, judged from the answer alone",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MMSafetyBench(TableBenchmark):
    """`images`: the kind of picture; 'none' is the paper's text-only baseline."""

    subset: Literal["full", "tiny"] = "full"
    images: Literal["SD_TYPO", "TYPO", "SD", "none"] = "SD_TYPO"
    scenarios: Literal["all", "core8"] = "all"

    def part(self) -> str:
        """Subset and scenarios."""
        return f"{self.subset} {self.scenarios}" if self.scenarios == "core8" else self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions, scenario by scenario, in the order of the files."""
        chosen = CORE_8 if self.scenarios == "core8" else tuple(SCENARIOS)
        tiny = read_tiny(release) if self.subset == "tiny" else None
        tables = (f"data/{name[3:]}/{_TABLES[self.images]}.parquet" for name in chosen)
        mirrored = any(release.exists(table) for table in tables)
        found = (self._mirrored if mirrored else self._official)(chosen, release)
        if tiny is None:
            yield from found
            return
        asked = {(row.fields["scenario"], row.key): row for row in found}
        for scenario, numbers in tiny.items():
            for number in numbers if scenario in chosen else ():
                if (scenario, number) not in asked:
                    raise UsageError(
                        f"{release.root}: {scenario}: no question {number!r}, though {TINY} lists it"
                    )
                yield asked[scenario, number]

    def _official(self, chosen: tuple[str, ...], release: Release) -> Iterator[Row]:
        folder = self._folder(chosen, release) if self.images != "none" else ""
        for scenario in chosen:
            for row in release.rows(f"{QUESTIONS}/{scenario}.json"):
                if not row.key:
                    raise UsageError(f"{row.file}: expected a mapping from question number to question")
                picture = f"{folder}/{scenario}/{self.images}/{row.key}.jpg" if folder else None
                yield row.also(scenario=scenario, picture=picture)

    def _mirrored(self, chosen: tuple[str, ...], release: Release) -> Iterator[Row]:
        for scenario in chosen:
            folder = f"data/{scenario[3:]}"
            plain: dict[str, str] = {}
            if self.images != "none" and release.exists(f"{folder}/{_TABLES['none']}.parquet"):
                texts = release.rows(f"{folder}/{_TABLES['none']}.parquet", columns=("id", "question"))
                plain = {row.word("id"): row.text("question") for row in texts}
            for row in release.rows(f"{folder}/{_TABLES[self.images]}.parquet"):
                number, question = row.word("id"), row.text("question", default="")
                changed = plain.get(number, question)
                found = {PAIRING[self.images]: question, "Changed Question": changed, "scenario": scenario}
                picture = None if self.images == "none" else row.value("image")
                yield Row(row.file, row.unit, row.number, {**found, "picture": picture}, key=number)

    def case(self, row: Row, release: Release) -> Case:
        """A question with the picture that belongs to it."""
        scenario, number = row.word("scenario"), row.key
        asked, picture = _question(row, PAIRING[self.images]), row.value("picture")
        parts: tuple[str | Image, ...] = (asked,)
        if self.images != "none":
            official = isinstance(picture, str)
            image = release.image(picture) if official else release.picture(picture, row.where)
            parts = (image, asked)
        keys = (("key_phrase", "Key Phrase"), ("rephrased", "Rephrased Question"))
        return Case(
            id=f"mm_safetybench/{self.images}/{scenario}/{number}",
            conversation=Conversation.user(*parts),
            behavior=_question(row, "Changed Question"),
            expected=Expected.refuse,
            category=scenario,
            group=f"mm_safetybench/{scenario}/{number}",
            hazard=hazard("mm_safetybench", scenario),
            wordings={name: row.text(key) for name, key in keys if row.text(key, default="")},
        )

    def _folder(self, chosen: tuple[str, ...], release: Release) -> str:
        """The root folder of the scenarios' pictures."""
        for root in PICTURE_ROOTS:
            if any([release.listing(f"{root}/{name}/{self.images}") for name in chosen]):
                return root
        raise UsageError(
            f"{release.root}: no {self.images} pictures found; looked for {chosen[0]}/{self.images} and the "
            f"like in {', '.join(PICTURE_ROOTS)}. Unpack the picture archive as data/imgs, or put "
            "MM-SafetyBench(imgs).zip into the folder that `root:` of the benchmark in the study names; "
            "or use images='none'."
        )


_TABLES = {"SD": "SD", "TYPO": "TYPO", "SD_TYPO": "SD_TYPO", "none": "Text_only"}


def _question(row: Row, column: str) -> str:
    """A question, verbatim. Where scenarios 10-13 keep the original question, `Question` is it."""
    return row.text(column, "Question") if column == "Changed Question" else row.text(column)


def read_tiny(release: Release) -> dict[str, list[str]]:
    """The question numbers of the tiny version by scenario.

    Raises:
        UsageError: if the list is not of the official form, names an unknown scenario or a number twice.
    """
    tiny: dict[str, list[str]] = {}
    for row in release.rows(TINY):
        scenario = row.one_of({name: name for name in SCENARIOS}, "Scenario")
        numbers = row.value("Sampled_ID_List")
        if not isinstance(numbers, list):
            raise row.problem("expected Scenario and Sampled_ID_List")
        ids = [str(number) for number in numbers]
        if scenario in tiny or len(set(ids)) < len(ids):
            raise row.problem(f"{scenario} or one of its numbers is listed twice")
        tiny[scenario] = ids
    return tiny
