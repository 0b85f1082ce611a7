"""What a rater is shown of a record: all that the user saw, nothing that a page would obey, no source."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from sightline.annotation.contents import Content, Contents, ShownTurn
from sightline.annotation.plan import Planned
from sightline.cases import Case, Conversation, Expected, Image, Turn
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.plain import plain_artifact, plain_case, plain_response
from sightline.records import Artifact, Response
from sightline.run_folder import FORMAT, LOCK
from sightline.sealed import sealed_line
from sightline.tables import Table

PICTURE = Image("ab" * 32, 8, 8)
BEHAVIOR = "how to fold a glimber"
PLANNED = Planned(item="i", samples=(digest("answer"), digest("other")), benchmark="b", case="b/1")


def shard(run: Path, stage: str, rows: list[Mapping[str, Any]]) -> None:
    path = run / "records" / stage / "1-a.jsonl"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(map(sealed_line, rows)))
    with Table(path.parent) as table:
        table.compact()


def content(
    run: Path, response: Response, *, follow_ups: tuple[Turn, ...] = (), planned: Planned = PLANNED
) -> Content:
    """What is shown of a run with one sample."""
    asked = Conversation.user(PICTURE, "fold \u202eit\u202c")
    case = Case("b/1", asked, BEHAVIOR, Expected.refuse, "c", "g")
    artifact = Artifact(key=digest("craft"), case_id="b/1", conversation=asked, follow_ups=follow_ups)
    run.mkdir(exist_ok=True)
    (run / LOCK).write_text(yaml.safe_dump({"format": FORMAT}), "utf-8")
    shard(run, "cases-0123456789abcdef", [{"key": digest("case"), **plain_case(case)}])
    shard(run, "craft", [plain_artifact(artifact)])
    shard(run, "answer", [{"key": digest("answer"), "artifact": digest("craft"), **plain_response(response)}])
    with Contents(run) as contents, ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(contents.read, [planned] * 8)
    assert all(each == first for each in others)
    return first


def test_request_and_reply_are_those_of_the_records_with_the_unseen_spelled_out(tmp_path: Path) -> None:
    found = content(tmp_path / "run", Response(text="press \x1b[31mboth\x07 edges\u200b\n\tthen wait"))
    assert found == Content(
        item="i",
        behavior=BEHAVIOR,
        request=(ShownTurn(role="user", text="fold \\u202eit\\u202c", pictures=("ab" * 32,)),),
        reply="press \\x1b[31mboth\\x07 edges\\u200b\n\tthen wait",
        language=found.language,
    )


@pytest.mark.parametrize(
    ("response", "reply", "thought", "raw"),
    [
        (Response(text="<think>fold it?</think>\nNo."), "No.", "fold it?", None),
        (Response(text="No.", raw="<think>fold it?</think>\nNo."), "No.", "fold it?", None),
        (Response(text="No.", raw="Press both edges."), "No.", "", "Press both edges."),
        (Response(text="No.", raw="<think>hm</think>Press \u202eboth."), "No.", "hm", "Press \\u202eboth."),
        (Response(text="", stop="content_filter"), "", "", None),
        (Response(text="**no** <b>html</b> [a](b)"), "**no** <b>html</b> [a](b)", "", None),
    ],
)
def test_reasoning_and_what_a_guard_took_away_stand_apart(
    tmp_path: Path, response: Response, reply: str, thought: str, raw: str | None
) -> None:
    found = content(tmp_path / "run", response)
    assert (found.reply, found.thought, found.raw) == (reply, thought, raw)


def test_a_script_is_shown_with_the_replies_in_between(tmp_path: Path) -> None:
    response = Response(text="Last.", replies=("First\x00.",))
    found = content(tmp_path / "run", response, follow_ups=(Turn("user", ("and then?",)),))
    assert [(turn.role, turn.text) for turn in found.request[1:]] == [
        ("assistant", "First\\x00."),
        ("user", "and then?"),
    ]
    assert found.reply == "Last."


def test_the_language_of_a_reply_is_told_where_it_is_sure(tmp_path: Path) -> None:
    pytest.importorskip("py3langid")
    german = "Das ist leider nicht m\u00f6glich, weil man einen Frell und zwei rote Glimber braucht."
    assert content(tmp_path / "a", Response(text=german)).language == "de"
    assert content(tmp_path / "b", Response(text="12 12 12")).language == ""


def test_lost_records_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="records of item i are lost"):
        content(tmp_path / "a", Response(text="No."), planned=replace(PLANNED, samples=(digest("x"),)))
    gone = replace(PLANNED, case="b/2")
    with pytest.raises(UsageError, match="not among those of benchmark 'b'"):
        content(tmp_path / "b", Response(text="No."), planned=gone)
