"""`sightline compare` and `sightline leaderboard`: runs beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def compare_command(
    former: Annotated[Path, typer.Argument(help="Folder of the run that is subtracted.")],
    later: Annotated[list[Path], typer.Argument(help="Folders of the runs that are compared with it.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Also print the rates without a clear difference.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object per line.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Also write Markdown tables to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a page with charts to this file.")] = None,
) -> None:
    """How the rates of runs differ from a former run, paired on the samples that both have.

    A model before and after, two versions of a defense: whatever has one name in both runs is compared; where
    each run has a single target, attack or defense of another name, these are compared with each other. Cells
    whose benchmark, attack or judge is not the same in both runs are left out, and told.

    Example: `sightline compare runs/before runs/after --html difference.html`
    """
    from sightline.comparing import written
    from sightline.comparing.compare import compare
    from sightline.store import write_atomically
    from sightline.terminal import say

    found = [compare(former, each) for each in later]
    if markdown is not None:
        write_atomically(markdown, written.markdown(found).encode())
    if html is not None:
        written.write_page(found, html)
    for number, each in enumerate(found):
        if as_json:
            say(json.dumps(written.plain(each), ensure_ascii=False))
        else:
            say(("\n" if number else "") + written.text(each, everything=everything))


def leaderboard_command(
    folder: Annotated[Path, typer.Argument(help="Folder whose folders are runs, such as runs.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the site; default FOLDER/leaderboard.")] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Read all records and pictures of every run.")
    ] = True,
) -> None:
    """A static site from many runs: systems in the order of the highest attack success rate.

    Runs stand in one table where cases, judge and decoding are the same. A row is self-reported, recomputed
    (answers, verdicts and pictures hold together) or reproduced (a second run of the same study found the
    same results). Numbers from elsewhere may stand in FOLDER/external.yaml, each with its evidence; see
    docs/compare.md.

    Example: `sightline leaderboard runs --out site`
    """
    from sightline.leaderboard import site
    from sightline.leaderboard.entries import boards, read
    from sightline.terminal import say

    found = read(folder, check=check)
    paths = site.write(found, out if out is not None else folder / "leaderboard")
    for condition, entries in boards(found).items():
        say(f"{condition.benchmark}, judge {entries[0].judge}: {len(entries)} systems")
    for line in found.left_out:
        say(f"left out: {line}")
    for path in paths:
        say(str(path))
