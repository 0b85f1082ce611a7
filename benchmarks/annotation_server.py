"""The annotation's server: what is lost or doubled when it is killed, and how long saving an answer takes.

    python benchmarks/annotation_server.py            # 10,000 answers of two raters, 100 kills (kill -9)
    python benchmarks/annotation_server.py --quick    # 1,000 answers, 10 kills

A real server as a process of its own, killed at random points of the work; two clients at once repeat each
request until it is confirmed. `lost`: confirmed events that are not in the files, or not as they were sent;
`doubled`: rows of a request beyond its first; `unasked`: rows of no confirmed request. All have to be 0.

Then, without kills: seconds from a POST to its confirmation, with the row forced to disk (`save_p50_ms`,
`save_p95_ms`; goal: 20 ms), of one rater alone and of two at once. `fsync_p50_ms`, `fsync_p95_ms`: what the
disk alone takes for such a row. Last line: one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fixtures"))

from annotation_client import RaterClient, Server, rated_under_kills
from annotation_desk import make

from sightline.annotation.secret import open_secret

RATERS = ("ann", "bo")


def killed(answers: int, kills: int, seed: int) -> dict[str, float]:
    """Both raters answer all items while the server is killed."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, items = Path(scratch) / "annotation", [f"i{number}" for number in range(answers // 2)]
        make(folder, len(items))
        start = time.perf_counter()
        found = rated_under_kills(folder, open_secret(folder), items, RATERS, kills, seed)
        return {
            "confirmed": found.confirmed,
            "kills": found.kills,
            "repeated_requests": found.retries,
            "lost": found.lost,
            "doubled": found.doubled,
            "unasked": found.other,
            "wall_s": round(time.perf_counter() - start, 1),
        }


def saved(answers: int, raters: tuple[str, ...]) -> list[float]:
    """Seconds of each answer of raters who work at once."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, items = Path(scratch) / "annotation", [f"i{number}" for number in range(answers)]
        make(folder, len(items))
        server, secret = Server(folder), open_secret(folder)
        server.start()
        clients = [RaterClient(rater, server, secret.token("rater", rater)) for rater in raters]
        for each in clients:
            each.enter()
            each.seconds.clear()
        threads = [threading.Thread(target=each.rate, args=(items, 1)) for each in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.end(signal.SIGINT)
        return [second for each in clients for second in each.seconds]


def synced(rows: int) -> list[float]:
    """Seconds of appending a row of 300 bytes to a file and forcing it to disk."""
    found = []
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / "rows").open("ab", buffering=0) as file:
        for _ in range(rows):
            start = time.perf_counter()
            file.write(b"x" * 299 + b"\n")
            os.fsync(file.fileno())
            found.append(time.perf_counter() - start)
    return found


def milliseconds(name: str, seconds: list[float]) -> dict[str, float]:
    return {
        f"{name}_p{part}_ms": round(1000 * float(np.percentile(seconds, part)), 2) for part in (50, 95, 99)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    size = 10 if asked.quick else 1
    found = killed(10_000 // size, 100 // size, asked.seed)
    print(found, flush=True)
    for name, raters in (("save", RATERS[:1]), ("save_two", RATERS)):
        found |= milliseconds(name, saved(2_000 // size, raters))
    found |= milliseconds("fsync", synced(1_000 // size))
    print(json.dumps(found))
    sys.exit(1 if found["lost"] or found["doubled"] or found["unasked"] else 0)


if __name__ == "__main__":
    main()
