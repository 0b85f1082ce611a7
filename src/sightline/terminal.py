"""What the command line prints: progress bars, tables of methods, cards, counts. Texts are never markup."""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from sightline import registry
from sightline.benchmark_commands import show_benchmarks, show_release
from sightline.cards import KINDS, Card, Kind
from sightline.characters import printable
from sightline.console import SafeConsole, literal, terminal_progress
from sightline.errors import UsageError, nearest

if TYPE_CHECKING:
    from sightline.study.plan import Share
    from sightline.study.run import Run
    from sightline.study.stages import Count
    from sightline.study.verify.verification import Verified, Wanted

console = SafeConsole()

WIDE = 120
"""Columns of a terminal from which on lists of methods have their sources, too."""
TARGET_FORMS = {
    "vlm/FOLDER-OR-ID": "a Hugging Face image-text-to-text model, run here (extra: local)",
    "testbed/NAME[@VARIANT]": "a small model that comes with Sightline (extra: local)",
    "tuned/RECIPE@DIGEST:BASE": "what `sightline train` made of a local model",
    "defended/DEFENSE:TARGET": "any target with a defense; can be nested",
    "replay/RUN-OR-FILE": "responses of an earlier run",
    "scripted/echo scripted/refuse scripted/typographic": "responses by rule, without a model",
    "scripted/FILE.yaml": "responses by rules of your own; FILE beside the study, or where the command runs",
    "recorded/MODEL": "responses of another harness: `responses:` of a study, or `sightline score`",
    "openai/... anthropic/... google/... vllm/... openai-api/...": "every Inspect provider",
}


def show_counts(counts: Mapping[str, Count]) -> None:
    """What each stage did."""
    if not counts:
        console.print("nothing to do: the run is complete")
        return
    table = Table("stage", "rows", "reused", "new", "errors", box=None)
    for stage, count in counts.items():
        table.add_row(stage, *map(str, (count.expected, count.present, count.written, count.errors)))
    console.print(table)
    if any(count.errors for count in counts.values()):
        console.print(
            "Errors are recorded as outcomes. Calls that failed are repeated with --retry-errors; what "
            "cannot be made needs another case, release or study: then --extend."
        )


async def verified(folder: Path, wanted: Wanted) -> Verified:
    """Verify a run with progress bars."""
    from sightline.study.verify.verification import verify

    with terminal_progress() as progress:
        return await verify(folder, wanted, progress)


def show_verification(found: Verified) -> None:
    """Damaged files, success form by form, and where the page lies.

    Raises:
        UsageError: at the end, if an artifact is not what the run recorded.
    """
    from sightline.counting import plural, verb
    from sightline.report import verification

    console.print(literal(verification.files_told(found.inspected)), highlight=False)
    for damage in verification.damages(found.inspected):
        shown = f"{plural(damage.artifacts, 'artifact')}, such as {damage.example}"
        told = f"{damage.fault}: {damage.file}: {damage.what} ({shown}). {damage.cure}"
        console.print(literal(told), highlight=False, soft_wrap=True)
    boards = verification.boards(found)
    for board in (board for board in boards if board.judge == boards[0].judge):
        title = f"{board.title}: {board.measure}"
        table = Table(
            "attack", "form", "success", "", "95 %", "change, points", "minus strongest baseline",
            title=literal(title), title_justify="left", box=None,
        )  # fmt: skip
        for line in board.lines:
            for number, (form, cell) in enumerate(line.shown):
                unscored = f" ({cell.unscored} unscored)" if cell.unscored else ""
                values = (form, cell.count + unscored, cell.text, cell.interval, cell.change, cell.over)
                table.add_row("" if number else literal(line.name), *map(literal, values))
        console.print(table)
    show_counts(found.counts)
    path = verification.write(found)
    console.print(
        f"table: {literal(str(found.table))}\npage: {literal(str(path))}", highlight=False, soft_wrap=True
    )
    damaged = sum(held.faults for held in found.inspected.attacks.values())
    if damaged:
        those = f"{plural(damaged, 'artifact')} {verb(damaged, 'differ')}"
        raise UsageError(f"{found.folder}: {those} from what the run recorded; see above")


