import asyncio
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import dataclass, replace

import pytest
import torch

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.targets._asked import UnfitError
from sightline.targets.local.batcher import Batcher, _close
from sightline.targets.local.model import Prepared, Reply


@dataclass
class FakeModel:
    """A model whose answers are its prompts; `fail` may break a batch."""

    parameters: int = 10
    where: str = "fake"
    seen: None = None
    pause: float = 0.0

    def __post_init__(self):
        self.batches = []
        self.ending = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.fail = lambda rows: None

    def prepare(self, conversation, decoding, read):
        text = conversation.last_user_text()
        if text == "unfit":
            raise UnfitError("too long")
        if text == "bug":
            raise KeyError("bug")
        ids = [zlib.crc32(word.encode()) for word in text.split()]
        return Prepared(
            tokens={"input_ids": torch.tensor([ids])},
            pictures={},
            hashes=(),
            flags=(text,),
            decoding=decoding,
            seed=0,
            new_tokens=decoding.max_tokens,
        )

    def cached_tokens(self, row):
        return 0

    def forget(self):
        pass

    def generate(self, rows):
        self.gate.wait(5)
        time.sleep(self.pause)
        self.fail(rows)
        self.batches.append([row.flags[0] for row in rows])
        return [Reply(ids=(1,), text=row.flags[0], finished=True) for row in rows]


def batcher_of(model, **settings):
    settings = {"max_batch": 8, "max_wait_ms": 20, "invariant": lambda: True} | settings
    return Batcher(model, **settings)


def ask(batcher, texts, decodings=None):
    decodings = decodings or [Decoding()] * len(texts)

    async def all_of_them():
        futures = [
            batcher.submit(Conversation.user(text), decoding, lambda sha: b"")
            for text, decoding in zip(texts, decodings, strict=True)
        ]
        return await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)

    return asyncio.run(all_of_them())


def test_concurrent_requests_share_batches_and_answers_find_their_callers():
    model = FakeModel()
    texts = [f"w{number}" for number in range(20)]
    model.gate.clear()
    threading.Timer(0.2, model.gate.set).start()
    responses = ask(batcher_of(model), texts)
    assert [response.text for response in responses] == texts
    assert sum(map(len, model.batches)) == 20
    assert max(map(len, model.batches)) == 8
    assert len(model.batches) <= 5


def test_a_lone_request_waits_less_than_the_limit():
    batcher = batcher_of(FakeModel(), max_wait_ms=1000)
    ask(batcher, ["warm"])
    started = time.monotonic()
    ask(batcher, ["x"])
    assert time.monotonic() - started < 0.5


def test_a_slow_model_waits_for_what_is_being_prepared():
    """A batch that runs for seconds is worth more than the 20 ms in which four of eight were ready."""
    model = FakeModel(pause=0.1)
    batcher = batcher_of(model, max_wait_ms=0)
    ask(batcher, ["first"])  # .1 s for a token: .1 s * 1000 for the next ones

    opened, prepare = threading.Event(), model.prepare

    def slowly(conversation, decoding, read):
        if conversation.last_user_text() == "w1":  # the first is with the worker by now
            opened.wait(5)
        return prepare(conversation, decoding, read)

    model.prepare = slowly
    threading.Timer(0.2, opened.set).start()
    texts = [f"w{number}" for number in range(8)]
    ask(batcher, texts, [Decoding(max_tokens=1000)] * 8)
    assert model.batches[1:] == [texts]


def test_decoding_settings_never_mix_in_a_batch():
    model = FakeModel()
    decodings = [Decoding(max_tokens=4 + number % 2, temperature=number % 3 / 2) for number in range(12)]
    texts = [f"{d.max_tokens}-{d.temperature}/{number}" for number, d in enumerate(decodings)]
    ask(batcher_of(model), texts, decodings)
    assert all(len({text.partition("/")[0] for text in batch}) == 1 for batch in model.batches)


def test_seeds_may_share_a_batch():
    model = FakeModel()
    model.gate.clear()
    batcher = batcher_of(model)
    threading.Timer(0.1, model.gate.set).start()
    ask(batcher, list("abcdefgh"), [Decoding(temperature=1.0, seed=seed) for seed in range(8)])
    assert max(map(len, model.batches)) > 1


