"""CroPA: constants, its two sides in the engine, and prompts that were held out on the testbed."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from picture_runs import Recorded, Testbed, blind, captions, noisy
from picture_runs import runs as runs

from sightline import registry, whitebox
from sightline.attacks import cropa
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.testbed import wordings

TEN = tuple(f"question {number} ?" for number in range(10))
HELD_OUT = (*wordings.POSITION_QUESTIONS, *wordings.READ_QUESTIONS)


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
    assert (problem.rival.alpha, problem.rival.every, problem.rival.until) == (0.01, 30, 300)
    assert (problem.rival.box.low, problem.rival.box.high) == (-0.23, 0.27)
    assert sum(problem.rival.due(step) for step in range(1701)) == 10


def test_one_prompt_a_step_in_rounds_through_all_of_them(runs: Recorded, tmp_path) -> None:
    sampler = orders(runs, tmp_path).sampler
    for turn in range(3):
        drawn = [sampler.draw(10 * turn + step, 7) for step in range(10)]
        assert [len(pairs) for pairs in drawn] == [1] * 10
        assert {pairs[0].prompt.last_user_text() for pairs in drawn} == set(TEN)


@pytest.mark.parametrize(("method", "prompts"), [("multi_p", 10), ("single_p", 1)])
def test_baselines_have_no_rival(method: str, prompts: int, runs: Recorded, tmp_path) -> None:
    problem = orders(runs, tmp_path, preset=method)
    assert problem.rival is None
    assert [pair.prompt.last_user_text() for pair in problem.sampler.pool] == list(TEN[:prompts])


def test_the_note_says_whether_a_question_was_seen(tmp_path, runs: Recorded) -> None:
    blobs = Blobs(tmp_path / "blobs")
    asked = [*captions(blobs, 1, TEN[3]), *captions(blobs, 1, "another ?")]
    notes = [draft.note for draft in attack(prompts=TEN, batch=4).craft(asked, blind(blobs))]
    assert len(runs) == 1
    assert notes[0].endswith("this one is one of the 10 seen")
    assert notes[1].endswith("this one is none of the 10 seen")


def test_the_testbeds_prompts_leave_whole_kinds_of_questions_out() -> None:
    assert set(cropa.TESTBED_PROMPTS).isdisjoint(HELD_OUT)


def test_misuse_is_told(tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    with pytest.raises(UsageError, match="cropa needs `prompts:`"):
        list(attack().craft(captions(blobs, 1), blind(blobs)))
    with pytest.raises(UsageError, match="takes `prompts` or corpus 'testbed', not both"):
        attack(preset="testbed", prompts=TEN)
    with pytest.raises(UsageError, match="the same prompt twice"):
        attack(prompts=("a ?", "a ?"))
    with pytest.raises(UsageError, match=r"nudge=0\.0 is out of range"):
        attack(nudge=0.0)


def test_a_picture_answers_questions_that_it_was_not_made_on(tmp_path) -> None:
    bed = Testbed(tmp_path)
    asked = captions(bed.blobs, 1, HELD_OUT[0])
    method = attack(preset="testbed")
    (artifact,) = bed.sealed(method, asked)
    clean = bed.blobs.pixels(next(asked[0].conversation.images))
    shown = bed.blobs.pixels(next(artifact.conversation.images))
    heard = {
        name: [bed.ask(pixels, question) for question in HELD_OUT]
        for name, pixels in (("clean", clean), ("noise", noisy(clean, 32)), ("cropa", shown))
    }
    hits = {name: sum(cropa.TESTBED_TARGET in text for text in said) for name, said in heard.items()}
    assert artifact.norms["linf"] <= 32
    assert hits["clean"] == hits["noise"] == 0
    assert hits["cropa"] >= 3
