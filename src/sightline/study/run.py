"""Running a study in a folder: read cases, craft, answer, judge, tabulate; every stage resumes by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from sightline import targets
from sightline.closure import code_of
from sightline.contracts import NeedsTarget, Target
from sightline.digests import sha256_file
from sightline.errors import DamageError, UsageError
from sightline.responses.table import ResponseTable
from sightline.run_folder import COMPLETE, RESULTS, lock_digest, refuse_other_format
from sightline.scale import Resources
from sightline.sealed import check_table, read_note
from sightline.store import Blobs, write_note
from sightline.study import lock as locks
from sightline.study.answering import answer
from sightline.study.artifact_builder import columns_of
from sightline.study.case_table import LostPictures, read_cases, with_pictures
from sightline.study.config import Study, load, parse
from sightline.study.context import RunContext, StudyTarget
from sightline.study.crafting import craft
from sightline.study.folder_lock import lock_folder, remove_folder
from sightline.study.judging import judge_all
from sightline.study.progress import Progress, Silent
from sightline.study.results import Findings, results_digest, tabulate
from sightline.study.roles import refuse_guard_as_judge, refuse_same_model
from sightline.study.secret import keyed
from sightline.study.stage_code import TABLE
from sightline.study.stages import Count
from sightline.study.training import with_trained
from sightline.study.training_plan import PlannedTraining, planned
from sightline.tables import Table, parquet_of, refuse_other_records
from sightline.targets.local.files import forget_hashes
from sightline.targets.recorded import RecordedTarget
from sightline.targets.remembered import RememberedTarget, stamp

TABLE_ANEW = "the table of results is made anew from the records"


@dataclass(slots=True)
class Run:
    """A study in its folder.

    `extend` accepts a changed study; `retry_errors` repeats error outcomes; `rehash` reads pictures and
    weights again even where size, times and file number are as before; `train=False` takes only what was
    trained already, and `untrained` says what the rest would take; `resources` is where crafting is done.
    """

    study: Study
    folder: Path
    progress: Progress = field(default_factory=Silent)
    extend: bool = False
    retry_errors: bool = False
    rehash: bool = False
    train: bool = True
    resources: Resources = field(default_factory=Resources)
    blobs: Blobs = field(init=False)
    context: RunContext = field(init=False)
    untrained: list[PlannedTraining] = field(init=False, default_factory=list)
    _targets: dict[str, Target] = field(init=False, default_factory=dict)
    _remembered: Mapping[str, tuple[str, str]] = field(init=False, default_factory=dict)
    _lock: str = field(init=False, default="")

    def __post_init__(self) -> None:
        self.blobs = Blobs(self.folder / "blobs")

    @property
    def records(self) -> Path:
        """Folder of the stages' rows."""
        return self.folder / "records"

    def target(self, name: str) -> Target:
        """The target of that name, opened once."""
        if name not in self._targets:
            mark, identity = self._remembered.get(name, ("", ""))
            known = bool(mark) and mark == stamp(name)
            opened = partial(self._opened, name)
            self._targets[name] = RememberedTarget(identity, opened) if known else opened()
        return self._targets[name]

    def _opened(self, name: str) -> Target:
        study = self.study
        return targets.open_target(
            name, self.blobs, retries=study.retries, timeout=study.timeout, folder=study.folder
        )

    def _open_targets(self) -> list[StudyTarget]:
        """Every target of the study under every defense; a complaint names the line of the file."""
        found: list[StudyTarget] = []
        for name in self.study.targets:
            defenses = self.study.defenses
            if self.study.recorded is not None:
                found += self._recorded(name, self.study.recorded)
                continue
            try:
                found += (StudyTarget(name, each, self.target(each.around(name))) for each in defenses)
            except UsageError as wrong:
                raise UsageError(f"{self.study.places.get(name, name)}: {wrong}") from None
        return found

    def _recorded(self, name: str, table: ResponseTable) -> Iterator[StudyTarget]:
        """A model of recorded responses under each defense that it was run with."""
        held = {(at.target, at.defense): at for at in table.combinations}
        for each in self.study.defenses:
            at = held.get((name, each.label))
            if at is not None:
                target = self._targets.setdefault(
                    each.around(name), RecordedTarget(table, at.model, at.defense)
                )
                yield StudyTarget(name, each, target)

    def prepare(self) -> None:
        """Open what the study names, read its cases, and hold its lock.

        Raises:
            UsageError: for whatever the user has to mend, before anything is sent to a target. A folder that
                was not there before is then not there afterwards.
        """
        absent = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        refuse_other_format(self.folder)
        lock_folder(self.folder)
        try:
            self._prepare()
        except UsageError:
            if absent:
                remove_folder(self.folder, absent[1:])
            raise

    def _prepare(self) -> None:
        if self.rehash:
            forget_hashes()
        else:
            self._remembered = self._completed().get("targets", {})
        if self.train:
            self.study = with_trained(self.study, self.blobs, self.progress)
        else:
            self.study, self.untrained = planned(self.study, self.blobs)
        opened = self._open_targets()
        judges = [
            judge.bind(self.target) if isinstance(judge, NeedsTarget) else judge
            for judge in self.study.judges
        ]
        ids = [judge.id for judge in judges]
        twins = [each for each in ids if ids.count(each) > 1]
        if twins:
            raise UsageError(f"two judges of the study are the same in effect: {twins[0]}; leave one out")
        refuse_same_model(self.study.attacks, self.study.judges, self.target)
        refuse_guard_as_judge(self.study.defenses, self.study.targets, self.study.judges, self.target)
        context = RunContext(
            study=self.study,
            records=self.records,
            blobs=self.blobs,
            columns=columns_of(self.study, self.target, self.blobs),
            case_tables=[
                read_cases(source, self.records, self.blobs, self.progress, rehash=self.rehash)
                for source in self.study.sources
            ],
            targets=opened,
            judges=judges,
            progress=self.progress,
            retry_errors=self.retry_errors,
            resources=self.resources,
        )
        resolved = locks.resolve(context)
        for change in locks.write_or_check(self.folder, resolved, extend=self.extend):
            self.progress.note(f"changed since the last run: {change}")
        self._lock = lock_digest(resolved)
        self.context = replace(context, judges=keyed(judges, self.folder))

    def complete(self) -> bool:
        """Whether the whole study was finished under this very lock and all of its files are as they were.

        A lost table of results, lost records or pictures make it incomplete, and the stages make them again.

        Raises:
            DamageError: for records that are there and damaged: what of them can go is the user's to say.
        """
        if self.retry_errors or not (self.folder / COMPLETE).exists():
            return False
        try:
            mark = read_note(self.folder / COMPLETE, TABLE_ANEW)
            check_table(self.folder / RESULTS, TABLE_ANEW)
        except DamageError as damaged:
            self.progress.note(str(damaged))
            return False
        refuse_other_records(self.records, mark.get("tables", {}))
        pictures = self.blobs.listing()
        if not self._mark().items() <= mark.items() or (
            mark["pictures"] != pictures and not self._pictured()
        ):
            return False
        if mark["pictures"] != pictures:  # copied or touched: all of them were read, and are whole
            write_note(self.folder / COMPLETE, {**mark, "pictures": pictures})
        return True

    def _pictured(self) -> bool:
        """Whether no picture that a case or an artifact needs is lost or damaged."""
        lost = LostPictures(self.blobs)
        with Table(self.records / "craft") as crafted:
            rows = chain(crafted, *(case_table.rows() for case_table in self.context.case_tables))
            return not any(lost.among(row) for row in rows)

    def _completed(self) -> dict[str, Any]:
        """What the last complete run left; empty if there is none or its note is damaged."""
        try:
            return read_note(self.folder / COMPLETE, TABLE_ANEW)
        except DamageError:
            return {}

    def _mark(self) -> dict[str, Any]:
        """What a complete run is held against: lock, tables, and the code that makes the table of results."""
        records = (parquet_of(self.records / stage) for stage in ("craft", "answer", "judge"))
        return {
            "lock": self._lock,
            "results": sha256_file(self.folder / RESULTS),
            "table": code_of(TABLE),
            "tables": {path.name: sha256_file(path) for path in records if path.exists()},
        }

    def results_digest(self) -> str:
        """Digest of what a complete run found; see `results_digest`.

        Raises:
            DamageError: if the run is not complete.
        """
        return str(read_note(self.folder / COMPLETE, TABLE_ANEW)["digest"])

    def craft(self) -> Count:
        """Stage craft, then compaction; pictures that are lost or damaged are made again."""
        self._begin()
        again = [
            with_pictures(case_table, self.records, self.blobs, self.progress)
            for case_table in self.context.case_tables
        ]
        self.context = replace(self.context, case_tables=again)
        count = craft(self.context)
        self._compact("craft")
        return count

    async def answer(self) -> Count:
        """Stage answer, then compaction."""
        self._begin()
        count = await answer(self.context)
        self._compact("answer")
        return count

    async def judge(self) -> Count:
        """Stage judge, then compaction."""
        self._begin()
        count = await judge_all(self.context)
        self._compact("judge")
        return count

    def findings(self) -> Findings:
        """Whether a complete run worked.

        Raises:
            DamageError: if the run is not complete.
        """
        mark = read_note(self.folder / COMPLETE, TABLE_ANEW)
        return Findings(*(mark[name] for name in Findings._fields))

    def tabulate(self) -> Findings:
        """Write `results.parquet` and mark the run complete."""
        found = tabulate(self.context, self.folder)
        stamps = {name: (stamp(name), target.id) for name, target in self._targets.items()}
        mark = {
            **self._mark(),
            **found._asdict(),
            "digest": results_digest(self.folder / RESULTS),
            "pictures": self.blobs.listing(),
            "targets": {name: known for name, known in stamps.items() if known[0] is not None},
        }
        write_note(self.folder / COMPLETE, mark)
        return found

    def _begin(self) -> None:
        """A stage may write rows: until the table is written again, the run is not complete."""
        (self.folder / COMPLETE).unlink(missing_ok=True)

    def _compact(self, stage: str) -> None:
        with Table(self.records / stage) as table:
            table.compact()


