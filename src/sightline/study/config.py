"""The study file: YAML in, a checked `Study` out; every complaint names file, line and cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from sightline import registry
from sightline.budget import UNLIMITED, Budget
from sightline.contracts import Attack, Benchmark, Decoding, Defense, Judge
from sightline.documents import read_document
from sightline.errors import UsageError, nearest
from sightline.registry import Kind
from sightline.targets import default_max_tokens

Where = tuple[int | str, ...]


def _entry(value: Any) -> Any:
    """A bare string stands for `{name: string}`."""
    return {"name": value} if isinstance(value, str) else value


def _listed(value: Any) -> Any:
    """A bare string stands for a list of one."""
    return (value,) if isinstance(value, str) else value


class MethodEntry(BaseModel):
    """A method as written in a study: name, optional preset and label; other keys are its settings."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str
    preset: str | None = None
    label: str | None = None


Count = Annotated[int, Field(gt=0)]
Amount = Annotated[float, Field(gt=0)]


class BudgetEntry(BaseModel):
    """What one artifact may spend; a list of levels makes one column of each."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    forwards: Count | tuple[Count, ...] | None = None
    backwards: Count | tuple[Count, ...] | None = None
    flops: Amount | tuple[Amount, ...] | None = None
    calls: Count | tuple[Count, ...] | None = None
    seconds: Amount | tuple[Amount, ...] | None = None

    def budgets(self) -> list[Budget]:
        """One budget for each level, or the only one.

        Raises:
            UsageError: for levels of two quantities, or a level that stands twice.
        """
        given = {name: value for name, value in self if value is not None}
        listed = [name for name, value in given.items() if isinstance(value, tuple)]
        if not listed:
            return [Budget(**given)]
        if len(listed) > 1:
            raise UsageError(f"levels of {listed[0]} and of {listed[1]}: list the levels of one quantity")
        levels = given[listed[0]]
        if not levels or len(set(levels)) < len(levels):
            raise UsageError(f"{listed[0]}: {list(levels)} are no levels: give different ones, at least one")
        return [Budget(**{**given, listed[0]: level}) for level in sorted(levels)]


class AttackEntry(MethodEntry):
    """An attack as written in a study: the models that it is crafted on, its budgets and its seeds."""

    surrogate: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    budget: BudgetEntry | None = None
    seeds: Annotated[int, Field(ge=1, le=100)] = 1


class BenchmarkEntry(MethodEntry):
    """A benchmark as written in a study, with the folder or zip of its release."""

    root: Path | None = None
    limit: Annotated[int, Field(ge=1)] | None = None


class DecodingEntry(BaseModel):
    """Generation settings; `null` leaves one to the provider, for models that reject it.

    `max_tokens` is 128 by default, 512 if any target is not the testbed's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] | None = 128
    temperature: Annotated[float, Field(ge=0, le=10)] | None = 0.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0


Entry = Annotated[MethodEntry, BeforeValidator(_entry)]


