"""What people said of the same reply, from the labels of a closed round of `sightline annotate`.

A label holds for a case, what the target was shown, and its reply, all to the letter. Whatever nobody
labelled is `unparsed`, so that denominators stay closed: the rates of a sample are wide bounds, and reports
correct other judges by these labels instead. Items without consensus are `unparsed`, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from sightline.cases import Case, Conversation
from sightline.contracts import Judge
from sightline.digests import file_stamp, sha256_file
from sightline.errors import UsageError
from sightline.human_labels import HumanLabel, content_digest, read_labels
from sightline.records import Outcome, Response, Verdict
from sightline.registry import judge
from sightline.stops import stopped

NOT_LABELLED = "not labelled"
CURE = "write human(file='RUN/annotation/labels.jsonl'), which `sightline annotate RUN close` makes"
UNSEEN = frozenset({Outcome.error, Outcome.blocked_provider, Outcome.blocked_defense})
"""How a reply may end that is none, whatever its text: nobody is asked about it."""


@judge("human", source="own; docs/annotation.md")
@dataclass(frozen=True, slots=True, kw_only=True)
class Human(Judge):
    """`file`: the labels that `sightline annotate RUN close` wrote, RUN/annotation/labels.jsonl."""

    file: str = ""

    @property
    def id(self) -> str:
        """The digest of the labels.

        Raises:
            UsageError: without a file of labels, so that a study is refused before it is run.
        """
        if not self.file:
            raise UsageError(f"judge human needs labels: {CURE}")
        return f"human({self.resolved()['file'][:16]})"

    def resolved(self) -> Mapping[str, str]:
        """The digest of the labels; nothing where none are named."""
        return {"file": _digest(path, file_stamp(path))} if (path := self._path) else {}

    @property
    def _path(self) -> Path | None:
        if not self.file:
            return None
        path = Path(self.file).expanduser()
        if not path.is_file():
            raise UsageError(f"judge human: {path} is not there; {CURE}")
        return path

    async def judge(self, case: Case, shown: Conversation, response: Response) -> Verdict:
        """The final label; `unparsed` if there is none.

        Raises:
            UsageError: without a file of labels.
        """
        if (path := self._path) is None:
            raise UsageError(f"judge human needs labels: {CURE}")
        ended = stopped(response, self.id)
        if ended is not None and ended.outcome in UNSEEN:
            return ended
        found = _labels(path, file_stamp(path)).get(content_digest(case.id, shown, response.text))
        if found is None:
            missing = Verdict(outcome=Outcome.unparsed, judge=self.id, reason=NOT_LABELLED)
            return ended or missing  # that a reply is empty needs no reader
        outcome = found.outcome if found.decided else Outcome.unparsed
        fields: dict[str, float | str | bool] = {"final": found.final, "raters": float(found.raters)}
        return Verdict(outcome=outcome, judge=self.id, reason=found.final.replace("_", " "), fields=fields)


@lru_cache(maxsize=8)
def _digest(path: Path, _: tuple[int, ...]) -> str:
    return sha256_file(path)


@lru_cache(maxsize=8)
def _labels(path: Path, _: tuple[int, ...]) -> Mapping[str, HumanLabel]:
    """Labels by content.

    Raises:
        UsageError: for labels that do not say what they are of.
    """
    found = read_labels(path).labels
    if any(not each.content for each in found):
        raise UsageError(
            f"{path}: its labels do not say of what they are; `sightline annotate RUN close` does"
        )
    return {each.content: each for each in found}
