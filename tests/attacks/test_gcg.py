"""Greedy coordinate gradient: paper constants, what is asked of the engine, and end to end on the testbed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from picture_runs import Testbed
from text_runs import Noted, holds, outcomes, read_by_target, refused

from sightline import registry
from sightline.budget import Budget
from sightline.cases import Conversation
from sightline.contracts import Craft
from sightline.errors import ContractError, UsageError
from sightline.records import Outcome
from sightline.study.seal import seal


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: Any) -> Testbed:
    return Testbed(tmp_path_factory.mktemp("gcg"))


def test_defaults_are_the_papers_constants() -> None:
    attack = registry.make("attack", "gcg")
    assert (attack.length, attack.start, attack.place) == (20, "!", "behind")
    assert (attack.candidates, attack.topk, attack.steps, attack.places) == (512, 256, 500, "even")
    nano = registry.make("attack", "gcg", preset="nanogcg")
    assert (nano.length, nano.start, nano.steps, nano.places) == (20, "x", 250, "random")
    assert (nano.candidates, nano.topk) == (512, 256)
    threat = attack.card.threat
    assert (threat.access, threat.attacker, threat.may_edit) == ("white", "user", {"text"})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 0}, "1 to 1,024 tokens"),
        ({"steps": 0}, "1 to 1,000,000"),
        ({"candidates": 0}, "1 to 1,000,000"),
        ({"topk": 0}, "at least 1"),
        ({"check_every": 0}, "at least 1 step"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.make("attack", "gcg", **settings)


def test_without_targets_or_a_surrogate_there_is_nothing_to_do(testbed: Testbed) -> None:
    case = refused(1)[0]
    ctx = Craft(images=testbed.blobs, surrogates=(testbed.surrogate,))
    with pytest.raises(UsageError, match="gcg needs `targets`: one or more beginnings"):
        list(registry.make("attack", "gcg").craft([case], ctx))
    with pytest.raises(UsageError, match=r"has the wordings .*'unheard'"):
        list(registry.make("attack", "gcg", targets=("{unheard}",)).craft([case], ctx))
    with pytest.raises(ContractError, match="without a surrogate"):
        list(registry.make("attack", "gcg", preset="testbed").craft([case], replace(ctx, surrogates=())))


@pytest.mark.slow
def test_on_the_testbed_it_beats_the_plain_text_and_random_tokens(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, noted = refused(8), Noted("search_tokens", monkeypatch)
    crafted = testbed.sealed(registry.make("attack", "gcg", preset="testbed"), cases)
    plain = testbed.sealed(registry.make("attack", "none"), cases)
    random = testbed.sealed(registry.make("attack", "gcg", preset="testbed_random"), cases)
    assert outcomes(testbed, cases, plain).count(Outcome.refused) >= 7
    assert outcomes(testbed, cases, crafted).count(Outcome.complied) >= 6
    assert outcomes(testbed, cases, random).count(Outcome.complied) <= 2
    for artifact, found, case in zip(crafted, noted.found, cases, strict=True):
        assert len(found.ids) == 10
        assert holds(read_by_target(testbed, artifact), found.ids)
        said = artifact.conversation.last_user_text()
        assert said.startswith(case.conversation.last_user_text())
        assert artifact.cost == found.cost
        assert artifact.cost.forwards <= 1 + 30 * 97
    lengths = [len(read_by_target(testbed, artifact)) for artifact in random]
    assert lengths == [len(read_by_target(testbed, artifact)) for artifact in crafted]


def test_beside_a_picture(testbed: Testbed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture stays as it is, the text stands behind it, and what is read was scored."""
    noted = Noted("search_tokens", monkeypatch)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    image = testbed.blobs.put_pixels(pixels)
    (plain,) = refused(1)
    asked = plain.conversation.last_user_text()
    case = replace(plain, conversation=Conversation.user(image, asked))
    (artifact,) = testbed.sealed(registry.make("attack", "gcg", preset="testbed"), [case])
    parts = artifact.conversation.turns[-1].parts
    assert parts[0] == image
    assert str(parts[1]).startswith(asked)
    (found,) = noted.found
    assert found.best.greedy_share
    assert outcomes(testbed, [case], [artifact]) == [Outcome.complied]
    assert holds(read_by_target(testbed, artifact), found.ids)
    two = replace(case, conversation=Conversation.user(image, image, asked))
    with pytest.raises(UsageError, match="has 2 pictures, 2 of them beside its last question"):
        testbed.sealed(registry.make("attack", "gcg", preset="testbed"), [two])


@pytest.mark.slow
def test_a_case_depends_on_no_other_and_ends_at_its_budget(testbed: Testbed, tmp_path: Path) -> None:
    cases = refused(3)
    attack = registry.make("attack", "gcg", preset="testbed", steps=3)

    def texts(some: Any, **given: Any) -> list[Any]:
        ctx = Craft(images=testbed.blobs, seed=5, surrogates=(testbed.surrogate,), **given)
        drafts = list(attack.craft(some, ctx))
        for draft in drafts:
            seal(draft, testbed.blobs, key="", threat=attack.card.threat)
        return drafts

    together = [draft.text for draft in texts(cases)]
    assert [draft.text for draft in texts(cases[1:])] == together[1:]
    (poor,) = texts(cases[:1], budget=Budget(forwards=150))
    assert poor.cost.forwards <= 150
    assert poor.note.startswith("budget")
    (kept,) = texts(cases[:1], checkpoint=lambda name: tmp_path / "bench")
    assert kept.text == together[0]