class StudyFile(BaseModel):
    """The study file's schema."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    seed: Annotated[int, Field(ge=0, le=2**62)] = 0
    benchmarks: Annotated[list[Annotated[BenchmarkEntry, BeforeValidator(_entry)]], Field(min_length=1)]
    targets: Annotated[list[str], Field(min_length=1)]
    attacks: Annotated[list[Annotated[AttackEntry, BeforeValidator(_entry)]], Field(min_length=1)] = [
        AttackEntry(name="none")
    ]
    defenses: Annotated[list[Entry], Field(min_length=1)] = [MethodEntry(name="none")]
    judges: Annotated[list[Entry], Field(min_length=1)]
    decoding: DecodingEntry = DecodingEntry()
    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    limit: Annotated[int, Field(ge=1)] | None = None
    concurrency: Annotated[int, Field(ge=1, le=4096)] = 64
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    timeout: Annotated[int, Field(ge=1, le=600)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A benchmark of the study with the folder of its release."""

    label: str
    benchmark: Benchmark
    root: Path | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAttack:
    """A column of the study: an attack, and what it is crafted with.

    Attributes:
        label: the name that tables show.
        attack: the method.
        surrogates: target strings of the models that it is crafted on.
        series: the label of the study's entry, which may have several columns.
        budget: what one artifact may spend.
        further: which of the series' seeds this is, from 0.
    """

    label: str
    attack: Attack
    surrogates: tuple[str, ...] = ()
    series: str
    budget: Budget = UNLIMITED
    further: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedDefense:
    """A defense of the study; `defense` is None for the undefended target."""

    label: str
    defense: Defense | None

    @property
    def spec(self) -> str:
        """The form that stands in a defended target's name, '' for the undefended one."""
        return "" if self.defense is None else registry.spec(self.defense)

    @property
    def calls(self) -> int:
        """Target calls per answer, at most."""
        return 1 if self.defense is None else self.defense.calls

    def around(self, target: str) -> str:
        """The name of `target` behind this defense."""
        return f"defended/{self.spec}:{target}" if self.defense is not None else target


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A checked study: methods are constructed, names are known, labels are unique.

    `text`, `folder` and `limit` (the override) are what it was parsed from, so that a run folder can
    be taken up again without the file; `places` says where each target stands in it. `timeout` is the
    number of seconds after which a request to a provider is given up.
    """

    name: str
    seed: int = 0
    sources: tuple[Source, ...]
    attacks: tuple[NamedAttack, ...]
    targets: tuple[str, ...] = ()
    defenses: tuple[NamedDefense, ...] = ()
    judges: tuple[Judge, ...] = ()
    decoding: Decoding = field(default_factory=Decoding)
    epochs: int = 1
    concurrency: int = 64
    retries: int = 5
    timeout: int | None = None
    text: str = field(default="", repr=False)
    folder: Path = Path()
    limit: int | None = None
    places: Mapping[str, str] = field(default_factory=dict)


class _Located:
    """Lines of a YAML document by path, so that a complaint can name one."""

    def __init__(self, name: str, root: yaml.Node) -> None:
        self.name = name
        self.root = root

    def line(self, where: Sequence[int | str]) -> int:
        """Line (from 1) of the deepest node on the path that exists."""
        node, line = self.root, self.root.start_mark.line
        for step in where:
            found: yaml.Node | None = None
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if key.value == step:
                        found, line = value, key.start_mark.line
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                found = node.value[step]
                line = found.start_mark.line if found is not None else line
            if found is None:
                break
            node = found
        return line + 1

    def complain(self, where: Sequence[int | str], what: str) -> UsageError:
        """The error to raise for the node at `where`."""
        path = ".".join(str(step) for step in where)
        return UsageError(f"{self.name}:{self.line(where)}: {path + ': ' if path else ''}{what}")


def _parse_yaml(text: str, name: str) -> tuple[dict[str, Any], _Located]:
    plain, root = read_document(text, name)
    if root is None or not isinstance(plain, dict):
        raise UsageError(f"{name}:1: a study file is a mapping with study, benchmarks, targets, judges ...")
    located = _Located(name, root)
    _forbid_repeated_keys(root, located)
    return plain, located


def _forbid_repeated_keys(node: yaml.Node, located: _Located) -> None:
    """YAML takes the last of two equal keys silently; a study must not."""
    waiting, met = [node], {id(node)}
    while waiting:
        node = waiting.pop()
        children = list(node.value) if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    line = key.start_mark.line + 1
                    raise UsageError(f"{located.name}:{line}: {key.value!r} is given twice")
                seen.add(str(key.value))
                children.append(value)
        fresh = [child for child in children if id(child) not in met]
        met.update(map(id, fresh))
        waiting += reversed(fresh)


def _first_complaint(invalid: ValidationError, located: _Located) -> UsageError:
    """An unknown key explains a missing one, so it is told first."""
    complaints = invalid.errors()
    first = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
    where: Where = first["loc"]
    if first["type"] == "extra_forbidden":
        model = DecodingEntry if where[:1] == ("decoding",) else StudyFile
        return located.complain(where, nearest(str(where[-1]), model.model_fields, "key"))
    if first["type"] == "missing":
        return located.complain(where[:-1], f"{where[-1]!r} is missing")
    return located.complain(where, f"{first['msg']}, got {first['input']!r}")


def _make(kind: Kind, entry: MethodEntry, where: Where, located: _Located) -> Any:
    settings = dict(entry.model_extra or {})
    try:
        if "(" in entry.name:
            if settings or entry.preset:
                raise UsageError("give settings either in the name's parentheses or as keys, not both")
            return registry.parse(kind, entry.name)
        return registry.make(kind, entry.name, preset=entry.preset, **settings)
    except UsageError as wrong:
        bad_key = next((key for key in settings if repr(key) in str(wrong)), None)
        raise located.complain((*where, bad_key) if bad_key else where, str(wrong)) from None


def _labels(entries: Sequence[MethodEntry], section: str, located: _Located) -> list[str]:
    """The names that tables show: label, else name, else name plus preset; they must differ."""
    names = [entry.name for entry in entries]
    labels = []
    for index, entry in enumerate(entries):
        label = entry.label or entry.name
        if entry.label is None and names.count(entry.name) > 1 and entry.preset:
            label = f"{entry.name}:{entry.preset}"
        if label in labels:
            raise located.complain(
                (section, index), f"{label!r} stands here twice; give each its own `label:`"
            )
        labels.append(label)
    return labels


def load(path: Path, *, limit: int | None = None) -> Study:
    """Read and check a study file; `limit` overrides a benchmark's own, which overrides the file's.

    Raises:
        UsageError: with file, line and cure, for anything the user has to mend.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{path}: no such study file; `studies/quickstart.yaml` is an example") from None
    except (OSError, UnicodeDecodeError) as unreadable:
        raise UsageError(f"{path}: cannot be read: {unreadable}") from None
    return parse(text, name=str(path), folder=path.parent, limit=limit)


