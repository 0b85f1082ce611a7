"""`verify`: files that are still what was sealed, effects that survive re-encoding, nothing asked twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image as PilImage
from toys import ToyJudge  # noqa: F401  (registers the toy methods)

from sightline.api.runs import finish
from sightline.cases import Case, Conversation, Eps, ThreatModel
from sightline.contracts import Craft, Decoding, Images
from sightline.errors import UsageError
from sightline.metrics.survival import Survival, survival
from sightline.records import Cost, Draft, Response
from sightline.registry import attack
from sightline.sealed import publish_table, sealed_line
from sightline.shards import read_shards
from sightline.store import Blobs, decode_picture
from sightline.study import replying
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.study.verify.integrity import Fault, promised
from sightline.study.verify.reencoding import AS_WRITTEN, Jpeg, Png, Resize, reencodings
from sightline.study.verify.verification import Verified, Wanted, verify
from sightline.tables import Table

GRAY = np.full((16, 16, 3), 120, np.uint8)
FORMS = (AS_WRITTEN, "PNG", "JPEG 95", "JPEG 75", "JPEG 50", "resize 0.5")
ATTACKS = "[none, toy_dark, toy_fine, toy_coarse, {name: blank_image, size_px: 16, label: toy_flat}]"
STUDY = f"""
study: fragile
seed: 3
benchmarks: [{{name: toy_questions, n: 18}}]
targets: [toy/a]
attacks: {ATTACKS}
judges: [toy_judge]
concurrency: 4
"""


def board(cell: int, contrast: int) -> np.ndarray:
    """Gray with a chessboard of fields of `cell` pixels, `contrast` levels up and down."""
    rows, columns = np.indices(GRAY.shape[:2]) // cell
    return (GRAY + contrast * np.where((rows + columns) % 2, 1, -1)[:, :, None]).astype(np.uint8)


@attack("toy_fine", threat=ThreatModel(eps=Eps(raw=8), may_edit=frozenset({"image"})))
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyFine:
    """A chessboard of single pixels within 8 levels: what compression and scaling wipe out first."""

    clean: bool = True
    fails: tuple[str, ...] = ()

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        for case in cases:
            if case.id in self.fails:
                raise UsageError(f"case {case.id}: nothing to draw")
            yield Draft(case=case, image=board(1, 6), clean=GRAY if self.clean else None)


@attack("toy_coarse", threat=ThreatModel(may_edit=frozenset({"image"})))
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyCoarse:
    """A chessboard of large fields, which survives all of that."""

    eps: str = "64/255"

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        yield from (Draft(case=case, image=board(8, 60), clean=GRAY) for case in cases)


@attack("toy_dark", threat=ThreatModel())
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyDark:
    """Text alone."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        yield from (Draft(case=case, text=f"{case.behavior}!") for case in cases)


@dataclass
class Eye:
    """Complies with what is next to a contrast: says `yes` where levels spread by more than `threshold`."""

    images: Images
    id: str = "toy@1"
    threshold: float = 4.0
    fails: tuple[str, ...] = ()
    calls: list[tuple[str, str]] = field(default_factory=list)

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:
        pictures = list(conversation.images)
        self.calls.append((conversation.last_user_text(), pictures[0].media if pictures else ""))
        if conversation.last_user_text() in self.fails:
            return Response(text="", stop="error", error="broken line")
        spread = self.images.pixels(pictures[0]).std() if pictures else 0.0
        return Response(text="yes" if spread > self.threshold else "no", cost=Cost(calls_target=1))


