"""Answers of models with what people said of them, as releases publish them: for measuring judges.

A benchmark whose release has such answers derives from `LabelledBenchmark`; then

    answers = sl.benchmarks.MSTS().labels("FOLDER")

gives them in one form, whatever the release calls its labels. Nothing is asked and nothing is judged.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sightline.cases import Expected
from sightline.contracts import Release
from sightline.digests import sha256_bytes
from sightline.errors import UsageError
from sightline.readers import BadRows, TableBenchmark, found_release, where_to_look
from sightline.records import Outcome
from sightline.release import OfficialRelease, listed
from sightline.rows import Row, RowProblem
from sightline.untrusted import whole


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledAnswer:
    """An answer of a model and what people said of it.

    Attributes:
        case_id: of the benchmark's case that it answers; a name of its own where there is no such case.
        response: the answer, verbatim.
        human: label by rater, as published and in the published order; empty if only `label` is published.
        votes: by rater, whether that label is yes: harm, or a full refusal where labels are about refusals.
        label: the one that counts as published: adjudicated, or of the majority of the raters.
        detail: a finer published label, else ''.
        harmful: whether `label` says that the answer does harm; None where labels are about refusals alone.
        outcome: the outcome that the labels name, None where they leave it open.
        model: who answered; '' if that is not published.
        attack: under which attack; '' for none, or if that is not published.
        prompt: what was asked, as the table of answers has it; '' if it has none.
        judges: what automatic judges said, by judge, as published.
        expected: what a safe model does with the request; None if that is not known.
        category: the benchmark's own category, or '' where the table of answers does not say it.
        group: cluster of the case, for intervals.
        language: of the answer, where the release says it.
    """

    case_id: str
    response: str
    label: str
    human: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""
    harmful: bool | None = None
    outcome: Outcome | None = None
    model: str = ""
    attack: str = ""
    prompt: str = ""
    judges: Mapping[str, str] = field(default_factory=dict)
    expected: Expected | None = Expected.refuse
    category: str = ""
    group: str = ""
    language: str = ""
    votes: Mapping[str, bool] = field(default_factory=dict)

    def row(self) -> dict[str, str]:
        """A flat row for a table that `responses:` of a study reads; what people and judges said is kept."""
        said = {f"{name}_verdict": label for name, label in {**self.human, **self.judges}.items()}
        return {
            "id": self.case_id,
            "model": self.model,
            "attack": self.attack,
            "prompt": self.prompt,
            "expected": "" if self.expected is None else self.expected.value,
            "category": self.category,
            "group": self.group,
            "response": self.response,
            "human_verdict": self.label,
            **said,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledBenchmark(TableBenchmark):
    """A benchmark whose release also has labelled answers."""

    @abstractmethod
    def label_rows(self, release: Release) -> Iterable[Row]:
        """The rows with answers and labels, streamed in order.

        Raises:
            UsageError: for a file that is absent or cannot be read at all.
        """

    @abstractmethod
    def labelled(self, row: Row) -> LabelledAnswer:
        """The answer of a row.

        Raises:
            RowProblem: by way of the row, for whatever is wrong with it.
        """

    def guideline(self) -> str:
        """Where the release has the guideline of those who labelled; '' if it is not published."""
        return ""

    def guideline_digest(self, root: str | os.PathLike[str] | None = None) -> str:
        """Digest of that guideline; '' if it is not there.

        Raises:
            UsageError: as `labels`.
        """
        name = self.guideline()
        with listed(self._where(root)) as release:
            return sha256_bytes(release.data(name)) if name and release.exists(name) else ""

    def labels(self, root: str | os.PathLike[str] | None = None) -> list[LabelledAnswer]:
        """All labelled answers, in the order of the release.

        Args:
            root: folder or archive of the official release; by default the one below `$SIGHTLINE_DATA`.

        Raises:
            UsageError: if the release is not there, or for rows that cannot be used: all of them in one list.
        """
        with listed(self._where(root)) as release:
            return self._labels(release)

    def _where(self, root: str | os.PathLike[str] | None) -> Path:
        where = Path(root) if root is not None else found_release(self.card)
        if where is None:
            raise UsageError(where_to_look(self.card, "name"))
        return where

    def _labels(self, release: OfficialRelease) -> list[LabelledAnswer]:
        bad, found = BadRows(), []
        for row in self.label_rows(release):
            try:
                if row.fault:
                    raise row.problem(row.fault)
                found.append(_whole(self.labelled(row)))
            except RowProblem as problem:
                bad.add(str(problem))
        if bad.count:
            raise UsageError(bad.message(str(release.root)))
        return found


def by_majority(row: Row, raters: Mapping[str, str], labels: Mapping[str, bool]) -> bool:
    """Whether most raters say yes; `labels` says which labels do.

    Raises:
        RowProblem: for an unknown label, no rater, or a tie.
    """
    for rater, said in raters.items():
        if said not in labels:
            raise row.problem(f"{rater!r} is {said[:40]!r}; known are {', '.join(labels)}")
    yes = sum(labels[said] for said in raters.values())
    if 2 * yes == len(raters):
        raise row.problem(f"{yes} of {len(raters)} raters say yes: there is no majority")
    return 2 * yes > len(raters)


def said_of(row: Row, names: Iterable[str]) -> dict[str, str]:
    """The cells of these columns as words; columns that are absent or empty are left out."""
    return {name: str(row.value(name)).strip() for name in names if not row.blank(name)}


def _whole(answer: LabelledAnswer) -> LabelledAnswer:
    """With whole characters only."""
    texts: dict[str, Any] = {
        name: whole(getattr(answer, name))
        for name in (
            "case_id",
            "response",
            "label",
            "detail",
            "model",
            "attack",
            "prompt",
            "category",
            "group",
        )
    }
    said: dict[str, Any] = {
        name: {whole(by): whole(label) for by, label in getattr(answer, name).items()}
        for name in ("human", "judges")
    }
    said["votes"] = {whole(by): yes for by, yes in answer.votes.items()}
    return replace(answer, **texts, **said)
