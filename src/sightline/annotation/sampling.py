"""What `sightline annotate RUN sample` does: a first plan, more items, or another round of the same ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from sightline.annotation.drawing import Asked, Drawing, Wanted, draw_plan, extend_plan, next_round
from sightline.annotation.guideline import (
    guideline_digest,
    no_contact,
    read_guideline,
    without_contact,
    write_guideline,
)
from sightline.annotation.plan import FOLDER, PLAN, Plan, read_plan, write_plan
from sightline.annotation.questions import (
    DEFAULT,
    chosen_questions,
    questions_digest,
    read_questions,
    write_questions,
)
from sightline.annotation.secret import open_secret
from sightline.documents import read_text
from sightline.errors import UsageError
from sightline.run_folder import read_lock


def sample(
    run: Path, wanted: Wanted, questions: Sequence[str] = DEFAULT, guideline: Path | None = None
) -> Drawing:
    """Draw the first plan of a run and write it, with its guideline and its questions.

    Raises:
        UsageError: if there is a plan, or as `draw_plan`.
    """
    folder = run / FOLDER
    read_lock(run)
    if (folder / PLAN).exists():
        raise UsageError(
            f"{folder / PLAN} is there already: --more N adds items, --round N asks them all again, and a "
            "plan of its own needs the folder moved away, with all answers"
        )
    chosen = chosen_questions(questions).values()
    name = open_secret(folder).name
    drawing = draw_plan(run, wanted, Asked("", questions_digest(chosen)), name)
    asked = Asked(write_guideline(folder, guideline), write_questions(folder, questions))
    header = replace(drawing.plan.header, guideline=asked.guideline, questions=asked.questions)
    plan = replace(drawing.plan, headers=(header,))
    write_plan(folder, plan)
    notes = drawing.notes
    if without_contact(read_guideline(folder)):
        notes += (no_contact(folder, header.round),)
    return Drawing(plan, notes)


def sample_more(run: Path, wanted: Wanted, raters: Sequence[str] | None = None) -> Drawing:
    """Add a phase of `wanted.n` items to the plan; its raters are those of the last phase, if none are named.

    Raises:
        UsageError: if guideline or questions were changed within the round, or as `extend_plan`.
    """
    folder = run / FOLDER
    plan = read_plan(folder)
    asked = _asked(folder, plan.header.round)
    if (asked.guideline, asked.questions) != (plan.header.guideline, plan.header.questions):
        raise UsageError(
            f"{folder}: guideline.md or questions.yaml is not that of round {plan.header.round}: restore it, "
            f"or ask all items again under the new one with --round {plan.header.round + 1}"
        )
    wanted = replace(wanted, raters=tuple(raters or plan.header.raters))
    drawing = extend_plan(run, plan, wanted, open_secret(folder).name)
    write_plan(folder, drawing.plan)
    return drawing


def sample_again(
    run: Path, number: int, questions: Sequence[str] | None = None, guideline: Path | None = None
) -> Plan:
    """Start another round: all items are asked again, under a guideline or questions that have changed.

    Raises:
        UsageError: if the round is not the next one, or nothing has changed.
    """
    folder = run / FOLDER
    plan = read_plan(folder)
    asked = _asked(folder, number)
    if guideline is not None:
        asked = asked._replace(guideline=guideline_digest(read_text(guideline)))
    if questions is not None:
        asked = asked._replace(questions=questions_digest(chosen_questions(questions).values()))
    found = next_round(plan, asked)
    if guideline is not None:
        write_guideline(folder, guideline)
    if questions is not None:
        write_questions(folder, questions)
    write_plan(folder, found)
    return found


def _asked(folder: Path, round_: int) -> Asked:
    return Asked(
        guideline_digest(read_guideline(folder)), questions_digest(read_questions(folder).values()), round_
    )


def plan_lines(drawing: Drawing) -> Iterator[str]:
    """What was drawn, stratum by stratum, for the coordinator."""
    plan = drawing.plan
    header = plan.header
    drawn = [each for each in plan.items.values() if each.kind == "sample"]
    by_stratum = Counter(each.stratum for each in drawn)
    samples = sum(header.rows.values())
    yield (
        f"{len(drawn):,} of {sum(header.population.values()):,} different replies ({samples:,} samples), "
        f"in {len(header.population):,} strata:"
    )
    width = max(map(len, header.names.values()), default=0)
    for key, name in sorted(header.names.items(), key=lambda pair: pair[1]):
        yield f"  {name:<{width}}  {by_stratum[key]:>5,} of {header.population[key]:,}"
    for rater in header.raters:
        yield f"{rater}: {len(plan.places(rater)):,} to read, repeats and items of known truth included"
    for note in drawing.notes:
        yield f"note: {note}"
