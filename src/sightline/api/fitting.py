"""Let a defense learn from cases, and keep what it learned in a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from sightline import registry
from sightline.api.attacking import Result
from sightline.api.models import Model, decoding_of, opened
from sightline.api.reading import read
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Defense
from sightline.defending import Defending, LooksInside, NeedsInside, not_inside
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.fitting import Example, Fits, Fitting, State, used_cases, write_state
from sightline.plain import case_of, plain_case
from sightline.store import refuse_unwritable
from sightline.targets import open_target
from sightline.targets._behind import Behind, seed_for
from sightline.targets.defended import Unrecorded
from sightline.untrusted import sanitized_row
from sightline.waiting import wait

LEARNED_FROM = frozenset({Expected.refuse, Expected.comply, Expected.answer})
"""Expectations that say whether a case is harmful."""


def fit(
    defense: Defense, model: Model | str, cases: Sequence[Case | Result], out: str | os.PathLike[str]
) -> State:
    """See `Fits.fit`."""
    defense = registry.checked(defense)
    if not isinstance(defense, Fits):
        raise UsageError(f"defense {defense.card.name!r} learns nothing: use it as it is")
    refuse_unwritable(Path(out))
    asked = opened(model)
    target, name = asked.target, asked.name
    if isinstance(defense, NeedsInside) and defense.looks_inside and not isinstance(target, LooksInside):
        raise UsageError(not_inside(defense.card.name, name))
    examples = examples_of(cases)
    opener = partial(open_target, images=asked.pictures)
    helpers = {role: opener(each) for role, each in getattr(defense, "helpers", {}).items() if each}
    decoding = decoding_of(name, {})

    def defending(conversation: Conversation) -> Defending:
        return Defending(
            images=asked.pictures,
            seed=seed_for(decoding, conversation),
            answers=Behind(target, helpers, decoding, Unrecorded(), defense.card.name),
            looks=target if isinstance(target, LooksInside) else None,
            target=name,
            defense=defense.card.name,
        )

    learned = wait(defense.learn(examples, Fitting(target=target, defending=defending, open_target=opener)))
    settings = {name: getattr(defense, name) for name in defense.LEARNED_WITH}
    if settings:
        learned = replace(learned, facts={**learned.facts, "settings": settings})
    return write_state(Path(out), defense.card.name, target.id, learned, used_cases(examples))


def examples_of(cases: Iterable[Case | Result]) -> list[Example]:
    """Cases as examples; those whose expectation says nothing of harm, or that have a problem, are left out.

    Raises:
        UsageError: for what is no case, or if none is left.
    """
    found = []
    for each in cases:
        case = each.case if isinstance(each, Result) else each
        if not isinstance(case, Case):
            raise UsageError(f"{type(each).__name__} is no case: give an sl.Case or the Result of an attack")
        problem = case.problem or (each.problem if isinstance(each, Result) else None)
        if case.expected not in LEARNED_FROM or problem is not None:
            continue
        if isinstance(each, Result) and each.follow_ups:
            raise UsageError(f"case {case.id}: a script of several turns is nothing to learn from")
        clean = case_of(sanitized_row(plain_case(case)))
        found.append(Example(clean, each.conversation if isinstance(each, Result) else clean.conversation))
    if not found:
        raise UsageError("no case to learn from: all have another expectation than refuse, comply or answer")
    return found


def part_of(cases: Sequence[Case], share: float) -> list[Case]:
    """The cases of a share of the groups, by digest of the group; the others stay new.

    Raises:
        UsageError: for a share that is none.
    """
    if not 0 < share <= 1:
        raise UsageError(f"--share {share}: write a number above 0, at most 1")
    groups = {(case.expected, case.group) for case in cases}
    kept: set[tuple[Expected, str]] = set()
    for expected in Expected:
        names = sorted((group for each, group in groups if each is expected), key=digest)
        kept |= {(expected, group) for group in names[: round(share * len(names))]}
    return [case for case in cases if (case.expected, case.group) in kept]


def learn_from(
    defense: str,
    target: str,
    benchmarks: Sequence[tuple[str, str | None]],
    out: str | os.PathLike[str],
    *,
    attacks: Sequence[str] = (),
    share: float = 1.0,
    limit: int | None = None,
    plain: bool = True,
) -> State:
    """`sightline fit`: the cases of benchmarks, plain and as attacks draw them.

    Args:
        defense: with its settings.
        target: a target string.
        benchmarks: each with its folder or file; None for those that find or need none.
        out: the file to write.
        attacks: that need no model: each case is also shown as they draw it.
        share: of the groups; the rows of the others stay new.
        limit: at most so many cases of each benchmark, taken before the share.
        plain: whether cases are also shown as they are.

    Raises:
        UsageError: naming what cannot be used.
    """
    made = registry.parse("defense", defense)
    refuse_unwritable(Path(out))
    model = opened(target)
    cases: list[Case | Result] = []
    for name, root in benchmarks:
        found = read(registry.parse("benchmark", name), root, limit=limit, folder=model.pictures.folder)
        used = [case for case in part_of(found, share) if case.problem is None]
        cases += used if plain else []
        for text in attacks:
            asked = [case for case in used if case.expected in (Expected.refuse, Expected.comply)]
            method = registry.parse("attack", text)
            results = method(None, asked, folder=model.pictures.folder, quiet=True)
            cases += [each for each in results if each.problem is None]
    return fit(made, model, cases, out)


def told(state: State) -> str:
    """What was learned, from what, and how to use it."""
    lines = [*state.told, f"learned from {len(state.cases):,} cases on {state.target.partition('#')[0]}"]
    lines.append(f"{state.path} ({state.digest[:16]}): use it as `state: {state.path}` of {state.defense}")
    return "\n".join(lines)
