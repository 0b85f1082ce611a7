"""`RUN/annotation/labels.jsonl`: what people finally said of samples of a run; sealed JSON lines.

The first line is the head: `{"format": "sightline human labels 1", "guideline": HASH, "seed": ...,
"raters": [...], "alpha": {...}, "agreement": ...}`. Every other line is one labelled sample: `{"sample": hex,
"item": ..., "outcome": ..., "prob": ..., "stratum": ..., "raters": n, "final":
"agreed|adjudicated|no_consensus", "content": digest}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import orjson

from sightline.cases import Conversation
from sightline.digests import digest
from sightline.errors import DamageError, UsageError
from sightline.plain import plain_conversation
from sightline.records import SCORED, Outcome
from sightline.sealed import checked_line, damage_reported, sealed_line
from sightline.store import write_atomically

FORMAT = "sightline human labels 1"
LABELS = "annotation/labels.jsonl"
"""Where a run folder has its labels."""
AGAIN = "`sightline annotate RUN close` writes it anew"
Final = Literal["agreed", "adjudicated", "no_consensus"]
_SAMPLE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanLabel:
    """What people finally said of one sample.

    Attributes:
        sample: the `sample` of `results.parquet`, in hexadecimal.
        item: what raters knew it by.
        outcome: one that scores; `unparsed` where people could not decide (`no_consensus`).
        prob: the chance with which the row was drawn, over all stages of the design, in (0, 1].
        stratum: of the design.
        raters: how many people labelled it.
        final: how the outcome came about.
        content: what was labelled, as a judge can tell it again (`content_digest`); '' if it was not kept.
    """

    sample: str
    item: str
    outcome: Outcome
    prob: float
    stratum: str
    raters: int
    final: Final
    content: str = ""

    @property
    def decided(self) -> bool:
        """Whether people agreed, or one decided."""
        return self.final != "no_consensus" and self.outcome in SCORED


@dataclass(frozen=True, slots=True, kw_only=True)
class HumanLabels:
    """All labels of a run, and how they were made.

    Attributes:
        guideline: hash of the guideline that raters followed.
        seed: of the draw.
        raters: their names.
        alpha: Krippendorff's alpha by question, as the closing command computed it.
        agreement: of the pairs of raters of one item, the share that say the same (the human ceiling).
        labels: one for each labelled sample.
    """

    guideline: str
    seed: int
    raters: tuple[str, ...]
    labels: tuple[HumanLabel, ...]
    alpha: Mapping[str, Any] = field(default_factory=dict)
    agreement: float | None = None


def content_digest(case: str, shown: Conversation, reply: str) -> str:
    """Digest of what raters saw of a sample: the id of its case, what the target was shown, its reply."""
    return digest("labelled", case, plain_conversation(shown), reply)


def write_labels(path: Path, found: HumanLabels) -> None:
    """Write the file, whole or not at all.

    Raises:
        UsageError: for a label that `read_labels` would refuse.
    """
    _checked(found, path)
    head = {
        "format": FORMAT,
        "guideline": found.guideline,
        "seed": found.seed,
        "raters": list(found.raters),
        "alpha": dict(found.alpha),
        "agreement": found.agreement,
    }
    lines = [sealed_line(head), *(sealed_line(asdict(each)) for each in found.labels)]
    write_atomically(path, b"".join(lines))


def read_labels(path: Path) -> HumanLabels:
    """The labels of a file that `write_labels` wrote.

    Raises:
        DamageError: if it is missing or damaged, naming the line.
        UsageError: for a file of another kind, or a label that cannot be: naming the line.
    """
    with damage_reported(path, AGAIN):
        lines = path.read_bytes().splitlines(keepends=True)
    rows = [_row(path, number, line) for number, line in enumerate(lines, start=1)]
    if not rows or rows[0].get("format") != FORMAT:
        raise UsageError(f"{path}:1: not labels of people (format {FORMAT!r}); {AGAIN}")
    with damage_reported(path, AGAIN):
        head = rows[0]
        found = HumanLabels(
            guideline=str(head["guideline"]),
            seed=int(head["seed"]),
            raters=tuple(str(name) for name in head["raters"]),
            alpha=dict(head.get("alpha") or {}),
            agreement=None if head.get("agreement") is None else float(head["agreement"]),
            labels=tuple(_label(path, number, row) for number, row in enumerate(rows[1:], start=2)),
        )
    return _checked(found, path)


def labels_of(run: Path) -> HumanLabels | None:
    """The labels of a run folder; None if it has none.

    Raises:
        UsageError: as `read_labels`.
    """
    path = run / LABELS
    return read_labels(path) if path.exists() else None


def _row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        return dict(orjson.loads(checked_line(line)))
    except (ValueError, TypeError) as broken:
        raise DamageError(Path(f"{path}:{number}"), f"damaged ({broken})", AGAIN) from None


def _label(path: Path, number: int, row: Mapping[str, Any]) -> HumanLabel:
    try:
        return HumanLabel(
            sample=str(row["sample"]),
            item=str(row["item"]),
            outcome=Outcome(row["outcome"]),
            prob=float(row["prob"]),
            stratum=str(row["stratum"]),
            raters=int(row["raters"]),
            final=row["final"],
            content=str(row.get("content", "")),
        )
    except (KeyError, ValueError, TypeError) as broken:
        raise UsageError(f"{path}:{number}: not a label ({broken}); {AGAIN}") from None


def _checked(found: HumanLabels, path: Path) -> HumanLabels:
    """The labels, if each of them can be.

    Raises:
        UsageError: naming the line.
    """
    if found.agreement is not None and not 0 <= found.agreement <= 1:
        raise UsageError(f"{path}:1: agreement {found.agreement} is no share; {AGAIN}")
    lines: dict[str, int] = {}
    for number, each in enumerate(found.labels, start=2):
        first = lines.setdefault(each.sample, number)
        if why := _wrong(each) or (f"sample {each.sample} is in line {first} too" if first != number else ""):
            raise UsageError(f"{path}:{number}: {why}; {AGAIN}")
    return found


def _wrong(each: HumanLabel) -> str:
    """Why a label cannot be; '' if it can."""
    if not _SAMPLE.fullmatch(each.sample):
        return f"sample {each.sample[:40]!r} is not the 32 hexadecimal digits of a result row"
    if not 0 < each.prob <= 1:
        return f"prob {each.prob} is no chance of being drawn (above 0, up to 1)"
    if each.final not in get_args(Final):
        return f"final {each.final!r} is none of {', '.join(get_args(Final))}"
    if each.raters < 1:
        return f"raters {each.raters}: nobody labelled it"
    if each.outcome is Outcome.error or (each.outcome not in SCORED and each.final != "no_consensus"):
        return f"outcome {each.outcome.value} is none that people give (undecided: unparsed, no_consensus)"
    return ""
