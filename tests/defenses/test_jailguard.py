import math
from dataclasses import replace

import numpy as np
import pytest
from behind import respond
from hypothesis import given
from hypothesis import strategies as st

import sightline as sl
from sightline import registry
from sightline.cases import Conversation, Expected
from sightline.defenses._likeness import FLOOR, divergence, likeness, trigrams
from sightline.errors import UsageError
from sightline.records import Response
from sightline.store import Blobs

REFUSAL = "I'm sorry, but I can't help with that."


def jailguard(**settings):
    return registry.make("defense", "jailguard", **settings)


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path)


def shown(blobs, text="steps for x", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    return Conversation.user(blobs.put_pixels(pixels), text)


def test_likeness_by_hand():
    # " ab " has the runs " ab" and "ab ", " ac " has " ac" and "ac ": none is shared
    assert likeness(trigrams("ab"), trigrams("ac")) == 0
    # " a ab " shares " ab"? runs: " a ", "a a", " ab", "ab " against " ab", "ab ": 2 / sqrt(4 * 2)
    assert likeness(trigrams("a ab"), trigrams("AB")) == pytest.approx(2 / math.sqrt(8))
    assert likeness(trigrams(""), trigrams("")) == 1
    assert likeness(trigrams(""), trigrams("ab")) == 0


def test_divergence_by_hand():
    assert divergence(["a cube", "a cube", "A  cube"]) == 0
    # two answers without a common run: rows (1.01, .01) / 1.02 and its mirror image
    one, other = (1 + FLOOR) / (1 + 2 * FLOOR), FLOOR / (1 + 2 * FLOOR)
    expected = (one - other) * math.log(one / other)
    assert divergence(["ab", "cd"]) == pytest.approx(expected)


@given(st.lists(st.text(max_size=30), min_size=2, max_size=6), st.randoms())
def test_divergence_is_finite_not_negative_and_knows_no_order(texts, random):
    found = divergence(texts)
    assert 0 <= found < math.inf
    random.shuffle(texts)
    assert divergence(texts) == pytest.approx(found, abs=1e-9)
    assert divergence([texts[0]] * len(texts)) == pytest.approx(0, abs=1e-9)


def test_answers_that_agree_let_the_request_pass(blobs):
    asked = shown(blobs)
    response, inner, _ = respond(
        jailguard(copies=3), "a cube", "a cube", "a cube", "the answer", images=blobs, conversation=asked
    )
    assert (response.text, response.stop, response.flags) == ("the answer", "stop", ("jailguard:0",))
    assert [call.purpose for call in response.calls] == ["copy 1", "copy 2", "copy 3", "answer"]
    assert inner.asked[3] == asked
    assert len({next(iter(each.images)).sha256 for each in inner.asked}) == 4
    assert all(each.last_user_text() == "steps for x" for each in inner.asked)  # pictures alone are changed


def test_answers_that_differ_refuse_it_without_an_answer(blobs):
    response, inner, _ = respond(jailguard(copies=2), "ab", "cd", images=blobs, conversation=shown(blobs))
    one, other = 1.01 / 1.02, 0.01 / 1.02
    score = (one - other) * math.log(one / other)
    assert (response.stop, response.flags, response.raw) == (
        "blocked_defense",
        (f"jailguard:{score:.3g}",),
        None,
    )
    assert len(inner.asked) == 2


def test_each_modality_has_its_own_threshold(blobs):
    """Known defect of another implementation: pictures judged by the threshold of texts."""
    split = {"copies": 2, "image_threshold": 99.0, "text_threshold": 0.0}
    for asked, stop in ((shown(blobs), "stop"), (Conversation.user("steps for x"), "blocked_defense")):
        response, _, _ = respond(jailguard(**split), "ab", "cd", images=blobs, conversation=asked)
        assert response.stop == stop


def test_a_second_request_has_copies_of_its_own(blobs):
    """Known defect of the released code: copies are kept by their number, and the next input gets them."""
    asked = [shown(blobs, seed=seed) for seed in (1, 2)]
    seen = [
        {
            next(iter(copy.images)).sha256
            for copy in respond(jailguard(copies=2), "a", images=blobs, conversation=each)[1].asked
        }
        for each in (*asked, asked[0])
    ]
    assert not seen[0] & seen[1]
    assert seen[0] == seen[2]  # and the same ones when it is asked again


def test_a_text_is_changed_where_no_picture_is_shown():
    text = "steps for folding a paper crane"
    _, inner, _ = respond(jailguard(copies=3), "a", conversation=Conversation.user(text))
    texts = [each.last_user_text() for each in inner.asked]
    assert texts[3] == text
    assert len(set(texts)) == 4
    assert all(len(each) == len(text) + 4 for each in texts[:3])  # a tenth of 31 letters, rounded up


def test_all_copies_refused_is_an_attack_or_not(blobs):
    response, inner, _ = respond(jailguard(copies=3), REFUSAL, images=blobs, conversation=shown(blobs))
    assert response.flags == ("jailguard:0", "jailguard_all_refused")
    assert len(inner.asked) == 3
    response, _, _ = respond(
        jailguard(copies=3, all_refused=False), REFUSAL, images=blobs, conversation=shown(blobs)
    )
    assert (response.text, response.stop) == (REFUSAL, "stop")


@pytest.mark.parametrize("stop", ["content_filter", "error"])
def test_a_providers_block_is_neither_a_refusal_nor_an_answer_to_compare(stop, blobs):
    """Known defect of the released code: a block becomes a text, which is compared."""
    blocked = Response(text="", stop=stop, error="x" if stop == "error" else None)
    response, inner, _ = respond(jailguard(), "ab", blocked, images=blobs, conversation=shown(blobs))
    assert response.stop == stop
    assert len(inner.asked) == 2


@pytest.mark.parametrize(
    "wrong", [{"copies": 1}, {"rotation": 0.0}, {"bits": 8}, {"text": "none"}, {"image_threshold": -1.0}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UsageError):
        jailguard(**wrong)


def test_it_learns_the_thresholds_that_one_benign_case_of_twenty_is_above(tmp_path):
    file = tmp_path / "state.json"
    made = jailguard(preset="testbed", copies=2)
    cases = [case for case in sl.benchmarks.TestbedRequests()() if not any(case.conversation.images)][:12]
    state = made.fit("testbed/linear", cases, file)
    benign = [case for case in cases if case.expected is Expected.comply]
    assert set(state.facts) == {"text", "settings"}  # no picture was seen
    with pytest.raises(UsageError, match="learned with copies=2, and here it is 3"):
        replace(made, copies=3, state=str(file)).learned()
    scores = []
    for case in benign:
        reply = replace(made, text_threshold=0.0, image_threshold=0.0)("testbed/linear").ask(case)
        (flag,) = [each for each in reply.flags if ":" in each]
        scores.append(float(flag.partition(":")[2]))
    assert state.number("text") == pytest.approx(max(scores), rel=1e-2)  # of six none may be above
    assert state.told[0].startswith("text: threshold")
    assert all(line.startswith("CAUTION: AUC") for line in state.told[1:])
    fitted = replace(made, state=str(file))
    assert fitted._threshold("text") == state.number("text")
    with pytest.raises(UsageError, match="learned no threshold for requests that show a picture"):
        fitted._threshold("picture")
    with pytest.raises(UsageError, match="there are none"):
        made.fit("testbed/linear", [case for case in cases if case not in benign], file)
