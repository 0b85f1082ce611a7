"""What a run would do: rows and calls, target by target and judge by judge, and what is already there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from sightline import registry
from sightline.attacks.font_files import find_font
from sightline.cases import Expected
from sightline.contracts import TARGET, CountsCalls, Judge, NeedsTarget, Recalls
from sightline.defending import NeedsHelpers
from sightline.goals import KIND
from sightline.keys import judge_key
from sightline.metrics.power import USUAL, minimal_difference
from sightline.metrics.rates import MEASURES
from sightline.shards import Row
from sightline.study.case_table import CaseTable
from sightline.study.config import NamedAttack
from sightline.study.context import RunContext, StudyTarget
from sightline.study.hypothesis import told
from sightline.study.named import Hypothesis
from sightline.study.roles import calls_of
from sightline.tables import Table, open_tables

FONT_CURES = {"freemono": "on Debian and Ubuntu: apt install fonts-freefont-ttf"}
ONE_CALL_PER_TURN = "a script of several turns takes one call for each turn of an answer"
ANY_FONT = "put the file into ~/.local/share/fonts"


class Share(NamedTuple):
    """Rows of one kind: in all, those that are there, and the calls that the others take at most.

    `tokens` bounds the tokens of their replies; None if the study does not.
    """

    name: str
    rows: int
    there: int
    calls: int = 0
    tokens: int | None = 0


class Plan(NamedTuple):
    """What a run does. `asked`: models that attacks ask while they are crafted, by role.

    `notes`: what a reader should know before it begins.
    """

    cells: int
    cases: int
    artifacts: Share
    targets: tuple[Share, ...]
    judges: tuple[Share, ...]
    asked: tuple[Share, ...]
    notes: tuple[str, ...]


def plan(run: RunContext, folder: Path, *, retry_errors: bool = False) -> Plan:
    """The plan of a prepared run, against what lies in `folder`; nothing is sent and nothing written there.

    With `retry_errors`, answers that ended in an error count as not there, and verdicts on them too.
    """
    asked = _Asked(run, retry_errors)
    with open_tables(folder / "records", "craft", "answer", "judge") as (crafted, answered, judged):
        there, roles = _crafting(run, crafted)
        for target in run.targets:
            asked.count(target, answered, judged)
    samples = run.answers
    return Plan(
        cells=sum(len(list(run.cells(target))) for target in run.targets),
        cases=sum(sum(case_table.expected.values()) for case_table in run.case_tables),
        artifacts=Share("artifacts", run.artifacts, there),
        targets=(*asked.targets.values(), *asked.helpers.values()),
        judges=tuple(
            Share(f"judge {name}", samples, found, grader_calls(judge) * (samples - found))
            for judge, name, found in zip(run.judges, _judge_names(run), asked.verdicts, strict=True)
        ),
        asked=roles,
        notes=(*font_notes(run.study.attacks), *([ONE_CALL_PER_TURN] if roles else [])),
    )


def _crafting(run: RunContext, crafted: Table) -> tuple[int, tuple[Share, ...]]:
    """Artifacts that are there, and the models that are asked for the others: one share for each role."""
    there, shares = 0, dict[str, Share]()
    for case_table, column in run.cells():
        rows = missing = 0
        for keys in map(column.keys, run.case_rows(case_table, column)):
            rows += len(keys)
            missing += len(crafted.missing(keys))
        there += rows - missing
        named = column.named
        for role, most in calls_of(named.attack).items():
            name = f"{role} {named.talks_to if role == TARGET else named.roles[role]} (crafting)"
            before = shares.get(name, Share(name, 0, 0))
            calls = before.calls + missing * most
            shares[name] = Share(name, before.rows + rows, before.there + rows - missing, calls)
    return there, tuple(shares.values())


def grader_calls(judge: Judge) -> int:
    """Calls that one verdict takes, at most."""
    return judge.calls if isinstance(judge, CountsCalls) else int(isinstance(judge, NeedsTarget))


class _Asked:
    """Counts answers and verdicts as one target after the other is looked up."""

    def __init__(self, run: RunContext, retry_errors: bool) -> None:
        self.targets: dict[str, Share] = {}
        self.helpers: dict[str, Share] = {}
        self.verdicts = [0] * len(run.judges)
        self._run, self._retry_errors = run, retry_errors
        self._judges = [(judge.id, registry.identity(judge)) for judge in run.judges]

    def count(self, asked: StudyTarget, answered: Table, judged: Table) -> None:
        """Add what a defended target has answered, and what was judged of it."""
        name, rows, there = asked.name, 0, 0
        for artifacts in self._run.artifact_keys(asked):
            for epoch in range(self._run.study.epochs):
                keys = self._run.answer_keys(artifacts, asked.target, epoch)
                found = [row for row in answered.rows(keys) if row is not None]
                if self._retry_errors:
                    found = [row for row in found if row["stop"] != "error"]
                rows += len(keys)
                there += len(found)
                self._count_verdicts(found, judged)
        each = 0 if isinstance(asked.target, Recalls) else asked.defense.calls
        calls, most = (rows - there) * each, self._run.study.decoding.max_tokens if each else 0
        before = self.targets.get(name, Share(name, 0, 0))
        self.targets[name] = Share(
            name,
            before.rows + rows,
            before.there + there,
            before.calls + calls,
            None if most is None else (before.tokens or 0) + calls * most,
        )

        if calls and (helping := asked.defense.helper_calls):
            models = {
                name
                for each in asked.defense.stack
                if isinstance(each, NeedsHelpers)
                for name in each.helpers.values()
            }
            name = f"helpers of {asked.defense.label}: {', '.join(sorted(models))}"
            before = self.helpers.get(name, Share(name, 0, 0))
            more = before.calls + (rows - there) * helping
            self.helpers[name] = Share(name, before.rows + rows, before.there + there, more)

    def _count_verdicts(self, found: Sequence[Row], judged: Table) -> None:
        for number, (judge, identity) in enumerate(self._judges):
            keys = [judge_key(row["key"], row["hash"], judge, identity) for row in found]
            self.verdicts[number] += len(keys) - len(judged.missing(keys))


def font_notes(attacks: Sequence[NamedAttack]) -> list[str]:
    """Fonts that attacks ask for and this machine lacks: what is drawn with instead, and the cure."""
    wanted: dict[str, list[str]] = {}
    for named in attacks:
        for field in fields(named.attack):  # type: ignore[arg-type]  # methods are dataclasses
            value = getattr(named.attack, field.name)
            if isinstance(value, str) and value.lower().endswith((".ttf", ".otf", ".ttc")):
                wanted.setdefault(value, []).append(named.label)
    found = []
    for font, labels in wanted.items():
        drawn = find_font(font).path.name
        if drawn.lower() != font.lower():
            cures = (how for start, how in FONT_CURES.items() if font.lower().startswith(start))
            what = f"{font} is not installed here, pages are drawn with {drawn}"
            found.append(f"{', '.join(labels)}: {what}; {next(cures, ANY_FONT)}")
    return found


def planned_lines(found: Hypothesis | None, case_tables: Sequence[CaseTable]) -> Iterator[str]:
    """For a dry run: the hypothesis, and which differences the study's groups can show."""
    if found is None:
        return
    kind = MEASURES[found.primary].expected
    wanted = [kind.value] if kind is not None else [each.value for each in Expected]
    tables = [each for each in case_tables if not found.benchmark or each.source.label == found.benchmark]
    table = next((each for each in tables if any(each.expected.get(one) for one in wanted)), None)
    if table is None:
        yield f"hypothesis: {told(found)}: no case of the study is of its kind ({', '.join(wanted)})"
        return
    rows = [row for row in table.rows() if row["expected"] in wanted]
    if found.primary == "attacker_goal" and not any(KIND in row.get("wordings", {}) for row in rows):
        yield (
            f"hypothesis: {told(found)}: no case of {table.source.label} holds an attacker's goal, so only a "
            "judge with a goal of its own (its target) scores any; the figure is for such a judge alone"
        )
    groups = len({row["group"] for row in rows})
    least = minimal_difference(groups)
    yield (
        f"hypothesis: {told(found)}. {groups} groups of {table.source.label} show differences from "
        f"{100 * least:.0f} points (two-sided .05, power .8, {USUAL:.0%} of the groups discordant); "
        f"planned for {100 * found.mde:.0f}"
    )
    if found.mde < least:
        yield "hypothesis: that is too small a study for what it is planned for: take more groups"


def _judge_names(run: RunContext) -> list[str]:
    """Methods of judges; of several by one method, with their settings."""
    names = [judge.card.name for judge in run.judges]
    return [
        name if names.count(name) == 1 else registry.spec(judge)
        for judge, name in zip(run.judges, names, strict=True)
    ]
