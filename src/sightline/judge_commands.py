"""The commands `sightline judge-check` and `sightline judge-card`: arguments and what is printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.errors import UsageError


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


def judge_card_command(
    judge: Annotated[str, typer.Argument(help="Judge, as NAME or NAME(setting=value).")],
    labels: Annotated[
        list[str] | None,
        typer.Option(metavar="BENCHMARK=FOLDER", help="A release with labels of people; may be repeated."),
    ] = None,
    positive: Annotated[str, typer.Option(help="unsafe or refused; default: what labels are about.")] = "",
    forgeries: Annotated[
        bool, typer.Option("--forgeries", help="Also run judge-check and keep the flips of each class.")
    ] = False,
    repeat: Annotated[
        int, typer.Option(min=1, max=20, help="Ask the same so often: does the verdict change?")
    ] = 1,
    out: Annotated[Path | None, typer.Option(help="Also write the card as JSON to this file.")] = None,
    check: Annotated[
        Path | None, typer.Option(help="A card made before: does it still hold for this judge?")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The card as one JSON object.")] = False,
) -> None:
    """How a judge agrees with what people said of the same answers: sensitivity, specificity, kappa and more.

    A card is void for a judge with another id; with --check, exit status 1 says so. With --labels beside it,
    the guideline of those who labelled has to be the same too.

    Example: `sightline judge-card refusal_prefix --labels xstest=FOLDER --out card.json`
    """
    from sightline.api.judge_checks import judge_card
    from sightline.store import write_atomically
    from sightline.terminal import say

    named = [_table(each) for each in labels or ()]
    tables = dict(named)
    if len(tables) < len(named):
        raise UsageError("--labels: a benchmark stands there twice; name each once, with its settings")
    if not tables and check is None:
        raise UsageError("judge-card: give either --labels BENCHMARK=FOLDER or --check CARD.json")
    if check is not None:
        _check(judge, check, tables)
        return
    how: dict[str, Any] = {"positive": positive} if positive else {}
    if positive not in ("", "unsafe", "refused"):
        raise UsageError(f"--positive {positive!r}: write unsafe or refused")
    card = judge_card(judge, tables, forgeries=forgeries, repeat=repeat, **how)
    shown = json.dumps(card.plain(), ensure_ascii=False)
    say(shown if as_json else card.text())
    if out is not None:
        write_atomically(out, f"{shown}\n".encode())


def judge_weights_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run with three judges or more.")],
    truth: Annotated[
        str, typer.Option(help="A judge of the run that errors are counted against; it gets no weight.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Also write the figures for a jury by rule dawid_skene to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything as one JSON object.")] = False,
) -> None:
    """How good the judges of a run are by their votes alone, and the weighted jury that follows, as YAML.

    An estimate (Dawid-Skene), never truth: judges that err together look better than they are.

    Example: `sightline judge-weights runs/quickstart`
    """
    from sightline.report.jury_weights import jury_weights
    from sightline.terminal import say

    found = jury_weights(run, truth)
    if out is not None:
        found.write(out)
    fitted = "" if out is None else str(out)
    say(json.dumps(found.plain(), ensure_ascii=False) if as_json else found.text(fitted))


def _table(labels: str) -> tuple[str, str]:
    benchmark, sign, folder = labels.rpartition("=")
    if not (sign and benchmark and folder):
        raise UsageError(f"--labels {labels!r}: write it as BENCHMARK=FOLDER, such as xstest=data/xstest")
    return benchmark, folder


def _check(judge: str, path: Path, tables: dict[str, str]) -> None:
    from sightline.api.judge_checks import card_void
    from sightline.documents import read_text
    from sightline.judge_check.card import read_card
    from sightline.terminal import say

    why = card_void(read_card(read_text(path), str(path)), judge, tables or None)
    say(f"{path}: {why or 'the card holds for this judge'}")
    if why:
        raise typer.Exit(1)