def default_folder(study: Study) -> Path:
    """Where a study runs if nothing else is said: `runs/NAME` under the current folder."""
    return Path("runs") / study.name


def open_run(
    study: Study | Path,
    *,
    out: Path | None = None,
    limit: int | None = None,
    progress: Progress | None = None,
    extend: bool = False,
    retry_errors: bool = False,
    rehash: bool = False,
    ray: str | None = None,
    quick: bool = False,
) -> Run:
    """The run of a study or a study file; its folder is `out`, or `runs/NAME` under the current folder.

    With `ray`, artifacts are made over a Ray cluster: see `scale.Resources`. With `quick`, the quick form
    of a study file is run, whose name ends in -quick.

    Raises:
        UsageError: naming file, line and cure.
    """
    checked = load(study, limit=limit, quickly=quick) if isinstance(study, Path) else study
    if (limit is not None or quick) and isinstance(study, Study):
        checked = parse(
            study.text, name=study.name, folder=study.folder, limit=limit, quickly=quick or study.quick
        )
    return Run(
        checked,
        out if out is not None else default_folder(checked),
        progress or Silent(),
        extend=extend,
        retry_errors=retry_errors,
        rehash=rehash,
        resources=Resources(ray=ray),
    )


def reopen_run(
    folder: Path, *, progress: Progress | None = None, retry_errors: bool = False, ray: str | None = None
) -> Run:
    """The run that lies in `folder`, from its lock; `ray` as in `open_run`.

    Raises:
        UsageError: if there is none, or if it cannot be resumed as it is.
    """
    return Run(
        locks.study_of(folder),
        folder,
        progress or Silent(),
        retry_errors=retry_errors,
        resources=Resources(ray=ray),
    )
