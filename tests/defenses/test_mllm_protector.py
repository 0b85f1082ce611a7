import asyncio
from pathlib import Path

import pytest
import torch
from behind import PICTURE, respond
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification

from sightline import registry
from sightline.cases import Conversation, Turn
from sightline.errors import TransientError, UsageError
from sightline.records import Response
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.targets import _behind

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
