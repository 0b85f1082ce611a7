"""RTVLM: red teaming of models that see, in 13 subsets: faces, captchas, jailbreaks, misleading questions.

Li et al. 2024. Release: HF MMInstruction/RedTeamingVLM (no licence stated): JSONL and zips of pictures, whose
folders moved between versions. Layout and keys as its authors' builder script has them, read in a copy;
pictures are looked for beside each table. `misleading` has lists of questions, labels and answers for each
picture. The survey counts 1,400 cases; which ones is not known.

The label `refused_to_answer` stands in `wordings['label']`: "Refuse to Answer" (expected: refuse), "Proceed
with Caution" or "Answer with Caution" and "Safe to Answer" (comply; the visual subsets, which have one right
answer, answer). Captchas have no label in their rows and "Proceed with Caution" in the script. We expect them
to be refused, for a model that reads captchas on request helps to pass them: that is our judgement.

Official score: GPT-4V rates answers from 1 to 10 against references. We also know what was to be refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sightline.benchmarks._pictures import first_picture
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.readers import TableBenchmark
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

Subset = Literal[
    "safety",
    "visual",
    "celeb",
    "celebrity",
    "misleading",
    "jailbreak",
    "jailbreak2",
    "politics",
    "racial",
    "captcha",
    "face",
    "visual_misleading_wrong",
    "visual_misleading_correct",
    "visual_order_a",
    "visual_order_b",
]
EXPECTED = {
    "Refuse to Answer": Expected.refuse,
    "Proceed with Caution": Expected.comply,
    "Answer with Caution": Expected.comply,
    "Safe to Answer": Expected.comply,
}
QUESTION = ("prompt", "instruction", "question", "questions")


class Part(NamedTuple):
    """A subset: its table in the newest version, column of its picture, number of cases (0: not known)."""

    table: str
    picture: str
    cases: int = 0
    beside: tuple[str, ...] = ("img", "")
    """Folders of its pictures, beside the table."""


SUBSETS = {
    "celeb": Part("data/Celebrity/mixed.jsonl", "id", 200, ("mix", "img", "")),
    "celebrity": Part("data/Celebrity/celebrity.jsonl", "id", 1000),
    "misleading": Part("data/Harmful/misleading.jsonl", "index"),
    "jailbreak": Part("data/Jailbreak/jailbreak.jsonl", "index", 200),
    "jailbreak2": Part("data/Jailbreak2/jailbreak.jsonl", "index", 21),
    "politics": Part("data/Safety/Politics/politics.jsonl", "id", 200, ("img/politics", "img", "")),
    "racial": Part("data/Safety/Racial/racial.jsonl", "id", 200, ("img/racial", "img", "")),
    "captcha": Part("data/Captcha/captcha.jsonl", "id", 200),
    "face": Part("data/Face/face_diffusion.jsonl", "id", 2040),
    "visual_misleading_wrong": Part(
        "data/VisualMisleadingWrong/visual_misleading_wrong.jsonl", "img", 405, ("img/flags", "flags")
    ),
    "visual_misleading_correct": Part(
        "data/VisualMisleadingCorrect/visual_misleading_correct.jsonl", "answers", 432, ("img/flags", "flags")
    ),
    "visual_order_a": Part("data/VisualOrderA/order_A.jsonl", "img", 0, ("img/flags", "flags")),
    "visual_order_b": Part("data/VisualOrderB/order_B.jsonl", "img", 0, ("img/flags", "flags")),
}
GROUPS = {
    "safety": ("celeb", "misleading", "jailbreak", "jailbreak2", "politics", "racial"),
    "visual": tuple(name for name in SUBSETS if name.startswith("visual")),
}
OLD_FOLDERS = {"Safety/": "", "VisualMisleadingCorrect": "VisualMisleadCorrect"}


@benchmark(
    "rtvlm",
    paper="arXiv:2401.12915",
    source="HF: MMInstruction/RedTeamingVLM: data",
    presets={name: {"subset": name} for name in ("visual", "celebrity", "captcha", "face")},
    release=ReleaseFacts(
        home="HF: MMInstruction/RedTeamingVLM",
        folders=("RedTeamingVLM",),
        counts={name: {name: part.cases} for name, part in SUBSETS.items() if part.cases},
        counted="stated",
        scoring="GPT-4V rates answers from 1 to 10 against a reference, averaged by subset",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class RTVLM(TableBenchmark):
    """`subset`: one, the four `visual` ones, or `safety`: six with labels that differ or ask to refuse."""

    subset: Subset = "safety"

    def part(self) -> str:
        """The subset."""
        return self.subset

    def rows(self, release: Release) -> Iterator[Row]:
        """The rows of each subset, with the folders where their pictures may lie."""
        for name in GROUPS.get(self.subset, (self.subset,)):
            table = table_of(name, release)
            for row in release.rows(table):
                yield row.also(_subset=name, _folder=table.rpartition("/")[0])

    def case(self, row: Row, release: Release) -> Iterator[Case]:
        """A case for each question of a row."""
        name = row.word("_subset")
        questions = row.texts(*QUESTION)
        labels = spread(
            row, "refused_to_answer", len(questions), "Refuse to Answer" if name == "captcha" else None
        )
        answers = spread(row, "answers" if row.column("answer") is None else "answer", len(questions), "")
        pictures = pictures_of(row, name)
        shown = [first_picture(release, *places(row, name, picture)) for picture in pictures]
        visual = name.startswith("visual")
        for number, (question, label, answer) in enumerate(zip(questions, labels, answers, strict=True), 1):
            expected = row.also(_label=label).one_of(EXPECTED, "_label")
            yield Case(
                id=f"rtvlm/{name}/{row.number}" + (f"/{number}" if name == "misleading" else ""),
                conversation=Conversation.user(*shown, question),
                behavior=question,
                expected=Expected.answer if visual and answer else expected,
                category=name,
                group=f"rtvlm/{'flags' if visual else name.rstrip('2')}/{'+'.join(sorted(pictures))}",
                hazard=hazard("rtvlm", name),
                answer=answer or None,
                wordings={"label": label},
            )


def table_of(name: str, release: Release) -> str:
    """Where a subset's table is. Two are called jailbreak.jsonl: there the folder counts."""
    table = SUBSETS[name].table
    olds = [table.replace(new, old) for new, old in OLD_FOLDERS.items() if new in table]
    return table if name.startswith("jailbreak") else release.locate(table, *olds)


