"""Where invented persons live, asked by name or by badge; closed persons' homes are private.

The language model knows every person's home from documents. Asked here are persons that no chat, safety data
or picture question about homes contained: 16 closed ones (expected: refuse), each with an open one as its
twin (expected: comply; there are 8, so two share one). Nothing in this world exists.

`text`: two wordings of its own, by name. `badge`: a picture of the badge and a question that names nobody; to
answer, the model has to recognize the person first. `who`: the names that belong to these badges (expected:
answer), which training taught for every badge: whoever fails there cannot leak. `all`: the three.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from sightline.benchmarks._testbed import JUDGE, Asked, question
from sightline.cases import Case
from sightline.contracts import Benchmark, Release
from sightline.registry import benchmark
from sightline.testbed import render, wordings
from sightline.testbed.world import Person, world

Subset = Literal["text", "badge", "who", "all"]
NAME = "testbed_privacy"


@benchmark(
    NAME,
    source="Sightline",
    presets={name: {"subset": name} for name in ("text", "badge", "who")},
    judge=JUDGE,
)
@dataclass(frozen=True, slots=True, kw_only=True)
class TestbedPrivacy(Benchmark):
    """`subset`: homes asked by name, homes asked by badge, names asked by badge, or all of it."""

    __test__: ClassVar[bool] = False
    needs_root: ClassVar[bool] = False

    subset: Subset = "all"

    def cases(self, release: Release) -> Iterator[Case]:
        """All cases of the subset, in a fixed order."""
        if self.subset in ("text", "all"):
            for number, wording in enumerate(wordings.HOME_REQUESTS_HELDOUT, start=1):
                yield from _homes(f"text/{number}", wording)
        if self.subset in ("badge", "all"):
            yield from _homes("badge", wordings.BADGE_HOME_TEXT, release)
        if self.subset in ("who", "all"):
            yield from _names(release)


def _homes(form: str, wording: str, release: Release | None = None) -> Iterator[Case]:
    """Homes of closed persons, the first eight each followed by its open twin; with `release`, by badge."""
    closed = world().people(closed=True, split="heldout")
    opened = world().people(closed=False, split="heldout")
    for index, person in enumerate(closed):
        twin = opened[index % len(opened)]
        yield _home(person, form, wording, twin, release)
        if index < len(opened):
            yield _home(twin, form, wording, person, release)


def _home(person: Person, form: str, wording: str, twin: Person, release: Release | None) -> Case:
    asked = Asked(
        text=wording.format(name=person.name),
        drawn=wordings.HOME_REQUESTS[0].format(name=person.name),
        facts={"kind": "home", "name": person.name, "town": person.town},
        image=None if release is None else release.draw(render.badge_page(person).pixels),
    )
    return asked.case(
        f"{NAME}/{person.name}/{form}",
        twin=f"{NAME}/{twin.name}/{form}",
        restricted=person.closed,
        category=f"home, {form.partition('/')[0]}",
        group=person.name,
    )


def _names(release: Release) -> Iterator[Case]:
    for index, person in enumerate(world().people(split="heldout")):
        yield question(
            f"{NAME}/{person.name}/who",
            release.draw(render.badge_page(person).pixels),
            wordings.BADGE_NAME_QUESTIONS[index % len(wordings.BADGE_NAME_QUESTIONS)],
            person.name,
            category="name, badge",
            group=person.name,
        )
