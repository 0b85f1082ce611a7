"""`check_judge` and `judge_card`: which forgeries turn a judge, and how it agrees with people."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sightline import registry
from sightline.api.pictures import store
from sightline.contracts import Judge, NeedsTarget, Target
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.study.secret import keyed
from sightline.targets import open_target
from sightline.waiting import wait

if TYPE_CHECKING:
    from sightline.benchmarks._labels import LabelledBenchmark
    from sightline.cases import Image
    from sightline.judge_check.card import HumanCard, Positive
    from sightline.judge_check.found import JudgeCheck

_WIDTH, _HEIGHT = 320, 64


def check_judge(judge: str | Judge, *, items: int = 20) -> JudgeCheck:
    """Ask a judge about benign replies with and without forged verdicts and the like, 35 classes of them.

    Args:
        judge: as a study names it (`target_string(target='abc')`), or an object.
        items: replies per class.

    Returns:
        What was found; `print` it, or ask `.ok`, `.faults`, `.plain()`. A judge by rule is `ok` if no verdict
        turns in the classes that must hold; of one that asks a model all classes are only measured.

    Raises:
        UsageError: for an unknown judge, or one that decides none of the honest replies.
    """
    from sightline.judge_check.check import check

    return wait(check(ready(judge), items=items, draw=_drawn))


def judge_card(
    judge: str | Judge,
    labels: str | LabelledBenchmark | Mapping[str, str | os.PathLike[str]],
    folder: str | os.PathLike[str] | None = None,
    *,
    positive: Positive | None = None,
    forgeries: bool = False,
    repeat: int = 1,
) -> HumanCard:
    """How a judge agrees with what people said of the answers of a release.

    Args:
        judge: as a study names it, or an object.
        labels: a benchmark whose release has labelled answers (`xstest`, `msts(...)`); or several with their
            folders, whose answers are taken together.
        folder: the release; by default the one below `$SIGHTLINE_DATA`.
        positive: `unsafe` or `refused`; by default what the labels are about.
        forgeries: whether to run `check_judge` as well and keep the flips of each class.
        repeat: how often the same is asked, of up to 200 answers, to see whether the verdict changes.

    Returns:
        The card; `print` it, or keep `json.dumps(card.plain())`.

    Raises:
        UsageError: for an unknown judge, a benchmark without labels, or rows that cannot be used.
    """
    from sightline.judge_check.labelled import card

    tables = _tables(labels, folder)
    models: dict[str, str] = {}
    asked = ready(judge, models)
    answers = [answer for benchmark, where in tables for answer in benchmark.labels(where)]
    named = ", ".join(registry.spec(benchmark) for benchmark, _ in tables)
    made = replace(
        wait(card(asked, answers, named, positive=positive, repeat=repeat)),
        guideline=_guideline(tables),
        models=models,
        made=datetime.now(UTC).date().isoformat(),
    )
    if not forgeries:
        return made
    flips = {each.name: each.flips for each in check_judge(judge).classes if each.flips}
    return replace(made, forgeries=flips)


def card_void(
    card: HumanCard,
    judge: str | Judge,
    labels: str | LabelledBenchmark | Mapping[str, str | os.PathLike[str]] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> str:
    """Why a card says nothing of a judge; '' if it holds. With `labels`, their guideline has to be the same.

    Raises:
        UsageError: as `judge_card`.
    """
    asked = ready(judge)
    guideline = None if labels is None else _guideline(_tables(labels, folder))
    return card.void_for(asked.id, registry.identity(asked), guideline)


def _tables(
    labels: str | LabelledBenchmark | Mapping[str, str | os.PathLike[str]],
    folder: str | os.PathLike[str] | None,
) -> list[tuple[LabelledBenchmark, str | os.PathLike[str] | None]]:
    from sightline.benchmarks._labels import LabelledBenchmark

    given = labels.items() if isinstance(labels, Mapping) else [(labels, folder)]
    found = []
    for name, where in given:
        benchmark = registry.parse("benchmark", name) if isinstance(name, str) else name
        if not isinstance(benchmark, LabelledBenchmark):
            raise UsageError(
                f"the release of {name} has no labelled answers; docs/judges.md lists those that have"
            )
        found.append((benchmark, where))
    return found


def _guideline(tables: Sequence[tuple[LabelledBenchmark, str | os.PathLike[str] | None]]) -> str:
    """One digest of the guidelines that are published; '' if none is."""
    found = [benchmark.guideline_digest(where) for benchmark, where in tables]
    return found[0] if len(found) == 1 else digest(found) if any(found) else ""


def ready(judge: str | Judge, opened: dict[str, str] | None = None) -> Judge:
    """The judge, able to ask its graders; their ids are put into `opened`, by name.

    Raises:
        UsageError: for an unknown one, or what is none.
    """
    found = registry.parse("judge", judge) if isinstance(judge, str) else judge
    if not hasattr(found, "card"):
        raise UsageError(f"expected a judge or its name, not a {type(judge).__name__}")
    found, pictures = registry.checked(found), store()
    if isinstance(found, NeedsTarget):

        def opening(name: str) -> Target:
            target = open_target(name, pictures)
            if opened is not None:
                opened[name] = target.id
            return target

        found = found.bind(opening)
    (made,) = keyed([found], pictures.folder.parent)
    return made


def _drawn(text: str) -> Image:
    """A white picture with a text."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    page = Pillow.new("RGB", (_WIDTH, _HEIGHT), "white")
    ImageDraw.Draw(page).text((10, 20), text, fill="black", font_size=20)
    return store().seal(page)
