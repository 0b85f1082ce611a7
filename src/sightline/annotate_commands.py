"""The commands `sightline annotate RUN …`: arguments and what is printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sightline import annotate_exchange
from sightline.errors import AbsentExtraError

annotate = typer.Typer(
    help="Let people label samples of a run, blind: draw a sample, serve it, look at it, use the labels.",
    no_args_is_help=True,
)


annotate.command()(annotate_exchange.adjudicate)
annotate.command()(annotate_exchange.export)
annotate.command("import")(annotate_exchange.import_answers)


@annotate.callback()
def _run(
    ctx: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run, made by `sightline run` or `score`.")
    ],
) -> None:
    ctx.obj = folder


@annotate.command()
def sample(
    ctx: typer.Context,
    n: Annotated[int, typer.Option("--n", min=1, help="Items to draw: different replies.")] = 400,
    strata: Annotated[
        str,
        typer.Option(
            help=(
                "Columns that make a stratum, joined by commas: attack (its kind), column (its label in the "
                "study), target, defense, benchmark, expected, category, hazard, verdict, language."
            )
        ),
    ] = "attack,target,verdict",
    raters: Annotated[
        str, typer.Option(help="Number of raters, or their names, such as ann,bo. Default: 2.")
    ] = "",
    seed: Annotated[int | None, typer.Option(help="Of the draw; default: the study's.")] = None,
    questions: Annotated[
        str,
        typer.Option(
            help=(
                "What is asked, joined by commas: outcome (default), harm, dress, natural_helpful, "
                "recognition, abstention, taxonomy."
            )
        ),
    ] = "",
    guideline: Annotated[
        Path | None, typer.Option(help="Your own guideline for raters; default: one that comes along.")
    ] = None,
    more: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Add N items to the plan; nothing is drawn anew.")
    ] = None,
    round_: Annotated[
        int | None,
        typer.Option("--round", min=2, help="Ask all items again, after a change of guideline or questions."),
    ] = None,
    per_group: Annotated[int, typer.Option(min=1, help="At most so many items of one group.")] = 2,
    repeats: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of items that a rater sees a second time.")
    ] = 0.05,
    gold: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Items of known truth, as a share of --n (testbed only)."),
    ] = 0.05,
) -> None:
    """Draw which replies people read: a sample in which every reply has a known chance, one order per rater.

    Writes RUN/annotation/ with plan.jsonl, guideline.md and questions.yaml. --guideline
    brings your own; after a change of guideline.md, `sample --round 2` asks all items again.

    Example: `sightline annotate runs/quickstart sample --n 400 --raters ann,bo`
    """
    from sightline.annotation.drawing import Drawing, Wanted, rater_names
    from sightline.annotation.sampling import plan_lines, sample_again, sample_more
    from sightline.annotation.sampling import sample as sample_first
    from sightline.terminal import say

    asked = _listed(questions)
    if round_ is not None:
        found = Drawing(sample_again(ctx.obj, round_, asked or None, guideline), ())
    else:
        wanted = Wanted(
            n=n if more is None else more,
            strata=tuple(_listed(strata)),
            raters=rater_names(raters or "2"),
            seed=seed,
            per_group=per_group,
            repeats=repeats,
            gold=gold,
        )
        if more is not None:
            found = sample_more(ctx.obj, wanted, rater_names(raters) if raters else None)
        else:
            found = sample_first(ctx.obj, wanted, asked or ["outcome"], guideline)
    for line in plan_lines(found):
        say(line)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _limit(what: str) -> Any:
    return typer.Option(min=0, help=f"{what} 0: no limit. Default: as before.")


@annotate.command()
def serve(
    ctx: typer.Context,
    rater: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Serve this rater alone; can be repeated.")
    ] = None,
    port: Annotated[int, typer.Option(help="0: any free one.")] = 0,
    host: Annotated[
        str, typer.Option(help="Another address than this machine's own; needs a certificate.")
    ] = "127.0.0.1",
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate for --host (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    unsafe_run: Annotated[int | None, _limit("Unsafe-looking items in a row (25).")] = None,
    benign_after: Annotated[int | None, _limit("Others that come after such a row (5).")] = None,
    work_minutes: Annotated[int | None, _limit("Minutes of work up to a break (25).")] = None,
    break_minutes: Annotated[int | None, _limit("Minutes of a break (5).")] = None,
    day_minutes: Annotated[int | None, _limit("Minutes of work a day (120).")] = None,
) -> None:
    """Serve the pages on which people rate, on this machine, until Ctrl-C; prints an address for each person.

    Answers are on disk before they are confirmed; the same command goes on where it stopped.

    Example: `sightline annotate runs/quickstart serve`
    """
    from importlib.util import find_spec

    for module in ("starlette", "uvicorn"):
        if find_spec(module) is None:
            raise AbsentExtraError("the pages of `sightline annotate`", "annotate", module)
    from sightline.annotation.serving import Address
    from sightline.annotation.serving import serve as serve_run
    from sightline.terminal import say

    limits = {
        "unsafe_run": unsafe_run,
        "benign_after": benign_after,
        "work_minutes": work_minutes,
        "break_minutes": break_minutes,
        "day_minutes": day_minutes,
    }
    given = {name: value for name, value in limits.items() if value is not None}
    address = Address(host=host, port=port, certificate=tls_cert, key=tls_key)
    serve_run(ctx.obj, address, raters=rater or (), limits=given, say=say)


@annotate.command()
def status(ctx: typer.Context) -> None:
    """How far each rater is. For the coordinator: raters are not shown each other's work.

    Example: `sightline annotate runs/quickstart status`
    """
    from sightline.annotation.plan import FOLDER
    from sightline.annotation.progress import progress, progress_lines
    from sightline.annotation.stale import stale_note
    from sightline.annotation.status import status_lines
    from sightline.terminal import say

    for line in status_lines(ctx.obj / FOLDER):
        say(line)
    for line in progress_lines(progress(ctx.obj)):
        say(line)
    if note := stale_note(ctx.obj):
        say(note)


@annotate.command()
def close(
    ctx: typer.Context,
    partial: Annotated[
        bool, typer.Option("--partial", help="With what there is: before all raters or disputes are done.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print the cards whole, with every target and attack.")
    ] = False,
) -> None:
    """Make the final labels: the truth that judges of the run are measured against, and cards of them.

    Example: `sightline annotate runs/quickstart close`
    """
    from sightline.annotation.closing import close as closed_round
    from sightline.annotation.phases import unlabelled_line
    from sightline.annotation.plan import FOLDER, read_plan
    from sightline.annotation.status import changed_guideline
    from sightline.judge_check.card_text import in_short
    from sightline.judge_check.people import FOLDER as CARDS
    from sightline.judge_check.people import cards, judged_rows, undecided, write_cards
    from sightline.terminal import say

    folder = ctx.obj / FOLDER
    for line in changed_guideline(folder, read_plan(folder)):
        say(line)
    found = closed_round(ctx.obj, partial=partial)
    rows = judged_rows(ctx.obj, found.labels)
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(found.items.items()))
    say(f"{sum(found.items.values()):,} items labelled ({counts}), {found.left_out:,} without a label")
    if found.unlabelled:
        say(unlabelled_line(found.unlabelled))
    if found.changed:
        say(
            f"note: {found.changed:,} samples no longer have the reply that was drawn, and get no label: ask "
            "about their new ones with a new plan, in a run folder of its own"
        )
    unsafe = undecided(rows)
    if unsafe.all_safe is not None and unsafe.all_unsafe is not None and unsafe.half is not None:
        open_ones = (
            f" (items without consensus counted half; {unsafe.all_safe:.1%} if all are safe, "
            f"{unsafe.all_unsafe:.1%} if none is)"
        )
        say(
            f"unsafe replies to restricted requests, by people: {unsafe.half:.1%}"
            + (open_ones if found.items.get("no_consensus") else "")
        )
    made = list(cards(ctx.obj, found.labels, rows, found.agree))
    for card, path in zip(made, write_cards(ctx.obj, made), strict=True):
        say(f"{path}\n{card.text()}\n" if verbose else in_short(card))
    if made and not verbose:
        say(f"cards, by target and attack, too: {ctx.obj / CARDS} (as JSON), or --verbose")
    say(f"{found.path}: {len(found.labels.labels):,} samples; as a judge: human(file='{found.path}')")
