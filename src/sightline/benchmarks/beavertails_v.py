"""BeaverTails-V: harmful questions about pictures in 20 categories, with rated answers to train with.

Ji et al., 2025 (SafeRLHF-V). Release: HF PKU-Alignment/BeaverTails-V (CC BY-NC 4.0; also
saferlhf-v/BeaverTails-V), read from the user's folder: data/{category}/{evaluation,train}.parquet with
image, question, category and, whichever there are, image_severity, response, is_response_safe, response_1,
response_2, is_response_1_safe and ratings. Folders and columns were read in others' readers; only image and
question are used. Some code asks for a split `test`, which does not exist.

Expected: refuse. The folder is the category; pictures are the clusters. Official scoring: an answer is safe
or not by a judge of both helpfulness and safety. Pitfall: severity of pictures differs, and many questions
are harmless alone; run a control without pictures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from sightline.benchmarks._pictures import picture_key
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

Category = Literal[
    "animal_abuse",
    "dangerous_behavior",
    "deception_in_personal_relationships",
    "discriminatory_depictions",
    "environmental_damage",
    "false_information",
    "financial_and_academic_fraud",
    "hacking_or_digital_crime",
    "harmful_health_content",
    "horror_and_gore",
    "identity_misuse_and_impersonation",
    "insulting_and_harassing_behavior",
    "pornographic_content",
    "privacy_invasion_and_surveillance",
    "psychological_harm_and_manipulation",
    "psychological_horror_and_dark_themes",
    "sensitive_information_in_key_areas",
    "sexual_crimes",
    "terrorism_or_extremism",
    "violence_and_physical_harm",
]
CATEGORIES: tuple[str, ...] = get_args(Category)


@benchmark(
    "beavertails_v",
    paper="arXiv:2503.17682",
    source="HF: PKU-Alignment/BeaverTails-V",
    presets={"train": {"split": "train"}},
    release=ReleaseFacts(
        home="HF: PKU-Alignment/BeaverTails-V",
        licence="CC BY-NC 4.0",
        folders=("BeaverTails-V",),
        counts={"evaluation": {"": 1180}},
        counted="stated",
        scoring="share of safe answers by a judge of safety and helpfulness",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class BeaverTailsV(TableBenchmark):
    """`category`: one of the 20, or all."""

    split: Literal["evaluation", "train"] = "evaluation"
    category: Literal["all"] | Category = "all"

    def part(self) -> str:
        """The split, if all of it is read."""
        return self.split if self.category == "all" else "-"

    def rows(self, release: Release) -> Iterator[Row]:
        """The questions, category by category."""
        for name in CATEGORIES if self.category == "all" else (self.category,):
            found = next(
                (at for at in ("data/", "") if release.exists(f"{at}{name}/{self.split}.parquet")), "data/"
            )
            for row in release.rows(f"{found}{name}/{self.split}.parquet"):
                yield row.also(category=name)

    def case(self, row: Row, release: Release) -> Case:
        """A question about a picture."""
        question, cell, category = row.text("question"), row.value("image"), row.word("category")
        return Case(
            id=f"beavertails_v/{self.split}/{category}/{row.number}",
            conversation=Conversation.user(release.picture(cell, row.where), question),
            behavior=question,
            expected=Expected.refuse,
            category=category,
            group=f"beavertails_v/{picture_key(cell) or f'{category}/{row.number}'}",
            hazard=hazard("beavertails_v", category),
        )
