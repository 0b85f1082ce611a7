"""Processor time is shared out among replies in the making, and what is not made anew counts as before."""

from __future__ import annotations

import asyncio
import time

import pytest

from sightline import clocks
from sightline.cases import Conversation
from sightline.clocks import Shares, clocked, spare
from sightline.contracts import Decoding
from sightline.records import Cost, Response
from sightline.study.call_log import CallLog
from sightline.study.replying import play, reply

ASKED = Conversation.user("steps for dreurk")
SETTINGS = Decoding(max_tokens=8)


class Processors:
    """A clock of processors that is set by hand."""

    def __init__(self):
        self.used = 100.0

    def __call__(self):
        return self.used


def test_processor_time_is_shared_among_the_replies_in_the_making():
    used = Processors()
    shares = Shares(used)
    first = shares.change(1)
    used.used += 4  # the first alone
    second = shares.change(1)
    used.used += 6  # both
    first = shares.change(-1) - first
    used.used += 1  # the second alone
    second = shares.change(-1) - second
    used.used += 50  # nobody
    third = shares.change(1)
    used.used += 2
    third = shares.change(-1) - third
    assert (first, second, third) == (7, 4, 2)


@pytest.fixture
def used(monkeypatch):
    processors = Processors()
    monkeypatch.setattr(clocks, "_SHARES", Shares(processors))
    return processors


class Busy:
    """A target that uses two seconds of processors for each reply, after `waits` seconds of the clock."""

    id = "busy"

    def __init__(self, used, waits=0.0, cost=None):
        self.used, self.waits, self.asked = used, waits, 0
        self.cost = cost if cost is not None else Cost(calls_target=1, seconds=0.5)

    async def generate(self, conversation, decoding):
        await asyncio.sleep(self.waits)
        self.asked += 1
        self.used.used += 2
        return Response(text="sure", cost=self.cost)


def test_a_reply_has_both_clocks_and_keeps_the_seconds_that_the_target_reports(used):
    found = asyncio.run(reply(Busy(used, waits=0.02), ASKED, SETTINGS)).cost
    assert (found.cpu_seconds, found.seconds, found.calls_target) == (2, 0.5, 1)
    assert found.latency >= 0.02


def test_replies_that_are_made_together_share_what_all_used(used):
    async def ask():
        target = Busy(used, waits=0.02)
        return await asyncio.gather(*(reply(target, ASKED, SETTINGS) for _ in range(4)))

    found = [response.cost.cpu_seconds for response in asyncio.run(ask())]
    assert sum(found) == pytest.approx(8)
    assert max(found) <= 5


def test_a_reply_within_another_is_a_part_of_it_and_not_a_second_one(used):
    with clocked() as outer:
        used.used += 1
        with clocked() as inner:
            used.used += 3
    assert (outer.cpu_seconds, inner.cpu_seconds) == (4, 3)


def test_what_is_not_made_anew_takes_as_long_as_it_did(used):
    with clocked() as outer, clocked() as inner:
        spare(Cost(latency=60.0, cpu_seconds=3.0))
    assert (outer.cpu_seconds, inner.cpu_seconds) == (3, 3)
    assert 60 <= inner.latency <= outer.latency < 120
    spare(Cost(latency=60.0))  # for nobody


def test_a_call_of_the_log_counts_as_when_it_was_made(used, tmp_path):
    async def ask(target):
        with CallLog(tmp_path / "calls") as log:
            log.needed = True
            follow_ups = Conversation.user("and then").turns
            return await play(target, ASKED, follow_ups, SETTINGS, calls=lambda turn: log.of(f"a{turn}"))

    first = Busy(used, waits=0.05)
    made = asyncio.run(ask(first))
    again = Busy(used)
    found = asyncio.run(ask(again))
    assert (first.asked, again.asked) == (2, 0)
    assert found.cost.cpu_seconds == made.cost.cpu_seconds == 4
    assert found.cost.latency >= 0.1


def test_of_real_processors_work_is_seen_and_waiting_is_not():
    with clocked() as idle:
        time.sleep(0.05)
    with clocked() as busy:
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
    assert busy.cpu_seconds >= 0.05
    assert idle.latency >= 0.05
