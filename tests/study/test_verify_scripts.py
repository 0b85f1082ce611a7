"""`verify` of scripts of several turns: pictures at any turn, each target its own, all turns played."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import toys  # noqa: F401  (registers the toy methods)

from sightline.api.runs import finish
from sightline.attacks.dialogue import Dialogue, put
from sightline.cases import Case, Conversation, ThreatModel
from sightline.contracts import ConversingAttack, Craft, Decoding, Images
from sightline.errors import UsageError
from sightline.plain import conversation_of, plain_artifact, turn_of
from sightline.records import Artifact, Cost, Draft, Response
from sightline.registry import attack
from sightline.store import Blobs
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.study.verify.integrity import Fault
from sightline.study.verify.reencoding import AS_WRITTEN
from sightline.study.verify.verification import Verified, Wanted, verify
from sightline.tables import Table

STUDY = """
study: scripts
benchmarks: [{name: toy_questions, n: 3}]
targets: [toy/a, toy/b]
attacks: [none, toy_picture_script, toy_no_words]
judges: [toy_judge]
"""
CASES = 2
TURNS = 3


@attack("toy_picture_script", threat=ThreatModel(oracle="undefended"), source="tests")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyPictureScript(ConversingAttack):
    """A picture of its own at every turn of three."""

    @property
    def calls(self) -> dict[str, int]:
        return {"target": TURNS}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        talk = Dialogue(ctx, case)
        for turn in range(TURNS):
            pixels = np.random.default_rng([ctx.seed, turn]).integers(0, 256, (16, 16, 3), dtype=np.uint8)
            await talk.say(f"turn {turn} of {case.behavior}", put(ctx, pixels))
        return talk.draft()


@attack("toy_no_words", threat=ThreatModel(may_edit=frozenset({"text"})), source="tests")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyNoWords(ConversingAttack):
    """Rewrites texts, and cannot."""

    @property
    def calls(self) -> dict[str, int]:
        return {}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        raise UsageError("it has no words")


@dataclass
class Eye:
    """Says how many pictures it was shown, and of which kinds."""

    images: Images
    id: str
    asked: list[Conversation] = field(default_factory=list)

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        self.asked.append(conversation)
        kinds = [image.media.removeprefix("image/") for image in conversation.images]
        for image in conversation.images:
            self.images.pixels(image)
        return Response(text=f"{self.id} saw {' '.join(kinds) or 'nothing'}", cost=Cost(calls_target=1))


@dataclass
class Bench:
    folder: Path
    eyes: dict[str, Eye] = field(default_factory=dict)

    def open(self, name: str, images: Images, **bounds: int | None) -> Eye:
        self.eyes[name] = Eye(images, f"{name}@1")
        return self.eyes[name]

    def verify(self, **wanted: Any) -> tuple[Verified, list[dict[str, Any]]]:
        found = asyncio.run(verify(self.folder, Wanted(qualities=(75,), factors=(), **wanted)))
        return found, pq.read_table(found.table).to_pylist()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(tmp_path / "run")
    monkeypatch.setattr("sightline.targets.open_target", made.open)
    run = Run(parse(STUDY), made.folder)
    run.prepare()
    finish(run)
    return made


def test_scripts_are_played_with_every_picture_in_another_form(bench: Bench) -> None:
    found, rows = bench.verify()
    assert found.inspected.findings == []
    scripts = [row for row in rows if row["attack"] == "toy_picture_script"]
    # of each of two targets: its own artifacts alone, as written (not asked again), PNG and JPEG
    assert Counter((row["target"], row["form"]) for row in scripts) == {
        (target, form): CASES for target in ("toy/a", "toy/b") for form in (AS_WRITTEN, "PNG", "JPEG 75")
    }
    assert all(row["crafted_on"] == f"{row['target']}@1" for row in scripts)
    assert len({row["artifact"] for row in scripts}) == 2 * CASES
    assert all(row["reused"] == (row["form"] == AS_WRITTEN) for row in scripts)
    assert {row["outcome"] for row in scripts} == {"complied"}
    for eye in bench.eyes.values():
        turns = Counter(len(asked.turns) for asked in eye.asked)
        assert turns == {1: 2 * CASES, 3: 2 * CASES, 5: 2 * CASES}, "two forms of three turns"
    with Table(bench.folder / "records" / "verify-answer") as table:
        said = [(row["text"].partition(" saw ")[2], len(row["replies"])) for row in table]
    assert Counter(said) == {("png png png", 2): 2 * CASES, ("jpeg jpeg jpeg", 2): 2 * CASES}


def test_a_second_verification_asks_nobody(bench: Bench) -> None:
    bench.verify()
    bench.verify()
    assert [len(eye.asked) for eye in bench.eyes.values()] == [0, 0]


def test_another_target_is_asked_every_script(bench: Bench) -> None:
    _, rows = bench.verify(targets=("toy/c",))
    scripts = [row for row in rows if row["attack"] == "toy_picture_script"]
    assert Counter(row["form"] for row in scripts) == dict.fromkeys((AS_WRITTEN, "PNG", "JPEG 75"), 2 * CASES)
    assert {row["made_on_target"] for row in scripts} == {False}


@pytest.mark.parametrize("turn", range(TURNS))
def test_a_lost_picture_of_any_turn_is_found(bench: Bench, turn: int) -> None:
    with Table(bench.folder / "records" / "craft") as table:
        row = next(row for row in table if row.get("follow_ups"))
    turns = [*row["conversation"]["turns"], *row["follow_ups"]]
    (picture,) = [part["sha256"] for part in turns[turn]["parts"] if not isinstance(part, str)]
    Blobs(bench.folder / "blobs").path(picture).unlink()
    found, rows = bench.verify()
    assert [each.fault for each in found.inspected.findings] == [Fault.lost_file] * 2, "one seed, two targets"
    lost = [each for each in rows if each["fault"] == "lost file"]
    assert row["key"] in {each["artifact"].hex() for each in lost}
    assert len({each["artifact"] for each in lost}) == 2
    assert {each["outcome"] for each in lost if each["form"] != AS_WRITTEN} == {"error"}


def test_the_digest_of_a_reencoded_script_is_that_of_an_artifact(bench: Bench) -> None:
    bench.verify()
    with Table(bench.folder / "records" / "verify-craft") as table:
        rows = [row for row in table if "follow_ups" in row]
    assert len(rows) == 2 * 2 * CASES
    for row in rows:
        alike = Artifact(
            key="k",
            case_id="c",
            conversation=conversation_of(row["conversation"]),
            follow_ups=tuple(map(turn_of, row["follow_ups"])),
        )
        assert row["shown"] == plain_artifact(alike)["shown"]


def test_attacks_on_texts_alone_have_no_forms_even_where_all_of_their_artifacts_failed(bench: Bench) -> None:
    found, rows = bench.verify()
    assert found.inspected.attacks["toy_no_words"].failed == CASES
    assert {row["attack"] for row in rows} == {"toy_picture_script"}
    assert any("no pictures to re-encode:" in note and "toy_no_words" in note for note in found.notes)
