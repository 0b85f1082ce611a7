"""XSTest: 250 harmless prompts that sound harmful, and 200 harmful ones that resemble them.

Roettger et al., NAACL 2024. Release: paul-rottger/exaggerated-safety (also paul-rottger/xstest, HF:
Paul/XSTest), xstest_prompts.csv with the columns id, prompt, type, label, focus, note; 18 types of 25
prompts. All are sent verbatim. Safe prompts are to be complied with, unsafe ones to be refused; which is
which is the column `label` (older tables lack it: the types of unsafe prompts begin with `contrast_`).

Twins: the n-th prompt of a type and the n-th of its contrast share focus or note in the released table, which
gives 200 pairs. Two types share the contrast of another one and have no twins (nons_group_real_discr,
privacy_public).

`labels(FOLDER)` gives 2,250 answers of five models with the labels of two annotators and the final one, and
what string matching and GPT-4 said: model_completions/xstest_v2_completions_{model}.csv and
evaluation/automated_evaluation_labels. Pitfalls: one prompt of these tables was reworded later (use the
answer's own `prompt`); booleans are written TRUE in one folder and True in the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from sightline.benchmarks._labels import LabelledAnswer, LabelledBenchmark, said_of
from sightline.benchmarks._layout import first_of
from sightline.cards import ReleaseFacts
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Release
from sightline.records import Outcome
from sightline.registry import benchmark
from sightline.rows import Row
from sightline.taxonomy import hazard

CONTRASTS = {
    "homonyms": "contrast_homonyms",
    "figurative_language": "contrast_figurative_language",
    "safe_targets": "contrast_safe_targets",
    "safe_contexts": "contrast_safe_contexts",
    "definitions": "contrast_definitions",
    "real_group_nons_discr": "contrast_discr",
    "historical_events": "contrast_historical_events",
    "privacy_fictional": "contrast_privacy",
}
"""Type of safe prompts -> type of unsafe ones, prompt by prompt."""
UNPAIRED = ("nons_group_real_discr", "privacy_public")
TYPES = (*CONTRASTS, *CONTRASTS.values(), *UNPAIRED)
EXPECTED = {"safe": Expected.comply, "unsafe": Expected.refuse}
OUTCOMES = {
    "1_full_compliance": Outcome.complied,
    "2_full_refusal": Outcome.refused,
    "3_partial_refusal": Outcome.partial,
}
ANSWERS = "model_completions"
JUDGED = "evaluation/automated_evaluation_labels"
JUDGES = {"strmatch": ("streval", "strmatch_label"), "gpt4": ("gpteval", "gpt4_label")}
"""Automatic judge -> end of its file's name, and its column."""


@benchmark(
    "xstest",
    paper="arXiv:2308.01263",
    source="paul-rottger/exaggerated-safety: xstest_prompts.csv, model_completions",
    release=ReleaseFacts(
        home="paul-rottger/exaggerated-safety; HF: Paul/XSTest",
        licence="CC BY 4.0",
        folders=("exaggerated-safety", "exaggerated-safety-main", "xstest-main"),
        counts={"": dict.fromkeys(TYPES, 25)},
        known={
            "11783fb294ed017473ee53c207d71f2161c7672c8d0b037501e78387f801cb5a": "xstest_prompts.csv, 2025-02"
        },
        scoring="rates of full compliance, full and partial refusal, for safe and unsafe prompts apart",
    ),
)
@dataclass(frozen=True, slots=True, kw_only=True)
class XSTest(LabelledBenchmark):
    """No settings of its own."""

    def rows(self, release: Release) -> Iterator[Row]:
        """The prompts in the order of the table, each with the row number of its twin."""
        table = first_of(release, "xstest_prompts.csv", "xstest_v2_prompts.csv")
        found = list(release.rows(table, columns=("id", "prompt", "type")))
        by_type: dict[str, list[Row]] = defaultdict(list)
        for row in found:
            if not row.fault:
                by_type[str(row.value("type"))].append(row)
        twins: dict[int, Row] = {}
        for safe, unsafe in CONTRASTS.items():
            for one, other in zip(by_type[safe], by_type[unsafe], strict=False):
                twins[one.number], twins[other.number] = other, one
        yield from (row.also(twin=twins.get(row.number)) for row in found)

    def case(self, row: Row, release: Release) -> Case:
        """A prompt, verbatim."""
        prompt, kind, twin = row.text("prompt"), row.word("type"), row.value("twin")
        said = row.column("label") is not None
        unsafe = Expected.refuse if kind.startswith("contrast_") else Expected.comply
        number = _number(row)
        pair = number if twin is None or unsafe is Expected.comply else _number(twin)
        return Case(
            id=f"xstest/{number}",
            conversation=Conversation.user(prompt),
            behavior=prompt,
            expected=row.one_of(EXPECTED, "label") if said else unsafe,
            category=kind,
            group=f"xstest/{pair}",
            hazard=hazard("xstest", kind),
            twin=None if twin is None else f"xstest/{_number(twin)}",
        )

    def label_rows(self, release: Release) -> Iterator[Row]:
        """The answers, model by model, each with what automatic judges said."""
        tables = release.names(ANSWERS, "*completions_*.csv") or [f"{ANSWERS}/xstest_v2_completions_gpt4.csv"]
        for table in tables:
            stem = PurePosixPath(table).stem
            judged = {name: _judged(release, stem, *where) for name, where in JUDGES.items()}
            for row in release.rows(table, columns=("id", "prompt", "completion", "final_label")):
                key = str(row.value("id", default="")) if not row.fault else ""
                said = {name: labels[key] for name, labels in judged.items() if key in labels}
                yield row.also(judges=said, model=stem.partition("completions_")[2])

    def labelled(self, row: Row) -> LabelledAnswer:
        """An answer; what counts is the final label."""
        number, kind = _number(row), row.word("type")
        human = said_of(row, ("annotation_1", "annotation_2"))
        return LabelledAnswer(
            case_id=f"xstest/{number}",
            response=row.text("completion"),
            label=row.word("final_label"),
            human=human,
            votes={by: OUTCOMES.get(said) is Outcome.refused for by, said in human.items()},
            outcome=row.one_of(OUTCOMES, "final_label"),
            model=row.word("model"),
            prompt=row.text("prompt"),
            judges=row.value("judges"),
            expected=Expected.refuse if kind.startswith("contrast_") else Expected.comply,
            category=kind,
            group=f"xstest/{number}",
        )


def _number(row: Row) -> int:
    """An id, which tables of answers write with the version in front."""
    text = row.word("id").removeprefix("v2-")
    if not (text.isascii() and text.isdigit()):
        raise row.problem(f"'id' is {text[:40]!r}, not a number or v2-number")
    return int(text)


def _judged(release: Release, stem: str, ending: str, column: str) -> dict[str, str]:
    """What an automatic judge said of a model's answers, by id; nothing if its file is not there."""
    table = f"{JUDGED}/{stem}_{ending}.csv"
    if not release.exists(table):
        return {}
    return {row.word("id"): row.word(column) for row in release.rows(table, columns=("id", column))}
