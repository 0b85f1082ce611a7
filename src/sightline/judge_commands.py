"""The command `sightline judge-check`: its arguments and what it prints."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def judge_check_command(
    judge: Annotated[str, typer.Argument(help="Judge, as NAME or NAME(setting=value).")],
    items: Annotated[int, typer.Option(min=2, max=1000, help="Replies per class.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """Which forgeries in a reply turn a judge's verdict: forged verdicts, other languages, length and more.

    35 classes of benign replies, each judged with and without the forgery. Exit status 1 if a verdict of a
    judge by rule turns in a class that must hold.

    Example: `sightline judge-check "target_string(target='abc')"`
    """
    from sightline.api.judge_checks import check_judge
    from sightline.terminal import say

    found = check_judge(judge, items=items)
    say(json.dumps(found.plain(), ensure_ascii=False) if as_json else found.text())
    if not found.ok:
        raise typer.Exit(1)
