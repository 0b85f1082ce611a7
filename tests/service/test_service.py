"""A defended target behind OpenAI's protocol: asked by the official client, Inspect, curl, hostile hands."""

import asyncio
import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import openai
import pytest
import uvicorn
from PIL import Image as PilImage

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.errors import TransientError
from sightline.listening import ReadyServer, listening
from sightline.records import Call, Cost, Response
from sightline.service.app import MOST_BODY, Service
from sightline.store import Blobs
from sightline.targets import open_target


def picture(color="red"):
    buffer = io.BytesIO()
    PilImage.new("RGB", (8, 6), color).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


CALL = Call(purpose="guard input", asked="a", text="unsafe", stop="stop")


class Answers:
    """A target whose replies are a function of the request's number and text."""

    id = "answers#00"

    def __init__(self, reply=lambda number, text: f"you said {text}"):
        self.reply, self.asked, self.lock = reply, [], threading.Lock()

    async def generate(self, conversation, decoding):
        with self.lock:
            self.asked.append((conversation, decoding))
            number = len(self.asked)
        found = self.reply(number, conversation.last_user_text())
        if isinstance(found, Exception):
            raise found
        if isinstance(found, Response):
            return found
        return Response(text=found, cost=Cost(calls_target=1, tokens_in=3, tokens_out=2))


@contextmanager
def served(target, tmp_path, **settings):
    service = Service(target=target, name="it", images=Blobs(tmp_path / "blobs"), **settings)
    where = listening("127.0.0.1", 0)
    up = threading.Event()
    config = uvicorn.Config(
        service.application(), lifespan="off", log_config=None, access_log=False, ws="none"
    )
    server = ReadyServer(config, up.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [where]}, daemon=True)
    thread.start()
    assert up.wait(20)
    try:
        yield service, f"http://127.0.0.1:{where.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
        where.close()


def client(url, key="none", retries=0):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)


def ask(url, *parts, key="none", **settings):
    message = {
        "role": "user",
        "content": list(parts) if len(parts) > 1 or isinstance(parts[0], dict) else parts[0],
    }
    return client(url, key).chat.completions.create(model="it", messages=[message], **settings)


def test_the_official_client_gets_a_reply_with_its_costs(tmp_path):
    target = Answers()
    with served(target, tmp_path) as (_, url):
        found = ask(url, "hi", temperature=0.5, top_p=0.9, seed=4, max_tokens=7)
        assert client(url).models.list().data[0].id == "it"
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("you said hi", "stop")
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (3, 2, 5)
    assert found.usage.sightline["calls_target"] == 1
    ((conversation, decoding),) = target.asked
    assert conversation == Conversation.user("hi")
    assert decoding == Decoding(max_tokens=7, temperature=0.5, top_p=0.9, seed=4)


def test_pictures_and_roles_reach_the_target(tmp_path):
    target = Answers()
    parts = [{"type": "image_url", "image_url": {"url": picture()}}, {"type": "text", "text": "what"}]
    messages = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": parts},
    ]
    with served(target, tmp_path) as (service, url):
        client(url).chat.completions.create(model="it", messages=messages, max_completion_tokens=3)
        conversation, decoding = target.asked[0]
        (image,) = conversation.images
        assert service.images.pixels(image)[0, 0].tolist() == [255, 0, 0]
    assert [turn.role for turn in conversation.turns] == ["system", "user", "assistant", "user"]
    assert (image.width, image.height, decoding.max_tokens) == (8, 6, 3)


def test_a_stream_is_the_whole_reply_at_once(tmp_path):
    with served(Answers(), tmp_path) as (_, url):
        chunks = list(ask(url, "hi", stream=True, stream_options={"include_usage": True}))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "you said hi"
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None, "stop"]
    assert chunks[-1].usage.total_tokens == 5


@pytest.mark.parametrize("stop", ["blocked_defense", "content_filter"])
def test_what_is_blocked_ends_as_a_filters(tmp_path, stop):
    said = Response(text="I can't", stop=stop, calls=(CALL,))
    with served(Answers(lambda *_: said), tmp_path) as (_, url):
        found = ask(url, "x")
    assert (found.choices[0].finish_reason, found.choices[0].message.content) == ("content_filter", "I can't")
    assert found.usage.sightline["purposes"] == ["guard input"]
    assert found.usage.sightline["stop"] == stop


