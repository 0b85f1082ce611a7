"""Providers through Inspect's model layer, against a local server with ordered weather."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from openai_server import Server, Weather, reply

from sightline.bridge.inspect_target import InspectTarget, RetryPolicy, generate_config
from sightline.cases import Conversation, Image, Turn
from sightline.closure import without_code
from sightline.contracts import Decoding
from sightline.errors import UsageError
from sightline.records import Outcome, Response, Verdict
from sightline.stops import stopped
from sightline.store import Blobs

KEY = "sk-secret-abcdef123"
# patient with a machine under load; IMPATIENT is for the one server that is late on purpose
PATIENCE = RetryPolicy(max_retries=2, attempt_timeout=180, timeout=900, first_wait=0.02, longest_wait=0.05)
IMPATIENT = replace(PATIENCE, attempt_timeout=1)


def open_target(server: Server, blobs: Blobs, **model_args: Any) -> InspectTarget:
    retry_policy = model_args.pop("retry_policy", PATIENCE)
    return InspectTarget(
        "openai-api/test/m", blobs, retry_policy=retry_policy, base_url=server.url, api_key=KEY, **model_args
    )


def ask(target: InspectTarget, *parts: str | Image, decoding: Decoding | None = None) -> Response:
    return asyncio.run(target.generate(Conversation.user(*parts), decoding or Decoding()))


def test_request_holds_the_messages_and_the_exact_picture_bytes(
    server: Server, blobs: Blobs, picture: Image
) -> None:
    target = open_target(server, blobs)
    conversation = Conversation(
        (
            Turn("system", ("be kind",)),
            Turn("user", ("before", picture, "after")),
            Turn("assistant", ("hm",)),
            Turn("user", ("and now ?",)),
        )
    )
    response = asyncio.run(target.generate(conversation, Decoding(max_tokens=9)))
    sent = server.requests[0]["messages"]
    assert [message["role"] for message in sent] == ["system", "user", "assistant", "user"]
    assert [part["type"] for part in sent[1]["content"]] == ["text", "image_url", "text"]
    assert sent[1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert server.pictures() == [blobs.read(picture.sha256)]
    assert (sent[0]["content"], sent[2]["content"], sent[3]["content"]) == ("be kind", "hm", "and now ?")
    assert response == Response(text="a harmless answer", cost=response.cost)
    assert (response.cost.calls_target, response.cost.tokens_in, response.cost.tokens_out) == (1, 11, 7)


@pytest.mark.parametrize(
    ("decoding", "sent"),
    [
        (Decoding(), {"max_tokens": 128, "temperature": 0.0}),
        (Decoding(max_tokens=5, seed=3), {"max_tokens": 5, "temperature": 0.0}),
        (
            Decoding(temperature=0.7, top_p=0.9, seed=3),
            {"max_tokens": 128, "temperature": 0.7, "top_p": 0.9, "seed": 3},
        ),
        (Decoding(max_tokens=None, temperature=None, seed=3), {}),
    ],
)
def test_decoding_is_sent_and_neutral_settings_are_not(
    server: Server, blobs: Blobs, decoding: Decoding, sent: dict[str, Any]
) -> None:
    ask(open_target(server, blobs), "hello", decoding=decoding)
    assert {k: v for k, v in server.requests[0].items() if k not in ("model", "messages")} == sent
    assert generate_config(decoding).max_tokens == decoding.max_tokens


FAILING = [
    ("status 429", Weather(status=429, body={"error": {"message": f"slow down {KEY}"}}), True),
    ("status 500", Weather(status=500, body={"error": {"message": "oops"}}), True),
    ("status 503", Weather(status=503, raw=b"<html>busy</html>"), True),
    ("time-out", Weather(delay=1.3, body=reply("late")), True),
    ("cut connection", Weather(body=reply("half an answer"), cut_after=60), True),
    ("bare JSON string", Weather(raw=b'"hello"'), True),
    ("malformed JSON", Weather(raw=b"{not json"), True),
    ("status 400", Weather(status=400, body={"error": {"message": "bad picture"}}), False),
    ("status 403", Weather(status=403, body={"error": {"message": "not for you"}}), False),
    ("no choices", Weather(body={**reply("x"), "choices": []}), False),
    (
        "too long",
        Weather(status=400, body={"error": {"message": "long", "code": "context_length_exceeded"}}),
        False,
    ),
]


@pytest.mark.parametrize(("weather", "transient"), [f[1:] for f in FAILING], ids=[f[0] for f in FAILING])
def test_a_lasting_failure_is_an_error_with_an_empty_text_within_bounds(
    server: Server, blobs: Blobs, picture: Image, weather: Weather, transient: bool
) -> None:
    server.usual = weather
    started = time.monotonic()
    retry_policy = IMPATIENT if weather.delay else PATIENCE
    target = open_target(server, blobs, max_retries=0, retry_policy=retry_policy)  # 0: of the SDK
    response = ask(target, picture, "what is this ?")
    assert time.monotonic() - started < 60
    assert response.stop == "error"
    assert response.text == ""
    assert response.error
    assert response.flags == (("transient",) if transient else ())
    assert KEY not in response.error
    assert "what is this" not in response.error, "the request must not be repeated in error texts"
    # every attempt carried the picture: no text-only fallback
    assert all(server.pictures(i) == [blobs.read(picture.sha256)] for i in range(len(server.requests)))
    assert len(server.requests) == (PATIENCE.max_retries + 1 if transient else 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "weather",
    [
        Weather(status=429, body={"error": {"message": "slow"}}),
        Weather(status=500, body={"error": {"message": "oops"}}),
        Weather(body=reply("half an answer that is cut"), cut_after=40),
    ],
    ids=["429", "500", "cut"],
)
def test_a_passing_failure_is_tried_again(
    server: Server, blobs: Blobs, weather: Weather, stream: bool
) -> None:
    server.weather = [weather]
    response = ask(open_target(server, blobs, stream=stream), "hello")
    assert response.text == "a harmless answer"
    assert response.stop == "stop"
    assert response.cost.calls_target == 1
    assert len(server.requests) == 2


DISGUISED = [
    ("code", {"error": {"message": "overloaded", "code": 503}}, 503),
    ("text", {"error": "overloaded"}, 502),
    ("no error object", {"object": "error", "message": "overloaded", "code": 40303, "error": None}, 502),
    ("no choices", {**reply("x"), "choices": [], "error": {"message": "overloaded"}}, 502),
    ("choice", {"id": "1", "choices": [{"index": 0, "error": {"message": "overloaded", "code": 429}}]}, 429),
    ("beside a text", {**reply("half", "error"), "error": {"message": "overloaded", "code": 500}}, 500),
    ("detail", {"detail": "overloaded"}, 502),
    ("errors", {"errors": [{"message": "overloaded", "code": 10000}], "success": False}, 502),
    ("top level", {"message": "overloaded", "code": 503}, 503),
    ("base_resp", {"base_resp": {"status_code": 1002, "status_msg": "overloaded"}, "choices": None}, 502),
    ("a list", ["overloaded"], 502),
    ("no message", {"choices": [{"index": 0, "finish_reason": "overloaded", "message": None}]}, 502),
]


@pytest.mark.parametrize(("body", "status"), [d[1:] for d in DISGUISED], ids=[d[0] for d in DISGUISED])
@pytest.mark.parametrize("lasting", [False, True])
def test_an_error_inside_http_200_is_tried_again_and_keeps_its_message(
    server: Server, blobs: Blobs, body: dict[str, Any], status: int, lasting: bool
) -> None:
    disguised = Weather(body=body)
    if lasting:
        server.usual = disguised
    else:
        server.weather = [disguised]
    response = ask(open_target(server, blobs, max_retries=0), "hello")
    if lasting:
        assert response.stop == "error"
        assert f"HTTP {status} inside HTTP 200 after 3 attempts" in str(response.error)
        assert "overloaded" in str(response.error)
        assert len(server.requests) == PATIENCE.max_retries + 1
    else:
        assert (response.text, response.stop) == ("a harmless answer", "stop")
        assert len(server.requests) == 2


def test_an_error_inside_http_200_that_lasts_is_not_tried_again(server: Server, blobs: Blobs) -> None:
    server.usual = Weather(body={"error": {"message": "no such setting", "type": "invalid_request_error"}})
    response = ask(open_target(server, blobs), "hello")
    assert "HTTP 400" in str(response.error)
    assert "no such setting" in str(response.error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "raw", [b"", b'{"choices": [{"message": {"content": "cut', b"[" * 100_000, b"<html>"]
)
def test_a_body_that_is_no_json_is_tried_again(server: Server, blobs: Blobs, raw: bytes) -> None:
    server.weather = [Weather(raw=raw)]
    assert ask(open_target(server, blobs, max_retries=0), "hello").text == "a harmless answer"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("usage", "counts", "flags"),
    [
        ({"prompt_tokens": 5, "completion_tokens": 7}, (5, 7), ()),
        ({"prompt_tokens": "5", "completion_tokens": 7}, (0, 7), ("impossible_usage",)),
        ({}, (0, 0), ("impossible_usage",)),
        ("12", (0, 0), ("no usage reported",)),
        (float("nan"), (0, 0), ("no usage reported",)),
        ({"prompt_tokens": float("inf"), "completion_tokens": 10**30}, (0, 0), ("impossible_usage",)),
        (
            {
                "prompt_tokens": 5,
                "completion_tokens": 7,
                "completion_tokens_details": {"reasoning_tokens": "x"},
            },
            (5, 7),
            (),
        ),
    ],
)
def test_a_reply_with_odd_usage_is_kept(
    server: Server, blobs: Blobs, usage: object, counts: tuple[int, int], flags: tuple[str, ...]
) -> None:
    server.usual = Weather(body={**reply("fine"), "usage": usage})
    response = ask(open_target(server, blobs), "hello")
    assert (response.text, response.stop) == ("fine", "stop")
    assert (response.cost.tokens_in, response.cost.tokens_out) == counts
    assert response.flags == flags


@pytest.mark.parametrize(
    ("content", "text", "flags"),
    [
        ([{"type": "text", "text": "one "}, {"type": "text", "text": "two"}], "one two", ()),
        (["one ", "two"], "one two", ()),
        ({"text": "one"}, "one", ()),
        (
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "one"},
            ],
            "one",
            ("reasoning",),
        ),
    ],
)
def test_a_text_in_parts_is_one_text(
    server: Server, blobs: Blobs, content: Any, text: str, flags: tuple[str, ...]
) -> None:
    server.usual = Weather(body=reply(content))
    response = ask(open_target(server, blobs), "hello")
    assert (response.text, response.flags) == (text, flags)


def test_a_tool_call_without_a_text_is_flagged(server: Server, blobs: Blobs) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    server.usual = Weather(body=reply(None, "tool_calls", tool_calls=[call]))
    response = ask(open_target(server, blobs), "hello")
    assert (response.text, response.stop, response.flags) == ("", "stop", ("tool_call",))


def test_an_answer_beside_an_empty_error_is_an_answer(server: Server, blobs: Blobs) -> None:
    server.usual = Weather(body={**reply('it says "error"'), "error": {}})
    assert ask(open_target(server, blobs), "hello").text == 'it says "error"'


def test_retry_after_is_obeyed(server: Server, blobs: Blobs) -> None:
    late = Weather(status=429, body={"error": {"message": "slow"}}, headers={"Retry-After": "0.3"})
    server.weather = [late, late]
    assert ask(open_target(server, blobs), "hello").text == "a harmless answer"
    pauses = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert len(pauses) == 2
    assert all(pause >= 0.29 for pause in pauses)


def test_a_stream_cut_for_good_is_an_error_and_not_half_an_answer(server: Server, blobs: Blobs) -> None:
    server.usual = Weather(body=reply("this is a long answer that is cut"), cut_after=500)
    response = ask(open_target(server, blobs, stream=True), "hello")
    assert (response.text, response.stop, response.flags) == ("", "error", ("transient",))


@pytest.mark.parametrize(
    ("body", "stop", "text"),
    [
        (reply("done"), "stop", "done"),
        (reply("cut off by the limit", "length"), "length", "cut off by the limit"),
        (reply("begun", "content_filter"), "content_filter", "begun"),
        (reply(None, refusal="that I will not do"), "stop", "that I will not do"),
        (reply(""), "stop", ""),
    ],
    ids=["stop", "length", "filter", "refusal field", "empty"],
)
def test_how_a_reply_ended(server: Server, blobs: Blobs, body: dict[str, Any], stop: str, text: str) -> None:
    server.usual = Weather(body=body)
    response = ask(open_target(server, blobs), "hello")
    assert (response.stop, response.text, response.error) == (stop, text, None)


@pytest.mark.parametrize("code", ["content_filter", "content_policy_violation"])
def test_a_blocked_request_is_a_provider_block_whose_message_is_not_the_models_words(
    server: Server, blobs: Blobs, code: str
) -> None:
    server.usual = Weather(status=400, body={"error": {"message": "request was filtered", "code": code}})
    response = ask(open_target(server, blobs), "hello")
    assert (response.stop, response.text) == ("content_filter", "")
    assert response.flags == ("provider_message",), "a flag is a constant: reports count and print flags"
    assert response.error == "request was filtered"
    assert stopped(response, "j") == Verdict(
        outcome=Outcome.blocked_provider, judge="j", reason="provider's content filter"
    )


def test_a_refusal_that_the_interface_marks_is_the_models_own_and_not_a_block(
    server: Server, blobs: Blobs
) -> None:
    server.usual = Weather(body=reply(None, refusal="not with me"))
    response = ask(open_target(server, blobs), "hello")
    assert [flag.partition(":")[0] for flag in response.flags] == ["model_refusal"]
    verdict = stopped(response, "j")
    assert verdict is not None
    assert verdict.outcome is Outcome.refused


def test_a_marked_refusal_that_the_provider_also_filtered_is_a_block(server: Server, blobs: Blobs) -> None:
    server.usual = Weather(body=reply(None, "content_filter", refusal="not with me"))
    response = ask(open_target(server, blobs), "hello")
    assert response.stop == "content_filter"
    verdict = stopped(response, "j")
    assert verdict is not None
    assert verdict.outcome is Outcome.blocked_provider


class Moderated:
    """Answers openly; a second, moderating call is refused by the interface."""

    id = "moderated"

    def __init__(self, inner: InspectTarget) -> None:
        self.inner = inner

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        answer = await self.inner.generate(conversation, decoding)
        second = await self.inner.generate(conversation, decoding)
        return replace(answer, flags=(*second.flags, *answer.flags))


def test_a_refused_inner_call_does_not_make_the_answer_a_refusal(server: Server, blobs: Blobs) -> None:
    server.weather = [Weather(body=reply("here you are")), Weather(body=reply(None, refusal="not with me"))]
    target = Moderated(open_target(server, blobs))
    response = asyncio.run(target.generate(Conversation.user("hello"), Decoding()))
    assert response.flags
    assert stopped(response, "j") is None


def test_a_reply_without_usage_is_flagged_and_no_token_is_counted_over_the_network(
    server: Server, blobs: Blobs, only_loopback: list[object]
) -> None:
    server.usual = Weather(body=reply("fine", usage=False))
    response = ask(open_target(server, blobs), "hello")
    assert response.flags == ("no usage reported",)
    assert (response.cost.tokens_in, response.cost.tokens_out) == (0, 0)
    assert only_loopback == []


@pytest.mark.parametrize(("status", "words"), [(401, "API key"), (404, "does not know this model")])
def test_what_no_request_can_survive_is_a_usage_error_without_the_key(
    server: Server, blobs: Blobs, status: int, words: str
) -> None:
    server.usual = Weather(status=status, body={"error": {"message": f"Incorrect API key {KEY}"}})
    with pytest.raises(UsageError, match=words) as caught:
        ask(open_target(server, blobs), "hello")
    assert KEY not in str(caught.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("problem", ["picture 7.png is broken", None])
def test_an_unreadable_picture_is_never_sent(server: Server, blobs: Blobs, problem: str | None) -> None:
    image = Image("ab" * 32 if problem is None else "", 4, 4, problem=problem)
    response = ask(open_target(server, blobs), image, "what is this ?")
    assert response.stop == "error"
    assert (problem or "picture is missing") in (response.error or "")
    assert server.requests == []


def test_connections_are_bounded(server: Server, blobs: Blobs) -> None:
    server.usual = Weather(body=reply("slow"), delay=0.05)
    retry_policy = RetryPolicy(max_connections=3)
    target = InspectTarget(
        "openai-api/bound/m", blobs, retry_policy=retry_policy, base_url=server.url, api_key=KEY
    )

    async def many() -> list[Response]:
        asked = (target.generate(Conversation.user(f"number {i}"), Decoding()) for i in range(12))
        return await asyncio.gather(*asked)

    assert all(response.text == "slow" for response in asyncio.run(many()))
    assert server.most_in_flight == 3


def test_works_again_in_a_new_event_loop(server: Server, blobs: Blobs) -> None:
    target = open_target(server, blobs)
    assert [ask(target, "hello").text for _ in range(3)] == ["a harmless answer"] * 3


@pytest.mark.slow
def test_nothing_is_gathered_between_calls(server: Server, blobs: Blobs) -> None:
    from inspect_ai.event import ModelEvent

    target = open_target(server, blobs)

    def events() -> int:
        gc.collect()
        return sum(type(each) is ModelEvent for each in gc.get_objects())

    async def several() -> int:
        before = events()  # those of other tests of this process
        for _ in range(5):
            await target.generate(Conversation.user("hello"), Decoding())
        return events() - before

    assert asyncio.run(several()) <= 1


def test_library_use_writes_no_file(
    server: Server, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ask(open_target(server, blobs), "hello")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_id_names_the_provider_and_its_arguments_but_no_key(server: Server, blobs: Blobs) -> None:
    one = open_target(server, blobs)
    same = InspectTarget("openai-api/test/m", blobs, base_url=server.url, api_key="sk-other-key-000")
    other = InspectTarget("openai-api/test/m", blobs, base_url=server.url + "/x", api_key=KEY)
    assert one.id.startswith("openai-api/test/m[")
    assert one.id == same.id != other.id


@pytest.mark.parametrize("name", ["openai-api/localx/m", "openai/m"])
def test_id_follows_the_address_that_the_environment_names_but_not_its_password(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    service = "LOCALX" if "localx" in name else "OPENAI"
    monkeypatch.setenv(f"{service}_API_KEY", KEY)

    def identity(address: str) -> str:
        monkeypatch.setenv(f"{service}_BASE_URL", address)
        return InspectTarget(name, blobs).id

    here = identity("http://127.0.0.1:8000/v1")
    assert here.startswith(f"{name}[")
    assert identity("http://127.0.0.1:9000/v1") != here
    assert identity("http://127.0.0.1:8000/v2") != here
    assert identity("http://user:secret@127.0.0.1:8000/v1/?token=abc") == here
    given = InspectTarget(name, blobs, base_url="http://127.0.0.1:8000/v1")
    assert given.id == here, "an address means the same wherever it was named"


def test_id_of_the_providers_own_address_is_the_plain_name(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    assert without_code(InspectTarget("openai/m", blobs, api_key=KEY).id) == "openai/m"


def test_unknown_provider_offers_the_nearest(blobs: Blobs) -> None:
    with pytest.raises(UsageError, match=r"opnai.*Did you mean 'openai'"):
        InspectTarget("opnai/gpt-4o", blobs)


def test_absent_key_is_told_on_opening(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match=r"'openai/gpt-4o' cannot be opened: .*OPENAI_API_KEY"):
        InspectTarget("openai/gpt-4o", blobs)


def test_absent_provider_package_is_told_on_opening(blobs: Blobs) -> None:
    with pytest.raises(UsageError, match=r"'groq/m' cannot be opened: .*pip install groq"):
        InspectTarget("groq/m", blobs)


def test_no_vocabulary_is_fetched_to_count_tokens(blobs: Blobs, only_loopback: list[object]) -> None:
    response = ask(InspectTarget("mockllm/model", blobs), "a request of some length")
    assert (response.stop, response.text) == ("stop", "Default output from mockllm/model")
    assert response.cost.tokens_in > 0
    assert only_loopback == []


@pytest.mark.parametrize("setting", ["max_connections", "attempt_timeout", "timeout"])
def test_patience_checks_its_ranges(setting: str) -> None:
    with pytest.raises(UsageError, match=setting):
        RetryPolicy(**{setting: 0})


def test_a_missing_key_is_told_without_markup(blobs, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UsageError, match="OPENAI_API_KEY") as told:
        InspectTarget("openai/gpt-4o", blobs)
    assert "[bold]" not in str(told.value)
