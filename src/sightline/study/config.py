"""The study file: YAML in, a checked `Study` out; every complaint names file, line and cure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from sightline import registry
from sightline.cards import Kind
from sightline.contracts import IN_LOOP_JUDGE, Attack, Benchmark, Decoding, Defense, Judge
from sightline.documents import read_text
from sightline.errors import UsageError, nearest
from sightline.readers import found_release, refuse_root, where_to_look
from sightline.study import quick
from sightline.study.attack_columns import AttackColumns, check_roles
from sightline.study.gated import check_gate
from sightline.study.hypothesis import hypothesis_of
from sightline.study.located import Located, Where, parse_yaml
from sightline.study.named import NamedAttack as NamedAttack
from sightline.study.named import NamedDefense as NamedDefense
from sightline.study.named import NamedTraining
from sightline.study.named import Source as Source
from sightline.study.named import Study as Study
from sightline.study.recorded import ELSEWHERE, UNKNOWN, recorded
from sightline.study.roles import in_loop_judge, refuse_same_judge
from sightline.study.schema import (
    AttackEntry,
    BenchmarkEntry,
    DefenseEntry,
    MethodEntry,
    ResponsesEntry,
    StudyFile,
    shown_name,
)
from sightline.study.training import refuse_own_judge, trainings_of
from sightline.targets import default_max_tokens

E = TypeVar("E", bound=MethodEntry)


def _first_complaint(invalid: ValidationError, located: Located) -> UsageError:
    """An unknown key explains a missing one, so it is told first."""
    complaints = invalid.errors()
    first = next((c for c in complaints if c["type"] == "extra_forbidden"), complaints[0])
    where: Where = first["loc"]
    if first["type"] == "extra_forbidden":
        return located.complain(where, nearest(str(where[-1]), _model_at(where).model_fields, "key"))
    if first["type"] == "missing":
        return located.complain(where[:-1], f"{where[-1]!r} is missing")
    return located.complain(where, f"{first['msg']}, got {first['input']!r}")


def _refuse_near_key(kind: Kind, entry: MethodEntry, key: str) -> None:
    """Tell of a key that is no setting of the method and looks like one of the entry, such as `surogate`."""
    settings = {each.name for each in fields(registry.card(kind, entry.name).factory) if each.init}
    known = set(type(entry).model_fields)
    if key not in settings and get_close_matches(key, known - settings, cutoff=0.75):
        raise UsageError(nearest(key, known | settings, f"key of {kind} {entry.name!r}"))


def _model_at(where: Where) -> type[BaseModel]:
    """The schema of the mapping whose key is the last of `where`."""
    model: type[BaseModel] = StudyFile
    for step in where[:-1]:
        known = model.model_fields.get(str(step))
        model = next(_models_in(known.annotation), model) if known is not None else model
    return model


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The schemas that a type is made of: those of a list's entries too."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def load(path: Path, *, limit: int | None = None, releases: bool = True, quickly: bool = False) -> Study:
    """Read and check a study file; `limit` overrides a benchmark's own, which overrides the file's.

    `releases=False` accepts a benchmark whose release is absent or not named; `quickly` takes the quick form.

    Raises:
        UsageError: with file, line and cure, for anything the user has to mend.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such study file; `studies/quickstart.yaml` is an example") from None
    except IsADirectoryError:
        raise UsageError(
            f"{path}: a folder, not a study file; a run goes on with its study file and --out {path}"
        ) from None
    except OSError as unreadable:
        raise UsageError(f"{path}: cannot be read: {unreadable}") from None
    name, folder = str(path), path.parent
    return parse(text, name=name, folder=folder, limit=limit, releases=releases, quickly=quickly)


def parse(
    text: str,
    *,
    name: str = "study",
    folder: Path = Path(),
    limit: int | None = None,
    releases: bool = True,
    quickly: bool = False,
) -> Study:
    """Check a study given as YAML text, or its quick form; relative release folders start at `folder`.

    Raises:
        UsageError: as `load`.
    """
    plain, located = parse_yaml(text, name)
    if {"format", "made_from"} <= plain.keys():
        run = Path(name).parent
        raise UsageError(
            f"{name} is the lock of a run, not a study file; go on by `sightline craft {run}`, "
            f"then `sightline answer {run}` and `sightline judge {run}`"
        )
    file, block = _valid(plain, located), plain.get(quick.KEY)
    if block is not None:  # checked whether it is wanted or not
        form = Located(name, located.root, block)
        fast = _valid(quick.quick_form(plain), form)
        file, located = (fast, form) if quickly else (file, located)
    elif quickly:
        raise located.complain((), "there is no quick form: `quick:` would hold what differs in it")
    if quickly and block is not None and "benchmarks" not in block and limit is None:
        limit = file.limit if "limit" in block else None  # of each benchmark, whatever it says itself
    study = _Checker(file, located, text, folder, limit, releases).study()
    stated = file.hypothesis
    claim = None if stated is None else hypothesis_of(stated, study, located.complain)
    return replace(study, quick=quickly, hypothesis=claim)


