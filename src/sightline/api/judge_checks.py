"""`check_judge` and `judge_card`: which forgeries turn a judge, and how it agrees with people."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from sightline import registry
from sightline.api.pictures import store
from sightline.contracts import Judge, NeedsTarget
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
    labels: str | LabelledBenchmark,
    folder: str | os.PathLike[str] | None = None,
    *,
    positive: Positive | None = None,
    forgeries: bool = False,
) -> HumanCard:
    """How a judge agrees with what people said of the answers of a release.

    Args:
        judge: as a study names it, or an object.
        labels: a benchmark whose release has labelled answers (`xstest`, `msts(...)`).
        folder: the release; by default the one below `$SIGHTLINE_DATA`.
        positive: `unsafe` or `refused`; by default what the labels are about.
        forgeries: whether to run `check_judge` as well and keep the flips of each class.

    Returns:
        The card; `print` it, or keep `json.dumps(card.plain())`.

    Raises:
        UsageError: for an unknown judge, a benchmark without labels, or rows that cannot be used.
    """
    from sightline.benchmarks._labels import LabelledBenchmark
    from sightline.judge_check.labelled import card

    found = registry.parse("benchmark", labels) if isinstance(labels, str) else labels
    if not isinstance(found, LabelledBenchmark):
        raise UsageError(
            f"the release of {labels} has no labelled answers; docs/judges.md lists those that have"
        )
    asked, answers = ready(judge), found.labels(folder)
    made = wait(card(asked, answers, registry.spec(found), positive=positive))
    if not forgeries:
        return made
    flips = {each.name: each.flips for each in check_judge(judge).classes if each.flips}
    return replace(made, forgeries=flips)


def ready(judge: str | Judge) -> Judge:
    """The judge, able to ask its graders.

    Raises:
        UsageError: for an unknown one, or what is none.
    """
    found = registry.parse("judge", judge) if isinstance(judge, str) else judge
    if not hasattr(found, "card"):
        raise UsageError(f"expected a judge or its name, not a {type(judge).__name__}")
    found, pictures = registry.checked(found), store()
    if isinstance(found, NeedsTarget):
        found = found.bind(lambda name: open_target(name, pictures))
    (made,) = keyed([found], pictures.folder.parent)
    return made


def _drawn(text: str) -> Image:
    """A white picture with a text."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    page = Pillow.new("RGB", (_WIDTH, _HEIGHT), "white")
    ImageDraw.Draw(page).text((10, 20), text, fill="black", font_size=20)
    return store().seal(page)
