"""Are the files of a run still what was sealed? Hashes, sizes, norms and promises, measured again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from sightline import registry
from sightline.cases import Eps, Image
from sightline.errors import UsageError
from sightline.plain import artifact_of
from sightline.records import Artifact
from sightline.store import Blobs, decode_picture
from sightline.study.grid import chunks
from sightline.study.progress import Progress
from sightline.study.seal import norms_of
from sightline.study.verify.claims import Claim, Claims
from sightline.tables import Table

STAGE = "verify files"
_TOLERANCE = 1e-9
MEND = "the attack broke its own bound: mend its code, then run the study again"


class Fault(StrEnum):
    """What can be wrong with an artifact of a finished run."""

    lost_record = "lost record"
    lost_file = "lost file"
    changed_file = "changed file"
    other_size = "other size"
    other_norms = "other norms"
    beyond_eps = "beyond eps"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A fault of one artifact: the file that has it, what was found, and the cure."""

    fault: Fault
    claim: Claim
    file: str
    what: str
    cure: str


@dataclass(slots=True, kw_only=True)
class AttackFiles:
    """What the artifacts of one attack are. `linf` is the largest of those measured again.

    `unmeasured` have norms, but their run kept no clean picture to measure against; `failed` could not be
    crafted, so that they never had a picture of their own.
    """

    attack: str
    role: str
    artifacts: int = 0
    pictures: int = 0
    measured: int = 0
    unmeasured: int = 0
    failed: int = 0
    linf: float | None = None
    eps: Eps | None = None
    faults: int = 0


@dataclass(slots=True)
class Inspected:
    """The artifacts of a run after a look at all of their files.

    `problems` says, by artifact key, why a picture cannot be shown (lost, changed, never crafted); `shows`
    holds the keys of those that show any picture.
    """

    attacks: dict[str, AttackFiles] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    shows: set[str] = field(default_factory=set)


def promised(spec: str) -> Eps | None:
    """The l_inf radius that an attack promises; None also for one that is not installed."""
    try:
        return registry.promised(registry.parse("attack", spec))
    except UsageError:
        return None


def inspect(claims: Claims, crafted: Table, blobs: Blobs, progress: Progress) -> Inspected:
    """Look at every file that the claims name, once each; a fault is a finding, never an exception."""
    found = Inspected()
    files = _Files(blobs, claims.folder)
    progress.start(STAGE, len(claims.every), 0)
    for batch in chunks(iter(claims.every)):
        for claim, row in zip(batch, crafted.rows([claim.key for claim in batch]), strict=True):
            counts = found.attacks.setdefault(
                claim.series,
                AttackFiles(attack=claim.series, role=claim.role, eps=promised(claim.params)),
            )
            counts.artifacts += 1
            if row is None:
                faults = [files.lost(claim)]
                found.problems[claim.key] = f"{faults[0].file}: {faults[0].what}"
            else:
                faults = list(_faults(claim, artifact_of(row), files, counts, found))
            found.findings += faults
            counts.faults += bool(faults)
            progress.advance(errors=bool(faults))
    progress.finish()
    return found


def _faults(
    claim: Claim, artifact: Artifact, files: _Files, counts: AttackFiles, found: Inspected
) -> Iterator[Finding]:
    """The faults of one artifact; what else was seen goes into `held` and `found`."""
    pictures = [image for image in artifact.images if image.problem is None]
    if pictures:
        found.shows.add(claim.key)
    if artifact.problem is not None:
        counts.failed += 1
        found.problems[claim.key] = artifact.problem
        return
    counts.pictures += bool(pictures)
    whole = True
    for image in pictures:
        finding = files.fault(image, claim)
        if finding is not None:
            found.problems[claim.key] = f"{finding.file}: {finding.what}"
            whole = False
            yield finding
    if artifact.norms and pictures and whole:
        yield from _measured(claim, artifact, pictures[-1], files, counts)


def _measured(
    claim: Claim, artifact: Artifact, shown: Image, files: _Files, counts: AttackFiles
) -> Iterator[Finding]:
    """What the norms of a whole picture have to say against the record and the attack's promise."""
    clean = artifact.clean
    if clean is None:
        counts.unmeasured += 1
        norms: Mapping[str, float] = artifact.norms
    elif (absent := files.fault(clean, claim)) is not None:
        yield replace(absent, what=f"{absent.what} (the clean picture that norms are measured against)")
        return
    else:
        counts.measured += 1
        norms = files.norms(clean, shown)
        counts.linf = max(counts.linf or 0.0, norms["linf"])
    others = [
        f"{name} is {norms[name]:g}, recorded {value:g}"
        for name, value in artifact.norms.items()
        if name in norms and not math.isclose(norms[name], value, rel_tol=_TOLERANCE)
    ]
    if others:
        yield files.finding(Fault.other_norms, claim, shown, "; ".join(others))
    if counts.eps is not None and norms["linf"] > counts.eps.raw:
        what = f"l_inf is {norms['linf']:g} levels, the attack promises at most {counts.eps.raw:g}"
        yield replace(files.finding(Fault.beyond_eps, claim, shown, what), cure=MEND)


class _Files:
    """The run's pictures, each read and measured once however many artifacts show it."""

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder
        self._states: dict[Image, tuple[Fault, str] | None] = {}
        self._norms: dict[tuple[Image, Image], dict[str, float]] = {}

    def lost(self, claim: Claim) -> Finding:
        """The finding for an artifact without a record."""
        return Finding(
            fault=Fault.lost_record,
            claim=claim,
            file=str(self._folder / "records" / "craft.parquet"),
            what=f"it has no record {claim.key}",
            cure=f"`sightline craft {self._folder}` makes it again",
        )

    def finding(self, fault: Fault, claim: Claim, image: Image, what: str) -> Finding:
        """A finding about a picture's file."""
        path = self._blobs.path(image.sha256)
        cure = f"`sightline craft {self._folder}` makes it again"
        return Finding(fault=fault, claim=claim, file=str(path), what=what, cure=cure)

    def fault(self, image: Image, claim: Claim) -> Finding | None:
        """What is wrong with a picture's file, if anything."""
        if image not in self._states:
            self._states[image] = self._look(image)
        state = self._states[image]
        return None if state is None else self.finding(state[0], claim, image, state[1])

    def _look(self, image: Image) -> tuple[Fault, str] | None:
        path = self._blobs.path(image.sha256)
        if not path.exists():
            return Fault.lost_file, "it is missing"
        try:
            height, width = decode_picture(self._blobs.read(image.sha256)).shape[:2]
        except UsageError:
            return Fault.changed_file, "its content has changed since it was written"
        if (width, height) != (image.width, image.height):
            return Fault.other_size, f"it is {width}x{height}, recorded {image.width}x{image.height}"
        return None

    def norms(self, clean: Image, shown: Image) -> dict[str, float]:
        """Norms of what is shown against what it was made from, as sealing measures them."""
        if (clean, shown) not in self._norms:
            self._norms[clean, shown] = norms_of(self._blobs.pixels(clean), self._blobs.pixels(shown))
        return self._norms[clean, shown]
