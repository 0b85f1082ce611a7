"""What a dry run says of a hypothesis on an attacker's goal."""

from types import SimpleNamespace

from sightline.goals import KIND
from sightline.study.named import Hypothesis
from sightline.study.plan import planned_lines

GOAL = Hypothesis(
    primary="attacker_goal", kind="attack", contrast=("drawn", "none"), expect="greater", mde=0.5
)


def lines(wordings):
    rows = [{"group": n, "expected": "answer", "wordings": wordings} for n in range(36)]
    table = SimpleNamespace(source=SimpleNamespace(label="world"), expected={"answer": 36}, rows=lambda: rows)
    return list(planned_lines(GOAL, [table]))


def test_cases_without_a_goal_are_told_beside_the_figure():
    no_goal, figure = lines({})
    assert "no case of world holds an attacker's goal" in no_goal
    assert "36 groups of world show differences from 21 points" in figure


def test_cases_with_a_goal_have_the_figure_alone():
    (figure,) = lines({KIND: "word"})
    assert "no case" not in figure
