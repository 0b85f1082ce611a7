"""Demonstrations before a request: questions with helpful answers, in its text or as turns of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

from sightline.attacks.corpora import read_corpus
from sightline.attacks.templates import asked, filled, shipped
from sightline.cases import Case, Turn
from sightline.errors import UsageError
from sightline.records import Draft
from sightline.rng import numpy_rng

Place = Literal["text", "turns"]
"""Where the demonstrations stand."""
PAIR = "User: {question}\nAssistant: {answer}"
LAST = "User: {goal}\nAssistant:"


class Demonstration(NamedTuple):
    """A question and a helpful answer to it."""

    question: str
    answer: str


class Layout(NamedTuple):
    """How demonstrations and request are written below each other; '' = `PAIR` and `LAST`."""

    pair: str = ""
    last: str = ""


def pool(corpus: str) -> tuple[Demonstration, ...]:
    """The demonstrations of a corpus; of ours if it is ''.

    Raises:
        UsageError: as `read_corpus`, and for a row without a prompt or a reply.
    """
    if not corpus:
        return _ours()
    rows = read_corpus(corpus)
    for number, row in enumerate(rows, start=1):
        if not row.prompt.strip() or not row.reply.strip():
            raise UsageError(
                f"corpus {corpus}: row {number} has no {'reply' if row.prompt.strip() else 'prompt'}; "
                "a demonstration has both"
            )
    return tuple(Demonstration(row.prompt, row.reply) for row in rows)


@cache
def _ours() -> tuple[Demonstration, ...]:
    """Every question of every thing."""
    texts = dict(shipped("demonstrations"))
    things = texts.pop("things")
    return tuple(
        Demonstration(filled(question, thing=thing), filled(answer, thing=thing))
        for thing in things
        for question, answer in texts.values()
    )


def demonstrated(
    name: str, cases: Sequence[Case], seed: int, *, corpus: str, n: int, place: Place, layout: Layout
) -> Iterator[Draft]:
    """One draft per case, behind `n` demonstrations drawn for it by seed, none of them twice.

    Raises:
        UsageError: if there are not enough.
    """
    every = pool(corpus) if cases else ()
    for case in cases:
        goal = asked(case)
        fit = [each for each in every if each.question.strip() != goal.strip()]
        if len(fit) < n:
            raise UsageError(
                f"{name}: {n} demonstrations are wanted for case {case.id}, and {corpus or 'our own corpus'} "
                f"has {len(fit)}; set n lower or name a larger corpus"
            )
        picked = [fit[int(i)] for i in numpy_rng(name, seed, case.id).permutation(len(fit))[:n]]
        note = f"{n} demonstrations"
        if place == "turns":
            before = tuple(Turn("user", (each.question,)) for each in picked)
            yield Draft(case=case, text=goal, before=before, note=f"{note} as turns")
            continue
        blocks = [filled(layout.pair or PAIR, question=each.question, answer=each.answer) for each in picked]
        text = "\n\n".join([*blocks, filled(layout.last or LAST, goal=goal)])
        yield Draft(case=case, text=text, note=note)


def check_layout(name: str, layout: Layout) -> None:
    """Check an own layout.

    Raises:
        UsageError: for one without a slot that it needs.
    """
    needed = {"pair": ("question", "answer"), "last": ("goal",)}
    for setting, slots in needed.items():
        text = getattr(layout, setting)
        for slot in slots:
            if text and f"{{{slot}}}" not in text:
                raise UsageError(f"{name}: `{setting}` has no {{{slot}}}: write it where it is to stand")