def _valid(plain: Mapping[str, Any], located: Located) -> StudyFile:
    try:
        return StudyFile.model_validate(plain)
    except ValidationError as invalid:
        raise _first_complaint(invalid, located) from None


@dataclass(frozen=True, slots=True)
class _Checker:
    """Makes a study of a file that has the schema; complaints name its lines."""

    file: StudyFile
    located: Located
    text: str
    folder: Path
    limit: int | None
    releases: bool

    def study(self) -> Study:
        """The study.

        Raises:
            UsageError: as `load`.
        """
        file = self.file
        if file.responses is not None:
            return self._recorded(file.responses)
        for name in ("benchmarks", *(() if file.train else ("targets",))):
            if name not in file.model_fields_set:
                raise self.located.complain((), f"{name!r} is missing")
        defenses = tuple(
            NamedDefense(label=label, stack=self._stack(entry, ("defenses", index)))
            for index, (entry, label) in enumerate(self._labelled("defenses", file.defenses))
        )
        judges = self._judges()
        trainings = trainings_of(file.train, self.folder, self.located.complain)
        attacks = self._attacks(defenses, judges, trainings)
        self._differ("targets", file.targets)
        sources = tuple(
            self._source(entry, label, index)
            for index, (entry, label) in enumerate(self._labelled("benchmarks", file.benchmarks))
        )
        refuse_own_judge(trainings, judges)
        bases = (each.base for each in trainings if "/" in each.base)
        self._gate(None if trainings else file.targets, defenses, judges)
        default = {"max_tokens": default_max_tokens([*file.targets, *bases])}
        name, line = self.located.name, self.located.line
        return Study(
            name=file.study,
            seed=file.seed,
            sources=sources,
            targets=tuple(file.targets),
            trainings=trainings,
            attacks=attacks,
            defenses=defenses,
            judges=judges,
            decoding=Decoding(**default | file.decoding.model_dump(exclude_unset=True), seed=file.seed),
            epochs=file.epochs,
            concurrency=file.concurrency,
            retries=file.retries,
            timeout=file.timeout,
            text=self.text,
            folder=self.folder,
            limit=self.limit,
            places={
                target: f"{name}:{line(('targets', index))}: targets.{index}"
                for index, target in enumerate(file.targets)
            },
        )

    def _judges(self) -> tuple[Judge, ...]:
        judges = [self._make("judge", entry, ("judges", i)) for i, entry in enumerate(self.file.judges)]
        self._differ("judges", [registry.spec(judge) for judge in judges])
        return tuple(judges)

    def _recorded(self, entry: ResponsesEntry) -> Study:
        """A study of responses that exist already."""
        file = self.file
        for name in ELSEWHERE:
            if name in file.model_fields_set:
                what = f"`responses:` says it already ({name} of recorded responses): leave {name!r} out"
                raise self.located.complain((name,), what)
        try:
            found = recorded(entry, self.folder, self.limit or file.limit)
        except UsageError as wrong:
            raise self.located.complain(("responses",), str(wrong)) from None
        judges = self._judges()
        self._gate(found.targets, found.defenses, judges)
        return Study(
            name=file.study,
            seed=file.seed,
            sources=(found.source,),
            attacks=found.attacks,
            targets=found.targets,
            defenses=found.defenses,
            judges=judges,
            decoding=replace(UNKNOWN, seed=file.seed),
            epochs=found.table.attempts,
            concurrency=file.concurrency,
            retries=file.retries,
            timeout=file.timeout,
            text=self.text,
            folder=self.folder,
            limit=self.limit,
            recorded=found.table,
        )

    def _gate(
        self, targets: Sequence[str] | None, defenses: Sequence[NamedDefense], judges: Sequence[Judge]
    ) -> None:
        if self.file.gate is not None:
            check_gate(self.file.gate, targets, defenses, judges, self.located.complain)

    def _differ(self, section: str, names: Sequence[str]) -> None:
        for index, name in enumerate(names):
            if name in names[:index]:
                raise self.located.complain((section, index), f"{name!r} stands here twice")

    def _labelled(self, section: str, entries: Sequence[E]) -> list[tuple[E, str]]:
        """Entries with their names in tables: label, else name, else name plus preset; they must differ."""
        names = [shown_name(entry) for entry in entries]
        labels: list[str] = []
        for index, entry in enumerate(entries):
            label = entry.label or names[index]
            if entry.label is None and names.count(entry.name) > 1 and entry.preset:
                label = f"{entry.name}:{entry.preset}"
            if label in labels:
                raise self.located.complain(
                    (section, index), f"{label!r} stands here twice; give each its own `label:`"
                )
            labels.append(label)
        return list(zip(entries, labels, strict=True))

    def _stack(self, entry: DefenseEntry, where: Where) -> tuple[Defense, ...]:
        """The defenses of an entry, outermost first; none for `none`."""
        if entry.stack is None:
            return () if entry.name == "none" else (self._make("defense", entry, where),)
        found = []
        for number, each in enumerate(entry.stack):
            if each.name == "none" or each.label is not None:
                what = "a member of a stack is a defense with its settings; `none` and labels stand outside"
                raise self.located.complain((*where, "stack", number), what)
            found.append(self._make("defense", each, (*where, "stack", number)))
        return tuple(found)

    def _make(self, kind: Kind, entry: MethodEntry, where: Where) -> Any:
        settings = dict(entry.model_extra or {})
        try:
            if "(" in entry.name:
                if settings or entry.preset:
                    raise UsageError("give settings either in the name's parentheses or as keys, not both")
                made = registry.parse(kind, entry.name)
            else:
                for key in settings:
                    _refuse_near_key(kind, entry, key)
                made = registry.make(kind, entry.name, preset=entry.preset, **settings)
            if made.card.elsewhere:
                raise UsageError(
                    f"{made.card.name} stands for what another harness did and comes with `responses:` alone"
                )
        except UsageError as wrong:
            bad_key = next((key for key in settings if repr(key) in str(wrong)), None)
            raise self.located.complain((*where, bad_key) if bad_key else where, str(wrong)) from None
        return made

    def _attacks(
        self,
        defenses: Sequence[NamedDefense],
        judges: Sequence[Judge],
        trainings: Sequence[NamedTraining] = (),
    ) -> tuple[NamedAttack, ...]:
        """The columns of all entries; the in-loop judge is none of those that score."""
        file, complain = self.file, self.located.complain
        made = AttackColumns(file, defenses, self._attack, complain, trainings)
        entries = self._labelled("attacks", file.attacks)
        columns = [each for i, (entry, label) in enumerate(entries) for each in made.of(entry, label, i)]
        for role in [None, *file.roles]:
            try:
                if role is None:
                    check_roles(file, columns)
                elif role == IN_LOOP_JUDGE:
                    refuse_same_judge(in_loop_judge(file.roles[role]), judges)
            except UsageError as wrong:
                raise complain(("roles", *([role] if role else [])), str(wrong)) from None
        return tuple(columns)

    def _attack(self, entry: AttackEntry, index: int, settings: Mapping[str, Any]) -> Attack:
        """The attack of an entry, with settings of a grid besides its own."""
        own = entry.model_copy(update={**(entry.model_extra or {}), **settings}) if settings else entry
        found: Attack = self._make("attack", own, ("attacks", index))
        if not entry.then:
            return found
        steps = [found, *(self._make("attack", each, ("attacks", index, "then")) for each in entry.then)]
        try:
            chained: Attack = registry.make("attack", "chain", steps=tuple(map(registry.spec, steps)))
        except UsageError as wrong:
            raise self.located.complain(("attacks", index, "then"), str(wrong)) from None
        return chained

    def _source(self, entry: BenchmarkEntry, label: str, index: int) -> Source:
        where: Where = ("benchmarks", index)
        benchmark: Benchmark = self._make("benchmark", entry, where)
        try:
            root = None if entry.root is None else (self.folder / entry.root.expanduser())
            absent = root is not None and not root.exists()
        except (OSError, RuntimeError, ValueError) as unfit:  # ~nobody/x, a name too long, a NUL
            what = " ".join(str(unfit).split())[:200]
            raise self.located.complain((*where, "root"), f"not a path that can be read: {what}") from None
        try:
            refuse_root(benchmark, entry.root, "; a table of your own is `{name: cases, root: FILE}`")
        except UsageError as unread:
            raise self.located.complain((*where, "root"), str(unread)) from None
        if benchmark.needs_root and root is None:
            root = found_release(benchmark.card)
        if benchmark.needs_root and root is None and self.releases:
            raise self.located.complain(where, where_to_look(benchmark.card))
        if absent and self.releases:
            raise self.located.complain(
                (*where, "root"), f"{root} does not exist; name the folder or zip of the release"
            )
        limit = self.limit or entry.limit or self.file.limit
        return Source(label=label, benchmark=benchmark, root=root, limit=limit)
