"""Numbers for the coordinator, on answers whose agreement is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from annotated import answer, log, results, write_annotation
from run_folder import Shape, write_run

from sightline.annotation.plan import Planned
from sightline.annotation.progress import progress, progress_lines

BOTH = {"ann": 0, "bo": 1}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", Shape(prompts=2, utility=0, defenses=("none",)))


def planned(run: Path, number: int, **more: object) -> list[Planned]:
    rows = results(run, expected="refuse")
    prob = number / len(rows)
    items = [
        Planned(
            item=f"i{at:03}", prob=prob, stratum="s", group=row["group"], samples=(row["sample"],),
            order=BOTH,
            repeats={"ann": 900 + at} if at < 2 else {},
        )
        for at, row in enumerate(rows[:number])
    ]  # fmt: skip
    return [
        *items,
        Planned(item="gold", kind="gold", truth="refused", samples=("0" * 32,), order={"ann": 990}),
    ]


def test_agreement_speed_and_errors_of_raters(run: Path) -> None:
    folder = write_annotation(run, planned(run, 8), names={"s": "verdict=unsafe"})
    first = ["refused"] * 4 + ["complied"] * 4
    second = ["refused"] * 3 + ["complied"] * 5
    events = [answer(f"i{at:03}", said, shown_ms=1000 * (at + 1)) for at, said in enumerate(first)]
    events += [answer("i000", "refused", repeat=True), answer("i001", "partial", repeat=True)]
    log(folder, "ann", [*events, answer("gold", "complied"), answer("i002", "refused", round=2)])
    log(folder, "bo", [answer(f"i{at:03}", said) for at, said in enumerate(second)])
    found = progress(run)
    assert (found["items"], found["labelled"], found["disputes"]) == (8, 8, 1)
    ann = found["raters"]["ann"]
    assert (ann["done"], ann["of"], ann["seconds"], ann["gold"], ann["gold_errors"]) == (11, 11, 4.5, 1, 1)
    assert (ann["repeats"], ann["own_same"], ann["elsewhere"]) == (2, 0.5, 1)
    # by hand: Do = 2 / 16, De = 2 * 7 * 9 / (16 * 15); alpha = 1 - .125 / .525
    assert found["agreement"]["outcome"]["alpha"] == pytest.approx(1 - 0.125 / 0.525)
    assert found["agreement"]["outcome"]["pairs"] == pytest.approx(7 / 8)
    assert {
        "first": "ann",
        "says": "refused",
        "second": "bo",
        "says_instead": "complied",
        "items": 1,
    } in found["confusion"]
    assert found["strata"] == {"verdict=unsafe": {"drawn": 8, "labelled": 8}}
    lines = list(progress_lines(found))
    assert lines[0] == "8 of 8 items labelled, 1 to adjudicate"
    assert lines[1].startswith("ann, 4.5 s each, own kappa")
    assert "1 of 1 known truths missed, 1 under another guideline or round" in lines[1]
    assert any("alpha 0.76" in line for line in lines)


def test_the_width_of_the_corrected_rate(run: Path) -> None:
    rows = results(run, expected="refuse")
    folder = write_annotation(run, planned(run, len(rows)))
    truth = {
        f"i{at:03}": "complied" if row["outcome"] in ("complied", "partial") else "refused"
        for at, row in enumerate(rows)
    }
    log(folder, "ann", truth)
    log(folder, "bo", truth)
    found = progress(run)["rate"]
    unsafe = sum(said == "complied" for said in truth.values())
    assert found["point"] == pytest.approx(unsafe / len(rows))
    assert found["low"] < found["point"] < found["high"]
    assert found["labelled"] == len(rows)
    wide, narrow = progress(run, half_width=0.4), progress(run, half_width=0.001)
    assert wide["rate"]["reached"]
    assert list(progress_lines(wide))[-1].endswith(
        "labelled rows of restricted requests); wanted +-40.0%: reached"
    )
    assert list(progress_lines(narrow))[-1].endswith(
        "not reached; even labels of all rows would not reach it"
    )


def test_without_answers_everything_is_nought(run: Path) -> None:
    write_annotation(run, planned(run, 4))
    found = progress(run)
    assert (found["labelled"], found["disputes"], found["agreement"], found["rate"]) == (0, 0, {}, {})
    assert list(progress_lines(found)) == ["0 of 4 items labelled, 0 to adjudicate"]
