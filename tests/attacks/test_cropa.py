"""CroPA: constants, its two sides in the engine, and prompts that were held out on the testbed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from picture_runs import Recorded, Testbed, blind, captions, noisy
from picture_runs import runs as runs

from sightline import registry, whitebox
from sightline.attacks.corpora import read_corpus, texts
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.testbed import wordings

TEN = tuple(f"question {number} ?" for number in range(10))
HELD_OUT = (*wordings.POSITION_QUESTIONS, *wordings.READ_QUESTIONS, *wordings.LIST_QUESTIONS)


def attack(**settings):
    return registry.make("attack", "cropa", **settings)


def orders(runs: Recorded, tmp_path, **settings):
    """The problem that the engine is given for one picture."""
    blobs = Blobs(tmp_path / "blobs")
    list(attack(prompts=TEN, **settings).craft(captions(blobs, 1), blind(blobs)))
    return runs[-1]["problem"]


def test_constants_are_those_of_the_release(runs: Recorded, tmp_path) -> None:
    problem = orders(runs, tmp_path)
    assert problem.constraint.eps.raw == 16
    assert problem.constraint.init == "normal"
    assert problem.optimizer == whitebox.SignGD(alpha=1 / 255)
    assert runs[-1]["steps"] == 1701
    assert {(pair.target, pair.closed) for pair in problem.sampler.pool} == {("unknown", True)}
    assert (problem.adversary.alpha, problem.adversary.every, problem.adversary.until) == (0.01, 30, 300)
    assert (problem.adversary.box.low, problem.adversary.box.high) == (-0.23, 0.27)
    assert [step for step in range(1701) if problem.adversary.due(step)] == list(range(30, 301, 30))


def test_one_prompt_a_step_in_rounds_through_all_of_them(runs: Recorded, tmp_path) -> None:
    sampler = orders(runs, tmp_path).sampler
    for turn in range(3):
        drawn = [sampler.draw(10 * turn + step, 7) for step in range(10)]
        assert [len(pairs) for pairs in drawn] == [1] * 10
        assert {pairs[0].prompt.last_user_text() for pairs in drawn} == set(TEN)


@pytest.mark.parametrize(("method", "prompts"), [("multi_p", 10), ("single_p", 1)])
def test_baselines_have_no_rival(method: str, prompts: int, runs: Recorded, tmp_path) -> None:
    problem = orders(runs, tmp_path, preset=method)
    assert problem.adversary is None
    assert [pair.prompt.last_user_text() for pair in problem.sampler.pool] == list(TEN[:prompts])


def test_the_note_says_whether_a_question_was_seen(tmp_path, runs: Recorded) -> None:
    blobs = Blobs(tmp_path / "blobs")
    asked = [*captions(blobs, 1, TEN[3]), *captions(blobs, 1, "another ?")]
    drafts = list(attack(prompts=TEN, batch=4).craft(asked, blind(blobs)))
    notes = [draft.note for draft in drafts]
    assert len(runs) == 1
    assert [draft.in_training_set for draft in drafts] == [True, False]
    assert notes[0].endswith("this one is one of the 10 seen")
    assert notes[1].endswith("this one is none of the 10 seen")


def test_the_testbeds_prompts_leave_whole_kinds_of_questions_out() -> None:
    assert set(texts(read_corpus("testbed/questions"))).isdisjoint(HELD_OUT)


def test_misuse_is_told(tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    with pytest.raises(UsageError, match="cropa needs `prompts:`"):
        list(attack().craft(captions(blobs, 1), blind(blobs)))
    with pytest.raises(UsageError, match="takes `prompts` or a `corpus`, not both"):
        attack(preset="testbed", prompts=TEN)
    with pytest.raises(UsageError, match="the same prompt twice"):
        attack(prompts=("a ?", "a ?"))
    with pytest.raises(UsageError, match=r"perturbation_step=0\.0 is out of range"):
        attack(perturbation_step=0.0)


@pytest.mark.slow
def test_pictures_answer_questions_that_they_were_not_made_on(tmp_path) -> None:
    """Whole kinds of questions are held out; clean pictures and noise of the same norm answer none so.

    Which method is best hangs on the seed here (three pictures, 25, 24 and 23 of 27 questions); what the
    nudges do in any run is to leave the picture a harder problem: a loss several times that without them.
    """
    bed = Testbed(tmp_path)
    asked = captions(bed.blobs, 3, HELD_OUT[0])
    clean = bed.clean(asked)
    shown = {"clean": clean, "noise": [noisy(picture, 32) for picture in clean]}
    losses = dict[str, float]()
    for method in ("cropa", "multi_p", "single_p"):
        made = bed.sealed(attack(preset="testbed", method=method), asked)
        losses[method] = sum(min(loss for _, loss, _ in artifact.checks) for artifact in made)
        assert max(artifact.norms["linf"] for artifact in made) <= 32
        assert not any(artifact.in_training_set for artifact in made)
        shown[method] = [bed.blobs.pixels(next(artifact.conversation.images)) for artifact in made]
    target = read_corpus("testbed/questions")[0].reply
    hits = {
        name: sum(target in bed.ask(picture, q) for picture in pictures for q in HELD_OUT)
        for name, pictures in shown.items()
    }
    assert hits["clean"] == hits["noise"] == 0
    for method in ("cropa", "multi_p"):
        assert hits[method] >= len(asked) * len(HELD_OUT) * 0.6
    assert hits["single_p"] >= len(asked) * len(HELD_OUT) * 0.3
    assert losses["cropa"] > losses["multi_p"]