def show_plan(
    study: Path, out: Path | None, limit: int | None, retry_errors: bool, quick: bool = False
) -> None:
    """Exact counts of what a run does and of what is already there, without a request to any target."""
    from sightline.report.brief import aligned
    from sightline.run_folder import refuse_other_format
    from sightline.study.plan import plan, planned_lines
    from sightline.study.run import default_folder, open_run
    from sightline.study.training_plan import planned_table, shares

    with tempfile.TemporaryDirectory() as scratch, terminal_progress() as progress:
        session = open_run(study, out=Path(scratch) / "run", limit=limit, progress=progress, quick=quick)
        session.train = False
        session.prepare()
        folder = out if out is not None else default_folder(session.study)
        refuse_other_format(folder)
        found = plan(session.context, folder, retry_errors=retry_errors)
        later = shares(session.context, session.untrained)
        hypothesized = list(planned_lines(session.study.hypothesis, session.context.case_tables))
    say(f"{found.cells:,} cells, {found.cases:,} cases; existing rows: in {folder}")
    rows = [["", "rows", "existing", "to do", "max calls", "max response tokens"]]
    rows += [
        _planned(share) for share in (found.artifacts, *found.asked, *found.targets, *later, *found.judges)
    ]
    for line in (*aligned(rows), *(f"note: {note}" for note in found.notes)):
        say(line)
    for line in (*planned_table(session.untrained), *hypothesized):
        say(line)


def _planned(share: Share) -> list[str]:
    counts = (share.rows, share.there, share.rows - share.there)
    tokens = "unlimited" if share.tokens is None else "" if share.tokens == 0 else f"{share.tokens:,}"
    return [share.name, *(f"{count:,}" for count in counts), f"{share.calls:,}", tokens]


def show_results(session: Run, *, fresh: bool, eval_logs: bool) -> None:
    """The end of a run: the report in brief, where everything lies, and whether it worked.

    Raises:
        UsageError: at the end, if nothing was scored; the message holds the first cause.
    """
    show_report(session.folder, fresh=fresh)
    if eval_logs:
        from sightline.bridge.eval_logs import write_eval_logs

        folder = session.folder / "logs"
        number = len(write_eval_logs(session.folder, folder))
        say(f"{number} logs in {folder}: inspect view --log-dir {folder}")
    found = session.findings()
    if not found.unscored:
        return
    from sightline.report.trust import MUCH_UNSCORED

    share = f"{found.unscored:,} of {found.verdicts:,} verdicts are unscored"
    if found.unscored == found.verdicts:
        cure = found.cure[:1].upper() + found.cure[1:]
        raise UsageError(f"no sample was scored: {share}. First cause: {found.cause}. {cure}")
    if found.unscored > MUCH_UNSCORED * found.verdicts:
        much = f"{share} ({found.unscored / found.verdicts:.0%})"
        say(f"warning: {much}, first cause: {found.cause}; {found.cure}")
    else:
        say(f"{share}, first cause: {found.cause}")


def show_report(folder: Path, *, fresh: bool, redacted: bool = False) -> None:
    """Write the report, unless it is there and as new as the results; show it in brief, and where it lies."""
    from sightline.report.page import BRIEF, REPORT, SHARED

    results, page = folder / "results.parquet", folder / (SHARED if redacted else REPORT)
    paths = (page, folder / BRIEF)
    if fresh or not all(path.exists() and newer(path, results) for path in paths):
        from sightline.report import write

        say("writing report", err=True)
        write(folder, redacted=redacted)
    say((folder / BRIEF).read_text("utf-8"))
    say(f"report: {page}")
    if not redacted:
        say(f"it contains unsafe text (hidden until clicked); to share: sightline report {folder} --redacted")


