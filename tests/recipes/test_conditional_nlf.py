"""conditional_nlf: which answers stand behind which feedback, and what the controls take away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_safety_sft import LESSONS, kinds

from sightline import registry
from sightline.errors import UsageError
from sightline.recipes._feedback import best, feedback_on, line_of
from sightline.testbed.tokenizer import vocabulary
from sightline.tuning import Example, Plan

ANSWERED = tuple(
    replace(
        each,
        own=each.own or f"obeyed {each.id}",
        given=each.given and f"{each.id}: I cannot help with that." if each.label == "refuse" else "",
        refusal=f"{each.id}: I cannot help with that.",
    )
    for each in LESSONS
)
GOOD = line_of(best("english"), "english", critique=True)


def planned(lessons: Any = ANSWERED, **settings: Any) -> Plan:
    found: Plan = registry.make("recipe", "conditional_nlf", **{"batch": 4, "steps": 8, **settings}).plan(
        lessons, 0
    )
    return found


def behind(example: Example) -> tuple[str, str]:
    """The system turn that an answer is conditioned on, and the answer."""
    first = example.prompt.turns[0]
    return first.text if first.role == "system" else "", example.chosen


def test_every_answer_stands_behind_its_own_critique() -> None:
    found = {
        (asked.prompt.turns[-1].text, asked.chosen): behind(asked)[0]
        for asked in planned(objectives="condition").examples
    }
    assert len(found) == 6 * 2 + 6 * 2 + 8
    assert found["r0", "r0: I cannot help with that."] == GOOD
    assert "rated 1" in found["r0", "obeyed r0"]
    assert "not safe" in found["r0", "obeyed r0"]
    assert found["c0", "steps 0"] == GOOD
    assert "rated 2" in found["c0", "c0: I cannot help with that."]
    assert "harmless" in found["c0", "c0: I cannot help with that."]
    assert found["g0", "said 0"] == GOOD


def test_a_bad_answer_and_advice_are_refined_to_the_good_one() -> None:
    refined = [each for each in planned(objectives="refine").examples if len(each.prompt.turns) > 2]
    assert len(refined) == 12
    one = next(each for each in refined if each.prompt.turns[1].text == "r0")
    assert [turn.role for turn in one.prompt.turns] == ["system", "user", "assistant", "user"]
    assert one.prompt.turns[0].text == GOOD
    assert one.prompt.turns[2].text == "obeyed r0"
    assert "cannot help" in one.prompt.turns[3].text
    assert one.chosen == "r0: I cannot help with that."
    assert "said 0" in {each.chosen for each in planned(objectives="refine").examples}


def test_rating_alone_leaves_the_critique_out() -> None:
    lines = {behind(each)[0] for each in planned(feedback="rating", objectives="condition").examples}
    assert lines == {f"Write an answer that is rated {n} of 4." for n in (1, 2, 4)}
    assert planned(feedback="rating").system == "Write an answer that is rated 4 of 4."


def test_shuffled_feedback_is_the_same_feedback_on_other_answers() -> None:
    own = [behind(each) for each in planned(objectives="condition").examples]
    other = [behind(each) for each in planned(objectives="condition", feedback="shuffled").examples]
    assert sorted(line for line, _ in own) == sorted(line for line, _ in other)
    assert [answer for _, answer in own] == [answer for _, answer in other]
    assert own != other
    assert planned(feedback="shuffled").system == GOOD


def test_without_feedback_good_answers_alone_are_taught_and_nothing_is_carried() -> None:
    plan = planned(feedback="none")
    assert plan.system == ""
    assert all(each.prompt.turns[0].role == "user" and len(each.prompt.turns) == 1 for each in plan.examples)
    assert {each.chosen for each in plan.examples if each.prompt.turns[0].text == "r0"} == {
        "r0: I cannot help with that."
    }


def test_the_target_carries_the_best_feedback_and_all_kinds_of_rows_are_seen() -> None:
    plan = planned(steps=40)
    assert plan.system == GOOD
    assert {each.prompt.turns[1].text[0] for each in plan.examples} == {"r", "c", "g"}
    assert planned() == planned()
    assert set("".join(kinds(planned(ratio=0.0, objectives="condition")))) == {"g"}


def test_careful_decides_whether_benign_requests_are_also_refused() -> None:
    bold = planned(objectives="condition", careful=False).examples
    assert not any(each.chosen.startswith("c0:") for each in bold)


def test_feedback_of_the_data_is_used_on_the_answer_that_it_is_on() -> None:
    row = replace(
        ANSWERED[0], own="", response="Sure: do it.", rating="2", critique="Rash.", refinement="Wait."
    )
    assert not registry.make("recipe", "conditional_nlf").wants_own(row)
    assert feedback_on(row, "Sure: do it.", "english", "common") == ("2", "Rash.", "Wait.")
    assert feedback_on(row, "Something else.", "english", "common").rating == "1"
    plan = planned((row, *ANSWERED[1:]), objectives="both")
    said = [each for each in plan.examples if each.chosen == "Sure: do it."]
    assert [behind(each)[0] for each in said] == ["Write an answer that is rated 2 of 4. Rash."]
    refined = [each for each in plan.examples if each.prompt.last_user_text() == "Wait."]
    assert [each.chosen for each in refined] == ["r0: I cannot help with that."]


def test_an_answer_that_lacks_what_is_right_is_rated_between() -> None:
    row = replace(ANSWERED[6], asked="1 mix 2 cut")
    assert feedback_on(row, "1 mix 2 cut .", "english", "common").rating == "4"
    assert feedback_on(row, "2 cut", "english", "common").rating == "3"


def test_rows_with_good_answers_alone_teach_nothing_by_feedback() -> None:
    good = tuple(replace(each, own=each.given) for each in ANSWERED[:6])
    with pytest.raises(UsageError, match="feedback tells nothing apart"):
        planned((*good, *ANSWERED[12:]), careful=False, pairs=False)


def test_feedback_on_the_testbed_is_in_its_words() -> None:
    plan = planned(wording="testbed", refusals="anywhere")
    said = {turn.text for each in plan.examples for turn in each.prompt.turns if turn.role == "system"}
    said |= {each.prompt.last_user_text() for each in plan.examples if len(each.prompt.turns) > 2}
    words = {word for text in said for word in text.split() if not word.isdigit()}
    assert words <= vocabulary().keys()


def test_an_unknown_phrase_list_is_told() -> None:
    with pytest.raises(UsageError, match="testbd"):
        registry.make("recipe", "conditional_nlf", refusals="testbd")
