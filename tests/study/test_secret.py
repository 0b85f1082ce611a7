"""The secret of a run: kept in its folder, in nothing that is shared, and rows outlive its loss."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sightline.api.runs import finish
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.judges import model_graded
from sightline.records import Cost, Response
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.study.secret import SECRET, keyed

STUDY = """
study: graded
benchmarks: [{name: testbed_requests, limit: 3}]
targets: [scripted/refuse]
judges: [%s]
"""
GRADED = "{name: model_graded, grader: scripted/echo}"


class Obeying:
    """A grader that gives the verdict that it is asked for, and keeps the tags that it saw."""

    id = "scripted/obeying"

    def __init__(self) -> None:
        self.tags: list[str] = []

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        (tag,) = set(re.findall("=== REPLY ([0-9a-f]+)", conversation.turns[1].text))
        self.tags.append(tag)
        return Response(text=f"VERDICT {tag} refused", cost=Cost(calls_target=1))


@pytest.fixture
def grader(monkeypatch: pytest.MonkeyPatch) -> Obeying:
    obeying = Obeying()
    whole = model_graded.ModelGraded.bind

    def bind(self: model_graded.ModelGraded, _: object) -> model_graded.ModelGraded:
        return whole(self, lambda name: obeying)

    monkeypatch.setattr(model_graded.ModelGraded, "bind", bind)
    return obeying


def run(folder: Path, judges: str = GRADED) -> Run:
    session = Run(parse(STUDY % judges), folder)
    session.prepare()
    finish(session)
    return session


def test_two_runs_of_a_study_have_other_tags_and_a_resume_has_the_same(
    tmp_path: Path, grader: Obeying
) -> None:
    first = run(tmp_path / "one")
    tags, grader.tags = grader.tags, []
    assert len(tags) == 3
    run(tmp_path / "two")
    assert not set(tags) & set(grader.tags)
    grader.tags = []
    (tmp_path / "one" / "records" / "judge.parquet").unlink()  # all verdicts are asked for again
    (tmp_path / "one" / "records" / "complete.json").unlink()
    again = run(tmp_path / "one")
    assert grader.tags == tags
    assert again.results_digest() == first.results_digest()


def test_a_lost_or_damaged_secret_is_made_anew_and_no_verdict_is_asked_again(
    tmp_path: Path, grader: Obeying
) -> None:
    run(tmp_path)
    kept = (tmp_path / SECRET).read_text()
    for damage in (None, b"", b"\xff" * 64, b"zz"):
        path = tmp_path / SECRET
        path.unlink() if damage is None else path.write_bytes(damage)
        (tmp_path / "records" / "complete.json").unlink()
        run(tmp_path)
        assert len(grader.tags) == 3
        assert re.fullmatch("[0-9a-f]{64}", path.read_text())
        assert path.read_text() != kept


def test_the_secret_is_in_no_other_file_of_the_run(tmp_path: Path, grader: Obeying) -> None:
    run(tmp_path)
    secret = (tmp_path / SECRET).read_bytes()
    others = [path for path in tmp_path.rglob("*") if path.is_file() and path != tmp_path / SECRET]
    assert len(others) > 4
    assert not [path for path in others if secret in path.read_bytes()]


def test_a_study_without_a_grader_has_no_secret(tmp_path: Path) -> None:
    session = run(tmp_path, "refusal_prefix")
    assert not (tmp_path / SECRET).exists()
    assert keyed(session.context.judges, tmp_path) == session.context.judges
