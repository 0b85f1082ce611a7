"""Calls of attacks that converse, one by one: what is kept of each, and whose failure one is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import talking_toys  # noqa: F401  (registers the toy attacks)
import toys  # noqa: F401
from speakers import Said, Speaker, World

from sightline.api.runs import finish
from sightline.attacks.dialogue import put
from sightline.cases import Case, Conversation, ThreatModel
from sightline.contracts import ConversingAttack, Craft, Decoding
from sightline.errors import MethodError, TransientError, UsageError
from sightline.plain import artifact_of
from sightline.records import Artifact, Draft, Pixels
from sightline.registry import attack
from sightline.study import replying, roles
from sightline.study.call_log import CallLog
from sightline.study.config import parse
from sightline.study.replying import KeptCalls, reply
from sightline.study.run import Run
from sightline.tables import Table
from sightline.targets.remembered import RememberedTarget

STUDY = """
study: calls
benchmarks: [{name: toy_questions, n: 3}]
targets: [toy/a]
attacks: [toy_painter]
roles: {attacker: toy/helper, image_source: placeholder}
judges: [toy_judge]
retries: 0
"""
CASES = 2


@attack("toy_painter", threat=ThreatModel(oracle="undefended"), source="tests")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyPainter(ConversingAttack):
    """Asks for two pictures of one prompt, marks a corner of each, and shows the target the second."""

    @property
    def calls(self) -> Mapping[str, int]:
        return {"image_source": 2, "target": 1}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        first = await ctx.picture_of(case, "a glimber")
        second = await ctx.picture_of(case, "a glimber")
        assert (first != second).any(), "asked again, a source gives another picture"
        second[0, 0] = 0
        await ctx.ask_target(Conversation.user(put(ctx, second), case.behavior))
        return Draft(case=case, image=second)


@attack("toy_swallower", threat=ThreatModel(), source="tests")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToySwallower(ConversingAttack):
    """Takes whatever goes wrong for no answer."""

    @property
    def calls(self) -> Mapping[str, int]:
        return {"attacker": 1}

    async def converse(self, case: Case, ctx: Craft) -> Draft:
        with suppress(UsageError):
            await ctx.ask("attacker", Conversation.user("please"))
        return Draft(case=case)


@dataclass
class Painter:
    """An image source that counts, and may fail."""

    fails: Exception | None = None
    drawn: list[int] = field(default_factory=list)
    id: str = "painter@1"
    note: str = ""

    async def picture(self, case: Case, prompt: str, *, seed: int) -> Pixels:
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        self.drawn.append(seed)
        return np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)


def says_no(asked: Conversation) -> Said:
    return "no"


Start = Callable[..., Run]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(replying, "BACKOFF_SECONDS", 0.0)

    def run(
        target: Callable[[Conversation], Said] = says_no,
        helper: Callable[[Conversation], Said] = says_no,
        source: Painter | None = None,
        text: str = STUDY,
        folder: str = "run",
        **options: bool,
    ) -> Run:
        opened = World({"toy/a": target, "toy/helper": helper})
        monkeypatch.setattr("sightline.targets.open_target", opened.open)
        monkeypatch.setattr(roles, "open_image_source", lambda name, images: source or Painter())
        found = Run(parse(text), tmp_path / folder, **options)
        found.prepare()
        finish(found)
        return found

    return run


def artifacts(run: Run) -> list[Artifact]:
    with Table(run.records / "craft") as table:
        return [artifact_of(row) for row in table]


def test_pictures_that_were_drawn_are_not_drawn_again(start: Start) -> None:
    first, second, whole = Painter(), Painter(), Painter()
    with pytest.raises(UsageError, match="stopped"):
        start(lambda asked: UsageError("stopped"), source=first)
    run = start(source=second)
    assert (len(first.drawn), second.drawn) == (2 * CASES, [])
    alike = start(source=whole, folder="whole")
    assert sorted(whole.drawn) == sorted(first.drawn)
    assert [made.conversation for made in artifacts(run)] == [made.conversation for made in artifacts(alike)]
    assert [made.cost.calls_aux for made in artifacts(run)] == [2] * CASES
    assert run.results_digest() == alike.results_digest()


def test_a_picture_whose_file_is_lost_is_drawn_again(start: Start, tmp_path: Path) -> None:
    first, second = Painter(), Painter()
    with pytest.raises(UsageError, match="stopped"):
        start(lambda asked: UsageError("stopped"), source=first)
    with Table(tmp_path / "run" / "records" / "craft.calls") as log:
        lost = next(row["picture"]["sha256"] for row in log)
    next(tmp_path.rglob(lost)).unlink()
    start(source=second)
    assert len(second.drawn) == 1


def test_what_an_image_source_says_of_its_pictures_stands_in_every_note(start: Start) -> None:
    run = start(source=Painter(note="placeholder picture: not comparable"))
    found = artifacts(run)
    assert found
    assert all("placeholder picture: not comparable" in made.note for made in found)
    plain = start(source=Painter(), folder="plain")
    assert not any("comparable" in made.note for made in artifacts(plain))


def test_an_image_source_that_fails_is_no_bug_of_the_attack(start: Start) -> None:
    run = start(source=Painter(fails=RuntimeError("out of memory")))
    for made in artifacts(run):
        assert made.problem is not None
        assert made.problem.startswith("the image source failed: ")
        assert "out of memory" in made.problem
    run = start(source=Painter(fails=UsageError("no such picture")), folder="lacks")
    assert [made.problem for made in artifacts(run)] == ["no such picture"] * CASES


@pytest.mark.parametrize("later", ["at once", "after another run"])
def test_the_turns_of_a_script_that_ended_wait_for_another_try(start: Start, later: str) -> None:
    text = STUDY.replace("toy_painter", "{name: toy_script, turns: 3}")
    times = Counter[str]()

    def fails(asked: Conversation) -> Said:
        times[str(asked)] += 1
        broken = len(asked.turns) == 3 and times[str(asked)] == 2  # while the script is answered
        return TransientError("503") if broken else f"reply {len(asked.turns)}"

    run = start(fails, text=text)
    with Table(run.records / "answer") as table:
        assert [(row["stop"], row["replies"]) for row in table] == [("error", ["reply 1"])] * CASES
    if later == "after another run":
        (run.records / "judge.parquet").unlink()
        start(fails, text=text)
    before = Counter(times)
    run = start(fails, text=text, retry_errors=True)
    with Table(run.records / "answer") as table:
        assert [(row["stop"], row["replies"]) for row in table] == [("stop", ["reply 1", "reply 3"])] * CASES
    assert sum((times - before).values()) == 2 * CASES, "the first turn was not said again"
    assert not (run.records / "calls").exists()


def test_calls_of_a_remembered_target_are_kept(tmp_path: Path) -> None:
    speaker = Speaker("toy/a@1", says_no)
    remembered = RememberedTarget(speaker.id, lambda: speaker)
    request = Conversation.user("please")
    for _ in range(2):
        with CallLog(tmp_path / "calls") as log:
            kept = KeptCalls(remembered, log.of("artifact"))
            assert asyncio.run(reply(kept, request, Decoding())).text == "no"
            log.needed = True
    assert len(speaker.ended) == 1


@pytest.mark.parametrize("name", ["toy_swallower", "{name: toy_branches, group: true}", "toy_branches"])
def test_a_rejected_key_ends_the_run_whatever_the_attack_makes_of_it(start: Start, name: str) -> None:
    def rejected(asked: Conversation) -> Said:
        return UsageError("the key was rejected")

    with pytest.raises(UsageError, match=r"role '(attacker|target)': the key was rejected"):
        start(rejected, rejected, text=STUDY.replace("toy_painter", name))


def test_what_a_branch_fails_of_is_told_by_what_matters_most(start: Start) -> None:
    group = "{name: toy_branches, group: true}"

    def down(asked: Conversation) -> Said:
        return TransientError("503") if "branch 2" in asked.last_user_text() else "no"

    run = start(down, text=STUDY.replace("toy_painter", group))
    assert [made.problem for made in artifacts(run)] == ["the target failed: 503"] * CASES

    def broken(self: object, number: int) -> None:
        raise RuntimeError(f"bug in branch {number}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Craft, "keep", broken)
        with pytest.raises(MethodError, match=r"'toy_branches', case toy/0: .*bug in branch"):
            start(text=STUDY.replace("toy_painter", group), folder="bug")
