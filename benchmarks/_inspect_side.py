"""The Inspect side of `engine_overhead.py`: a call through its model layer, a sample in its engine.

python benchmarks/_inspect_side.py [N]      # prints one JSON object
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig, ModelAPI, ModelOutput, ModelUsage, modelapi

from sightline.bridge.inspect_target import InspectTarget
from sightline.bridge.scorer import judged
from sightline.bridge.solver import replay
from sightline.bridge.tasks import samples
from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Decoding
from sightline.plain import plain_artifact, plain_case
from sightline.records import Artifact
from sightline.shards import Row
from sightline.store import Blobs

PICTURES = 100
IN_FLIGHT = 16
WARM_UP = 50


@modelapi(name="instant")
class InstantAPI(ModelAPI):
    """Answers at once, so that only the cost of asking is left."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)

    async def generate(self, *request: Any, **settings: Any) -> ModelOutput:  # noqa: ARG002
        """The same reply to every request, with its token usage."""
        output = ModelOutput.from_content(self.model_name, "a harmless answer")
        output.usage = ModelUsage(input_tokens=11, output_tokens=7, total_tokens=18)
        return output


def _pictures(blobs: Blobs) -> list[Image]:
    rng = np.random.default_rng(0)
    return [blobs.put_pixels(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(PICTURES)]


def _text(index: int) -> str:
    return f"request number {index}: please describe how one polishes a glimber of size {index % 97}"


def _rows(n: int, pictures: list[Image]) -> Iterator[tuple[Row, Row]]:
    """The cell of `engine_overhead.py` as plain cases and artifacts."""
    for index in range(n):
        conversation = Conversation.user(pictures[index % PICTURES], _text(index))
        case = Case(
            id=f"counted/{index}",
            conversation=conversation,
            behavior=_text(index),
            expected=Expected.refuse if index % 2 else Expected.comply,
            category=f"c{index % 10}",
            group=f"g{index // 10}",
        )
        artifact = Artifact(key=f"{index:032x}", case_id=case.id, conversation=conversation)
        yield plain_case(case), plain_artifact(artifact)


@contextmanager
def _away_from_home() -> Iterator[Path]:
    """Inspect's own files in a folder that is removed afterwards."""
    before = dict(os.environ)
    with tempfile.TemporaryDirectory() as name:
        os.environ.update(XDG_DATA_HOME=name, XDG_CACHE_HOME=name)
        try:
            yield Path(name)
        finally:
            os.environ.clear()
            os.environ.update(before)


def inspect_target_cpu_ms(n: int) -> float:
    """CPU milliseconds per `InspectTarget.generate`, picture of 64 x 64 included, 16 calls in flight."""
    with _away_from_home() as folder:
        blobs = Blobs(folder / "blobs")
        pictures = _pictures(blobs)
        target = InspectTarget("instant/m", blobs)

        async def ask(count: int) -> None:
            pending = iter(range(count))

            async def worker() -> None:
                for index in pending:
                    shown = Conversation.user(pictures[index % PICTURES], _text(index))
                    response = await target.generate(shown, Decoding())
                    assert response.text == "a harmless answer"

            await asyncio.gather(*(worker() for _ in range(IN_FLIGHT)))

        async def measured() -> float:
            await ask(WARM_UP)
            started = time.process_time()
            await ask(n)
            return time.process_time() - started

        return 1000 * asyncio.run(measured()) / n


def inspect_engine_cpu_ms(n: int) -> float:
    """CPU milliseconds per sample of the same cell in Inspect's `eval`, our judge and its log included."""
    with _away_from_home() as folder:
        blobs = Blobs(folder / "blobs")
        pictures = _pictures(blobs)

        def run(count: int) -> float:
            dataset = MemoryDataset(list(samples(list(_rows(count, pictures)), blobs, sampled=False)))
            task = Task(dataset=dataset, solver=replay(), scorer=judged("refusal_prefix"), name="overhead")
            started = time.process_time()
            [log] = eval(
                task,
                model="instant/m",
                log_dir=str(folder / "logs"),
                display="none",
                max_connections=IN_FLIGHT,
                ctl_server=False,
            )
            spent = time.process_time() - started
            assert log.status == "success", log.error
            assert log.results is not None
            assert log.results.completed_samples == count
            return spent

        run(WARM_UP)
        return 1000 * run(n) / n


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    print(
        json.dumps(
            {
                "load_average": os.getloadavg()[0],
                "through_inspect_provider_cpu_ms": round(inspect_target_cpu_ms(count), 3),
                "inspect_cpu_ms_per_sample": round(inspect_engine_cpu_ms(count), 3),
            }
        )
    )
