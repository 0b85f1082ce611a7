"""An attack called: its drafts checked, exceptions of its own told with attack, case and place."""

from __future__ import annotations

import errno
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from sightline import registry
from sightline.cases import Case
from sightline.contracts import Attack, Craft
from sightline.errors import ContractError, MethodError, SightlineError
from sightline.records import Draft
from sightline.store import write_atomically

TRACEBACK = "traceback.txt"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def drafts_of(attack: Attack, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
    """What the attack makes of cases: one draft for each, in order.

    Raises:
        ContractError: for another number of drafts, a draft of another case, or one thing for all cases
            from an attack whose cases are cut into shards: each shard would pay for it.
        MethodError: for an exception of the attack's own code.
    """
    name, made = attack.card.name, 0
    for draft in _given(attack, cases, ctx):
        if not isinstance(draft, Draft):
            raise ContractError(
                f"attack {name!r}: craft gave {type(draft).__name__}: yield one Draft per case"
            )
        if made == len(cases) or draft.case.id != cases[made].id:
            raise ContractError(f"attack {name!r} made a draft that no case asked for")
        if draft.shared and attack.card.scope != "universal":
            raise ContractError(
                f"attack {name!r} shows all cases the same thing: register it with scope='universal'"
            )
        made += 1
        yield draft
    if made < len(cases):
        raise ContractError(f"attack {name!r} made {made} drafts for {len(cases)} cases")


def _given(attack: Attack, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
    """What `craft` gives, as it comes."""
    made = 0
    try:
        given = attack.craft(cases, ctx)
        if given is None:
            raise ContractError(f"attack {attack.card.name!r}: craft returned None: yield one Draft per case")
        for draft in given:
            yield draft
            made += 1
    except SightlineError:
        raise
    except Exception as wrong:
        if isinstance(wrong, OSError) and wrong.errno in NO_ROOM:
            raise
        raise method_error(attack, cases[min(made, len(cases) - 1)].id, wrong) from wrong


def method_error(attack: Attack, case: str, wrong: Exception) -> MethodError:
    """What to raise for an exception of an attack's own code, on the case of this id."""
    said = " ".join(registry.told(wrong, anywhere=True).split())
    return MethodError(f"attack {attack.card.name!r}, case {case}: {said}")


def with_traceback(wrong: MethodError, folder: Path) -> MethodError:
    """The same error, its traceback written into a file of the run folder."""
    path = folder / TRACEBACK
    write_atomically(path, "".join(traceback.format_exception(wrong)).encode("utf-8", "replace"))
    return MethodError(f"{wrong}; the traceback is in {path}")