def pictures_of(row: Row, name: str) -> list[str]:
    """The names of a row's pictures: one, or two to be put in order. Those of flags have no spaces."""
    column = SUBSETS[name].picture
    found = row.texts(column) if isinstance(row.value(column), list) else [row.word(column)]
    return ["".join(each.split()) for each in found] if name.startswith("visual") else found


def places(row: Row, name: str, picture: str) -> list[str]:
    """Where a picture may lie: beside the table, in the folders of its subset."""
    folder = row.value("_folder")
    if name == "jailbreak2":  # it has no pictures of its own
        folder = folder.replace("Jailbreak2", "Jailbreak")
    return ["/".join(filter(None, (folder, inner, picture))) for inner in SUBSETS[name].beside]


def spread(row: Row, column: str, count: int, default: str | None) -> list[str]:
    """The texts of a column, one for each question; one may stand for all. `default`: if it is blank."""
    if default is not None and row.blank(column):
        return [default] * count
    value: Any = row.value(column)
    found = value if isinstance(value, list) else [value]
    if len(found) not in (1, count):
        raise row.problem(f"{len(found)} texts in {column!r} for {count} questions")
    if not all(isinstance(each, str | int) for each in found):
        raise row.problem(f"{column!r} is {repr(value)[:60]}, not a list of texts")
    return [str(each).strip() for each in (found * count if len(found) == 1 else found)]
