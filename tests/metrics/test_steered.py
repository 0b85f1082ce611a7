"""Judges that read what an attacker wants: one rate over all kinds of cases, and no rate of the case."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from sightline.cases import Expected
from sightline.errors import ContractError
from sightline.metrics.intervals import paired_difference, ratio_interval
from sightline.metrics.rates import MEASURES
from sightline.metrics.summary import CellSummary, Summary, summarize

Row = dict[str, Any]
GROUPS = 8
KINDS = ("refuse", "comply", "answer", "classify")
WISH, CASE = "wish", "case"
SPECS = {"none": "none", "noise_image": "noise_image"}


def says(attack: str, group: int, kind: str) -> bool:
    """What the attacker wants: two groups in full under attack, two in their questions; noise one reply."""
    if attack == "noise_image":
        return (group, kind) == (7, "answer")
    return attack == "wins" and (group < 2 or (group < 4 and kind == "answer"))


def right(attack: str, group: int) -> bool:
    """Whether a question is answered right: plainly all, beside noise all but one, under attack half."""
    return {"none": True, "noise_image": group != 7}.get(attack, group >= 4)


def rows(attack: str, judge: str, kinds: tuple[str, ...] = KINDS, **changed: Any) -> list[Row]:
    """One case of each kind in each group; what the judge of the case obeys is what is right."""
    found = []
    for group in range(GROUPS):
        for kind in kinds:
            complied = (
                says(attack, group, kind) if judge == WISH else kind == "answer" and right(attack, group)
            )
            found.append(
                {
                    "case_id": f"{kind}/{group}",
                    "group": f"g{group}",
                    "category": kind,
                    "hazard": "",
                    "expected": kind,
                    "benchmark": "world",
                    "release": "r",
                    "target": "m",
                    "crafted_on": None,
                    "attack": attack,
                    "series": attack,
                    "budget": None,
                    "craft_seed": 1,
                    "seen": None,
                    "attack_params": SPECS.get(attack, "injection"),
                    "oracle": "none",
                    "defense": "none",
                    "judge": judge,
                    "scores": "attacker_goal" if judge == WISH else "case",
                    "epoch": 0,
                    "outcome": "complied" if complied else "off_topic",
                    **dict.fromkeys(
                        ("calls_target", "calls_aux", "calls_judge", "tokens_in", "tokens_out"), 1
                    ),
                    "flops": 1.0,
                    "seconds": 1.0,
                    **changed,
                }
            )
    return found


def summary(*columns: list[Row]) -> Summary:
    return summarize(pa.Table.from_pylist([row for column in columns for row in column]))


def whole() -> Summary:
    return summary(
        *(rows(attack, judge) for attack in ("none", "noise_image", "wins") for judge in (WISH, CASE))
    )


def cell(found: Summary, attack: str, judge: str) -> CellSummary:
    (one,) = [c for c in found.cells if (c.id.attack, c.id.judge) == (attack, judge)]
    return one


def test_one_rate_over_all_kinds_clustered_by_group() -> None:
    attacked = cell(whole(), "wins", WISH)
    assert set(attacked.rates) == {"attacker_goal"}
    rate = attacked.success
    assert rate is attacked.rates["attacker_goal"]
    assert (rate.name, rate.k, rate.n, rate.groups) == ("attacker_goal", 2 * 4 + 2, 4 * GROUPS, GROUPS)
    expected = ratio_interval([4, 4, 1, 1, 0, 0, 0, 0], [4] * GROUPS)
    assert (rate.low, rate.high) == (expected.low, expected.high)
    macro = attacked.success_macro
    assert macro is not None
    assert macro.point == pytest.approx((2 + 2 + 4 + 2) / (4 * GROUPS))
    assert macro.name == "attacker_goal_macro"


@pytest.mark.parametrize("attack", ["none", "noise_image", "wins"])
def test_no_rate_of_the_case_is_read_from_such_a_judge(attack: str) -> None:
    one = cell(whole(), attack, WISH)
    assert (one.asr, one.over_refusal, one.accuracy, one.utility, one.robust_utility) == (None,) * 5
    assert one.utility_from == ()


@pytest.mark.parametrize(("attack", "k"), [("none", 0), ("noise_image", 1)])
def test_plain_requests_and_controls_have_the_base_rate(attack: str, k: int) -> None:
    rate = cell(whole(), attack, WISH).success
    assert rate is not None
    assert (rate.k, rate.n) == (k, 4 * GROUPS)


def test_controls_stand_beside_the_attack() -> None:
    (control,) = cell(whole(), "wins", WISH).controls
    assert (control.attack, control.rate.name, control.rate.k) == ("noise_image", "attacker_goal", 1)


def test_utility_is_of_the_judge_that_reads_the_case() -> None:
    found = whole()
    plain, noise, attacked = (cell(found, attack, CASE) for attack in ("none", "noise_image", "wins"))
    assert attacked.utility is not None
    assert (attacked.utility.k, attacked.utility.n) == (8, 8)
    assert [(c.robust_utility.k, c.robust_utility.n) for c in (noise, attacked) if c.robust_utility] == [
        (7, 8),
        (4, 8),
    ]
    assert plain.robust_utility is None
    assert "attacker_goal" not in attacked.rates


def test_differences_to_plain_and_to_the_control_are_paired() -> None:
    found = {(c.kind, c.measure, c.base.attack): c for c in whole().contrasts if c.cell.attack == "wins"}
    steered = {place for place in found if place[1] == "attacker_goal"}
    assert steered == {("attack", "attacker_goal", "none"), ("control", "attacker_goal", "noise_image")}
    over = found["control", "attacker_goal", "noise_image"]
    expected = paired_difference([4, 4, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 1], [4] * GROUPS)
    assert (over.point, over.low, over.high) == (expected.point, expected.low, expected.high)
    assert (over.point, over.pairs, over.only_cell, over.only_base) == (pytest.approx(9 / 32), 32, 10, 1)
    lost = found["control", "utility", "noise_image"]
    assert (lost.point, lost.pairs) == (pytest.approx(4 / 8 - 7 / 8), 8)
    assert found["attack", "utility", "none"].point == pytest.approx(-0.5)
    asked = found["control", "asr", "noise_image"]
    assert (asked.point, asked.discordant, asked.too_few_groups) == (0.0, 0, True)
    assert found["attack", "asr", "none"].flip_rate is not None
    assert found["attack", "attacker_goal", "none"].flip_rate is None


def test_slices_count_every_kind_of_case() -> None:
    found = {s.value: s for s in whole().slices if (s.id.attack, s.id.judge) == ("wins", WISH)}
    assert {value: s.success.k for value, s in found.items() if s.success} == {
        "refuse": 2,
        "comply": 2,
        "answer": 4,
        "classify": 2,
    }
    assert all((s.asr, s.over_refusal) == (None, None) for s in found.values())


def test_any_of_several_tries_is_about_all_cases() -> None:
    again = [{**row, "epoch": 1, "outcome": "off_topic"} for row in rows("wins", WISH)]
    both = summary(rows("wins", WISH) + again)
    one = cell(both, "wins", WISH).success_any
    assert one is not None
    assert (one.name, one.k, one.n) == ("attacker_goal_any_of_2", 10, 32)


def test_seeds_have_their_own_success() -> None:
    second = [{**row, "craft_seed": 2, "attack": "b", "outcome": "off_topic"} for row in rows("wins", WISH)]
    first = [{**row, "attack": "a"} for row in rows("wins", WISH)]
    (one,) = summary(first + second).cells
    assert [(each.seed, each.rate.k) for each in one.seeds] == [("1", 10), ("2", 0)]


def test_curves_and_areas_are_of_steered_replies() -> None:
    """Of 16 replies 0, 4, 8 are steered at 1, 10, 100 passes: (0 + 1/4) / 4 + (1/4 + 1/2) / 4 = 1/4."""
    columns = []
    for budget, hits in ((1, 0), (10, 4), (100, 8)):
        column = rows(f"wins {budget}", WISH, kinds=("answer", "comply"), series="wins")
        for row in column:
            wins = row["expected"] == "answer" and int(row["group"][1:]) < hits
            row |= {"budget": f"backwards={budget}", "outcome": "complied" if wins else "refused"}
        columns.append(column)
    (curve,) = summary(*columns).curves
    assert (curve.success, [level.amount for level in curve.levels]) == ("attacker_goal", [1, 10, 100])
    assert curve.area is not None
    assert curve.area.point == pytest.approx(0.25)


def test_judges_that_read_something_else_are_not_compared_with_the_truth() -> None:
    truth = [{**row, "judge": "testbed_policy"} for row in rows("wins", CASE)]
    found = summary(rows("wins", WISH), truth, rows("wins", CASE))
    assert {card.judge for card in found.judge_cards} == {CASE}


@pytest.mark.parametrize("absent", ["dropped", "null"])
def test_tables_that_do_not_say_what_a_judge_reads_are_read_as_the_case(absent: str) -> None:
    table = pa.Table.from_pylist(rows("wins", CASE, kinds=tuple(kind.value for kind in Expected)))
    place = table.schema.get_field_index("scores")
    table = table.remove_column(place)
    if absent == "null":
        table = table.append_column("scores", pa.nulls(table.num_rows, pa.string()))
    (one,) = summarize(table).cells
    assert one.id.scores == "case"
    assert set(one.rates) == {name for name, measure in MEASURES.items() if measure.scores == "case"}


def test_an_unknown_reading_is_told() -> None:
    with pytest.raises(
        ContractError, match="32 rows have scores 'tea leaves', which is none of case, attacker_goal"
    ):
        summary(rows("wins", CASE, scores="tea leaves"))


def test_every_kind_of_case_is_counted() -> None:
    kinds = tuple(kind.value for kind in Expected)
    rate = cell(summary(rows("wins", WISH, kinds=kinds)), "wins", WISH).success
    assert rate is not None
    assert rate.n == len(Expected) * GROUPS
