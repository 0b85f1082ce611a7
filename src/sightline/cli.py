"""The command line: `sightline run`, the single stages, and what there is. No logic lives here."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from sightline import __version__, response_commands
from sightline.annotate_commands import annotate
from sightline.characters import printable
from sightline.compare_commands import compare_command, leaderboard_command, merge_command
from sightline.convert_commands import convert_command, record_scores_command
from sightline.data_commands import check_data_command
from sightline.errors import SightlineError, StoppedError
from sightline.fit_commands import fit_command
from sightline.framework_commands import frameworks_command
from sightline.gate_commands import gate_command
from sightline.judge_commands import judge_card_command, judge_check_command, judge_weights_command
from sightline.quality_commands import coverage_command, quality_command
from sightline.serve_commands import serve_command
from sightline.testbed_app import testbed
from sightline.train_commands import train_command

if TYPE_CHECKING:
    from sightline.study.run import Run

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What the system says when a disk is full, or what a user may write."""
T = TypeVar("T")

app = typer.Typer(
    name="sightline",
    help=(
        "Measure, attack and defend the safety of multimodal language models.\n\n"
        "A study file names targets, benchmarks, attacks, defenses and judges; `sightline run STUDY.yaml` "
        "crafts, answers, judges and reports, and takes up an interrupted run where it stopped."
    ),
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
app.add_typer(testbed, name="testbed")
app.add_typer(annotate, name="annotate")
app.command("check-data")(check_data_command)
app.command("judge-check")(judge_check_command)
app.command("judge-card")(judge_card_command)
app.command("judge-weights")(judge_weights_command)
app.command("gate")(gate_command)
app.command("frameworks")(frameworks_command)
app.command("compare")(compare_command)
app.command("quality")(quality_command)
app.command("coverage")(coverage_command)
app.command("merge")(merge_command)
app.command("leaderboard")(leaderboard_command)
app.command("fit")(fit_command)
app.command("serve")(serve_command)
app.command("train")(train_command)
app.command("convert")(convert_command)
app.command("record-scores")(record_scores_command)

StudyFile = Annotated[Path, typer.Argument(help="Study file (YAML); see `studies/quickstart.yaml`.")]
RunFolder = Annotated[Path, typer.Argument(help="Folder of a run, made by `sightline run`.")]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help=(
            "Craft over a Ray cluster, one worker per GPU or CPU: `local` or `local:N` starts one on this "
            "machine, `auto` or HOST:PORT joins one. Its machines share the run's folder and the models."
        ),
    ),
]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sightline {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    study: StudyFile,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/NAME in this folder.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most N cases per benchmark.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be done.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="The form that `quick:` makes of it.")] = False,
    extend: Annotated[
        bool, typer.Option("--extend", help="Go on in the folder of a run whose study has changed.")
    ] = False,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Repeat the rows that ended in an error.")
    ] = False,
    rehash: Annotated[
        bool, typer.Option("--rehash", help="Read pictures and weights again, whatever their times say.")
    ] = False,
    eval_logs: Annotated[
        bool, typer.Option("--eval-logs", help="Also write logs/*.eval for `inspect view` (unredacted).")
    ] = False,
    ray: RayAddress = None,
) -> None:
    """Run a study: craft, answer, judge, report. Run it again to resume.

    Example: `sightline run studies/quickstart.yaml`
    """
    from sightline.console import terminal_progress
    from sightline.terminal import say, show_counts, show_plan, show_results

    if dry_run:
        show_plan(study, out, limit, retry_errors, quick)
        return
    from sightline.api.runs import finish
    from sightline.study.run import open_run

    with terminal_progress() as progress:
        session = open_run(
            study,
            out=out,
            limit=limit,
            progress=progress,
            extend=extend,
            retry_errors=retry_errors,
            rehash=rehash,
            ray=ray,
            quick=quick,
        )
        session.prepare()
        counts = finish(session)
    show_counts(counts)
    say(f"results digest: {session.results_digest()}")
    show_results(session, fresh=bool(counts), eval_logs=eval_logs)