def parse(text: str, *, name: str = "study", folder: Path = Path(), limit: int | None = None) -> Study:
    """Check a study given as YAML text; relative release folders start at `folder`.

    Raises:
        UsageError: as `load`.
    """
    plain, located = _parse_yaml(text, name)
    try:
        file = StudyFile.model_validate(plain)
    except ValidationError as invalid:
        raise _first_complaint(invalid, located) from None
    labels = _labels(file.attacks, "attacks", located)
    attacks = [
        column
        for index, (entry, label) in enumerate(zip(file.attacks, labels, strict=True))
        for column in _attacks(entry, label, index, located, file.seed)
    ]
    defenses = _labels(file.defenses, "defenses", located)
    judges: list[Judge] = []
    for index, entry in enumerate(file.judges):
        judge = _make("judge", entry, ("judges", index), located)
        if registry.spec(judge) in (registry.spec(other) for other in judges):
            raise located.complain(("judges", index), f"{registry.spec(judge)} stands here twice")
        judges.append(judge)
    if len(set(file.targets)) < len(file.targets):
        twice = next(target for target in file.targets if file.targets.count(target) > 1)
        raise located.complain(("targets",), f"{twice!r} stands here twice")
    return Study(
        name=file.study,
        seed=file.seed,
        sources=tuple(
            _source(entry, label, index, located, folder, limit, file.limit)
            for index, (entry, label) in enumerate(
                zip(file.benchmarks, _labels(file.benchmarks, "benchmarks", located), strict=True)
            )
        ),
        targets=tuple(file.targets),
        attacks=tuple(attacks),
        defenses=tuple(
            NamedDefense(
                label=label,
                defense=None
                if entry.name == "none"
                else _make("defense", entry, ("defenses", index), located),
            )
            for index, (entry, label) in enumerate(zip(file.defenses, defenses, strict=True))
        ),
        judges=tuple(judges),
        decoding=Decoding(
            **{"max_tokens": default_max_tokens(file.targets)} | file.decoding.model_dump(exclude_unset=True),
            seed=file.seed,
        ),
        epochs=file.epochs,
        concurrency=file.concurrency,
        retries=file.retries,
        timeout=file.timeout,
        text=text,
        folder=folder,
        limit=limit,
        places={
            target: f"{name}:{located.line(('targets', index))}: targets.{index}"
            for index, target in enumerate(file.targets)
        },
    )


def _attacks(
    entry: AttackEntry, label: str, index: int, located: _Located, seed: int
) -> Iterator[NamedAttack]:
    """The columns of an entry: one for each level of its budget and each of its seeds."""
    attack: Attack = _make("attack", entry, ("attacks", index), located)
    if attack.card.surrogate and not entry.surrogate:
        raise located.complain(
            ("attacks", index),
            f"{entry.name} is crafted on a model's gradients: add `surrogate:` with a local target, such as "
            "testbed/linear, or encoder/FOLDER (or a list of them)",
        )
    if entry.surrogate and not attack.card.surrogate:
        raise located.complain(
            ("attacks", index, "surrogate"), f"{entry.name} looks into no model; leave `surrogate` out"
        )
    if entry.budget and not attack.card.surrogate:
        raise located.complain(
            ("attacks", index, "budget"), f"{entry.name} computes nothing that a budget limits; leave it out"
        )
    try:
        budgets = entry.budget.budgets() if entry.budget else [UNLIMITED]
    except UsageError as wrong:
        raise located.complain(("attacks", index, "budget"), str(wrong)) from None
    for budget in budgets:
        for further in range(entry.seeds):
            marks = [str(budget)] if len(budgets) > 1 else []
            marks += [f"seed {seed + further}"] if entry.seeds > 1 else []
            yield NamedAttack(
                label=f"{label} [{', '.join(marks)}]" if marks else label,
                attack=attack,
                surrogates=entry.surrogate,
                series=label,
                budget=budget,
                further=further,
            )


def _source(
    entry: BenchmarkEntry,
    label: str,
    index: int,
    located: _Located,
    folder: Path,
    limit: int | None,
    default_limit: int | None,
) -> Source:
    where: Where = ("benchmarks", index)
    benchmark: Benchmark = _make("benchmark", entry, where, located)
    root = None if entry.root is None else (folder / entry.root.expanduser())
    if benchmark.needs_root and root is None:
        raise located.complain(
            where,
            f"{entry.name} reads an official release: add `root:` with the folder or zip where you have it",
        )
    if root is not None and not root.exists():
        raise located.complain(
            (*where, "root"), f"{root} does not exist; name the folder or zip of the release"
        )
    return Source(label=label, benchmark=benchmark, root=root, limit=limit or entry.limit or default_limit)
