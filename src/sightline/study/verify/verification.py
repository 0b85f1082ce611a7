"""`sightline verify`: are the artifacts of a run still what they claim, and what does their effect survive?

1. Every picture file of the run is read and measured again (`integrity`).
2. Artifacts that show a picture, controls among them, are re-encoded (`reencoding`) and shown to targets.
3. Answers are judged by the run's judges, tabulated in `verify.parquet`, and compared with those to the
   artifact as it was written. What the run has answered and judged is not asked again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from sightline import registry, targets
from sightline.contracts import Judge, NeedsTarget, Target
from sightline.digests import sha256_file
from sightline.errors import DamageError, UsageError, nearest
from sightline.metrics.cells import PLAIN
from sightline.run_folder import COMPLETE, LOCK, RESULTS, WRITE_AGAIN
from sightline.sealed import damage_reported, read_note, yaml_of
from sightline.store import Blobs
from sightline.study.config import NamedDefense
from sightline.study.folder_lock import lock_folder
from sightline.study.progress import Progress, Silent
from sightline.study.schema import StudyFile
from sightline.study.secret import keyed
from sightline.study.stages import Count
from sightline.study.verify.claims import Claim, Claims, few, read_claims
from sightline.study.verify.integrity import Inspected, inspect
from sightline.study.verify.reencoding import FACTORS, QUALITIES, Reencoding, reencodings
from sightline.study.verify.stages import Reasking, Subject
from sightline.study.verify.table import tabulate
from sightline.tables import Table, refuse_other_records


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked for.

    Attributes:
        qualities: of JPEG, 1 to 100.
        factors: of resizing there and back.
        targets: target strings to ask instead of the study's (with its defenses).
        attacks: labels of the attacks to verify; controls and plain requests stay beside them;
            empty: all.
        limit: at most so many cases per benchmark are asked; files are checked of all.
        retry_errors: ask again where an earlier verification got an error.
    """

    qualities: tuple[int, ...] = QUALITIES
    factors: tuple[float, ...] = FACTORS
    targets: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    limit: int | None = None
    retry_errors: bool = False

    def forms(self) -> tuple[Reencoding, ...]:
        """The re-encodings. Raises UsageError for one out of range."""
        return reencodings(self.qualities, self.factors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a verification found: files, rows per stage, the table, and what a reader should know."""

    folder: Path
    study: str
    inspected: Inspected
    counts: Mapping[str, Count]
    table: Path
    notes: tuple[str, ...]


class _Manners(NamedTuple):
    """How a study asks its targets."""

    concurrency: int
    retries: int
    timeout: int | None


@dataclass(slots=True)
class _Opener:
    """Opens targets once, with the run's pictures."""

    blobs: Blobs
    retries: int
    timeout: int | None
    folder: Path | None = None
    _open: dict[str, Target] = field(default_factory=dict)

    def __call__(self, name: str) -> Target:
        """The target of that name."""
        if name not in self._open:
            self._open[name] = targets.open_target(
                name, self.blobs, retries=self.retries, timeout=self.timeout, folder=self.folder
            )
        return self._open[name]


async def verify(folder: Path, wanted: Wanted, progress: Progress | None = None) -> Verified:
    """Check the files of a run, show its pictures re-encoded, and write `verify.parquet`.

    Raises:
        UsageError: naming what the user has to mend: no finished run, no crafted pictures, an unknown target
            or attack, a re-encoding out of range. Lost and changed files are findings, not exceptions.
    """
    progress = progress or Silent()
    forms = wanted.forms()
    claims = read_claims(folder)
    _check_labels(claims, wanted.attacks)
    lock_folder(folder)
    blobs = Blobs(folder / "blobs")
    manners = _manners(folder, claims.lock)
    opened = _Opener(blobs, manners.retries, manners.timeout, _origin(claims.lock))
    notes = list(_unsettled(folder))
    subjects, judges = (
        _subjects(claims.lock, wanted.targets, opened, notes),
        _judges(claims.lock, opened, notes),
    )
    with Table(claims.records / "craft") as crafted:
        inspected = inspect(claims, crafted, blobs, progress)
    chosen = few(_chosen(claims, inspected, wanted.attacks, notes), wanted.limit)
    work = Reasking(
        records=claims.records,
        blobs=blobs,
        claims=chosen,
        problems=inspected.problems,
        forms=forms,
        subjects=subjects,
        judges=keyed(judges, folder),
        decoding=claims.decoding,
        epochs=claims.epochs,
        concurrency=manners.concurrency,
        retries=manners.retries,
        retry_errors=wanted.retry_errors,
        progress=progress,
    )
    counts = {
        "pictures": work.reencode(),
        "answers": await work.answer(),
        "verdicts": await work.judge(),
    }
    table = tabulate(work, str(claims.lock["study"]), folder, inspected.findings)
    for note in notes:
        progress.note(note)
    return Verified(
        folder=folder,
        study=str(claims.lock["study"]),
        inspected=inspected,
        counts=counts,
        table=table,
        notes=tuple(notes),
    )


def _manners(folder: Path, lock: Mapping[str, Any]) -> _Manners:
    """How the study asks: not part of what decides answers, so only its text says so."""
    with damage_reported(folder / LOCK, WRITE_AGAIN):
        text = yaml_of(lock["made_from"]["text"], "made_from.text") or {}  # of merged runs there is none
        found = {name: text.get(name, StudyFile.model_fields[name].default) for name in _Manners._fields}
        seconds = found["timeout"]
        return _Manners(
            int(found["concurrency"]), int(found["retries"]), None if seconds is None else int(seconds)
        )


def _origin(lock: Mapping[str, Any]) -> Path | None:
    """The folder of the study file, which its targets' paths may start at."""
    folder = lock["made_from"].get("folder")
    return None if folder is None else Path(str(folder))


def _unsettled(folder: Path) -> Iterator[str]:
    """Notes if the result table or the records are not those of a finished run."""
    try:
        mark = read_note(folder / COMPLETE, "")
    except DamageError:
        yield f"the run is not finished, or goes on: {RESULTS} may be older than its records"
        return
    if mark.get("results") != sha256_file(folder / RESULTS):
        yield f"{RESULTS} has changed since the run was finished; `sightline judge {folder}` writes it anew"
    try:
        refuse_other_records(folder / "records", mark.get("tables") or {})
    except DamageError as other:
        yield str(other)


def _subjects(
    lock: Mapping[str, Any], names: Sequence[str], opened: _Opener, notes: list[str]
) -> list[Subject]:
    """The targets that are asked: those given, or the study's with every defense."""
    if names:
        return [Subject(name, PLAIN, _given(name, opened), given=True) for name in dict.fromkeys(names)]
    defenses = {
        str(entry["label"]): NamedDefense(
            label=str(entry["label"]),
            stack=tuple(
                registry.parse("defense", each["spec"])
                for each in entry.get("stack", [entry] if "spec" in entry else [])
            ),
        )
        for entry in lock["defenses"]
    }
    found = []
    for entry in lock["targets"]:
        target = opened(defenses[entry["defense"]].around(entry["target"]))
        found.append(Subject(entry["target"], entry["defense"], target))
        if target.id != entry["id"]:
            notes.append(
                f"{entry['target']}, defense {entry['defense']}, is not the one that the run asked "
                f"({target.id}, then {entry['id']}): it is asked everything anew"
            )
    return found


def _given(name: str, opened: _Opener) -> Target:
    try:
        return opened(name)
    except UsageError as wrong:
        raise UsageError(f"--target {name}: {wrong}") from None


def _judges(lock: Mapping[str, Any], opened: _Opener, notes: list[str]) -> list[Judge]:
    """The run's judges; one whose code or lists have changed judges everything anew, and a note says so."""
    found: list[Judge] = []
    for entry in lock["judges"]:
        judge: Judge = registry.parse("judge", entry["spec"])
        judge = judge.bind(opened) if isinstance(judge, NeedsTarget) else judge
        if (judge.id, registry.identity(judge)) != (entry["id"], entry["identity"]):
            notes.append(f"judge {judge.id} is not what it was in the run: all answers are judged anew")
        found.append(judge)
    return found


def _check_labels(claims: Claims, labels: Sequence[str]) -> None:
    known = {name for claim in claims.every for name in (claim.attack, claim.series)}
    for label in labels:
        if label not in known:
            raise UsageError(f"--attack {label}: {nearest(label, known, 'attack of this run')}")


def _chosen(claims: Claims, inspected: Inspected, labels: Sequence[str], notes: list[str]) -> list[Claim]:
    """The artifacts to re-encode: of attacks that show pictures (those of `labels`), and what stands beside.

    Controls stay with the attacks; plain requests stay where they show the case's own picture, on the cases
    that an attack or control met. An artifact that failed or is lost stays, as an error.

    Raises:
        UsageError: if no attack made a picture.
    """

    def named(claim: Claim) -> bool:
        return claim.attack in labels or claim.series in labels

    pictured = _pictured(claims.every, inspected)
    shown = [
        claim
        for claim in claims.every
        if (claim.benchmark, claim.attack) in pictured
        and (claim.key in inspected.shows or claim.key in inspected.problems)
    ]
    crafted = [
        claim
        for claim in shown
        if claim.role != "plain" and (not labels or named(claim) or claim.role == "control")
    ]
    if not crafted and not any(named(claim) for claim in shown):
        plain = next((claim.attack for claim in shown if claim.role == "plain"), None)
        hint = f"; --attack {plain} verifies the benchmark's own pictures" if plain else ""
        raise UsageError(f"{claims.folder}: no attack of this run made a picture{hint}")
    met = {(claim.benchmark, claim.case["id"]) for claim in crafted}
    left = {claim.attack for claim in claims.every} - {claim.attack for claim in shown}
    if left:
        notes.append(f"no pictures to re-encode: {', '.join(sorted(left))}")
    kept = {id(claim) for claim in crafted}
    return [
        claim
        for claim in shown
        if id(claim) in kept
        or (claim.role == "plain" and (named(claim) or (claim.benchmark, claim.case["id"]) in met))
    ]


def _pictured(claims: Sequence[Claim], inspected: Inspected) -> set[tuple[str, str]]:
    """The (benchmark, attack) of which any artifact shows a picture, or would if any were there."""
    every: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        every.setdefault((claim.benchmark, claim.attack), []).append(claim)
    return {
        column
        for column, members in every.items()
        if any(claim.key in inspected.shows for claim in members)
        or (all(claim.key in inspected.problems for claim in members) and _may_draw(members[0]))
    }


def _may_draw(claim: Claim) -> bool:
    """Whether an artifact that is not there could have shown a picture."""
    if claim.role == "plain":
        return True
    try:
        threat = registry.parse("attack", claim.params).card.threat
    except UsageError:  # not installed
        return True
    return threat is None or "image" in threat.may_edit
