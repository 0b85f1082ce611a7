"""The command `sightline fit`: a defense that learns from cases; arguments and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sightline.errors import UsageError


def fit_command(
    defense: Annotated[str, typer.Argument(help="Defense, as NAME or NAME(setting=value).")],
    target: Annotated[str, typer.Argument(help="The model that it will stand before.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    on: Annotated[
        list[str] | None,
        typer.Option("--on", metavar="BENCHMARK[=FOLDER]", help="Cases to learn from; may be repeated."),
    ] = None,
    cases: Annotated[Path | None, typer.Option(help="A table of your own cases (benchmark `cases`).")] = None,
    attack: Annotated[
        list[str] | None,
        typer.Option(help="Also show each request as this attack draws it; may be repeated."),
    ] = None,
    only_attacked: Annotated[
        bool, typer.Option("--only-attacked", help="Not as it stands, only as `--attack` draws it.")
    ] = False,
    share: Annotated[
        float, typer.Option(help="Share of each benchmark's groups; rows of the others stay new.")
    ] = 1.0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most N cases per benchmark.")] = None,
) -> None:
    """Let a defense learn from cases; a study then names the file: `{name: DEFENSE, state: FILE}`.

    Rows whose case was learned from are marked `seen` and stand apart.

    Example: `sightline fit inferaligner testbed/linear@catfirst-vit --on testbed_requests --share 0.5
    --out state.json`
    """
    from sightline.api.fitting import learn_from, told
    from sightline.terminal import say

    named = [_benchmark(each) for each in on or ()]
    named += [("cases", str(cases))] if cases is not None else []
    if not named:
        raise UsageError("fit: give --on BENCHMARK, --cases FILE, or both")
    if only_attacked and not attack:
        raise UsageError("--only-attacked: name the attack with --attack")
    state = learn_from(
        defense,
        target,
        named,
        out,
        attacks=attack or (),
        share=share,
        limit=limit,
        plain=not only_attacked,
    )
    say(told(state))


def _benchmark(text: str) -> tuple[str, str | None]:
    """`NAME`, `NAME(setting=value)` or either with `=FOLDER`."""
    head, bracket, rest = text.rpartition(")")
    name, sign, folder = (rest if bracket else text).partition("=")
    name = f"{head}{bracket}{name}"
    if not name or (sign and not folder):
        raise UsageError(f"--on {text!r}: write it as BENCHMARK or BENCHMARK=FOLDER")
    return name, folder if sign else None