@pytest.mark.parametrize(
    ("one", "other", "close"), [(10, 26, True), (10, 27, False), (600, 900, True), (600, 901, False)]
)
def test_lengths_that_share_a_batch(one, other, close):
    assert _close(one, other) is close
    assert _close(other, one) is close


def test_short_and_long_prompts_do_not_pad_each_other():
    model = FakeModel()
    ask(batcher_of(model), ["a", "b " * 300, "c", "d " * 310])
    sizes = [{len(text.split()) > 100 for text in batch} for batch in model.batches]
    assert all(len(kinds) == 1 for kinds in sizes)


def test_a_rare_kind_of_request_is_not_passed_over_forever():
    model = FakeModel(pause=0.002)
    batcher = batcher_of(model, max_batch=2)
    rare = [Decoding(max_tokens=1)]
    common = [Decoding(max_tokens=9)]
    texts = [f"common{number}" for number in range(63)]
    ask(batcher, [*texts[:3], "rare", *texts[3:]], common * 3 + rare + common * 60)
    assert next(place for place, batch in enumerate(model.batches) if "rare" in batch) <= 8


def test_out_of_memory_halves_the_batch_for_good(caplog):
    model = FakeModel()

    def fail(rows):
        if len(rows) > 3:
            raise torch.OutOfMemoryError("no room")

    model.fail = fail
    batcher = batcher_of(model)
    texts = [f"w{number}" for number in range(16)]
    responses = ask(batcher, texts)
    assert [response.text for response in responses] == texts
    assert batcher.max_batch <= 3
    assert "out of memory with" in caplog.text


def test_out_of_memory_for_one_request_is_its_error():
    model = FakeModel()

    def fail(rows):
        if any(row.flags[0] == "huge" for row in rows):
            raise torch.OutOfMemoryError("no room")

    model.fail = fail
    responses = ask(batcher_of(model), ["a", "huge", "b"])
    assert [response.stop for response in responses] == ["stop", "error", "stop"]
    assert "out of memory" in responses[1].error


def test_one_poisoned_request_does_not_take_the_batch_with_it():
    model = FakeModel()

    def fail(rows):
        if any(row.flags[0] == "poison" for row in rows):
            raise RuntimeError("index out of range")

    model.fail = fail
    responses = ask(batcher_of(model), ["a", "poison", "b"])
    assert [response.text for response in responses] == ["a", "", "b"]
    assert responses[1].error == "RuntimeError: index out of range"
    assert responses[1].stop == "error"


def test_a_request_that_does_not_fit_is_data_and_a_bug_is_raised():
    responses = ask(batcher_of(FakeModel()), ["a", "unfit", "bug"])
    assert responses[0].text == "a"
    assert (responses[1].stop, responses[1].error, responses[1].cost.calls_target) == ("error", "too long", 0)
    assert isinstance(responses[2], KeyError)


def test_the_check_runs_once_before_the_first_real_batch():
    asked = []
    model = FakeModel()
    batcher = batcher_of(model, invariant=lambda: asked.append(len(model.batches)) or True)
    ask(batcher, ["alone"])
    assert asked == []
    model.gate.clear()
    threading.Timer(0.1, model.gate.set).start()
    ask(batcher, list("abcdefgh"))
    ask(batcher, list("ijklmnop"))
    assert len(asked) == 1


def test_a_failed_check_means_batches_of_one_and_a_flag():
    model = FakeModel()
    batcher = batcher_of(model, invariant=lambda: False)
    responses = ask(batcher, list("abcdef"))
    responses += ask(batcher, list("ghijkl"))
    assert all(len(batch) == 1 for batch in model.batches)
    assert all(response.flags[1:] == ("batch1",) for response in responses[6:])


def test_cancelled_requests_are_not_answered():
    model = FakeModel()
    model.gate.clear()
    batcher = batcher_of(model, max_batch=1)
    futures = [batcher.submit(Conversation.user(text), Decoding(), lambda sha: b"") for text in "abc"]
    time.sleep(0.1)
    assert futures[2].cancel()
    model.gate.set()
    assert [future.result(5).text for future in futures[:2]] == ["a", "b"]
    assert ["c"] not in model.batches


def test_closing_answers_what_is_queued_and_ends_the_threads(caplog):
    model = FakeModel()
    batcher = batcher_of(model)
    future = batcher.submit(Conversation.user("last"), Decoding(), lambda sha: b"")
    time.sleep(0.05)
    batcher.close()
    assert future.result(5).text == "last"
    deadline = time.monotonic() + 5
    while batcher.worker.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not batcher.worker.is_alive()
    assert caplog.text == ""


