"""Keys of rows and names of case tables: digests of everything that decides what they hold."""

from __future__ import annotations

from sightline.contracts import Decoding
from sightline.digests import digest
from sightline.shards import Row

NOT_SENT = "not_sent"
"""Flag of a response to a request that was never sent: its picture or its draft is not there."""


def case_table_identity(benchmark: str, limit: int | None) -> str:
    """Digest of what is read of a benchmark: its identity and the number of cases."""
    return digest(benchmark, limit)


def case_table_name(identity: str, release: str) -> str:
    """Name under `records/` of the cases that a benchmark made of a release (its digest)."""
    return f"cases-{digest(identity, release)[:16]}"


def case_key(row: Row) -> str:
    """Key of a case: its whole content, so that a larger sample reuses the rows of a smaller one.

    Why a picture cannot be read does not count: such words may hold the path of the release.
    """
    turns = [
        {**turn, "parts": [_unexplained(part) for part in turn["parts"]]}
        for turn in row["conversation"]["turns"]
    ]
    return digest("case", {**row, "conversation": {**row["conversation"], "turns": turns}})


def _unexplained(part: str | Row) -> str | Row:
    return part if isinstance(part, str) or "problem" not in part else {**part, "problem": True}


def answer_key(artifact: str, target: str, decoding: Decoding, epoch: int) -> str:
    """Key of a response: what is shown, to whom (weights and defenses are in its id), how, which try."""
    return digest("answer", artifact, target, decoding, epoch)


def judge_key(answer: str, content: str, judge: str, identity: str) -> str:
    """Key of a verdict: which response, what it said, and the judge with its lists, prompts and code."""
    return digest("judge", answer, content, judge, identity)


def response_hash(response: Row) -> str:
    """Digest of what a judge reads of a response: visible text, how it stopped, its error, earlier replies.

    Why a request was not sent does not count: such words may hold the path of the release.
    """
    error = NOT_SENT if NOT_SENT in response.get("flags", ()) else response.get("error")
    before = [response["replies"]] if response.get("replies") else []
    return digest(response["text"], response["stop"], error, *before)