def post(url, body, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx.post(f"{url}/v1/chat/completions", content=data, headers=headers, timeout=30)


USER = [{"role": "user", "content": "x"}]
REFUSED = {
    "no json": (b"{", "no JSON"),
    "not utf-8": (b'{"messages": "\xff"}', "no JSON"),
    "a list": ([], "a JSON object"),
    "no messages": ({}, "messages"),
    "no role": ({"messages": [{"content": "x"}]}, "messages[0]: expected a role"),
    "assistant last": (
        {"messages": [*USER, {"role": "assistant", "content": "y"}]},
        "the last one has to be",
    ),
    "tools": ({"messages": USER, "tools": [{"type": "function"}]}, "tools: not supported"),
    "several": ({"messages": USER, "n": 2}, "n: not supported"),
    "logprobs": ({"messages": USER, "logprobs": True}, "logprobs: not supported"),
    "stop": ({"messages": USER, "stop": ["x"]}, "stop: not supported"),
    "unknown": ({"messages": USER, "beam": 2}, "beam: not supported"),
    "hot": ({"messages": USER, "temperature": 99}, "temperature: expected a number from 0 to 10"),
    "tokens": ({"messages": USER, "max_tokens": 1.5}, "max_tokens: expected a whole number"),
    "true": ({"messages": USER, "max_tokens": True}, "max_tokens: expected a whole number"),
    "an address": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://a/b.png"}}]}
            ]
        },
        "nothing is fetched",
    ),
    "a file": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
                }
            ]
        },
        "nothing is fetched",
    ),
    "no picture": (
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
                    ],
                }
            ]
        },
        "not a readable picture",
    ),
    "audio": ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "text or image_url"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_served_is_refused_with_a_sentence_and_never_sent(tmp_path, what):
    body, told = REFUSED[what]
    target = Answers()
    with served(target, tmp_path) as (_, url):
        found = post(url, body)
    assert found.status_code == 400
    assert told in found.json()["error"]["message"]
    assert target.asked == []


def test_who_may_ask(tmp_path):
    with served(Answers(), tmp_path, key="k" * 20) as (_, url):
        body = {"messages": USER}
        assert post(url, body).status_code == 401
        assert post(url, body, authorization="Bearer wrong").status_code == 401
        assert post(url, body, authorization="Bearer " + "k" * 20).status_code == 200
        assert post(url, body, authorization="Bearer " + "k" * 20, host="evil.example").status_code == 403
        assert (
            post(url, body, authorization="Bearer " + "k" * 20, origin="http://a.example").status_code == 403
        )
        health = httpx.get(f"{url}/health")
        assert (health.status_code, "answers" in health.text) == (200, False)
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/v1/chat/completions").status_code == 405
        with pytest.raises(openai.AuthenticationError):
            ask(url, "x", key="wrong")


def test_a_body_that_is_too_large_is_refused_whatever_it_announces(tmp_path):
    with served(Answers(), tmp_path) as (_, url):

        def chunks():
            for _ in range(MOST_BODY // 2**20 + 2):
                yield b"x" * 2**20

        found = httpx.post(f"{url}/v1/chat/completions", content=chunks(), timeout=60)
        assert found.status_code == 413


def test_a_target_that_fails_is_a_502_after_its_retries_and_the_next_request_is_served(tmp_path, monkeypatch):
    monkeypatch.setattr("sightline.study.replying.BACKOFF_SECONDS", 0.0)
    target = Answers(lambda number, _: TransientError("503 upstream") if number <= 3 else "back")
    with served(target, tmp_path, retries=2) as (_, url):
        with pytest.raises(openai.InternalServerError, match="503 upstream"):
            ask(url, "x")
        assert ask(url, "x").choices[0].message.content == "back"
    assert len(target.asked) == 4


def test_more_than_the_queue_holds_is_told_to_come_back(tmp_path):
    rules = tmp_path / "slow.yaml"
    rules.write_text("rules: [{reply: done, delay_ms: 1500}]\n", encoding="utf-8")
    slow = open_target(f"scripted/{rules}", Blobs(tmp_path / "b"))
    with served(slow, tmp_path, concurrency=1, queue=1) as (service, url), ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: post(url, {"messages": USER}), range(6)))
        codes = sorted(each.status_code for each in found)
        assert codes == [200, 200, 429, 429, 429, 429]
        refused = next(each for each in found if each.status_code == 429)
        assert refused.headers["retry-after"] == "1"
        assert (service.served, service.refused) == (2, 4)
        assert post(url, {"messages": USER}).status_code == 200