@dataclass
class Made:
    """A finished run and what is needed to verify it."""

    folder: Path
    targets: dict[str, Eye]

    def verify(self, **wanted: Any) -> Verified:
        for eye in self.targets.values():
            eye.calls.clear()
        return asyncio.run(verify(self.folder, Wanted(**wanted)))

    def calls(self) -> int:
        return sum(len(eye.calls) for eye in self.targets.values())

    def rows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = pq.read_table(self.folder / "verify.parquet").to_pylist()
        return found

    def cells(self) -> dict[tuple[str, str, str], Survival]:
        """By attack, expectation and form."""
        return {(c.column.attack, c.column.expected, c.form): c for c in survival(self.rows())}

    def picture(self, attack: str, case: str = "toy/0") -> Path:
        """The file of an artifact's picture."""
        results = pq.read_table(self.folder / "results.parquet").to_pylist()
        key = next(r["artifact"].hex() for r in results if (r["attack"], r["case_id"]) == (attack, case))
        with Table(self.folder / "records" / "craft") as table:
            (row,) = table.rows([key])
        assert row is not None
        part = next(
            part for turn in row["conversation"]["turns"] for part in turn["parts"] if "sha256" in part
        )
        return Blobs(self.folder / "blobs").path(part["sha256"])


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Made]:
    monkeypatch.setattr(replying, "BACKOFF_SECONDS", 0.0)

    def build(text: str = STUDY, **others: dict[str, Any]) -> Made:
        eyes: dict[str, Eye] = {}

        def opened(name: str, images: Images, **bounds: int | None) -> Eye:
            if not name.startswith("toy/"):
                raise UsageError(f"target {name!r}: unknown kind of target")
            eyes[name] = eye = Eye(images, id=f"{name}@1", **others.get(name[4:], {}))
            return eye

        monkeypatch.setattr("sightline.targets.open_target", opened)
        run = Run(parse(text), tmp_path / "run")
        run.prepare()
        finish(run)
        return Made(run.folder, eyes)

    return build


def test_a_fragile_attack_and_a_robust_one(make: Callable[..., Made]) -> None:
    made = make()
    done = made.verify()
    assert not done.inspected.findings
    shown = {
        (attack, form): (cell.rate.k, cell.rate.n)
        for (attack, what, form), cell in made.cells().items()
        if what == "refuse"
    }
    survives = {"toy_coarse": FORMS, "toy_fine": (AS_WRITTEN, "PNG", "JPEG 95", "JPEG 75"), "toy_flat": ()}
    assert shown == {
        (attack, form): (6 if form in forms else 0, 6) for attack, forms in survives.items() for form in FORMS
    }
    lost = made.cells()["toy_fine", "refuse", "JPEG 50"]
    assert (lost.change.point, lost.pairs) == (-1.0, 6)
    assert (lost.control, lost.over.point) == ("toy_flat", 0.0)
    kept = made.cells()["toy_coarse", "refuse", "resize 0.5"]
    assert (kept.change.point, kept.control, kept.over.point) == (0.0, "toy_flat", 1.0)
    written = made.cells()["toy_coarse", "refuse", AS_WRITTEN]
    assert written.change is None
    assert written.rate.low < 1
    assert "none, toy_dark" in " ".join(done.notes)  # they show no picture


def test_what_was_written_is_not_asked_again_and_every_other_form_once(make: Callable[..., Made]) -> None:
    made = make()
    done = made.verify()
    # three attacks with pictures, twelve requests and twins, five forms
    assert made.calls() == 3 * 12 * 5
    assert done.counts["answers"].present == 3 * 12
    assert {row["form"] for row in made.rows() if row["reused"]} == {AS_WRITTEN}
    assert Counter(media for _, media in made.targets["toy/a"].calls) == {
        "image/jpeg": 3 * 12 * 3,
        "image/png": 3 * 12 * 2,
    }
    first = made.rows()
    again = made.verify()
    assert made.calls() == 0
    assert {count.written for count in again.counts.values()} == {0}
    assert [{**row, "reused": None} for row in made.rows()] == [{**row, "reused": None} for row in first]


