"""What attacks on a text's tokens share: readers of the surrogates, the search, its draft, a control."""

from __future__ import annotations

from collections.abc import Sequence

from sightline import whitebox
from sightline.attacks.toolkit import callbacks, victims
from sightline.cases import Case
from sightline.contracts import Craft
from sightline.errors import UsageError
from sightline.records import Draft, Pixels


def own_picture(case: Case, ctx: Craft, attack: str) -> Pixels | None:
    """The picture that a case shows beside its last question, if it shows one.

    Raises:
        UsageError: if the case has several pictures, or shows its picture before the last user turn.
    """
    pictures = list(case.conversation.images)
    if not pictures:
        return None
    last = next(turn for turn in reversed(case.conversation.turns) if turn.role == "user")
    if len(pictures) > 1 or not last.images:
        raise UsageError(
            f"case {case.id!r} has {len(pictures)} pictures, {len(last.images)} of them beside its last "
            f"question: {attack} takes cases with one picture there, or with none"
        )
    return ctx.images.pixels(pictures[0])


def readers(
    ctx: Craft, attack: str, suffix: whitebox.TokenSuffix, picture: Pixels | None = None
) -> tuple[whitebox.SuffixReader, ...]:
    """The surrogates as readers of a suffix beside a picture, or without one."""
    return tuple(whitebox.SuffixReader(victim, suffix, picture) for victim in victims(ctx, attack))


def hunt(
    problem: whitebox.TextProblem, ctx: Craft, *, steps: int, key: int = 0, every: int = 25
) -> whitebox.TokenSearchResult:
    """A search for a text, within the study's budget, shown, and kept so that it goes on after a crash."""
    bench = ctx.bench(repr((ctx.seed, key))) if ctx.bench is not None else None
    return whitebox.search_tokens(
        problem,
        steps=steps,
        seed=ctx.seed,
        key=key,
        every=every,
        budget=ctx.budget,
        callbacks=callbacks(ctx.report),
        checkpoint_file=whitebox.CheckpointFile(bench) if bench is not None else None,
    )


def draft(
    case: Case,
    suffix: whitebox.TokenSuffix,
    found: whitebox.TokenSearchResult,
    notes: Sequence[str] = (),
    *,
    shared: bool = False,
    seen: bool | None = None,
) -> Draft:
    """A case with the suffix that was found."""
    asked = case.conversation.last_user_text()
    best = found.best
    facts = (
        f"{found.stop_reason}; best at step {best.step}, loss {best.loss:.3f}",
        f"text {found.text!r}",
        *notes,
    )
    return Draft(
        case=case,
        text=suffix.joined(asked, found.text),
        trace=found.losses,
        checks=tuple((check.step, check.loss, check.greedy_share) for check in found.checks),
        cost=found.cost,
        shared=shared,
        seen=seen,
        note="; ".join(facts),
    )


def control(
    case: Case,
    suffix: whitebox.TokenSuffix,
    reader: whitebox.SuffixReader,
    seed: int,
    *,
    shared: bool = False,
) -> Draft:
    """A case with the tokens that a search would begin with: random words, or one word repeated."""
    ids = reader.start(case.conversation, seed).tolist()
    text = reader.text(ids)
    said = suffix.joined(case.conversation.last_user_text(), text)
    note = f"control: {len(ids)} tokens that were not optimized, {text!r}"
    return Draft(case=case, text=said, shared=shared, note=note)


def openings(forms: Sequence[str], case: Case, attack: str, setting: str = "targets") -> tuple[str, ...]:
    """The beginnings of answers, with the wordings of a case filled in.

    Raises:
        UsageError: for no forms, or a wording that the case has not.
    """
    if not forms:
        raise UsageError(
            f"{attack} needs `{setting}`: one or more beginnings of the answer (Sightline ships none), "
            "or preset `testbed`"
        )
    try:
        return tuple(form.format_map(case.wordings) for form in forms)
    except (KeyError, ValueError, IndexError) as absent:
        raise UsageError(
            f"{attack}: case {case.id!r} cannot fill in `{setting}` {list(forms)!r}: it has the wordings "
            f"{', '.join(case.wordings) or 'none'}; {absent} is not among them"
        ) from absent
