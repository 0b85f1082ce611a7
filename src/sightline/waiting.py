"""Results of coroutines for plain code: in a script, and in a notebook whose own event loop is running."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache
from typing import TypeVar

from sightline.errors import StoppedError

T = TypeVar("T")
STOPPED = "stopped; run the same command again to go on"


def wait(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine on the front door's own event loop and return its result.

    All calls of a process share one loop in a thread of its own, so that the connections of a provider's
    client stay usable from call to call.

    Raises:
        StoppedError: on Ctrl-C, once the coroutine has been cancelled and has ended.
    """
    loop = _loop()
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        asyncio.run_coroutine_threadsafe(_ended(), loop).result()
        raise StoppedError(STOPPED) from None


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="sightline-front-door", daemon=True).start()
    atexit.register(_close, loop)
    return loop


async def _ended() -> None:
    """Wait until every other task of the loop has ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what is left, so that the interpreter ends without complaints."""

    async def cancel() -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await _ended()

    with suppress(Exception):
        asyncio.run_coroutine_threadsafe(cancel(), loop).result(timeout=5)
        loop.call_soon_threadsafe(loop.stop)