def test_many_requests_with_faults_lose_and_double_none(tmp_path, monkeypatch):
    monkeypatch.setattr("sightline.study.replying.BACKOFF_SECONDS", 0.0)
    total, faults = 600, 0

    def said(number, text):
        nonlocal faults
        if number % 100 == 50:
            faults += 1
            return TransientError("injected")
        return f"reply to {text}"

    target = Answers(said)
    with served(target, tmp_path) as (service, url), ThreadPoolExecutor(32) as pool, httpx.Client() as http:

        def one(number):
            body = {"messages": [{"role": "user", "content": f"request {number}"}]}
            found = http.post(f"{url}/v1/chat/completions", json=body, timeout=60)
            return found.json()["choices"][0]["message"]["content"]

        found = list(pool.map(one, range(total)))
        assert service.served == total
    assert found == [f"reply to request {number}" for number in range(total)]
    assert faults > 0
    assert len(target.asked) == total + faults


def test_inspect_asks_it_like_any_provider(tmp_path, monkeypatch):
    from inspect_ai.model import get_model

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with served(Answers(), tmp_path) as (_, url):
        model = get_model("openai/it", base_url=f"{url}/v1", memoize=False, responses_api=False)
        output = asyncio.run(model.generate("hello"))
    assert output.completion == "you said hello"


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_asks_it(tmp_path):
    with served(Answers(), tmp_path) as (_, url):
        found = subprocess.run(
            ["curl", "-s", f"{url}/v1/chat/completions", "-d", json.dumps({"messages": USER})],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    assert json.loads(found.stdout)["choices"][0]["message"]["content"] == "you said x"


def started(tmp_path, *arguments, env=None):
    process = subprocess.Popen(
        [sys.executable, "-m", "sightline", "serve", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, **(env or {})},
    )  # fmt: skip
    lines = []
    while not any("/v1" in line for line in lines):
        line = process.stdout.readline()
        assert line, f"ended early: {''.join(lines)}"
        lines.append(line)
    url = next(word for line in lines for word in line.split() if word.startswith("http://"))
    return process, url.removesuffix("/v1"), lines


def test_the_command_serves_a_defended_target_and_ends_when_what_is_under_way_is_answered(tmp_path):
    rules = tmp_path / "slow.yaml"
    rules.write_text("rules: [{reply: done, delay_ms: 1200}]\n", encoding="utf-8")
    process, url, lines = started(tmp_path, f"scripted/{rules}", "--defense", "system_prompt")
    try:
        assert any("defended/system_prompt" in line for line in lines)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(post, url, {"messages": USER})
            time.sleep(0.6)
            process.send_signal(signal.SIGTERM)
            found = waiting.result(timeout=20)
        assert found.json()["choices"][0]["message"]["content"] == "done"
        rest = process.communicate(timeout=30)[0]
        assert "stopped; 1 replies" in rest
    finally:
        process.kill()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["scripted/echo", "--host", "0.0.0.0"], "put a key into $SIGHTLINE_SERVE_KEY"),
        (["nothing/here"], "kind of target"),
        (["scripted/echo", "--defense", "nope"], "unknown defense"),
    ],
)
def test_what_cannot_be_served_is_told_at_once(arguments, told):
    env = {name: value for name, value in os.environ.items() if name != "SIGHTLINE_SERVE_KEY"}
    found = subprocess.run(
        [sys.executable, "-m", "sightline", "serve", *arguments],
        capture_output=True, text=True, timeout=60, env=env,
    )  # fmt: skip
    assert found.returncode != 0
    assert told in " ".join((found.stdout + found.stderr).split())


def test_a_taken_port_is_told():
    with listening("127.0.0.1", 0) as taken:
        taken.listen()
        port = str(taken.getsockname()[1])
        found = subprocess.run(
            [sys.executable, "-m", "sightline", "serve", "scripted/echo", "--port", port],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert "try --port 0" in " ".join((found.stdout + found.stderr).split())
