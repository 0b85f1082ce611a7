"""The command `sightline serve`: arguments and what is printed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sightline.errors import AbsentExtraError, UsageError

KEY = "SIGHTLINE_SERVE_KEY"


def serve_command(
    target: Annotated[str, typer.Argument(help="Target, such as testbed/linear or openai/gpt-4o.")],
    defense: Annotated[
        list[str] | None,
        typer.Option(metavar="SPEC", help="NAME or NAME(setting=value); repeated: outermost first."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: any free one.")] = 0,
    host: Annotated[
        str, typer.Option(help=f"Another address than this machine's own; needs a key in ${KEY}.")
    ] = "127.0.0.1",
    name: Annotated[
        str, typer.Option(help="Model name in replies; default: the target with its defenses.")
    ] = "",
    concurrency: Annotated[int, typer.Option(min=1, max=4096, help="Requests with the target at once.")] = 64,
    queue: Annotated[
        int, typer.Option(min=0, max=100_000, help="Requests that may wait; more get 429.")
    ] = 256,
    max_tokens: Annotated[
        int, typer.Option(min=1, max=32_768, help="New tokens, if a request names none.")
    ] = 512,
    pictures: Annotated[
        Path | None, typer.Option(help="Keep pictures of requests in this folder; default: until the end.")
    ] = None,
) -> None:
    """Serve a target, defended or not, by OpenAI's chat protocol, so that other tools can ask and attack it.

    Replies that a defense or a provider blocks end with finish_reason content_filter; `usage.sightline`
    counts the calls behind a reply. Streams are sent when the whole reply is there. Pictures are data URIs.
    A key in $SIGHTLINE_SERVE_KEY is asked of clients. Ctrl-C ends it when all requests are answered.

    Example: `sightline serve testbed/linear --defense "self_moderation(wording='testbed')" --port 8123`
    """
    from importlib.util import find_spec

    for module in ("starlette", "uvicorn"):
        if find_spec(module) is None:
            raise AbsentExtraError("`sightline serve`", "serve", module)
    from tempfile import TemporaryDirectory

    from sightline.contracts import Decoding
    from sightline.listening import listening
    from sightline.service.app import LOOPBACK, Service
    from sightline.service.running import run
    from sightline.store import Blobs
    from sightline.targets import open_target
    from sightline.terminal import say

    key = os.environ.get(KEY, "")
    at_home = host in ("127.0.0.1", "localhost", "::1")
    if not at_home and not key:
        raise UsageError(
            f"--host {host}: other machines could ask: put a key into ${KEY}, or leave --host out"
        )
    whole = target
    for spec in reversed(defense or []):
        whole = f"defended/{spec}:{whole}"
    with TemporaryDirectory(prefix="sightline-serve-") as scratch, listening(host, port) as where:
        blobs = Blobs(pictures or Path(scratch))
        service = Service(
            target=open_target(whole, blobs),
            name=name or whole,
            images=blobs,
            decoding=Decoding(max_tokens=max_tokens),
            key=key,
            hosts=LOOPBACK if at_home else (),
            concurrency=concurrency,
            queue=queue,
        )
        shown = f"[{host}]" if ":" in host else host

        def ready() -> None:
            say(f"{service.target.id}")
            say(f"http://{shown}:{where.getsockname()[1]}/v1  (/health; end with Ctrl-C)")

        run(service.application(), where, ready)
        say(f"stopped; {service.served:,} replies, {service.refused:,} requests were told to come back")