def newer(path: Path, than: Path) -> bool:
    """Whether a file was written after another."""
    return path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def say(text: str, *, err: bool = False) -> None:
    """A line as it is, however long: no path is cut or wrapped, no character is a command."""
    stream = sys.stderr if err else sys.stdout
    stream.write(printable(text) + "\n")
    stream.flush()


def show_list(what: str) -> None:
    """Names, one-sentence summaries and sources of all methods of a kind (all kinds if '')."""
    plural: dict[str, Kind] = {f"{kind}s": kind for kind in KINDS}
    if what and what not in plural and what != "targets":
        raise UsageError(nearest(what, [*plural, "targets"], "kind to list"))
    if what in ("", "targets"):
        table = Table("target", "what it is", title="targets", title_justify="left", box=None)
        for form, text in TARGET_FORMS.items():
            table.add_row(literal(form), literal(text))
        console.print(table)
        _list_testbed()
    for title, kind in plural.items():
        if what not in ("", title):
            continue
        if kind == "benchmark":
            show_benchmarks(console, count=bool(what))
            continue
        columns = ("name", "what it does", *(("source", "needs") if console.width >= WIDE else ()))
        table = Table(*columns, title=title, title_justify="left", box=None)
        table.columns[0].no_wrap = True
        if kind == "defense":
            table.add_row("none", "The undefended target.")
        for name in registry.names(kind):
            try:
                card = registry.card(kind, name)
            except UsageError as unusable:
                table.add_row(literal(name), f"[red]{literal(str(unusable))}")
                continue
            summary = f"(control) {card.summary}" if card.role == "control" else card.summary
            more = (card.paper or "ours", card.extra)[: len(columns) - 2]
            table.add_row(*map(literal, (name, summary, *more)))
        for clash in registry.clashes(kind):
            told = f"plug-in {clash.module}: ignored, name taken by {clash.owner}"
            table.add_row(literal(clash.name), f"[red]{literal(told)}")
        console.print(table)
    if console.width < WIDE:
        console.print("sources: sightline show NAME, or a wider terminal", markup=False, highlight=False)


def _list_testbed() -> None:
    """The testbed's models that are installed, and how to get the others."""
    from sightline.testbed.smol import places
    from sightline.testbed.weights import HOW_TO_GET, OPTIONAL_MODELS, find, names, roots

    table = Table("model", "what it is", title="testbed models", title_justify="left", box=None)
    for name in names():
        found = find(name)
        about = found.about if "@" in name else f"{found.family}, variant {found.variant}"
        table.add_row(f"testbed/{name}", literal(about))
    console.print(table)
    if len(roots()) == 1:
        others = f"{', '.join(OPTIONAL_MODELS)} and more variants of linear"
        console.print(f"{others}: {HOW_TO_GET}", markup=False, highlight=False)
    real = f"testbed/{places.MODEL}: a real small language model, text alone: {places.GET}"
    console.print(real, markup=False, highlight=False)


def show_model(name: str) -> None:
    """What a testbed model is: architecture, variant, sizes, files, card.

    Args:
        name: such as ``linear`` or ``linear@vit``.

    Raises:
        UsageError: for an unknown name, or one whose package is not installed.
    """
    from sightline.testbed.smol import places
    from sightline.testbed.weights import find

    if places.is_ours(name):
        eyes = "@eyes" in name
        seen = "with eyes; docs/testbed_smol_eyes.md" if eyes else "text alone; docs/testbed_smol.md"
        say(f"testbed/{name} (target): SmolLM2-135M-Instruct, {seen}")
        say(str(places.find(name)))
        return
    found = find(name)
    config = json.loads((found.folder / "config.json").read_text("utf-8"))
    card = found.folder / "CARD.md"
    console.print(f"[bold]testbed/{literal(found.model)}@{literal(found.variant)}[/bold] (target)\n")
    console.print(literal(found.about), highlight=False)
    facts = Table(box=None, show_header=False)
    facts.add_row("architecture", literal(f"{found.family}: {', '.join(config['architectures'])}"))
    facts.add_row("size", literal(", ".join(f"{what} {number}" for what, number in found.size.items())))
    facts.add_row("weights", literal(", ".join(part.path.name for part in found.parts)))
    facts.add_row("measure", literal(f"sightline testbed check {found.model}@{found.variant}"))
    console.print(facts)
    for path in (found.folder, card) if card.is_file() else (found.folder,):
        say(str(path))