def test_closing_answers_what_is_still_being_prepared():
    model = FakeModel()
    ready, prepare = threading.Event(), model.prepare
    model.prepare = lambda *asked: ready.wait(5) and prepare(*asked)
    batcher = batcher_of(model)
    futures = [batcher.submit(Conversation.user(text), Decoding(), lambda sha: b"") for text in "abc"]
    batcher.close()
    batcher.close()
    late = batcher.submit(Conversation.user("late"), Decoding(), lambda sha: b"")
    ready.set()
    assert [future.result(5).text for future in futures] == ["a", "b", "c"]
    with pytest.raises(RuntimeError, match="shutdown"):
        late.result(5)
    batcher.worker.join(5)
    assert not batcher.worker.is_alive()


def test_a_worker_that_fails_fails_every_request_and_closes(caplog):
    model = FakeModel()
    prepare = model.prepare
    preparing = threading.Event()

    def slow(conversation, decoding, read):
        if conversation.last_user_text() == "slow":
            preparing.wait(5)
        return prepare(conversation, decoding, read)

    def broken(row):
        raise KeyError("held")

    model.prepare, model.cached_tokens = slow, broken
    batcher = batcher_of(model)
    futures = [batcher.submit(Conversation.user(text), Decoding(), lambda sha: b"") for text in ("a", "slow")]
    with pytest.raises(KeyError, match="held"):
        futures[0].result(5)
    batcher.worker.join(5)
    assert batcher.closed
    assert not batcher.worker.is_alive()
    preparing.set()
    with pytest.raises(KeyError, match="held"):
        futures[1].result(5)
    late = batcher.submit(Conversation.user("late"), Decoding(), lambda sha: b"")
    with pytest.raises(KeyError, match="held"):
        late.result(5)
    assert "the batching thread failed" in caplog.text


def test_two_event_loops_may_use_one_batcher():
    batcher = batcher_of(FakeModel())
    found = {}

    def loop(name):
        found[name] = [response.text for response in ask(batcher, [f"{name}{n}" for n in range(5)])]

    threads = [threading.Thread(target=loop, args=(name,)) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == {name: [f"{name}{n}" for n in range(5)] for name in "xy"}


def test_a_bucket_is_pictures_and_settings():
    row = FakeModel().prepare(Conversation.user("a"), Decoding(), None)
    assert row.bucket == replace(row, seed=5).bucket
    assert row.bucket != replace(row, hashes=("x",)).bucket
    pictured = replace(row, pictures={"pixel_values": torch.zeros(1, 3, 8, 8)})
    larger = replace(row, pictures={"pixel_values": torch.zeros(1, 3, 8, 16)})
    more = replace(row, pictures={"pixel_values": torch.zeros(2, 3, 8, 8)})
    assert pictured.bucket != larger.bucket
    assert pictured.bucket == more.bucket


EXITS = """
import sys, threading, torch
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.targets.local.batcher import Batcher
from sightline.targets.local.model import Prepared
from sightline.targets.local.sampling import RowSampler

begun = threading.Event()

class Endless:
    where, parameters, ending = "fake", 1, threading.Event()
    def cached_tokens(self, row):
        return 0
    def prepare(self, conversation, decoding, read):
        ids = {"input_ids": torch.tensor([[1]])}
        return Prepared(tokens=ids, pictures={}, hashes=(), flags=(), decoding=decoding, seed=0, new_tokens=4)
    def generate(self, rows):
        sampler = RowSampler(rows[0].decoding, [0], keep=False, ending=self.ending)
        scores = torch.rand(400, 400)
        while True:
            begun.set()
            sampler(None, torch.softmax(scores @ scores, -1))

batcher = Batcher(Endless(), max_batch=1, max_wait_ms=0, invariant=lambda: True)
for text in "abc":
    batcher.submit(Conversation.user(text), Decoding(), None)
assert begun.wait(60)
sys.exit("what failed")
"""


def test_a_program_that_fails_while_a_model_writes_keeps_its_exit_status():
    """The thread was killed within PyTorch: `terminate called ...`, abort (134) for whatever had failed."""
    done = subprocess.run([sys.executable, "-c", EXITS], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (1, "what failed")
