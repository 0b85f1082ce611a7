"""How often `refusal_prefix` and human readers agree on XSTest's labelled replies, model by model.

    python benchmarks/refusal_judge.py FOLDER [--phrases common] [--disagreements MODEL]

FOLDER is a copy of the release https://github.com/paul-rottger/xstest (Röttger et al., NAACL 2024;
arXiv:2308.01263; read at d7bb5bd), or its folder `model_completions`: five models, 450 replies each, read by
two people. Nothing is downloaded and nothing of it is kept. Readers chose one of three labels; the table
shows what the judge made of each. Recall is the share of full refusals that the judge calls refused,
precision the share of its refusals that are full ones (or full or partial), false refusals the share of full
compliances that it calls refused.

`--disagreements MODEL` lists the openings of that model's replies on which judge and readers differ: the
release's text, for reading only.

The last line is one JSON object: MODEL_recall, MODEL_precision, MODEL_false_refusals, and the same of `all`.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.cases import Case, Conversation, Expected
from sightline.errors import UsageError
from sightline.judges._phrases import LISTS
from sightline.judges.refusal_prefix import RefusalPrefix
from sightline.records import Outcome, Response

FILES = "xstest_v2_completions_*.csv"
FULL, PARTIAL, NONE = LABELS = ("2_full_refusal", "3_partial_refusal", "1_full_compliance")
COLUMNS = ("prompt", "completion", "final_label")


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the release with the label that its readers agreed on."""

    prompt: str
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of (readers' label, judged refused)."""

    counts: Counter[tuple[str, bool]]

    def row(self, label: str) -> tuple[int, int]:
        """Of replies with that label: how many were judged refused, and how many there are."""
        refused = self.counts[label, True]
        return refused, refused + self.counts[label, False]

    @property
    def recall(self) -> float:
        """Share of full refusals that were found."""
        return _share(*self.row(FULL))

    @property
    def false_refusals(self) -> float:
        """Share of full compliances called refused."""
        return _share(*self.row(NONE))

    def precision(self, *labels: str) -> float:
        """Share of those called refused that readers gave one of `labels`."""
        called = sum(self.counts[label, True] for label in LABELS)
        return _share(sum(self.counts[label, True] for label in labels), called)


def _share(k: int, n: int) -> float:
    return k / n if n else float("nan")


def read(folder: Path) -> dict[str, list[Reply]]:
    """The labelled replies of every model in the release.

    Raises:
        UsageError: if the folder is not the release, or a file lacks a column or holds another label.
    """
    paths = sorted(folder.glob(FILES)) or sorted((folder / "model_completions").glob(FILES))
    if not paths:
        raise UsageError(
            f"{folder}: holds no {FILES}; clone https://github.com/paul-rottger/xstest and name its folder"
        )
    found = {}
    for path in paths:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            absent = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if absent:
                raise UsageError(f"{path}: column {absent[0]!r} is missing")
            replies = [Reply(*(row[name] or "" for name in COLUMNS)) for row in reader]
        for number, reply in enumerate(replies, start=1):
            if reply.label not in LABELS:
                raise UsageError(
                    f"{path}, reply {number}: label {reply.label!r} is none of {', '.join(LABELS)}"
                )
        found[path.stem.rpartition("_")[2]] = replies
    return found


def judged(judge: RefusalPrefix, replies: Sequence[Reply]) -> list[bool]:
    """Whether the judge calls each reply refused."""

    async def all_of_them() -> list[bool]:
        verdicts = []
        for number, reply in enumerate(replies):
            asked = Conversation.user(reply.prompt)
            case = Case(str(number), asked, reply.prompt, Expected.refuse, "xstest", str(number))
            verdict = await judge.judge(case, asked, Response(text=reply.text))
            verdicts.append(verdict.outcome is Outcome.refused)
        return verdicts

    return asyncio.run(all_of_them())


def confusion(replies: Sequence[Reply], refused: Sequence[bool]) -> Confusion:
    """Readers' labels against the judge's."""
    return Confusion(Counter(zip((reply.label for reply in replies), refused, strict=True)))


def table(found: dict[str, Confusion], title: str) -> Table:
    """The confusion of every model."""
    shown = Table(title=title)
    shown.add_column("replies of")
    for name in ("full refusals", "partial ones", "compliances"):
        shown.add_column(f"{name}: refused", justify="right")
    for name in ("recall", "precision (full)", "precision (full, partial)", "false refusals"):
        shown.add_column(name, justify="right")
    for model, each in found.items():
        counts = [f"{k} of {n}" for k, n in map(each.row, LABELS)]
        rates = (each.recall, each.precision(FULL), each.precision(FULL, PARTIAL), each.false_refusals)
        shown.add_row(model, *counts, *(f"{rate:.0%}" for rate in rates))
    return shown


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the release, or its folder model_completions")
    parser.add_argument("--phrases", default="common", choices=LISTS, help="the list of the judge")
    parser.add_argument("--disagreements", metavar="MODEL", help="list this model's openings that differ")
    options = parser.parse_args(arguments)
    judge = RefusalPrefix(phrases=options.phrases)
    console = Console(width=150)
    try:
        release = read(options.folder)
    except (UsageError, OSError, UnicodeDecodeError) as wrong:
        console.print(escape(str(wrong)), soft_wrap=True)
        return 2
    verdicts = {model: judged(judge, replies) for model, replies in release.items()}
    found = {model: confusion(replies, verdicts[model]) for model, replies in release.items()}
    found["all"] = Confusion(sum((each.counts for each in found.values()), Counter()))
    console.print(table(found, judge.id))
    for reply, refused in zip(
        release.get(options.disagreements, ()), verdicts.get(options.disagreements, ()), strict=True
    ):
        if refused != (reply.label == FULL) and reply.label != PARTIAL:
            console.print(escape(f"{reply.label} judged {refused}: {reply.text[:160]!r}"), soft_wrap=True)
    figures = {
        f"{model}_{name}": round(rate, 4)
        for model, each in found.items()
        for name, rate in (
            ("recall", each.recall),
            ("precision", each.precision(FULL)),
            ("false_refusals", each.false_refusals),
        )
    }
    console.print(json.dumps(figures), soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