def _found(name: str) -> list[Card]:
    kinds: list[Kind] = [kind for kind in KINDS if name in registry.names(kind)]
    if not kinds and name in ("vlm", "testbed", "tuned", "swapped", "defended", "replay", "scripted"):
        raise UsageError(f"{name!r} is a kind of target; see `sightline list targets`")
    if not kinds:
        raise UsageError(nearest(name, {n for kind in KINDS for n in registry.names(kind)}, "method"))
    return [registry.card(kind, name) for kind in kinds]


def show_card(name: str) -> None:
    """Everything a card holds, with the settings and their defaults; `testbed/NAME` is a model."""
    if name.startswith("testbed/"):
        show_model(name.removeprefix("testbed/"))
        return
    for card in _found(name):
        console.print(f"[bold]{literal(card.name)}[/bold] ({card.kind}, version {card.version})\n")
        console.print(literal(card.doc), highlight=False)
        facts = Table(box=None, show_header=False)
        lines = {
            "paper": card.paper,
            "source": card.source,
            "needs": card.extra,
            "judge": card.judge,
            "role": card.role if card.kind in ("attack", "recipe") else "",
            "control of": card.control_of,
            "controls": ", ".join(_controls_of(card)),
            "a control if": " or ".join(f"{key}={v!r}" for key, vs in card.control_when.items() for v in vs),
        }
        for label, value in lines.items():
            if value:
                facts.add_row(label, literal(value))
        if card.threat is not None:
            threat = card.threat
            facts.add_row("attacker", threat.attacker)
            facts.add_row("access", threat.access)
            facts.add_row("oracle", threat.oracle)
            if asked := _asked_by(card):
                facts.add_row("asks", literal(asked))
            facts.add_row("may edit", ", ".join(sorted(threat.may_edit)))
        if card.surrogate:
            facts.add_row("crafted on", "gradients of the local model that a study names by `surrogate:`")
        console.print(facts)
        show_release(console, card)
        settings = Table("setting", "default", title="settings", title_justify="left", box=None)
        for field in dataclasses.fields(card.factory):
            if field.init and field.repr:
                settings.add_row(field.name, literal(_default_of(field)))
        if settings.row_count:
            console.print(settings)
        console.print("preset paper, or default: the defaults above")
        for preset, values in card.presets.items():
            console.print(f"preset {literal(preset)}: {literal(repr(dict(values)))}")


def _default_of(field: dataclasses.Field[Any]) -> str:
    """The default of a setting, as Python writes it."""
    if field.default_factory is not dataclasses.MISSING:
        return repr(field.default_factory())
    return "(required)" if field.default is dataclasses.MISSING else repr(field.default)


def _asked_by(card: Card) -> str:
    """Whom an attack asks while it is crafted, and how often per case at most, with its default settings."""
    from sightline.contracts import converses
    from sightline.study.roles import calls_of

    if card.kind != "attack" or not converses(card.factory):
        return ""
    try:
        calls = calls_of(registry.make("attack", card.name))
    except UsageError:  # it has settings without a default
        return "whom its settings say"
    asked = ", ".join(f"{role} {most}x" for role, most in calls.items())
    return f"{asked} per case at most (a study names them by `roles:`)" if asked else "nobody by default"


def _controls_of(card: Card) -> list[str]:
    """Controls that are about this attack alone, such as its typed twin."""
    found = []
    for name in registry.names("attack") if card.kind == "attack" else ():
        with suppress(UsageError):
            if registry.card("attack", name).control_of == card.name:
                found.append(name)
    return found
