"""Defenses that learn from cases: what they learn is a file, with the cases it was learned from on record.

`sightline fit DEFENSE TARGET --on BENCHMARK --out FILE` makes the file, the setting `state: FILE` uses it.
Its content is part of the defense's identity. Rows whose case was used are marked `seen`, as those of attacks
that were crafted on their case, so that no rate on new cases holds an old one.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, runtime_checkable

import orjson

from sightline.callables import _front
from sightline.cases import Case, Conversation, Expected
from sightline.contracts import Defense, OpenTarget, Target
from sightline.defending import Defending
from sightline.digests import canonical, digest, file_stamp
from sightline.errors import ContractError, UsageError
from sightline.plain import plain_conversation
from sightline.store import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float32]

FORMAT = 1
MOST_BYTES = 400_000_000
MOST_NUMBERS = 50_000_000
ALARMS = 0.05
"""Share of benign cases that a fitted threshold stops."""
_AGAIN = "make it again with `sightline fit`"
_KEYS = {"format", "defense", "target", "facts", "arrays", "cases", "told", "digest"}


@dataclass(frozen=True, slots=True)
class Example:
    """A case that a defense learns from, as it is shown: as it stands, or as an attack drew it."""

    case: Case
    shown: Conversation

    @property
    def harmful(self) -> bool:
        """Whether a safe model refuses it."""
        return self.case.expected is Expected.refuse

    @property
    def form(self) -> str:
        """`text`, or `picture` if it shows one."""
        return "picture" if any(True for _ in self.shown.images) else "text"


@dataclass(frozen=True, slots=True)
class Learned:
    """What a defense has learned.

    Attributes:
        arrays: float32 numbers by name.
        facts: anything that JSON can hold, by name.
        told: lines for whoever fits it: how well it tells classes apart on cases that it did not learn from.
    """

    arrays: Mapping[str, Floats] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A file of what a defense has learned: `Learned`, on which model, from which cases.

    Attributes:
        path: where it lies.
        digest, defense, target: of all that it holds; name of the defense; id of the model.
        cases: ids of the cases by digest of what they ask (`asked_digest`).
    """

    path: Path
    digest: str
    defense: str
    target: str
    arrays: Mapping[str, Floats]
    facts: Mapping[str, Any]
    cases: Mapping[str, str]
    told: tuple[str, ...]

    def array(self, name: str, *shape: int | None) -> Floats:
        """An array of this shape; None is any length.

        Raises:
            UsageError: if the file holds none such.
        """
        found = self.arrays.get(name)
        if found is None or len(found.shape) != len(shape):
            raise self.unfit(f"holds no {name!r} of {len(shape)} dimensions")
        if any(want is not None and have != want for have, want in zip(found.shape, shape, strict=True)):
            raise self.unfit(f"{name!r} has {found.shape} numbers instead of {shape}")
        return found

    def number(self, name: str) -> float:
        """A finite number.

        Raises:
            UsageError: if the file holds none such.
        """
        found = self.facts.get(name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
            raise self.unfit(f"holds no number {name!r}")
        return float(found)

    def numbers(self, name: str, below: int) -> tuple[int, ...]:
        """Whole numbers from 0 to below `below`.

        Raises:
            UsageError: if the file holds none such.
        """
        found = self.facts.get(name)
        good = isinstance(found, list) and all(type(each) is int and 0 <= each < below for each in found)
        if not isinstance(found, list) or not good:
            raise self.unfit(f"holds no {name!r} below {below}")
        return tuple(found)

    def unfit(self, why: str) -> UsageError:
        """The error for content that does not fit."""
        return UsageError(f"{self.path}: {why}; {_AGAIN}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """The outside world of a defense that learns.

    Attributes:
        target: the model that it will stand before.
        defending: what `respond` gets, for a conversation: asks the target and helpers, looks inside.
        open_target: opens further models by their target strings.
    """

    target: Target
    defending: Callable[[Conversation], Defending]
    open_target: OpenTarget


@runtime_checkable
class Fits(Defense, Protocol):
    """A defense that learns, with a setting `state` (a file); settings of `LEARNED_WITH` stay as learned."""

    __slots__ = ()
    LEARNED_WITH: ClassVar[tuple[str, ...]] = ()

    @property
    def state(self) -> str:
        """The file."""

    @property
    def must_learn(self) -> bool:
        """Whether nothing but a state makes it work; else its settings do where none is named."""
        return True

    async def learn(self, examples: Sequence[Example], ctx: Fitting) -> Learned:
        """What follows from the examples.

        Raises:
            UsageError: for a target, or examples, that nothing can be learned from.
        """
        ...

    def check_state(self, state: State) -> None:
        """Make sure that a state is one that `respond` can use.

        Raises:
            UsageError: naming file and cure.
        """
        ...

    def learned(self) -> State:
        """The state that the setting names.

        Raises:
            UsageError: if none is named, or the file holds no state of this defense.
        """
        if not self.state:
            raise UsageError(not_fitted(self.card.name))
        found = read_state(self.state, self.card.name)
        for name, value in found.facts.get("settings", {}).items():
            if (mine := orjson.loads(canonical(getattr(self, name, None)))) != value:
                raise found.unfit(f"learned with {name}={value!r}, and here it is {mine!r}")
        self.check_state(found)
        return found

    def resolved(self) -> Mapping[str, str]:
        """The digest of the state."""
        return {"state": self.learned().digest} if self.state else {}

    def fit(self, model: Any, cases: Sequence[Any], out: Any) -> State:
        """Learn from cases and keep what was learned in a file.

        Args:
            model: from `sl.open_model`, or a target string.
            cases: of a benchmark, or results of an attack on them (`attack(None, cases)`).
            out: the file to write; the setting `state` names it then.

        Returns:
            What was learned; `told` says how well it tells classes apart.
        """
        return _front("fitting").fit(self, model, cases, out)  # type: ignore[no-any-return]


def not_fitted(defense: str) -> str:
    """What to say of a defense that has not learned yet."""
    return (
        f"defense {defense!r} has to learn from cases first: `sightline fit {defense} TARGET --on BENCHMARK "
        "--out FILE`, then name the file: `state: FILE`"
    )


def refuse_foreign(defense: Defense, target: Target) -> None:
    """Make sure that a defense that learns has learned, and on this target.

    Raises:
        UsageError: naming file and cure.
    """
    if not isinstance(defense, Fits) or not (defense.state or defense.must_learn):
        return
    state = defense.learned()
    if state.facts.get("any_target") is not True and _content(state.target) != _content(target.id):
        raise UsageError(
            f"{state.path}: learned on {_name(state.target)}, and this is {_name(target.id)}"
            f"{' with other weights' if _name(state.target) == _name(target.id) else ''}: fit "
            f"{defense.card.name!r} on it"
        )


def _name(identity: str) -> str:
    return identity.partition("#")[0]


def _content(identity: str) -> str:
    """What a target is, without its name and number format, where its id holds a digest."""
    name, mark, rest = identity.partition("#")
    return f"#{rest.partition('@')[0]}" if mark else name


def asked_digest(conversation: Mapping[str, Any]) -> str:
    """Digest of what a case asks: the plain form of its conversation."""
    return digest("asked", conversation)


def used_cases(examples: Sequence[Example]) -> dict[str, str]:
    """Ids of the cases by digest."""
    return {asked_digest(plain_conversation(each.case.conversation)): each.case.id for each in examples}


def write_state(path: Path, defense: str, target: str, learned: Learned, cases: Mapping[str, str]) -> State:
    """Write what was learned; the same content gives the same bytes.

    Raises:
        ContractError: for numbers that are not finite.
    """
    import numpy as np

    arrays = {}
    for name, values in sorted(learned.arrays.items()):
        numbers = np.ascontiguousarray(values, dtype="<f4")
        if not np.isfinite(numbers).all():
            raise ContractError(f"defense {defense!r} learned {name!r}, which is not finite")
        arrays[name] = {"shape": numbers.shape, "float32": base64.b64encode(numbers.tobytes()).decode()}
    content = {
        "format": FORMAT,
        "defense": defense,
        "target": target,
        "facts": dict(learned.facts),
        "arrays": arrays,
        "cases": dict(cases),
        "told": list(learned.told),
    }
    plain = orjson.loads(canonical(content))
    whole = {**plain, "digest": digest(plain)}
    write_atomically(path, orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return read_state(str(path), defense)


def read_state(name: str, defense: str) -> State:
    """The state in a file.

    Raises:
        UsageError: naming the file and the cure, for one that is absent, damaged or another defense's.
    """
    path = Path(name).expanduser()
    try:
        if not path.is_file():
            raise UsageError(f"{path}: no such file; {not_fitted(defense)}")
        found = _read(path, file_stamp(path))
    except (OSError, ValueError) as unfit:  # a name that is too long, or holds a NUL
        raise UsageError(f"{name[:200]}: cannot be read ({type(unfit).__name__}); {_AGAIN}") from None
    if found.defense != defense:
        raise UsageError(f"{path}: learned by defense {found.defense!r}, not {defense!r}; name another file")
    return found


@lru_cache(maxsize=32)
def _read(path: Path, stamp: object) -> State:
    del stamp
    if path.stat().st_size > MOST_BYTES:
        raise UsageError(f"{path}: more than {MOST_BYTES:,} bytes are no state of a defense; {_AGAIN}")
    try:
        plain = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        raise UsageError(f"{path}: no state of a defense, or one that was cut short; {_AGAIN}") from None
    if not isinstance(plain, dict) or not plain.keys() >= {"format", "digest", "defense"}:
        raise UsageError(f"{path}: no state of a defense; {_AGAIN}")
    if plain["format"] != FORMAT:
        raise UsageError(f"{path}: format {plain['format']!r}, and {FORMAT} is what is read here; {_AGAIN}")
    said = plain.pop("digest")
    if digest(plain) != said or plain.keys() != _KEYS - {"digest"}:
        raise UsageError(f"{path}: its content is not what was written; {_AGAIN}")
    try:
        return State(
            path=path,
            digest=str(said),
            defense=str(plain["defense"]),
            target=str(plain["target"]),
            arrays={str(name): _array(value) for name, value in plain["arrays"].items()},
            facts=dict(plain["facts"]),
            cases={str(key): str(value) for key, value in plain["cases"].items()},
            told=tuple(map(str, plain["told"])),
        )
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as unfit:
        why = " ".join(str(unfit).split())[:200]
        raise UsageError(f"{path}: no state that is written here ({why}); {_AGAIN}") from None


def _array(plain: Mapping[str, Any]) -> Floats:
    import numpy as np

    shape = [int(size) for size in plain["shape"]]
    if any(size < 0 for size in shape) or math.prod(shape) > MOST_NUMBERS:
        raise ValueError(f"an array of shape {shape}")
    found = np.frombuffer(base64.b64decode(plain["float32"], validate=True), "<f4").reshape(shape).copy()
    if not np.isfinite(found).all():
        raise ValueError("a number that is not finite")
    return found


def halves(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """Examples to learn from and held-out ones, by group: no group is in both, both classes in each.

    Raises:
        UsageError: for fewer than two groups of harmful or of benign cases.
    """
    parts: tuple[list[Example], list[Example]] = ([], [])
    for harmful in (True, False):
        groups = {each.case.group for each in examples if each.harmful is harmful}
        if len(groups) < 2:
            what = "cases that a safe model refuses" if harmful else "benign cases"
            raise UsageError(f"to learn and to test, at least two groups of {what} are needed: add some")
        place = {group: at % 2 for at, group in enumerate(sorted(groups, key=lambda name: digest(name)))}
        for each in examples:
            if each.harmful is harmful:
                parts[place[each.case.group]].append(each)
    return parts


def auc(harmful: Sequence[float], benign: Sequence[float]) -> float:
    """Chance that a harmful case scores above a benign one; ties count half.

    Raises:
        UsageError: without cases of one class.
    """
    import numpy as np

    if not len(harmful) or not len(benign):
        raise UsageError("an AUC needs harmful and benign cases")
    one, other = np.asarray(harmful, np.float64)[:, None], np.sort(np.asarray(benign, np.float64))
    below = np.searchsorted(other, one, "left") + np.searchsorted(other, one, "right")
    return float(below.mean() / 2 / len(other))


def threshold_at(benign: Sequence[float], alarms: float = ALARMS) -> float:
    """The lowest score among those seen above which at most this share of benign cases lies.

    A case is stopped if its score is *above* the threshold.

    Raises:
        UsageError: without cases, or for a score that is not finite.
    """
    scores = sorted(map(float, benign))
    if not scores or not all(map(math.isfinite, scores)):
        raise UsageError("a threshold needs finite scores of benign cases")
    may_pass = math.floor(alarms * len(scores) + 1e-9)
    return scores[len(scores) - 1 - min(may_pass, len(scores) - 1)]
