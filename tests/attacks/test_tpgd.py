"""T-PGD: paper constants, what may change, misuse, and end to end on the testbed."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

from picture_runs import Testbed
from text_runs import Noted, holds, outcomes, read_by_target, refused

from sightline import registry
from sightline.budget import Budget
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.records import Outcome
from sightline.whitebox.checkpoint import CheckpointFile


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: Any) -> Testbed:
    return Testbed(tmp_path_factory.mktemp("tpgd"))


def test_defaults_are_the_papers_constants() -> None:
    attack = registry.make("attack", "tpgd")
    assert (attack.restarts, attack.steps, attack.rate) == (100, 20, 5.0)
    assert (attack.start_length, attack.beta, attack.min_similarity, attack.max_similarity) == (
        3.0,
        -0.5,
        0.3,
        0.95,
    )
    assert registry.make("attack", "tpgd", preset="mnli").beta == -10.0
    assert attack.card.threat.may_edit == {"text"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"restarts": 0}, "1 to 1,000,000"),
        ({"steps": 0}, "1 to 1,000,000"),
        ({"rate": 0.0}, "more than 0"),
        ({"usual_length": 0.0}, "more than 0 tokens"),
        ({"start_length": -1.0}, "at least 0"),
        ({"beta": 0.5}, "at most 0"),
        ({"min_similarity": 0.99}, "-1 to `max_similarity`"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        registry.make("attack", "tpgd", **settings)


def test_without_answers_there_is_nothing_to_do(testbed: Testbed) -> None:
    ctx = Craft(images=testbed.blobs, surrogates=(testbed.surrogate,))
    with pytest.raises(UsageError, match="tpgd needs `avoid`: one or more beginnings"):
        list(registry.make("attack", "tpgd").craft(refused(1), ctx))


@pytest.mark.slow
def test_on_the_testbed_rewordings_are_answered_and_random_ones_are_not(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, noted = refused(5), Noted("rewrite", monkeypatch)
    crafted = testbed.sealed(registry.make("attack", "tpgd", preset="testbed"), cases)
    random = testbed.sealed(registry.make("attack", "tpgd", preset="testbed_random"), cases)
    assert outcomes(testbed, cases, crafted).count(Outcome.complied) >= 3
    assert outcomes(testbed, cases, random).count(Outcome.complied) <= 1
    for artifact, found, case in zip(crafted, noted.found, cases, strict=True):
        said, asked = artifact.conversation.last_user_text(), case.conversation.last_user_text()
        assert case.wordings["key_phrase"] in said
        assert holds(read_by_target(testbed, artifact), found.ids)
        if found.best.greedy_share:
            assert said != asked
            assert len(set(said.split()) & set(asked.split())) >= 2
        else:
            assert said == asked
    for artifact, case in zip(random, cases, strict=True):
        assert case.wordings["key_phrase"] in artifact.conversation.last_user_text()


@pytest.mark.slow
def test_untargeted_it_only_drives_away_and_a_budget_ends_it(testbed: Testbed) -> None:
    (case,) = refused(1)
    avoid = "{key_phrase} is a gloom thing"
    attack = registry.make(
        "attack", "tpgd", avoid=(avoid,), rate=5.0, restarts=20, steps=20, max_similarity=0.4
    )
    ctx = Craft(images=testbed.blobs, seed=1, surrogates=(testbed.surrogate,))
    (draft,) = attack.craft([case], ctx)
    assert draft.note.startswith("stopped; found at step")
    poor = Craft(images=testbed.blobs, seed=1, surrogates=ctx.surrogates, budget=Budget(backwards=3))
    small = registry.make("attack", "tpgd", avoid=(avoid,), rate=1e-6)
    (unchanged,) = small.craft([case], poor)
    assert unchanged.text is None
    assert unchanged.note == "budget; nothing found"
    assert unchanged.cost.backwards == 3


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_where_it_was(
    testbed: Testbed, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CheckpointFile.__init__.__kwdefaults__, "pause", 0.0)
    (case,) = refused(1)
    attack = registry.make("attack", "tpgd", preset="testbed", restarts=6, steps=4, max_similarity=1.0)
    names: list[str] = []

    def kept(name: str) -> Any:
        names.append(name)
        return tmp_path / "search"

    def craft(report: Any = None) -> Any:
        given = {"report": report} if report else {}
        ctx = Craft(images=testbed.blobs, seed=3, surrogates=(testbed.surrogate,), checkpoint=kept, **given)
        (draft,) = attack.craft([case], ctx)
        return draft

    def telling(stop_at: int | None = None) -> Any:
        told: list[Any] = []

        def report(*progress: Any) -> None:
            told.append(progress)
            if len(told) == stop_at:
                raise KeyboardInterrupt

        return told, report

    all_told, report = telling()
    whole = craft(report)
    (tmp_path / "search").unlink(missing_ok=True)
    with pytest.raises(KeyboardInterrupt):
        craft(telling(len(all_told) // 2)[1])
    assert (tmp_path / "search").exists()
    rest, report = telling()
    again = craft(report)
    assert len(rest) < len(all_told)
    assert len(set(names)) == 1
    assert (again.text, again.trace, again.checks, again.note) == (
        whole.text,
        whole.trace,
        whole.checks,
        whole.note,
    )
