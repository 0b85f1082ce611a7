"""What helpers write, strictly read; and works side by side that all end."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.attacks.answers import choice, part, parts
from sightline.attacks.dialogue import settled
from sightline.budget import SpentError
from sightline.errors import TransientError, UsageError

BOTH = parts("improvement", "prompt")
PLAIN = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>"), min_size=1).filter(
    lambda text: bool(text.strip(" \t\r\n.\u2026"))
)


@given(PLAIN, PLAIN, PLAIN)
def test_what_stands_between_tags_is_read_whatever_is_around_it(before, one, two):
    text = f"{before}<improvement>{one}</improvement>{before}<PROMPT> {two}\n</Prompt>"
    assert BOTH(text) == {"improvement": one.strip(), "prompt": two.strip()}


@given(PLAIN, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>`")))
def test_json_is_read_as_json(one, two):
    text = json.dumps({"improvement": one, "prompt": f"{two}}} {{", "more": 1})
    assert BOTH(text) == {"improvement": one.strip(), "prompt": f"{two}}} {{".strip()}
    assert BOTH(f"Here it is:\n```json\n{text}\n```\n") == BOTH(text)


def test_the_reasoning_of_a_model_is_not_its_answer():
    assert part("prompt")("<think>maybe <prompt>x</prompt></think>\n<prompt>y</prompt>") == "y"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no <improvement>...</improvement> <prompt>...</prompt>"),
        ("<prompt>x</prompt>", "there is no <improvement>"),
        ("<improvement>x</improvement><prompt>x", "there is no <prompt>"),
        ("<improvement>x</improvement><prompt>x</prompt><prompt>y</prompt>", "<prompt> is there more than"),
        ("<improvement>x</improvement></prompt>x<prompt>", "stands before"),
        ("<improvement>x</improvement><prompt> \n</prompt>", "<prompt> is empty"),
        ("<improvement>...</improvement><prompt>\u2026</prompt>", "<improvement> is empty"),
        ('{"improvement": "x"}', "no text 'prompt'"),
        ('{"improvement": "x", "prompt": ["y"]}', "no text 'prompt'"),
        ('{"improvement": "x", "prompt": ""}', "<prompt> is empty"),
        ('["improvement", "prompt"]', "there is no <improvement>"),
        ("[" * 100_000, "there is no <improvement>"),
        ("I cannot help with that.", "there is no <improvement>"),
    ],
)
def test_anything_else_is_told(text, why):
    with pytest.raises(ValueError, match=why.replace(".", r"\.")):
        BOTH(text)


def test_a_choice_is_one_of_its_options():
    read = choice("topic", "yes", "no")
    assert read("<topic>Yes.</topic>") == "yes"
    with pytest.raises(ValueError, match="must be yes or no"):
        read("<topic>yes and no</topic>")


def test_works_side_by_side_all_end_before_an_error_is_raised():
    ended = []

    async def work(name, wait, error=None):
        await asyncio.sleep(wait)
        ended.append(name)
        if error is not None:
            raise error
        return name

    spent = SpentError("spent")
    found = asyncio.run(settled_of(work, ("a", 0.02, None), ("b", 0, spent), ("c", 0.01, None)))
    assert found == (["a", None, "c"], spent)
    assert ended == ["b", "c", "a"]
    unread = UsageError("cannot be read")
    assert asyncio.run(settled_of(work, ("a", 0, unread), ("b", 0, spent))) == ([None, None], spent)
    with pytest.raises(UsageError, match="cannot be read"):
        asyncio.run(settled_of(work, ("a", 0, unread), ("b", 0, None)))
    down = TransientError("503")
    with pytest.raises(TransientError):
        asyncio.run(settled_of(work, ("a", 0.02, None), ("b", 0, spent), ("c", 0, down)))
    assert ended[-1] == "a"


async def settled_of(work, *each):
    return await settled([work(*given) for given in each])