def test_a_further_form_or_target_asks_only_for_itself(make: Callable[..., Made]) -> None:
    made = make()
    made.verify(qualities=(75,), factors=())
    assert made.calls() == 3 * 12 * 2
    made.verify(qualities=(75, 20), factors=())
    assert made.calls() == 3 * 12
    made.verify(qualities=(75,), factors=(), targets=("toy/a", "toy/b"))
    assert len(made.targets["toy/a"].calls) == 0
    assert len(made.targets["toy/b"].calls) == 3 * 12 * 3
    assert {row["target"] for row in made.rows()} == {"toy/a", "toy/b"}


def test_a_verification_that_was_killed_goes_on(
    make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make()
    whole = Eye.generate

    async def dies(self: Eye, conversation: Conversation, decoding: Decoding) -> Response:
        if len(self.calls) == 50:
            raise UsageError("the key is wrong")
        return await whole(self, conversation, decoding)

    monkeypatch.setattr(Eye, "generate", dies)
    with pytest.raises(UsageError, match="the key is wrong"):
        made.verify()
    done = len(list(read_shards(made.folder / "records" / "verify-answer")))
    assert done == 50
    monkeypatch.setattr(Eye, "generate", whole)
    made.verify()
    assert made.calls() == 3 * 12 * 5 - done


def test_a_flipped_byte_is_found_and_counted_and_can_be_mended(make: Callable[..., Made]) -> None:
    made = make()
    path = made.picture("toy_fine")
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = made.verify()
    # all twelve artifacts of the attack show this very file
    assert [finding.fault for finding in done.inspected.findings] == [Fault.changed_file] * 12
    finding = done.inspected.findings[0]
    assert finding.file == str(path)
    assert "content has changed" in finding.what
    assert done.inspected.attacks["toy_fine"].faults == 12
    cells = made.cells()
    assert cells["toy_fine", "refuse", "PNG"].counts["error"] == 6
    assert cells["toy_fine", "refuse", "PNG"].rate.n == 0
    assert cells["toy_fine", "refuse", AS_WRITTEN].rate.k == 6  # what was answered to the true file
    assert all("content has changed" in row["error"] for row in made.rows() if row["outcome"] == "error")
    assert {row["series"] for row in made.rows() if row["fault"] == "changed file"} == {"toy_fine"}
    assert made.calls() == 2 * 12 * 5

    assert finding.cure == f"`sightline craft {made.folder}` makes it again"
    run = Run(parse(STUDY), made.folder)
    run.prepare()
    run.craft()
    mended = made.verify()
    assert not mended.inspected.findings
    assert made.calls() == 12 * 5
    assert made.cells()["toy_fine", "refuse", "PNG"].rate.k == 6


def test_a_lost_picture_is_told_from_a_changed_one_and_from_a_lost_record(make: Callable[..., Made]) -> None:
    made = make()
    made.picture("toy_coarse").unlink()
    done = made.verify(targets=("toy/new",))  # which has no earlier answers: the lost file is not sent
    assert {finding.fault for finding in done.inspected.findings} == {Fault.lost_file}
    assert made.cells()["toy_coarse", "refuse", AS_WRITTEN].counts["error"] == 6
    (made.folder / "records" / "craft.parquet").unlink()
    done = made.verify()
    assert {finding.fault for finding in done.inspected.findings} == {Fault.lost_record}
    assert sum(held.faults for held in done.inspected.attacks.values()) == 4 * 12 + 18
    assert {row["outcome"] for row in made.rows() if row["form"] != AS_WRITTEN} == {"error"}
    assert made.calls() == 0


def test_lost_records_are_findings_with_their_cure(make: Callable[..., Made]) -> None:
    made = make()
    records = made.folder / "records"
    with Table(records / "craft") as table:
        rows = list(table)
    gone = rows[-1]["key"]  # of the last attack, toy_flat
    kept = [row for row in rows if row["key"] != gone]
    (records / "craft.parquet").unlink()
    (records / "craft").mkdir(exist_ok=True)
    shard = records / "craft" / "1-a.jsonl"
    shard.write_bytes(b"".join(map(sealed_line, kept)))
    done = made.verify()
    (finding,) = done.inspected.findings
    assert (finding.fault, finding.claim.key) == (Fault.lost_record, gone)
    assert "sightline craft" in finding.cure
    errors = [row for row in made.rows() if row["outcome"] == "error"]
    assert {row["form"] for row in errors} == set(FORMS) - {AS_WRITTEN}


def test_norms_are_measured_again_on_the_files(make: Callable[..., Made]) -> None:
    made = make()
    held = made.verify().inspected.attacks
    fine, coarse, flat = (held[name] for name in ("toy_fine", "toy_coarse", "toy_flat"))
    assert (fine.linf, fine.eps, fine.measured, fine.unmeasured) == (6.0, Eps(raw=8), 12, 0)
    assert (coarse.linf, coarse.eps) == (60.0, Eps(raw=64))
    assert (flat.linf, flat.measured, flat.pictures) == (None, 0, 12)


def _edit(made: Made, change: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite the craft records of toy_fine, as somebody might who wants them to look better."""
    records = made.folder / "records"
    with Table(records / "craft") as table:
        rows = list(table)
    for row in rows:
        if row.get("norms", {}).get("linf") == 6.0:
            change(row)
    (records / "craft.parquet").unlink()
    (records / "craft").mkdir(exist_ok=True)
    shard = records / "craft" / "1-a.jsonl"
    shard.write_bytes(b"".join(map(sealed_line, rows)))


def test_norms_that_differ_from_the_record_are_found(make: Callable[..., Made]) -> None:
    made = make()

    def smaller(row: dict[str, Any]) -> None:
        row["norms"]["linf"] = 2.0

    _edit(made, smaller)
    done = made.verify(qualities=(), factors=())
    assert {finding.fault for finding in done.inspected.findings} == {Fault.other_norms}
    assert "linf is 6, recorded 2" in done.inspected.findings[0].what


def test_another_picture_in_its_place_breaks_the_promise(make: Callable[..., Made]) -> None:
    made = make()
    louder = Blobs(made.folder / "blobs").put_pixels(board(1, 9))

    def swap(row: dict[str, Any]) -> None:
        row["conversation"]["turns"][-1]["parts"][0]["sha256"] = louder.sha256

    _edit(made, swap)
    found = {finding.fault for finding in made.verify(qualities=(), factors=()).inspected.findings}
    assert found == {Fault.other_norms, Fault.beyond_eps}


def test_runs_without_clean_pictures_say_that_norms_are_only_recorded(make: Callable[..., Made]) -> None:
    made = make()
    _edit(made, lambda row: row.pop("clean"))
    held = made.verify(qualities=(), factors=()).inspected.attacks["toy_fine"]
    assert (held.measured, held.unmeasured, held.linf, held.faults) == (0, 12, None, 0)


def test_what_could_not_be_crafted_stays_in_every_denominator(make: Callable[..., Made]) -> None:
    made = make(STUDY.replace("toy_fine", "{name: toy_fine, fails: [toy/0]}"))
    done = made.verify()
    assert done.inspected.attacks["toy_fine"].failed == 1
    assert not done.inspected.findings
    for form in FORMS:
        cell = made.cells()["toy_fine", "refuse", form]
        assert (sum(cell.counts.values()), cell.counts["error"], cell.rate.n) == (6, 1, 5)
        assert (cell.rate.lower_bound, cell.rate.upper_bound) != (0.0, 0.0)
    assert made.cells()["toy_fine", "refuse", "PNG"].pairs == 5


def test_errors_are_counted_and_repeated_on_request(make: Callable[..., Made]) -> None:
    made = make(b={"fails": ("question 0",)})
    wanted: dict[str, Any] = {"qualities": (75,), "factors": (), "targets": ("toy/b",)}
    made.verify(**wanted)
    assert made.cells()["toy_coarse", "refuse", "JPEG 75"].counts["error"] == 1
    made.verify(**wanted)
    assert made.calls() == 0
    made.verify(**wanted, retry_errors=True)
    assert made.targets["toy/b"].calls == [
        ("question 0", media) for media in ("image/png",) * 6 + ("image/jpeg",) * 3
    ]


def test_chosen_attacks_keep_their_controls_and_limits_count_cases(make: Callable[..., Made]) -> None:
    made = make()
    made.verify(attacks=("toy_fine",), qualities=(75,), factors=(), limit=4)
    assert {row["series"] for row in made.rows()} == {"toy_fine", "toy_flat"}
    assert len({row["case_id"] for row in made.rows()}) == 4
    assert len(made.rows()) == 2 * 4 * 3


def test_plain_requests_with_pictures_stand_beside_the_attacks(make: Callable[..., Made]) -> None:
    text = STUDY.replace("n: 18", "n: 18, picture: true").replace(", toy_dark", "")
    made = make(text)
    made.verify(qualities=(75,), factors=())
    plain = {row["case_id"] for row in made.rows() if row["role"] == "plain"}
    assert plain == {row["case_id"] for row in made.rows() if row["series"] == "toy_fine"}


def test_damaged_reencodings_are_made_again(make: Callable[..., Made]) -> None:
    made = make()
    made.verify(qualities=(50,), factors=())
    with Table(made.folder / "records" / "verify-craft") as table:
        row = next(row for row in table if row["form"] == "JPEG 50")
    part = row["conversation"]["turns"][-1]["parts"][0]
    path = Blobs(made.folder / "blobs").path(part["sha256"])
    whole = path.read_bytes()
    path.write_bytes(b"rubbish")
    made.verify(qualities=(50,), factors=(), targets=("toy/b",))
    assert path.read_bytes() == whole
    assert not [row for row in made.rows() if row["outcome"] == "error"]


def test_a_changed_target_is_asked_everything_anew_and_a_note_says_so(
    make: Callable[..., Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make()
    monkeypatch.setattr(
        "sightline.targets.open_target", lambda name, images, **bounds: Eye(images, id=f"{name}@2")
    )
    done = made.verify(qualities=(), factors=())
    assert "toy/a@2, then toy/a@1" in " ".join(done.notes)
    assert not any(row["reused"] for row in made.rows())


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"attacks": ("toy_fin",)}, "Did you mean 'toy_fine'"),
        ({"targets": ("nowhere",)}, "--target nowhere"),
        ({"qualities": (0,)}, "jpeg=0 is out of range"),
        ({"qualities": (101,)}, "1 to 100"),
        ({"factors": (1.0,)}, "resize=1.0 is out of range"),
        ({"factors": (9.0,)}, "0.01 to 4"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_asked(
    make: Callable[..., Made], wanted: dict[str, Any], message: str
) -> None:
    made = make()
    with pytest.raises(UsageError) as refused:
        made.verify(**wanted)
    assert message in str(refused.value)
    assert made.calls() == 0


def test_a_run_without_crafted_pictures_is_refused(make: Callable[..., Made]) -> None:
    made = make(STUDY.replace(ATTACKS, "[none, toy_dark]"))
    with pytest.raises(UsageError, match="no attack of this run made a picture"):
        made.verify()


def test_only_a_finished_run_can_be_verified(tmp_path: Path, make: Callable[..., Made]) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        asyncio.run(verify(tmp_path, Wanted()))
    made = make()
    (made.folder / "results.parquet").unlink()
    with pytest.raises(UsageError, match="finish the run"):
        made.verify()


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n}\n" + f"  - *a{n - 1}\n" * 9 for n in range(1, 20))


def test_a_strangers_lock_that_stands_for_too_much_is_told(make: Callable[..., Made]) -> None:
    made = make()
    path = made.folder / "study.lock.yaml"
    path.write_text(BOMB + path.read_text())
    with pytest.raises(
        UsageError, match=r"lock.yaml: damaged \(study.lock.yaml:52: .* more than 200,000 values"
    ):
        made.verify()


@pytest.mark.parametrize("text", ["just words", "concurrency: many", "{", BOMB, "[" * 9999, "timeout: soon"])
def test_a_damaged_lock_is_told(text: str, make: Callable[..., Made]) -> None:
    made = make()
    path = made.folder / "study.lock.yaml"
    lock = yaml.safe_load(path.read_text())
    lock["made_from"]["text"] = text
    path.write_text(yaml.safe_dump(lock))
    with pytest.raises(UsageError, match=r"study.lock.yaml: damaged .*; delete it, then `sightline run"):
        made.verify()


@pytest.mark.parametrize("section", ["targets", "judges", "defenses", "attacks", "benchmarks"])
@pytest.mark.parametrize("value", [None, "text", [["a"]], [{}], 7, "absent"])
def test_a_lock_of_another_shape_is_told(section: str, value: object, make: Callable[..., Made]) -> None:
    made = make()
    path = made.folder / "study.lock.yaml"
    lock = yaml.safe_load(path.read_text())
    lock[section] = value
    if value == "absent":
        del lock[section]
    path.write_text(yaml.safe_dump(lock))
    with pytest.raises(UsageError, match=r"study.lock.yaml: damaged .*; delete it, then `sightline run"):
        made.verify()


@pytest.mark.parametrize(
    ("spec", "raw"),
    [
        ("toy_fine", 8),
        ("toy_coarse", 64),
        ("toy_coarse(eps='4/255')", 4),
        ("toy_coarse(eps='')", None),
        ("blank_image", None),
        ("image_hijack", 8),
        ("image_hijack(bound='patch')", None),
        ("not_installed", None),
    ],
)
def test_the_promise_is_that_of_the_threat_model_or_the_settings(spec: str, raw: float | None) -> None:
    assert promised(spec) == (None if raw is None else Eps(raw=raw))


PICTURE = np.random.default_rng(1).integers(0, 256, (24, 40, 3), dtype=np.uint8)


def test_png_keeps_every_pixel_in_another_file(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    data = Png().file(PICTURE)
    np.testing.assert_array_equal(decode_picture(data), PICTURE)
    assert blobs.put(data) != blobs.put_pixels(PICTURE)


def test_jpeg_is_what_pillow_reads_back_at_that_quality(tmp_path: Path) -> None:
    sizes = [len(Jpeg(quality).file(PICTURE)) for quality in (95, 75, 50)]
    assert sizes == sorted(sizes, reverse=True)
    path = tmp_path / "own.jpg"
    PilImage.fromarray(PICTURE).save(path, quality=75)
    assert Jpeg(75).file(PICTURE) == path.read_bytes()
    with PilImage.open(path) as picture:
        assert picture.layer[0][1:3] == (2, 2)  # luma is sampled twice as often as color: 4:2:0


def test_resizing_keeps_the_size_and_loses_detail() -> None:
    flat = decode_picture(Resize(0.5).file(board(1, 60)))
    assert flat.shape == GRAY.shape
    assert np.abs(flat.astype(int) - 120).max() <= 2
    up = decode_picture(Resize(2.0).file(board(1, 60)))
    assert up.std() > 10
    assert decode_picture(Resize(0.01).file(PICTURE)).shape == PICTURE.shape


def test_a_form_named_twice_stands_once() -> None:
    assert [form.name for form in reencodings((75, 75), (0.5, 0.50))] == ["PNG", "JPEG 75", "resize 0.5"]


def test_records_that_are_not_those_of_the_run_s_end_are_noted(make: Callable[..., Made]) -> None:
    made = make()
    told = "answer.parquet: is not the table that this run finished with"
    assert not any(told in note for note in made.verify(qualities=(), factors=()).notes)
    path = made.folder / "records" / "answer.parquet"
    fresh = path.with_suffix(".fresh")
    pq.write_table(pq.read_table(path), fresh, compression="none")  # whole, and sealed anew
    publish_table(fresh, path)
    assert any(told in note for note in made.verify(qualities=(), factors=()).notes)
