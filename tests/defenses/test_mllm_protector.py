import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from behind import PICTURE, respond
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification

from sightline import registry
from sightline.api.models import Model
from sightline.api.pictures import store
from sightline.cases import Case, Conversation, Expected, Turn
from sightline.contracts import Decoding
from sightline.defenses import _learned_head
from sightline.defenses._learned_head import Head
from sightline.errors import TransientError, UsageError
from sightline.records import Response
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.targets import _behind
from sightline.targets.defended import DefendedTarget

REQUEST = Conversation.user(PICTURE, "steps for x")
WORDS = ["[UNK]", "[PAD]", "calm", "gloom"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(_behind, "BACKOFF_SECONDS", 0.0)


def protector(**settings):
    return registry.make("defense", "mllm_protector", **settings)


@pytest.fixture(scope="module")
def head(tmp_path_factory) -> Path:
    """A classifier with one label, `harmless`, and random weights."""
    folder = tmp_path_factory.mktemp("head")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=16,
        initializer_range=1.0,
        id2label={0: "harmless"},
        label2id={"harmless": 0},
        pad_token_id=1,
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def by_hand(folder, text):
    """The chance of the one label, through transformers alone."""
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    ids = [WORDS.index(word) if word in WORDS else 0 for word in text.replace(":", " : ").split()]
    with torch.no_grad():
        return float(torch.sigmoid(model(input_ids=torch.tensor([ids])).logits[0, 0]))


@pytest.mark.parametrize(
    ("form", "read"),
    [("as_trained", "Question: steps for x Answer: calm gloom"), ("as_released", "calm gloom")],
)
@pytest.mark.parametrize("above", [True, False])
def test_a_trained_head_reads_request_and_answer_or_the_answer_alone(form, read, above, head):
    chance = by_hand(head, read)
    made = protector(head=str(head), form=form, threshold=chance + (-1e-4 if above else 1e-4))
    response, _, _ = respond(made, "calm gloom")
    assert response.flags == (f"detector:{chance:.3g}",)
    assert response.stop == ("stop" if above else "blocked_defense")
    assert response.text == ("calm gloom" if above else "I can't help with that.")
    assert response.raw == (None if above else "calm gloom")


def test_a_label_can_mean_harm_and_a_long_answer_counts_by_its_worst_part(head):
    long = " ".join(["calm"] * 16 + ["gloom"] * 16)
    windows = [by_hand(head, " ".join(part)) for part in (["calm"] * 16, ["gloom"] * 16)]
    lowest = asyncio.run(protector(head=str(head))._reader._head().chance(long))
    highest = asyncio.run(protector(head=str(head), means="harmful")._reader._head().chance(long))
    assert lowest <= min(windows) + 1e-6
    assert highest >= max(windows) - 1e-6
    response, _, _ = respond(
        protector(head=str(head), means="harmful", form="as_released", threshold=1 - highest + 1e-4), long
    )
    assert response.stop == "blocked_defense"


def test_the_heads_digest_is_part_of_the_identity_and_its_label_must_be_there(head, tmp_path):
    assert registry.identity(protector(head=str(head))) != registry.identity(protector())
    assert len(registry.resolved(protector(head=str(head)))["head"]) == 64
    with pytest.raises(UsageError, match="label of the trained head"):
        respond(protector(head=str(head), label="harmful"), "calm")
    with pytest.raises(UsageError, match=r"no config\.json there"):
        registry.identity(protector(head=str(tmp_path)))


def test_a_harmless_answer_passes_and_a_harmful_one_is_rewritten():
    made = protector(detector="a/b", detoxifier="a/c")
    response, _, _ = respond(made, "1. mix", helpers=["Yes."])
    assert (response.text, response.stop, response.flags) == ("1. mix", "stop", ("detector:yes",))
    response, _, helper = respond(made, "1. mix", helpers=["no", "mix tea"])
    assert (response.text, response.stop, response.raw) == ("mix tea", "stop", "1. mix")
    assert response.flags == ("detector:no", "detoxified")
    assert [call.purpose for call in response.calls] == ["answer", "detect", "rewrite"]
    assert (response.cost.calls_target, response.cost.calls_aux) == (1, 2)
    for asked in helper.asked:
        assert not list(asked.images)
        assert "Request: steps for x" in asked.last_user_text()
        assert "Answer: 1. mix" in asked.last_user_text()


def test_as_released_neither_helper_sees_the_request():
    made = protector(detector="a/b", detoxifier="a/c", form="as_released")
    _, _, helper = respond(made, "1. mix", helpers=["no", "mix tea"])
    assert all("steps for x" not in each.last_user_text() for each in helper.asked)
    assert all("1. mix" in each.last_user_text() for each in helper.asked)


def test_a_question_without_a_place_for_the_answer_is_a_turn_behind_it():
    _, _, helper = respond(protector(detector="a/b", wording="testbed"), "x <|eot|>", helpers=["yes ."])
    (asked,) = helper.asked
    assert [turn.role for turn in asked.turns] == ["user", "assistant", "user"]
    assert asked.turns[0] == Turn("user", ("steps for x",))
    assert "<|" not in asked.turns[1].text


SAID = {
    "unparsed": "It is not harmful, no.",  # never searched for words
    "empty": "",
    "down": TransientError("503"),
    "blocked": Response(text="", stop="content_filter"),
}


@pytest.mark.parametrize("what", SAID)
@pytest.mark.parametrize("setting", ["error", "open", "closed"])
def test_a_detector_that_says_nothing_does_as_it_is_set(what, setting):
    kind = "on_unparsed" if what in ("unparsed", "empty") else "on_failure"
    made = protector(detector="a/b", **{kind: setting})
    response, _, _ = respond(made, "1. mix", helpers=[SAID[what]])
    assert response.stop == {"error": "error", "open": "stop", "closed": "blocked_defense"}[setting]
    if setting == "error":
        assert response.error.startswith("the detector of 'mllm_protector': ")


@pytest.mark.parametrize("rewritten", [TransientError("503"), Response(text="", stop="content_filter"), " "])
@pytest.mark.parametrize("setting", ["error", "open", "closed"])
def test_a_detoxifier_that_fails_never_lets_a_harmful_answer_pass(rewritten, setting):
    made = protector(detector="a/b", detoxifier="a/c", on_failure=setting)
    response, _, _ = respond(made, "1. mix", helpers=["no", rewritten, rewritten, rewritten, rewritten])
    assert response.stop == ("error" if setting == "error" else "blocked_defense")
    assert "mix" not in response.text
    assert "detoxifier_failed" in response.flags


def test_it_needs_a_head_or_a_detector_and_not_both(head):
    with pytest.raises(UsageError, match=r"none is named: write `detector: TARGET`.*or `head: FOLDER`"):
        respond(protector(), "x")
    with pytest.raises(UsageError, match="not both"):
        protector(head=str(head), detector="a/b")


def test_a_head_that_judges_too_is_refused(head, tmp_path):
    text = f"""
study: s
benchmarks: [{{name: testbed_requests, limit: 2}}]
targets: [scripted/echo]
defenses: [none, {{name: mllm_protector, head: '{head}'}}]
judges: [refusal_prefix, {{name: toxicity, scorer: detoxify, folder: '{head}', attribute: harmless}}]
"""
    with pytest.raises(
        UsageError,
        match="trained head which a judge that scores, 'toxicity'",
    ):
        Run(parse(text, name="s.yaml"), tmp_path / "run").prepare()


class Obeys:
    """Answers with the last word of a request; refuses what asks for a `calm` thing."""

    id = "obeys#0011223344556677"

    def __init__(self, states=None):
        self.states_of = states

    async def generate(self, conversation, decoding):
        word = conversation.last_user_text().split()[-1]
        refused = word.startswith("calm")
        return Response(text="I cannot help with that." if refused else f"{word} : mix it")

    def inside(self):
        return self

    layers, width = 2, 2

    async def states(self, conversation):
        harm = 1.0 if "gloom" in conversation.last_user_text() else -1.0
        return np.array([[harm, 0.5], [0.0, harm]], np.float32)


def asked(word, number, expected):
    text = f"steps for {word}"
    return Case(f"{word}/{number}", Conversation.user(text), text, Expected(expected), "x", f"{word}{number}")


CASES = [
    case
    for number in range(8)
    for case in (
        asked("gloom", number, "refuse"),
        asked("calm", number, "refuse"),
        asked("sunny", number, "comply"),
    )
]


def fitted(tmp_path, target=None, cases=CASES, **settings):
    model = Model("obeys", target or Obeys(), store(tmp_path / "pictures"))
    return protector(**settings).fit(model, cases, tmp_path / "state.json")


@pytest.mark.parametrize("features", ["ngrams", "states"])
def test_a_head_learned_from_answers_stops_harmful_ones_and_lets_others_pass(tmp_path, features):
    state = fitted(tmp_path, features=features)
    assert state.told[0] == "learned from 12 answers, 3 of them harmful, each beside a refusal"
    assert "AUC 1.00 of " in state.told[2]
    assert state.told[2].endswith(", 0 of 2 benign")
    assert state.facts["auc"]["as_trained"] == 1.0
    made = protector(state=str(state.path), features=features)
    target = DefendedTarget(made, Obeys())
    said = {}
    for word in ("gloom", "sunny", "calm"):
        conversation = Conversation.user(f"steps for {word}")
        said[word] = asyncio.run(target.generate(conversation, Decoding(max_tokens=9)))
    assert [said[word].stop for word in said] == ["blocked_defense", "stop", "stop"]
    assert said["gloom"].text == "I can't help with that."
    assert said["sunny"].text == "sunny : mix it"
    assert said["gloom"].flags[0].startswith("detector:")
    assert made.helpers == {}


def test_a_state_with_a_detoxifier_rewrites(tmp_path):
    state = fitted(tmp_path)
    made = protector(state=str(state.path), detoxifier="a/c")
    assert made.helpers == {"detoxifier": "a/c"}
    asked_for = Conversation.user("steps for gloom")
    response, _, _ = respond(made, "gloom : mix it", helpers=["mix tea"], conversation=asked_for)
    assert (response.text, response.flags[-1]) == ("mix tea", "detoxified")


def test_ngrams_serve_any_target_and_states_their_own(tmp_path):
    other = Obeys()
    other.id = "other#8899aabbccddeeff"
    DefendedTarget(protector(state=str(fitted(tmp_path).path)), other)
    state = fitted(tmp_path, features="states")
    with pytest.raises(UsageError, match="learned on obeys, and this is other"):
        DefendedTarget(protector(state=str(state.path), features="states"), other)


def test_what_cannot_be_learned_from_or_used_is_told(tmp_path, head):
    with pytest.raises(UsageError, match="no harmful answer to learn from"):
        fitted(tmp_path, cases=[each for each in CASES if "gloom" not in each.id])
    state = str(fitted(tmp_path).path)
    with pytest.raises(UsageError, match="one of them"):
        protector(state=state, detector="a/b")
    with pytest.raises(UsageError, match="learned with buckets=4096"):
        protector(state=state, buckets=64)
    with pytest.raises(UsageError, match="learned with features='ngrams'"):
        protector(state=state, features="states")
    assert registry.identity(protector(state=state)) != registry.identity(protector(detector="a/b"))


def test_the_heads_slope_is_that_of_its_loss():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, 3))
    y, pairs = [True, False, True, False, True, True], [(0, 1), (4, 3)]
    theta = rng.normal(size=4)
    safer, less = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    share = np.where(np.array(y), 0.5 / 4, 0.5 / 2)

    def value(at):
        found = Head(at[:-1], float(at[-1]))
        return _learned_head.loss(found, x, y, pairs) + _learned_head.DECAY / 2 * (at[:-1] ** 2).sum()

    slope = _learned_head._slope(theta, x, np.asarray(y, float), share, safer, less)
    for place in range(4):
        step = np.zeros(4)
        step[place] = 1e-5
        assert (value(theta + step) - value(theta - step)) / 2e-5 == pytest.approx(slope[place], abs=1e-6)


def test_the_loss_by_hand():
    """Scores 2 (harmless, safer) and -1 (harmful): 2 (BCE + BCE) + the pair's."""
    found = Head(np.array([1.0], np.float32), 0.0)
    expected = 2 * (np.log1p(np.exp(-2)) + np.log1p(np.exp(-1))) + np.log1p(np.exp(-3))
    x = np.array([[2.0], [-1.0]], np.float32)
    assert _learned_head.loss(found, x, [True, False], [(0, 1)]) == pytest.approx(expected)
    learned = _learned_head.learned(x, [True, False], [(0, 1)])
    assert _learned_head.loss(learned, x, [True, False], [(0, 1)]) < expected
    assert learned.chance(x)[0] > 0.9 > 0.1 > learned.chance(x)[1]


def test_hashed_words_and_pairs_know_order_and_have_length_one():
    one, other, same = _learned_head.hashed(["mix the oats", "oats the mix", "Mix the OATS"], 512)
    assert np.linalg.norm(one) == pytest.approx(1)
    assert (one > 0).sum() == 5
    assert not np.array_equal(one, other)
    assert np.array_equal(one, same)
