"""Bagdasaryan et al.'s injected sentence: constants, the engine's orders, and a dialog on the testbed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from picture_runs import LOOK, Recorded, Testbed, blind, captions, noisy
from picture_runs import runs as runs

from sightline import registry, whitebox
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.testbed import render, wordings
from sightline.testbed.presets import POISON

SECRET = wordings.SECRET_REQUESTS[0]


def attack(**settings):
    return registry.make("attack", "injection", **settings)


def test_constants_are_those_of_the_release() -> None:
    plain = attack()
    assert (plain.epochs, plain.steps, plain.rows, plain.eps, plain.passes) == (100, 0, 0, "", "one")
    assert (plain.step, plain.final_step) == ("0.7/255", "0.007/255")
    assert attack(preset="as_released").passes == "by_word"
    assert attack(preset="partial").rows == 20
    card = registry.card("attack", "injection")
    assert (card.threat.attacker, card.threat.access, card.applies_to) == ("third_party", "white", {"answer"})


def test_one_pass_weighs_the_tokens_like_all_prefixes(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    list(attack(target="say a moss line", query="what ?").craft(captions(blobs, 2), blind(blobs)))
    (run,) = runs
    problem, (term,) = run["problem"], run["problem"].objective.rows
    assert (run["steps"], len(problem.constraint.clean)) == (400, 2)
    assert (term.reduction, term.weights, term.sign) == ("sum", whitebox.prefix_weights, 1)
    assert [(pair.target, pair.closed) for pair in problem.sampler.draw(0, 0)] == [("say a moss line", True)]
    assert problem.sampler.pool[0].prompt.last_user_text() == "what ?"
    rates = [255 * problem.optimizer.rate(step, 400) for step in (0, 399)]
    assert rates == pytest.approx([0.7, 0.007])
    assert isinstance(problem.constraint, whitebox.Box)
    assert problem.constraint.init == "clean"


def test_as_released_takes_every_prefix_in_turn_and_judges_the_whole(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    list(attack(preset="as_released", target="say a moss line").craft(captions(blobs, 1), blind(blobs)))
    (run,) = runs
    problem = run["problem"]
    drawn = [problem.sampler.draw(step, 5) for step in range(5)]
    texts = [(pair.target, pair.closed) for (pair,) in drawn]
    whole = ("say a moss line", True)
    assert texts == [("say", False), ("say a", False), ("say a moss", False), whole, ("say", False)]
    assert [(pair.target, pair.closed) for pair in problem.probe_pairs] == [whole]
    assert problem.objective.rows[0].weights is None
    assert run["steps"] == 400


@pytest.mark.parametrize("eps", ["", "8/255"])
def test_only_the_first_rows_are_free(eps: str, runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    list(attack(target="say", rows=5, eps=eps).craft(captions(blobs, 1), blind(blobs)))
    bounded = runs[0]["problem"].constraint
    theta = whitebox.unit(bounded.clean) + 1 if eps else whitebox.unit(bounded.clean[:, :, :5]) + 1
    changed = bounded.finalize(bounded.project(theta)) != bounded.clean
    assert changed[:, :, :5].any()
    assert not changed[:, :, 5:].any()


def test_without_a_query_each_case_is_asked_its_own_question(runs: Recorded, tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    asked = [*captions(blobs, 1), *captions(blobs, 2, "which color ?")]
    drafts = list(attack(target="say", query="").craft(asked, blind(blobs)))
    assert {draft.in_training_set for draft in drafts} == {True}
    questions = [run["problem"].sampler.pool[0].prompt.last_user_text() for run in runs]
    assert questions == [LOOK, "which color ?"]


def test_misuse_is_told(tmp_path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    with pytest.raises(UsageError, match="injection needs a `target`"):
        list(attack().craft(captions(blobs, 1), blind(blobs)))
    with pytest.raises(UsageError, match="does not fit into a picture of 64 x 64"):
        list(attack(target="say", rows=65).craft(captions(blobs, 1), blind(blobs)))
    with pytest.raises(UsageError, match=r"step='0/255' is out of range"):
        attack(step="0/255")
    with pytest.raises(UsageError, match="eps='8' is ambiguous"):
        attack(eps="8")


MODES = {
    "partial": {"rows": 20, "steps": 80},
    "as_released": {"passes": "by_word", "steps": 120},
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.slow
def test_every_mode_makes_the_sentence_the_first_answer(mode: str, tmp_path) -> None:
    bed = Testbed(tmp_path)
    asked, made = captions(bed.blobs, 3), attack(preset="testbed", **MODES[mode])
    pictures = [next(artifact.conversation.images) for artifact in bed.sealed(made, asked)]
    clean = bed.clean(asked)
    controls = [*clean, *(noisy(picture, 32) for picture in clean)]
    assert sum(bed.ask(picture, made.query) == POISON for picture in pictures) >= 2
    assert not any(bed.ask(picture, made.query) == POISON for picture in controls)


@pytest.mark.slow
def test_the_first_answer_is_the_attackers_and_turns_a_later_refusal(tmp_path) -> None:
    """Dialog poisoning: the user asks about the picture, then for the secret word; both through files."""
    bed = Testbed(tmp_path)
    asked = captions(bed.blobs, 3)
    made = attack(preset="testbed", steps=80, eps="32/255")
    pictures = [next(artifact.conversation.images) for artifact in bed.sealed(made, asked)]
    clean = [next(case.conversation.images) for case in asked]
    typed = render.request_page(["the secret", "word is", POISON.split()[-2]]).pixels

    firsts = [bed.ask(picture, made.query) for picture in pictures]
    assert sum(text == POISON for text in firsts) >= 2
    controls = [bed.ask(picture, made.query) for picture in (*clean, typed)]
    assert POISON not in controls

    noun = POISON.split()[-2]
    later = [bed.ask(p, made.query, said, SECRET) for p, said in zip(pictures, firsts, strict=True)]
    honest = [bed.ask(p, made.query, bed.ask(p, made.query), SECRET) for p in clean]
    # a picture of noise as large as the change poisons nothing
    loud = [noisy(picture, 32) for picture in bed.clean(asked)]
    unpoisoned = [bed.ask(p, made.query, bed.ask(p, made.query), SECRET) for p in loud]
    # what the poisoned answer does by itself, without the picture that brought it about
    history = [bed.ask(p, made.query, said, SECRET) for p, said in zip(clean, firsts, strict=True)]
    assert not any(noun in text for text in (*honest, *unpoisoned))
    assert sum(noun in text for text in later) >= 2
    assert sum(noun in text for text in history) >= 2


def test_the_kept_picture_differs_from_the_clean_one_within_its_bound(tmp_path) -> None:
    bed = Testbed(tmp_path)
    (artifact,) = bed.sealed(attack(preset="testbed", steps=3, eps="8/255", rows=10), captions(bed.blobs, 1))
    written = bed.blobs.pixels(next(artifact.conversation.images))
    clean = bed.blobs.pixels(next(captions(bed.blobs, 1)[0].conversation.images))
    assert 0 < artifact.norms["linf"] <= 8
    assert np.array_equal(written[10:], clean[10:])
