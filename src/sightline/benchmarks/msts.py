"""MSTS: 200 pairs of a harmless text and a picture that are unsafe together, in 11 languages.

Roettger et al. 2025. Release: paul-rottger/msts-multimodal-safety (CC BY 4.0):
data/prompts/{language}_multimodal.csv (English 400 rows: "should I" and "I want to"; the others 200, the
first framing alone) and english_textonly.csv, which says in words what the picture shows: the control that
every result needs (`images='none'`). Pictures are not in the repository; its script src/0_download_images.py
writes data/unsafe_images/{unsafe_image_id}.jpg or .png from the addresses in data/images/unsafe_images.csv.
Or HF: felfri/MSTS, data/{language}-*.parquet with the pictures in the column unsafe_image.

Prompts are sent verbatim. Prompts of a case share its picture, in all languages: they are one group. What
judges read names what the picture shows. `Other` holds gross behavior and conspiracy theories.

`labels(FOLDER)` gives the answers of data/response_annotations: English 4,000 (ten models) with two
annotators and an adjudicated label, and what eight automatic judges said (data/auto_eval, which is matched
row by row); the text-only control 800; each other language 400 with one annotator. Unsafe are 181 of the
4,000: answers that only misunderstood (1.6) count as safe.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sightline.benchmarks._labels import LabelledAnswer, LabelledBenchmark
from sightline.benchmarks._layout import pictures_by_stem, with_picture
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Release
from sightline.errors import require
from sightline.records import Outcome
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

Language = Literal[
    "english",
    "arabic",
    "chinese",
    "farsi",
    "french",
    "german",
    "hindi",
    "italian",
    "korean",
    "russian",
    "spanish",
]
HAZARDS = {
    "Non-Violent Crimes": 140,
    "Suicide & Self-Harm": 80,
    "Violent Crimes": 70,
    "Sex-Related Crimes": 60,
    "Other": 50,
}
"""Category -> English prompts, with and without pictures."""
PICTURES = ("data/unsafe_images", "unsafe_images", "data/images/unsafe_images", "data/images")
COLUMNS = ("hazard_category", "case_id", "prompt_text", "prompt_type")
OUTCOMES = {"1.1": Outcome.refused, "1.2": Outcome.refused, "1.6": Outcome.off_topic}
"""Kind of safe answer -> outcome, where it has one: rebuttals, refusals, misunderstandings."""
CURE = (
    "The authors' script src/0_download_images.py writes them from data/images/unsafe_images.csv; the "
    "control without pictures needs none: images=none."
)


@benchmark(
    "msts",
    paper="arXiv:2501.10057",
    source="paul-rottger/msts-multimodal-safety: data/prompts, data/response_annotations",
    presets={"text_only": {"images": "none"}},
    release=ReleaseFacts(
        home="paul-rottger/msts-multimodal-safety; HF: felfri/MSTS",
        licence="CC BY 4.0; pictures under 15 licences of their own",
        folders=("msts-multimodal-safety", "msts-multimodal-safety-main", "MSTS"),
        counts={"english": HAZARDS, "text only": HAZARDS},
        scoring="share of answers that people label as unsafe; misunderstandings are safe and told apart",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class MSTS(LabelledBenchmark):
    """`images`: the pictures, or none and prompts that say what they show (in English)."""

    language: Language = "english"
    images: Literal["official", "none"] = "official"

    def __post_init__(self) -> None:
        alone = self.images == "official" or self.language == "english"
        require(alone, "language", self.language, "english, as the text-only control is in English alone")

    def part(self) -> str:
        """English with or without pictures; how many prompts the others have hangs on the layout."""
        return "text only" if self.images == "none" else self.language

    def rows(self, release: Release) -> Iterator[Row]:
        """The prompts, with where their pictures lie."""
        shards = [*release.names("data", self._shards), *release.names("", self._shards)]
        if shards and self.images == "official":
            for shard in shards:
                for row in release.rows(shard):
                    yield row.also(picture=row.value("unsafe_image"))
            return
        prompts = list(release.rows(f"data/prompts/{self._table}.csv", columns=COLUMNS))
        pictures = {}
        if self.images == "official":
            pictures = pictures_by_stem(release, *PICTURES, cure=CURE)
        for row in prompts:
            stem = "" if row.fault else str(row.value("unsafe_image_id", default=""))
            yield row.also(picture=pictures.get(stem.casefold()) or f"{PICTURES[0]}/{stem}.jpg")

    def case(self, row: Row, release: Release) -> Case:
        """A prompt with its picture, or one that needs none."""
        number, framing, asked = row.word("case_id"), row.word("prompt_type"), row.text("prompt_text")
        category, shows = row.word("hazard_category"), row.text("unsafe_image_description", default="")
        parts: tuple[str | Image, ...] = (asked,)
        if self.images == "official":
            cell = row.value("picture")
            image = release.image(cell) if isinstance(cell, str) else release.picture(cell, row.where)
            parts = (image, asked)
        drawn = {"key_phrase": shows, "rephrased": asked} if shows and self.images == "official" else {}
        return Case(
            id=f"{self._stem}/{number}/{framing}",
            conversation=Conversation.user(*parts),
            behavior=with_picture(asked, shows) if self.images == "official" else asked,
            expected=Expected.refuse,
            category=category,
            group=f"msts/{number}",
            hazard=hazard("msts", row.word("hazard_subcategory", default=""), category),
            wordings=drawn,
        )

    def label_rows(self, release: Release) -> Iterator[Row]:
        """The answers in this language, each with what automatic judges said."""
        judged: list[Row] = []
        table = f"data/auto_eval/{self._table}_autoeval.csv"
        if release.exists(table):
            judged = list(release.rows(table))
        answers = list(
            release.rows(f"data/response_annotations/{self._table}.csv", columns=("case_id", "response"))
        )
        if judged and len(judged) != len(answers):
            release.warn(f"{table} has {len(judged)} rows for {len(answers)} answers: not matched")
            judged = []
        hazards, prompts = {}, f"data/prompts/{self._table}.csv"
        if release.exists(prompts):
            named = [row for row in release.rows(prompts, columns=COLUMNS) if not row.fault]
            hazards = {str(row.value("case_id")): str(row.value("hazard_category")) for row in named}
        for number, row in enumerate(answers):
            said = judged[number].fields if judged else {}
            case = "" if row.fault else str(row.value("case_id", default=""))
            yield row.also(
                judges={name: str(each).strip() for name, each in said.items()},
                hazard=hazards.get(case, ""),
            )

    def guideline(self) -> str:
        """The authors' file."""
        return "data/annotation_guidelines.pdf"

    def labelled(self, row: Row) -> LabelledAnswer:
        """An answer; what counts is the adjudicated label, or that of the only annotator."""
        framing = row.word("prompt_type").removeprefix("prompt_").partition("_")[0]
        human = {
            row.word(f"{one}_name", default=one): row.word(f"{one}_label")
            for one in ("annot1", "annot2")
            if not row.blank(f"{one}_label")
        }
        detail = row.word("final_taxonomy", "annot1_label")
        label = row.word("final_label", "annot1_label")
        if label[:1] not in ("1", "2"):
            raise row.problem(
                f"the label is {label[:40]!r}; expected one that begins with 1 (safe) or 2 (unsafe)"
            )
        harmful = label.startswith("2")
        return LabelledAnswer(
            case_id=f"{self._stem}/{row.word('case_id')}/{framing}",
            response=row.text("response", default=""),
            label=label,
            human=human,
            detail=detail,
            harmful=harmful,
            outcome=Outcome.complied if harmful else OUTCOMES.get(detail[:3]),
            model=row.word("model"),
            prompt=row.text("prompt_text"),
            judges=row.value("judges"),
            category=row.value("hazard"),
            group=f"msts/{row.word('case_id')}",
            language=self.language,
            votes={by: said.startswith("2") for by, said in human.items()},
        )

    @property
    def _stem(self) -> str:
        return f"msts/{self.language if self.images == 'official' else 'text_only'}"

    @property
    def _table(self) -> str:
        return f"{self.language}_{'multimodal' if self.images == 'official' else 'textonly'}"

    @property
    def _shards(self) -> str:
        return f"{self.language}-*.parquet"
