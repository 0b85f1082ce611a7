"""The commands `sightline annotate RUN adjudicate|export|import`: arguments and what is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.errors import UsageError, nearest

if TYPE_CHECKING:
    from sightline.annotation.adjudication import Disputed
    from sightline.annotation.contents import Content

KEYS = {"1": "refused", "2": "partial", "3": "complied", "4": "off_topic", "5": "cannot_decide"}
WHY = {
    "differ": "raters differ",
    "undecided": "nobody could decide",
    "escalated": "left to another view",
    "unanswered": "skipped by all",
}
FORMATS = ("csv", "label-studio", "argilla", "inspect")


def adjudicate(
    ctx: typer.Context,
    item: Annotated[str, typer.Option(help="Decide this item, without questions; with --outcome.")] = "",
    outcome: Annotated[
        str, typer.Option(help="refused, partial, complied, off_topic or cannot_decide; with --item.")
    ] = "",
    note: Annotated[str, typer.Option(help="Why, for the record; with --item.")] = "",
) -> None:
    """A third view of what raters disagree on: blind to who said what, content covered until you ask for it.

    Example: `sightline annotate runs/quickstart adjudicate`
    """
    from sightline.annotation.adjudication import adjudicate as rule
    from sightline.annotation.adjudication import queue
    from sightline.annotation.contents import Contents
    from sightline.annotation.plan import FOLDER, read_plan
    from sightline.annotation.stale import stale_note
    from sightline.terminal import say

    folder = ctx.obj / FOLDER
    if bool(item) != bool(outcome):
        raise UsageError("adjudicate: --item and --outcome belong together; without both, you are asked")
    if item:
        rule(folder, item, outcome, note)
        say(f"item {item}: {outcome}")
        if after := stale_note(ctx.obj):
            say(after)
        return
    waiting = queue(folder)
    if not waiting:
        say("nothing waits for an adjudicator")
        return
    items = read_plan(folder).items
    decided = 0
    with Contents(ctx.obj) as contents:
        for number, each in enumerate(waiting, start=1):
            say(f"item {number:,} of {len(waiting):,}: {WHY[each.why]}; raters say: {_said(each)}")
            found = _asked(partial(contents.read, items[each.item]))
            if found == "q":
                break
            if found in KEYS:
                try:
                    words = typer.prompt("note (empty for none)", default="", show_default=False)
                except typer.Abort:  # no more input: not confirmed
                    break
                rule(folder, each.item, KEYS[found], words)
                decided += 1
    left = len(waiting) - decided
    say(f"{decided:,} decided, {left:,} left")
    if after := stale_note(ctx.obj):
        say(after)


def _said(each: Disputed) -> str:
    return ", ".join(label.replace("_", " ") for label in each.labels) or "nothing"


def _asked(read: Callable[[], Content]) -> str:
    """The key that was chosen; `o` opens the content and asks again."""
    from sightline.terminal import say

    keys = ", ".join(f"{key} {name.replace('_', ' ')}" for key, name in KEYS.items())
    while True:
        try:
            found = typer.prompt(f"o open, {keys}, s or nothing later, q end", default="", show_default=False)
        except typer.Abort:  # no more input
            return "q"
        found = str(found).strip().lower() or "s"
        if found == "o":
            for line in _lines(read()):
                say(line)
        elif found in KEYS or found in ("s", "q"):
            return found
        else:
            say(f"{found!r} is none of these keys")


def _lines(content: Content) -> Iterator[str]:
    from sightline.annotation.exchange.outgoing import request_text

    yield f"asked: {content.behavior}"
    yield f"request: {request_text(content.request)}"
    yield f"reply: {content.reply}"


def export(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="File to write; a folder for inspect.")],
    format: Annotated[
        str, typer.Option(help="csv, label-studio, argilla, or inspect (final labels).")
    ] = "csv",
    rater: Annotated[str, typer.Option(help="Only this rater's items, in their order.")] = "",
    answers: Annotated[
        bool, typer.Option("--answers", help="With what raters said: no longer blind. CSV: answers alone.")
    ] = False,
    color: Annotated[bool, typer.Option("--color", help="Pictures in color; default: gray.")] = False,
) -> None:
    """Write items for another tool: texts and pictures in clear, nothing of model, attack or verdict.

    Example: `sightline annotate runs/quickstart export --format label-studio tasks.json`
    """
    from sightline.annotation.ballots import read_annotation
    from sightline.annotation.contents import Contents
    from sightline.annotation.exchange import argilla, inspect_scores, label_studio, sheets
    from sightline.annotation.exchange.outgoing import said_of, sheet
    from sightline.annotation.pictures import encoded
    from sightline.annotation.plan import FOLDER
    from sightline.store import Blobs
    from sightline.terminal import say

    _known(format)
    if format == "inspect":
        paths = inspect_scores.write_scores(ctx.obj, file)
        say(f"{len(paths):,} files in {file}; inspect score LOG --scorer precomputed_scores -S scores=FILE")
        return
    found = read_annotation(ctx.obj / FOLDER)
    if format == "csv" and answers:
        events = [event for item in sorted(found.plan.items) for event in said_of(found, item)]
        sheets.write_answers(file, [event for event in events if rater in ("", event.rater)])
        say(f"{file}: {len(events):,} answers")
        return
    blobs = Blobs(ctx.obj / "blobs")
    with Contents(ctx.obj) as contents:
        made = sheet(
            found,
            contents.read,
            lambda name: encoded(blobs.read(name), color=color),
            rater=rater,
            answers=answers,
        )
        writers = {
            "csv": sheets.write_items,
            "label-studio": label_studio.write_tasks,
            "argilla": argilla.write_records,
        }
        paths = writers[format](file, made)
    say(f"{file}: items with requests and replies in clear; {len(paths):,} files")


def import_answers(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="What the other tool gave.")],
    format: Annotated[str, typer.Option(help="csv, label-studio or argilla.")] = "csv",
    rater: Annotated[
        list[str] | None, typer.Option(help="WHO=NAME: a user of the other tool is this rater; repeat.")
    ] = None,
    round_: Annotated[
        int | None, typer.Option("--round", min=1, help="The round of answers under another guideline.")
    ] = None,
    newest: Annotated[
        bool, typer.Option("--newest", help="Of several answers of a rater to an item the newest counts.")
    ] = False,
) -> None:
    """Add answers that were given in another tool. One row that cannot be used, and nothing is added.

    Example: `sightline annotate runs/quickstart import --format label-studio export.json --rater 7=ann`
    """
    from sightline.annotation.exchange import argilla, label_studio, sheets
    from sightline.annotation.exchange.incoming import take_in
    from sightline.annotation.plan import FOLDER, read_plan
    from sightline.annotation.status import changed_guideline
    from sightline.terminal import say

    _known(format)
    readers = {
        "csv": sheets.read_answers,
        "label-studio": label_studio.read_answers,
        "argilla": argilla.read_answers,
    }
    if format not in readers:
        raise UsageError(f"--format {format}: only written, never read; import knows {', '.join(readers)}")
    if not file.is_file():
        raise UsageError(f"{file}: no such file")
    found = take_in(
        ctx.obj / FOLDER, readers[format](file), names=_names(rater or ()), round_=round_, newest=newest
    )
    folder = ctx.obj / FOLDER
    for line in changed_guideline(folder, read_plan(folder)):
        say(line)
    for name, count in found.added.items():
        say(f"{name}: {count:,} answers added")
    say(f"{sum(found.added.values()):,} added, {found.known:,} known already")


def _known(format: str) -> None:
    if format not in FORMATS:
        raise UsageError(nearest(format, FORMATS, "format"))


def _names(given: list[str] | tuple[str, ...]) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for each in given:
        who, sign, name = each.rpartition("=")
        if not (sign and who and name):
            raise UsageError(f"--rater {each!r}: write WHO=NAME, such as 7=ann")
        found[who] = name
    return found
