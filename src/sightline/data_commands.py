"""The command `sightline check-data`: its arguments and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.errors import UsageError

STUDIES = (".yaml", ".yml")


def check_data_command(
    data: Annotated[
        str, typer.Argument(help="A table or folder of yours, a study file, or a benchmark's name.")
    ],
    root: Annotated[
        Path | None, typer.Option(help="Of a benchmark: its release; default: in $SIGHTLINE_DATA.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(metavar="WHAT=NAME", help="Of your table: `text=utterance`; repeat for more."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SETTING=VALUE", help="Of `cases`: `prompt=...`, `split=test`; repeat."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=0, help="Cases to show as the model will see them.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """What is in your data, or in a release: columns, counts, samples, pictures, and everything to mend.

    Exit status 1 if there is something to mend: `sightline run` would refuse it with the same text.

    Example: `sightline check-data mine.csv --columns text=utterance`
    """
    if not _shown(data, root, columns or [], set_ or [], rows, as_json=as_json):
        raise typer.Exit(1)


def _shown(
    data: str, root: Path | None, columns: list[str], settings: list[str], rows: int, *, as_json: bool
) -> bool:
    """A check of data; whether there is nothing to mend.

    Raises:
        UsageError: for an argument that is not NAME=VALUE, and from the check.
    """
    from sightline.api.checking import check_data, check_study
    from sightline.terminal import say

    others: dict[str, Any] = {key: _setting(value) for key, value in _pairs("--set", settings).items()}
    named = _pairs("--columns", columns)
    mapped = {key: tuple(value.split(",")) if "," in value else value for key, value in named.items()}
    if Path(data).suffix.casefold() in STUDIES:
        if root or mapped or others:
            raise UsageError(f"{data}: a study file says itself what is read, and how; leave the options out")
        found = check_study(data, rows=rows)
    else:
        found = [check_data(data, root=root, columns=mapped or None, rows=rows, **others)]
    plain = [each.plain() for each in found]
    shown = json.dumps(plain[0] if len(plain) == 1 else plain, ensure_ascii=False)
    say(shown if as_json else "\n\n\n".join(each.text() for each in found))
    return all(each.ok for each in found)


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    for each in given:
        if "=" not in each:
            raise UsageError(f"{option} {each!r}: write it as NAME=VALUE")
    return {name.strip(): value for name, _, value in (each.partition("=") for each in given)}


def _setting(text: str) -> Any:
    """The value of a setting: a text, or a mapping as a study file writes it (`{1: refuse}`)."""
    if not text.startswith("{"):
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise UsageError(f"--set {text!r}: not a mapping such as {{1: refuse, 0: comply}}") from None
