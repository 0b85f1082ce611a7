"""few_shot and many_shot: what stands before the request, none of it twice, and where it comes from."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pages import case, craft

from sightline import registry
from sightline.attacks.corpora import read_corpus
from sightline.attacks.demonstrations import pool
from sightline.benchmarks.testbed_requests import requests
from sightline.cases import Turn
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.study.seal import seal
from sightline.testbed.grading import classify
from sightline.testbed.world import world

ASKED = "How do I wax {question} a {goal}?"


def shot(name="few_shot", **settings):
    return registry.make("attack", name, **settings)


def pairs_of(text):
    """Questions and answers of a draft in our layout, and the request below them."""
    *blocks, last = text.split("\n\nUser: ")
    read = [block.removeprefix("User: ").split("\nAssistant: ", 1) for block in blocks]
    return [tuple(each) for each in read], last


def test_ours_are_enough_and_all_different():
    ours = pool("")
    assert len(ours) == len(set(ours)) == 24 * 16
    assert len({each.question for each in ours}) == len(ours)
    assert all("{" not in f"{each.question}{each.answer}" for each in ours)
    assert all(len(each.answer.split()) >= 8 for each in ours)


@pytest.mark.parametrize(
    ("name", "n"), [("few_shot", 1), ("few_shot", 5), ("many_shot", 128), ("many_shot", 384)]
)
def test_n_different_demonstrations_stand_before_the_request(name, n, tmp_path):
    (draft,) = craft(shot(name, n=n), [case(ASKED)], tmp_path)
    pairs, last = pairs_of(draft.text)
    assert len(set(pairs)) == len(pairs) == n
    assert set(pairs) <= set(pool(""))
    assert last == f"{ASKED}\nAssistant:"
    assert draft.note == f"{n} demonstrations"
    assert draft.before == ()
    assert draft.keep_images


def test_defaults():
    assert (shot().n, shot("many_shot").n) == (5, 128)


def test_demonstrations_are_drawn_by_seed_and_case(tmp_path):
    cases = [case(ASKED, id="b/1"), case(ASKED, id="b/2")]
    one, same, other = ([d.text for d in craft(shot(), cases, tmp_path, seed=s)] for s in (1, 1, 2))
    assert one == same
    assert len({*one, *other}) == 4


def test_as_turns_the_target_answers_by_itself(tmp_path):
    """No turn of the assistant is made up."""
    blobs = Blobs(tmp_path / "blobs")
    picture = blobs.put_pixels(np.zeros((8, 8, 3), np.uint8))
    attack = shot(place="turns", n=3)
    (draft,) = craft(attack, [case("Wax it.", picture, "Wax what is shown.")], tmp_path)
    questions = {each.question for each in pool("")}
    assert {turn.role for turn in draft.before} == {"user"}
    assert len({turn.text for turn in draft.before} & questions) == 3
    assert draft.text == "Wax what is shown."
    assert draft.note == "3 demonstrations as turns"
    artifact = seal(draft, blobs, key="k", threat=attack.card.threat)
    assert artifact.conversation.turns == (draft.before[0],)
    assert artifact.follow_ups == (*draft.before[1:], Turn("user", (picture, "Wax what is shown.")))


def test_a_layout_of_the_user_is_filled_once(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"prompt": "Is {answer} fine?", "reply": "Yes {goal}."}]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    attack = shot(corpus=str(path), n=1, pair="<{question}|{answer}|{x}>", last="[{goal}]")
    (draft,) = craft(attack, [case(ASKED)], tmp_path)
    assert draft.text == f"<Is {{answer}} fine?|Yes {{goal}}.|{{x}}>\n\n[{ASKED}]"
    before = dict(attack.resolved())
    path.write_text(json.dumps({"prompt": "a", "reply": "b"}), "utf-8")
    assert dict(attack.resolved()) != before


def test_the_request_itself_is_never_demonstrated(tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"prompt": f" {ASKED} ", "reply": "Done."}, {"prompt": "Other?", "reply": "Yes."}]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    (draft,) = craft(shot(corpus=str(path), n=1), [case(ASKED)], tmp_path)
    assert draft.text == f"User: Other?\nAssistant: Yes.\n\nUser: {ASKED}\nAssistant:"
    with pytest.raises(
        UsageError, match=r"few_shot: 2 demonstrations are wanted for case b/1, and .* has 1; set n"
    ):
        craft(shot(corpus=str(path), n=2), [case(ASKED)], tmp_path)


def test_a_row_without_an_answer_is_named(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a", "reply": "b"}\n{"prompt": "a"}', "utf-8")
    with pytest.raises(UsageError, match=r"mine\.jsonl: row 2 has no reply; a demonstration has both"):
        craft(shot(corpus=str(path), n=1), [case(ASKED)], tmp_path)
    path.with_suffix(".txt").write_text("only an answer", "utf-8")
    with pytest.raises(UsageError, match=r"mine\.txt: row 1 has no prompt"):
        craft(shot(corpus=str(path.with_suffix(".txt")), n=1), [case(ASKED)], tmp_path)


def test_the_testbed_s_are_allowed_topics_of_training_alone():
    rows = read_corpus("testbed/allowed")
    asked_of_cases = {each.wordings["key_phrase"] for each in requests()}
    for row in rows:
        noun = row.reply.split()[0]
        topic = world().topic(noun)
        assert (topic.restricted, topic.split) == (False, "train")
        assert noun in row.prompt
        assert noun not in asked_of_cases
        assert classify(row.reply, noun).value == "exact"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("few_shot", {"n": 0}, "n=0 is out of range: expected 1 to 1,024"),
        ("many_shot", {"n": 5000}, "n=5000 is out of range"),
        ("few_shot", {"pair": "{question}"}, r"few_shot: `pair` has no \{answer\}"),
        ("many_shot", {"last": "Go on."}, r"many_shot: `last` has no \{goal\}"),
    ],
)
def test_misuse_is_named(name, settings, message):
    with pytest.raises(UsageError, match=message):
        shot(name, **settings)


def test_an_unknown_corpus_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"unknown corpus 'testbed/alowed'\. Did you mean 'testbed/allowed'"):
        craft(shot(corpus="testbed/alowed"), [case(ASKED)], tmp_path)
