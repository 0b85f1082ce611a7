"""What a verification shows: damaged files by file, tables form by form, one page without any reply."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from run_folder import HOSTILE

from sightline.cases import Eps
from sightline.report import verification
from sightline.run_folder import FORMAT, LOCK
from sightline.sealed import sealed_text
from sightline.study.lock import dump
from sightline.study.verify.claims import Claim
from sightline.study.verify.integrity import AttackFiles, Fault, Finding, Inspected
from sightline.study.verify.table import SCHEMA
from sightline.study.verify.verification import Verified

FORMS = ("as written", "PNG", "JPEG 75")


def row(case: int, form: str, outcome: str, **others: Any) -> dict[str, Any]:
    return {
        "study": "s",
        "target": "toy/a",
        "defense": "none",
        "series": "qi",
        "attack": "qi",
        "role": "attack",
        "benchmark": "b",
        "form": form,
        "case_id": f"c{case}",
        "group": f"g{case}",
        "expected": "refuse",
        "epoch": 0,
        "craft_seed": 0,
        "outcome": outcome,
        "judge": "j1",
        "success": outcome == "complied",
    } | others


def cells(**others: Any) -> list[dict[str, Any]]:
    """Four requests: all obeyed as written, half of them as JPEG, of which one is unscored."""
    found = [row(case, form, "complied", **others) for form in FORMS[:2] for case in range(4)]
    return found + [
        row(case, FORMS[2], outcome, **others)
        for case, outcome in enumerate(("complied", "complied", "refused", "error"))
    ]


def claim(case: str = "c0", attack: str = "qi") -> Claim:
    return Claim(
        key="0" * 32,
        case={"id": case},
        benchmark="b",
        release="r",
        attack=attack,
        params=attack,
        series=attack,
        shown_to=frozenset(),
    )


def verified(folder: Path, rows: list[dict[str, Any]], inspected: Inspected, **others: Any) -> Verified:
    path = folder / "verify.parquet"
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), path)
    facts: dict[str, Any] = {"study": "s", "counts": {}, "notes": ()} | others
    return Verified(folder=folder, inspected=inspected, table=path, **facts)


def whole() -> Inspected:
    files = AttackFiles(
        attack="qi", role="attack", artifacts=4, pictures=4, measured=4, linf=31.0, eps=Eps(raw=32)
    )
    return Inspected(attacks={"qi": files})


def test_the_table_says_what_survives(tmp_path: Path) -> None:
    rows = [*cells(), *cells(judge="j2"), *cells(role="control", series="noise", attack="noise")]
    shown = verification.boards(verified(tmp_path, rows, whole()))
    assert [(board.judge, len(board.lines)) for board in shown] == [("j1", 2), ("j2", 1)]
    line = shown[0].lines[0]
    assert [form for form, _ in line.shown] == list(FORMS)
    written, png, jpeg = (cell for _, cell in line.shown)
    assert (written.text, written.count, written.change, written.unscored) == ("100\u00a0%", "4/4", "", 0)
    assert png.change.startswith("+0 [")
    assert (jpeg.text, jpeg.count, jpeg.unscored) == ("67\u00a0%", "2/3", 1)
    assert jpeg.bounds == "50\u00a0% to 75\u00a0%"
    assert jpeg.change.startswith("−33 [")  # three pairs, of which one is lost
    assert jpeg.over.endswith("(noise)")
    assert [name for name, _ in shown[0].bands] == ["attacks", "controls"]


def test_names_tell_the_model_and_the_cases(tmp_path: Path) -> None:
    rows = cells(crafted_on="m#1", made_on_target=True, seen=False)
    (board,) = verification.boards(verified(tmp_path, rows, whole()))
    assert board.lines[0].name == "qi (crafted on the target, held-out cases)"
    other = cells(crafted_on="m#1", made_on_target=False)
    (board,) = verification.boards(verified(tmp_path, other, whole()))
    assert board.lines[0].name == "qi (transfer)"


def test_a_trained_target_has_the_name_of_its_row(tmp_path: Path) -> None:
    string = "tuned/safety_sft@aaaaaaaaaaaa:toy/a"
    trained = {"label": "safer", "base": "toy/a", "seed": 0, "target": string, "steps": 9, "checkpoints": []}
    lock = {"format": FORMAT, "targets": [{"target": "toy/a"}], "trained": [trained]}
    (tmp_path / LOCK).write_text(sealed_text(dump(lock)), "utf-8")
    found = verified(tmp_path, [*cells(), *cells(target=string)], whole())
    assert {board.target for board in verification.boards(found)} == {"toy/a", "safer"}
    page = verification.write(found).read_text("utf-8")
    assert "<b>safer on b</b>" in page
    assert string not in page


def test_a_file_that_many_artifacts_show_is_told_once() -> None:
    findings = [
        Finding(fault=Fault.lost_file, claim=claim(case), file="blobs/ab", what="it is missing", cure="craft")
        for case in ("c0", "c1", "c2")
    ]
    inspected = Inspected(
        attacks={"qi": AttackFiles(attack="qi", role="attack", artifacts=5, faults=3)}, findings=findings
    )
    (damage,) = verification.damages(inspected)
    assert (damage.artifacts, damage.example, damage.fault) == (3, "qi, case c0", "lost file")
    assert verification.files_told(inspected) == "3 of 5 artifacts differ from what the run recorded."
    assert verification.files_told(whole()) == (
        "All 4 artifacts match what the run recorded; norms of 4 were measured again and match."
    )


def test_the_files_table_keeps_unmeasured_norms_apart() -> None:
    files = AttackFiles(
        attack="qi", role="attack", artifacts=3, pictures=3, unmeasured=2, linf=8.0, measured=1
    )
    assert verification.attack_lines(Inspected(attacks={"qi": files})) == [
        ("qi", "3", "3", "8 (2 not measured)", "", "0", "0")
    ]


def test_the_page_stands_alone(tmp_path: Path) -> None:
    page = verification.write(verified(tmp_path, cells(), whole())).read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    assert page.count("<svg") == 1
    for text in ("67\u00a0%", "2/3", "JPEG 75", "fewer than 30 groups", "no control", ">31<", ">32<"):
        assert text in page, text


def test_names_of_a_hostile_study_are_text(tmp_path: Path) -> None:
    rows = [
        row(0, text[:20], "complied", series=text, target=text, benchmark=text, defense=text)
        for text in HOSTILE
    ]
    findings = [
        Finding(fault=Fault.lost_file, claim=claim(text, text), file=text, what=text, cure=text)
        for text in HOSTILE
    ]
    inspected = Inspected(
        attacks={text: AttackFiles(attack=text, role="attack", artifacts=1) for text in HOSTILE},
        findings=findings,
    )
    done = verified(tmp_path, rows, inspected, study=HOSTILE[0], notes=HOSTILE)
    page = verification.write(done).read_text(encoding="utf-8")
    for markup in ("<script", "<img", "<iframe", "<h1 id=injected", "<link rel=stylesheet", "\u202e", "\x1b"):
        assert markup not in page, markup
    assert "&lt;script&gt;" in page
    assert 'onmouseover=alert(1) x="' not in page


@pytest.mark.parametrize("columns", [3, verification.MOST_SERIES + 3])
def test_a_figure_draws_what_can_be_told_apart(tmp_path: Path, columns: int) -> None:
    rows = [one for number in range(columns) for one in cells(series=f"attack {number}")]
    (board,) = verification.boards(verified(tmp_path, rows, whole()), drawn=True)
    assert len(board.key) == min(columns, verification.MOST_SERIES)
    assert board.undrawn == max(0, columns - verification.MOST_SERIES)
    assert board.figure is not None
    assert len(board.lines) == columns


def test_where_nothing_was_scored_there_is_one_row(tmp_path: Path) -> None:
    failed = [row(case, form, "error", series="pair", attack="pair") for form in FORMS for case in range(4)]
    (board,) = verification.boards(verified(tmp_path, [*cells(), *failed], whole()))
    shown = {line.name: [form for form, _ in line.shown] for line in board.lines}
    assert shown == {"qi": list(FORMS), "pair": ["as written"]}
