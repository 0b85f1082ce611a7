"""What a run's samples show and reply now, as labels of people name it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sightline.human_labels import HumanLabels, content_digest
from sightline.tables import open_tables

BATCH = 1024
NOWHERE = "0" * 32
"""A key that no record has."""


def contents_of(run: Path, samples: Sequence[str]) -> Iterator[str | None]:
    """The `content_digest` of each sample, from the records of a run; None if they are lost.

    Raises:
        DamageError: if they are damaged.
    """
    from sightline.study.judging import shown_of  # with it comes all that reads studies

    with open_tables(run / "records", "craft", "answer") as (crafted, answered):
        for start in range(0, len(samples), BATCH):
            replies = answered.rows(samples[start : start + BATCH])
            artifacts = crafted.rows([NOWHERE if reply is None else reply["artifact"] for reply in replies])
            for artifact, reply in zip(artifacts, replies, strict=True):
                if artifact is None or reply is None:
                    yield None
                else:
                    yield content_digest(artifact["case_id"], shown_of(artifact, reply), reply["text"])


def still_so(run: Path, labels: HumanLabels) -> tuple[HumanLabels, int]:
    """Labels of what the run's samples still show and reply, and how many are of something else.

    A label that does not say of what it is stays, and so does one whose records are lost.
    """
    said = [each for each in labels.labels if each.content]
    now = dict(zip(said, contents_of(run, [each.sample for each in said]), strict=True)) if said else {}
    kept = tuple(each for each in labels.labels if now.get(each) in (None, each.content))
    return replace(labels, labels=kept), len(labels.labels) - len(kept)
