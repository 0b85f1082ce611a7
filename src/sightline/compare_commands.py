"""`sightline compare`, `merge` and `leaderboard`: runs beside each other, and together."""

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


def merge_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    out: Annotated[Path, typer.Option(help="Folder of the merged run; absent or empty.")],
) -> None:
    """Several finished runs as one, such as targets that were asked on different machines.

    Decoding, seed and code of the stages must be the same, and so must whatever has one name in two of the
    runs. Rows that several runs hold are taken from the first. Report, gate, verify, compare and export work
    on the merged run; it cannot be run again.

    Example: `sightline merge runs/laptop runs/server --out runs/both`
    """
    from sightline.comparing.merge import merge
    from sightline.terminal import say

    found = merge(runs, out)
    say(
        f"{found.folder}: {found.rows:,} rows of {len(runs)} runs; "
        f"`sightline report {found.folder}` shows them"
    )
    if found.twice:
        say(f"{found.twice:,} rows were in several runs; in {found.unlike:,} of them the outcome differed")
    for note in found.notes:
        say(f"note: {note}")


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
    from sightline.counting import plural
    from sightline.leaderboard import site
    from sightline.leaderboard.entries import boards, read
    from sightline.terminal import say

    found = read(folder, check=check)
    paths = site.write(found, out if out is not None else folder / "leaderboard")
    for condition, entries in boards(found).items():
        say(f"{condition.benchmark}, judge {entries[0].judge}: {plural(len(entries), 'system')}")
    for line in found.left_out:
        say(f"left out: {line}")
    for path in paths:
        say(str(path))
