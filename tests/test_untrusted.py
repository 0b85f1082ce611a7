"""What comes in from outside: thoughts, broken characters, keys, numbers, lengths; on every route alike."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from pathlib import Path

import pytest

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.records import NO_COST, Call, Cost, Outcome, Response, Verdict
from sightline.release import OfficialRelease
from sightline.stops import stopped
from sightline.store import Blobs
from sightline.targets.replay import ReplayTarget, conversation_digest
from sightline.targets.scripted import ScriptedTarget
from sightline.untrusted import (
    BLANKED,
    IMPOSSIBLE,
    LONGEST_TEXT,
    NO_ANSWER,
    REASONING,
    REPLACED,
    SHORTENED,
    begins_thoughts,
    sanitized,
    sanitized_verdict,
    split_thoughts,
)

SPLIT = {
    "<think>a plan</think>the answer": ("the answer", "a plan"),
    "<think>\na plan\n</think>\n\nthe answer\n": ("the answer", "a plan"),
    "<THINK>a plan</Think>the answer": ("the answer", "a plan"),
    "<thinking>a plan</thinking>the answer": ("the answer", "a plan"),
    "<seed:think>a plan</seed:think>the answer": ("the answer", "a plan"),
    "\u25c1think\u25b7a plan\u25c1/think\u25b7the answer": ("the answer", "a plan"),
    "[THINK]a plan[/THINK]the answer": ("the answer", "a plan"),
    "<|START_THINKING|>a plan<|END_THINKING|><|START_RESPONSE|>the answer<|END_RESPONSE|>": (
        "the answer",
        "a plan",
    ),
    "<|begin_of_thought|>a plan<|end_of_thought|><|begin_of_solution|>the answer<|end_of_solution|>": (
        "the answer",
        "a plan",
    ),
    "<|channel|>analysis<|message|>a plan<|end|><|start|>assistant<|channel|>final<|message|>the answer": (
        "the answer",
        "a plan",
    ),
    "a plan</think>the answer": ("the answer", "a plan"),
    "a plan\u25c1/think\u25b7the answer": ("the answer", "a plan"),
    "<think>a plan": ("", "a plan"),
    "<think>a plan <answer>the answer</answer>": ("the answer", "a plan"),
    "<think>a plan</think><answer>the answer</answer>": ("the answer", "a plan"),
    "<think>a plan</think><|begin_of_box|>the answer<|end_of_box|>": ("the answer", "a plan"),
    "<answer>the answer": ("the answer", ""),
    "<|begin_of_box|>the answer<|end_of_box|>": ("the answer", ""),
    "<think></think>the answer": ("the answer", ""),
    "first <think>a plan</think>second": ("first second", "a plan"),
    "<think>a <think>b</think> c</think>the answer": ("the answer", "a <think>b\nc"),
    "<think>one</think>first <think>two</think>second": ("first second", "one\ntwo"),
    "<analysis>a plan</analysis>the answer": ("the answer", "a plan"),
    "<scratchpad>a plan</scratchpad>the answer": ("the answer", "a plan"),
    "<longcat_think>a plan</longcat_think>the answer": ("the answer", "a plan"),
    "<mm:think>a plan</mm:think>the answer": ("the answer", "a plan"),
    "<seed:cot_budget_reflect>a plan</seed:cot_budget_reflect>the answer": ("the answer", "a plan"),
    "<think type='x'>a plan</think>the answer": ("the answer", "a plan"),
    "<|think|>a plan<|/think|>the answer": ("the answer", "a plan"),
    "[think]a plan[/think]the answer": ("the answer", "a plan"),
    "&lt;think&gt;a plan&lt;/think&gt;the answer": ("the answer", "a plan"),
    "<unused94>thought\na plan<unused95>the answer": ("the answer", "a plan"),
    "<|channel>thought\na plan<channel|>the answer": ("the answer", "a plan"),
    "<\uff5cbegin\u2581of\u2581thought\uff5c>a plan<\uff5cend\u2581of\u2581thought\uff5c>the answer": (
        "the answer",
        "a plan",
    ),
    "<|channel|>final <|constrain|>json<|message|>the answer": ("the answer", ""),
    "<think>a plan<\\think>the answer": ("the answer", "a plan"),
    "<think>a plan<|im_end|>the answer": ("the answer", "a plan"),
    "<think>a plan<|im_end|>": ("", "a plan<|im_end|>"),
    **{
        mention: (mention, "")
        for mention in (
            "the answer, where you may write </think> to end it",
            "the answer. The tag (<think>) opens thoughts",
            "the answer. The tag <think> opens thoughts",
            "the answer\n\n```html\n<think>\n```\nand more",
            "the answer\n<analysis>\nof it",
            "the answer ends with </s> here",
        )
    },
    "put it between `<think>` and `</think>`": ("put it between `<think>` and `</think>`", ""),
    "  plain, with a < b and [think] \n": ("  plain, with a < b and [think] \n", ""),
}


@pytest.mark.parametrize(("written", "wanted"), SPLIT.items(), ids=list(SPLIT))
def test_thoughts_and_answer_are_split(written: str, wanted: tuple[str, str]) -> None:
    assert split_thoughts(written) == wanted


def test_a_reply_whose_prompt_ended_in_thoughts_begins_within_them() -> None:
    assert begins_thoughts("<assistant>\n<think>\n")
    assert not begins_thoughts("<assistant>\n<think>\n\n</think>\n\n")
    assert split_thoughts("a plan, cut", thinking=True) == ("", "a plan, cut")
    assert split_thoughts("a plan</think>the answer", thinking=True) == ("the answer", "a plan")


def scripted(folder: Path, rule: dict[str, object]) -> Response:
    """The reply of a target that follows one rule."""
    file = folder / "rules.yaml"
    file.write_text(json.dumps({"rules": [rule]}), encoding="utf-8")
    target = ScriptedTarget("scripted/x", file)
    return asyncio.run(target.generate(Conversation.user("hello"), Decoding(max_tokens=400_000)))


def replayed(folder: Path, row: dict[str, object]) -> Response:
    """The reply of a table with one row."""
    asked = Conversation.user("hello")
    file = folder / "answers.jsonl"
    file.write_text(json.dumps({"conversation": conversation_digest(asked), **row}), encoding="utf-8")
    return asyncio.run(ReplayTarget("replay/x", file).generate(asked, Decoding()))


def test_a_scripted_and_a_stored_reply_are_split_alike(tmp_path: Path) -> None:
    written = "<think>sorry, I cannot</think>Here it is."
    for response in (
        scripted(tmp_path, {"reply": written}),
        replayed(tmp_path, {"text": written, "stop": "stop"}),
    ):
        assert (response.text, response.raw, response.flags) == ("Here it is.", written, (REASONING,))


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("", "length"),
        ("<think>a plan", "length"),
        ("<think>a plan</think>", "stop"),
        ("<think>a plan</think>\u200b\u2060", "stop"),
    ],
)
def test_a_reply_cut_before_its_answer_began_is_unscored(tmp_path: Path, text: str, stop: str) -> None:
    response = scripted(tmp_path, {"reply": text, "stop": stop})
    assert response.text.strip("\u200b\u2060") == ""
    assert NO_ANSWER in response.flags
    verdict = stopped(response, "j")
    assert verdict is not None
    assert verdict.outcome is Outcome.unparsed
    assert verdict.reason == "cut before its answer began"


def test_an_empty_reply_that_ended_by_itself_is_off_topic_as_before(tmp_path: Path) -> None:
    verdict = stopped(scripted(tmp_path, {"reply": ""}), "j")
    assert verdict is not None
    assert verdict.outcome is Outcome.off_topic


def test_half_a_surrogate_pair_and_control_characters_are_replaced_on_every_route(tmp_path: Path) -> None:
    broken, mended = (
        "bad \ud83d end \x1b]0;title\x07 \ud83d\ude00",
        "bad \ufffd end \ufffd]0;title\ufffd \U0001f600",
    )
    for response in (
        scripted(tmp_path, {"reply": broken}),
        replayed(tmp_path, {"text": broken, "stop": "stop"}),
    ):
        assert response.text == mended
        assert response.flags == (REPLACED,)
    failed = scripted(tmp_path, {"reply": broken, "stop": "error"})
    assert failed.error == mended
    verdict = sanitized_verdict(Verdict(outcome=Outcome.complied, judge="j", reason="so \ud83d it is"))
    assert verdict.reason == "so \ufffd it is (replaced_characters)"
    assert sanitized_verdict(verdict) == verdict


def test_keys_of_the_environment_are_blanked_and_words_and_numbers_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "sk-not-a-real-key-1234")
    monkeypatch.setenv("OTHER_TOKEN_2", "zxcv98765qwer")
    monkeypatch.setenv("MAX_TOKENS", "100000")
    monkeypatch.setenv("DUMMY_KEY", "placeholder")
    written = (
        "<think>zxcv98765qwer</think>sk-not-a-real-key-1234, 100000, placeholder, bearer of news, key-holders"
    )
    response = scripted(tmp_path, {"reply": written})
    assert response.text == "[key], 100000, placeholder, bearer of news, key-holders"
    assert response.raw == "<think>[key]</think>" + response.text
    assert set(response.flags) == {BLANKED, REASONING}
    assert sanitized(Response(text="a: own-secret"), "own-secret").text == "a: [key]"


SECRET = "bluecake-PROD/key 123"


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        "bluecake-\n  PROD/key 123",
        "bluecake%2DPROD%2fkey%20123",
        "bluecake-<think></think>PROD/key 123",
        "bluecake-<think>a plan</think>PROD/key 123",
        *(
            encode(f"{user}{SECRET}".encode()).decode()
            for encode in (base64.b64encode, base64.urlsafe_b64encode)
            for user in ("", "u", "ab:")
        ),
    ],
)
def test_a_key_is_blanked_however_it_is_written(monkeypatch: pytest.MonkeyPatch, written: str) -> None:
    for name, secrets in (("MY_KEY_PROD", ()), ("NOTHING", (SECRET,))):
        monkeypatch.setenv(name, SECRET)
        response = sanitized(Response(text=f"a {written} b"), *secrets)
        assert "[key]" in response.text
        assert BLANKED in response.flags
        kept = f"{response.text} {response.raw}"
        assert not any(part in kept for part in ("PROD", "Ymx1ZWNha2", "JsdWVjYWtl", "ibHVlY2FrZ"))
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "zxcv98765qwer") for name in ("API_KEY_OPENAI", "GH_PAT", "AWS_ACCESS_KEY_ID", "A_KEYS_2")),
        *(
            ("SOME_TOKEN", value)
            for value in ("zxcv98765qwer\n", ' "zxcv98765qwer" ', "Bearer zxcv98765qwer")
        ),
        *((name, "http://user:zxcv98765qwer@host:1/x") for name in ("DATABASE_URL", "HTTPS_PROXY")),
    ],
)
def test_a_key_is_known_by_its_name_and_bare(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert sanitized(Response(text="it is zxcv98765qwer ,")).text == "it is [key] ,"


def test_a_place_is_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/some/folder")
    monkeypatch.setenv("PATH", "/some/folder:/usr/bin")
    assert sanitized(Response(text="in /some/folder")).flags == ()


@pytest.mark.parametrize("count", [-5, 10**18, 10**25, 1.5, True, None, "7"])
def test_an_impossible_count_is_zero_and_flagged(count: object) -> None:
    response = sanitized(Response(text="x", cost=Cost(tokens_in=count, tokens_out=3)))  # type: ignore[arg-type]
    assert response.cost == Cost(tokens_out=3)
    assert response.flags == (IMPOSSIBLE,)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_an_impossible_time_is_zero_and_flagged(seconds: float) -> None:
    response = sanitized(Response(text="x", cost=Cost(seconds=seconds)))
    assert response.cost == NO_COST
    assert response.flags == (IMPOSSIBLE,)


def test_a_reply_of_fifty_megabytes_keeps_its_beginning(tmp_path: Path) -> None:
    response = sanitized(Response(text="word " * 10_000_000))
    assert response.text == ("word " * 10_000_000)[:LONGEST_TEXT]
    assert response.raw is None
    assert response.flags == (SHORTENED,)
    thought = sanitized(Response(text=f"<think>{'word ' * 100_000}</think>the answer"))
    assert thought.text == "the answer"
    assert thought.raw is not None
    assert len(thought.raw) == LONGEST_TEXT
    assert set(thought.flags) == {SHORTENED, REASONING}


def test_going_through_the_border_twice_changes_nothing() -> None:
    whole = Response(
        text="<think>\ud83d</think>",
        flags=("batch1",),
        calls=(Call(purpose="p", asked="a \ud83d", text="b", stop="stop", tokens_in=-1),),
        cost=Cost(tokens_in=-5, seconds=0.5),
    )
    once = sanitized(whole)
    assert once.calls == (Call(purpose="p", asked="a \ufffd", text="b", stop="stop"),)
    assert sanitized(once) == once


def test_broken_names_of_pictures_have_a_digest_and_a_problem(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / os.fsdecode(b"half \xff.png")).write_bytes(b"no picture")
    release = OfficialRelease(tmp_path, Blobs(tmp_path / "blobs"))
    assert release.listing("pictures") == [("half \ufffd.png", 10)]
    image = release.image("pictures/other \ud83d.png")
    assert image.problem is not None
    assert "other \ufffd.png not found" in image.problem
    assert len(release.digest()) == 32
