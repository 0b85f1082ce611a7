"""What `sightline serve` costs per request over asking in process, and whether it loses or doubles any.

    python benchmarks/serve.py [--requests 10000] [--connections 64] [--faults 0.01]

The target answers at once, so that all CPU time is the server's; it is read from the server's own process. A
share of its calls fails in passing, as an overloaded provider does.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import socket
import tempfile
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.errors import TransientError
from sightline.listening import listening
from sightline.records import Cost, Response
from sightline.service.app import Service
from sightline.service.running import run
from sightline.store import Blobs
from sightline.study import replying


class Target:
    """Repeats the request; every so many calls it fails in passing."""

    id = "benchmark#00"

    def __init__(self, every: int) -> None:
        self.calls, self.failed, self.every = 0, 0, every
        self.answered: Counter[str] = Counter()

    async def generate(self, conversation: Conversation, _: Decoding) -> Response:
        self.calls += 1
        if self.every and self.calls % self.every == 0:
            self.failed += 1
            raise TransientError("injected")
        text = conversation.last_user_text()
        self.answered[text] += 1
        return Response(text=text, cost=Cost(calls_target=1, tokens_in=4, tokens_out=4))


def serve(where: socket.socket, every: int, pipe: Connection) -> None:
    replying.BACKOFF_SECONDS = 0.0
    target = Target(every)
    with tempfile.TemporaryDirectory() as folder:
        service = Service(target=target, name="it", images=Blobs(Path(folder)))
        started = time.process_time()
        run(service.application(), where, lambda: pipe.send("up"))
        doubled = sum(times > 1 for times in target.answered.values())
        pipe.send((time.process_time() - started, service.served, target.failed, doubled))


async def ask(url: str, requests: int, connections: int) -> Counter[str]:
    """What came of the requests: `right`, or the status or exception."""
    found: Counter[str] = Counter()
    numbers = iter(range(requests))
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:

        async def one_after_the_other() -> None:
            for number in numbers:
                text = f"request {number}"
                try:
                    got = await client.post(url, json={"messages": [{"role": "user", "content": text}]})
                    said = got.json()["choices"][0]["message"]["content"] if got.status_code == 200 else ""
                    found["right" if said == text else f"status {got.status_code}"] += 1
                except httpx.HTTPError as broken:
                    found[type(broken).__name__] += 1

        await asyncio.gather(*(one_after_the_other() for _ in range(connections)))
    return found


async def in_process(requests: int) -> float:
    """CPU seconds of the same replies without a server."""
    target, started = Target(0), time.process_time()
    for number in range(requests):
        await replying.reply(target, Conversation.user(f"request {number}"), Decoding(), retries=2)
    return time.process_time() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--faults", type=float, default=0.01)
    args = parser.parse_args()
    mine, theirs = multiprocessing.Pipe()
    where = listening("127.0.0.1", 0)
    every = round(1 / args.faults) if args.faults else 0
    server = multiprocessing.get_context("fork").Process(target=serve, args=(where, every, theirs))
    server.start()
    mine.recv()
    url = f"http://127.0.0.1:{where.getsockname()[1]}/v1/chat/completions"
    found = asyncio.run(ask(url, args.requests, args.connections))
    server.terminate()
    seconds, served, failed, doubled = mine.recv()
    server.join()
    bare = asyncio.run(in_process(args.requests))
    print(
        f"requests {args.requests:,} over {args.connections} connections, {failed:,} calls failed in passing"
    )
    print(f"right replies {found['right']:,}, others {dict(found - Counter(right=found['right'])) or 'none'}")
    print(f"served {served:,}, answered twice {doubled:,}")
    print(
        f"CPU per request: server {1e3 * seconds / args.requests:.2f} ms, in process "
        f"{1e3 * bare / args.requests:.2f} ms, overhead {1e3 * (seconds - bare) / args.requests:.2f} ms"
    )


if __name__ == "__main__":
    main()