app.command()(response_commands.score)
app.command()(response_commands.export)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="The study file to write.")] = Path("study.yaml"),
    target: Annotated[
        str | None, typer.Option(help="The model to test; default: a small one that comes along.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Your table of prompts or of answers, your folder, or a benchmark (also NAME=FOLDER)."
        ),
    ] = None,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--no-gpu", help="Also attack on gradients, where the model runs here."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a first study for your situation, with every line explained; it runs as it is.

    On a terminal it asks what the options leave open. Example: `sightline init my.yaml --data prompts.csv`
    """
    from sightline.init_commands import write_study

    write_study(file, target=target, data=data, gpu=gpu, force=force)


def _wait(work: Coroutine[object, object, T]) -> T:
    from sightline.waiting import wait

    return wait(work)


def _stage(
    folder: Path, act: Callable[[Run], object], *, retry_errors: bool = False, ray: str | None = None
) -> None:
    from sightline.console import terminal_progress
    from sightline.study.run import reopen_run

    with terminal_progress() as progress:
        session = reopen_run(folder, progress=progress, retry_errors=retry_errors, ray=ray)
        session.prepare()
        act(session)


@app.command()
def craft(
    folder: RunFolder,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Repeat errors.")] = False,
    ray: RayAddress = None,
) -> None:
    """Make the artifacts of a run that are not there yet."""
    _stage(folder, lambda session: session.craft(), retry_errors=retry_errors, ray=ray)


@app.command()
def answer(
    folder: RunFolder,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Repeat errors.")] = False,
) -> None:
    """Ask the targets whatever they have not answered yet."""
    _stage(folder, lambda session: _wait(session.answer()), retry_errors=retry_errors)


@app.command()
def judge(
    folder: RunFolder,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Repeat errors.")] = False,
) -> None:
    """Judge the responses that have no verdict yet, and write results.parquet."""

    def act(session: Run) -> None:
        _wait(session.judge())
        session.tabulate()

    _stage(folder, act, retry_errors=retry_errors)


@app.command()
def report(
    folder: RunFolder,
    redacted: Annotated[
        bool,
        typer.Option("--redacted", help="To share: category, length and hash instead of texts and pictures."),
    ] = False,
) -> None:
    """Write report.html and report.txt from results.parquet; with --redacted, report.redacted.html.

    report.html holds requests and replies in clear behind covers: whoever has the file has the text.
    """
    from sightline.terminal import show_report

    show_report(folder, fresh=True, redacted=redacted)


@app.command()
def verify(
    folder: RunFolder,
    jpeg: Annotated[
        list[int] | None, typer.Option(help="JPEG quality, 1 to 100; repeat for more. Default: 95, 75, 50.")
    ] = None,
    resize: Annotated[
        list[float] | None, typer.Option(help="Shrink to this share and back; repeat for more. Default: 0.5.")
    ] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Ask this target instead of the study's; repeat for more.")
    ] = None,
    attack: Annotated[
        list[str] | None, typer.Option(help="Only this attack of the study, beside the controls; repeat.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most N cases per benchmark.")] = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Repeat what ended in an error.")
    ] = False,
) -> None:
    """Check the artifacts of a run, and what their effect survives: PNG, JPEG, resizing, other targets.

    Every picture file is read, hashed and measured again. Then the pictures, controls among them, are saved
    anew and shown to the targets; only what was not asked before is asked. Writes verify.parquet and
    verify.html into the run's folder; exit status 2 if a file is lost or changed.

    Example: `sightline verify runs/whitebox --jpeg 75 --target testbed/queries`
    """
    from sightline.study.verify.verification import Wanted
    from sightline.terminal import show_verification, verified

    given: dict[str, Any] = {"qualities": jpeg, "factors": resize, "targets": target, "attacks": attack}
    lists = {name: tuple(values) for name, values in given.items() if values is not None}
    wanted = Wanted(**lists, limit=limit, retry_errors=retry_errors)
    show_verification(_wait(verified(folder, wanted)))


@app.command("list")
def list_methods(
    kind: Annotated[
        str,
        typer.Argument(help="targets, benchmarks, attacks, defenses, judges or recipes; all if left out."),
    ] = "",
) -> None:
    """What there is: every target form, benchmark, attack, defense, judge and recipe, with its source."""
    from sightline.terminal import show_list

    show_list(kind)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(help="Name of a benchmark, attack, defense, judge or recipe, or testbed/NAME.")
    ],
) -> None:
    """The card of a method: paper, threat model, settings with their defaults, presets."""
    from sightline.terminal import show_card

    show_card(name)


@app.command("taxonomy")
def show_hazards(
    study: Annotated[
        Path | None, typer.Argument(help="Study file: which hazards do its benchmarks cover?")
    ] = None,
    source: Annotated[
        str, typer.Option(help="Only this benchmark's or guard's list, such as mm_safetybench.")
    ] = "",
) -> None:
    """The common hazard codes, and how each benchmark's own categories map to them; or what a study covers.

    Example: `sightline taxonomy studies/quickstart.yaml`
    """
    from sightline.taxonomy_commands import show_taxonomy

    show_taxonomy(study, source)


def main() -> NoReturn:
    """Entry point: one line for what the user can mend, a traceback only for our own bugs."""
    try:
        app(standalone_mode=True)
    except StoppedError as stopped:
        typer.secho(printable(str(stopped)), err=True)
        sys.exit(130)
    except ImportError as broken:
        if (broken.name or "").split(".")[0] == "sightline":
            raise
        _fail(f"a needed package cannot be imported: {broken}")
    except OSError as unfit:
        _fail(_told(unfit))
    except SightlineError as wrong:
        _fail(str(wrong))
    sys.exit(0)


def _told(unfit: OSError) -> str:
    """One sentence for what the system refuses: the file, the reason, the cure."""
    what = unfit.strerror or " ".join(str(unfit).split())[:300] or type(unfit).__name__
    file = unfit.filename2 or unfit.filename  # the second is what a file was to be called
    where = f"{str(file)[:300]}: " if file else ""
    if isinstance(unfit, FileNotFoundError):
        return f"{where}{what}; check the name of the file or folder"
    cure = "make room" if unfit.errno in NO_ROOM else "mend that file or folder"
    return f"{where}{what}; {cure}, then run the same command again: what is done is kept"


def _fail(message: str) -> NoReturn:
    typer.secho(f"error: {printable(message)}", err=True, fg=typer.colors.RED)
    sys.exit(2)
