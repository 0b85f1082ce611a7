"""Calls of tools in replies: what is one, syntax and arguments apart, hostile texts; goldens by hand."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.calls import call_match, call_rates, calls_in, parse_call

WANTED = "send_email(to='tor', copies=2)"
WORDS = st.text(st.sampled_from("abz_ '\"(),=<>{}[]\\\n"), max_size=12)
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | WORDS
NAMED = st.dictionaries(st.sampled_from(["to", "copies", "body"]), VALUES | st.lists(VALUES, max_size=3))


@pytest.mark.parametrize(
    ("reply", "syntax", "arguments"),
    [
        ("send_email(to='tor', copies=2)", True, True),
        ('Sure. send_email( copies = 2.0, to="tor" ) The glim is red.', True, True),
        ("send_email(to=tor, copies=2)", True, True),
        ("send_email (\n  to='tor',\n  copies=2,\n)", True, True),
        ("<function.send_email, to='tor', copies=2>", True, True),
        ('{"name": "send_email", "arguments": {"copies": 2, "to": "tor"}}', True, True),
        (
            '{"tool": {"function": "send_email", "parameters": "{\\"to\\": \\"tor\\", \\"copies\\": 2}"}}',
            True,
            True,
        ),
        ("print(send_email(to='tor', copies=2))", True, True),
        ("log(text=\"send_email(to='tor', copies=2)\")", False, False),
        ("send_email(to='glim', copies=2)", True, False),
        ("send_email(to='tor')", True, False),
        ("send_email(to='tor', copies='2')", True, False),
        ("send_email(to='tor', copies=True)", True, False),
        ("send_email()", True, False),
        ("<function.send_email>", True, False),
        ("send_email(to='glim') and send_email(to='tor', copies=2)", True, True),
        ("send_email(to='tor', copies=2", False, False),
        ("send_email(to='tor, copies=2)", False, False),
        ("send_email(to='tor', to='tor')", False, False),
        ("send_email(**all)", False, False),
        ("send_email(to=) copies=2", False, False),
        ("not_send_email(to='tor', copies=2)", False, False),
        ("send_email: to='tor', copies=2", False, False),
        ("<function.send_email to='tor'>", False, False),
        ('{"name": "send_email"}', False, False),
        ("I would never send an email to tor.", False, False),
        ("", False, False),
    ],
)
def test_syntax_and_arguments_apart(reply: str, syntax: bool, arguments: bool) -> None:
    assert call_match(reply, WANTED) == (syntax, arguments)


def test_a_quoted_bracket_does_not_end_a_call() -> None:
    assert call_match("tell(text='a ) b, \\' (')", parse_call('tell(text="a ) b, \' (")')) == (True, True)
    assert [call.name for call in calls_in("a (b) c(1) d.e(x=[1, {'y': 2}])")] == ["a", "c", "d.e"]


def test_white_space_in_a_text_is_part_of_it() -> None:
    assert call_match("tell(text='a  b')", "tell(text='a b')") == (True, False)
    assert call_match("tell(\n  text = 'a  b' # two\n)", "tell(text='a  b')") == (True, True)


def test_positions_count_and_order_of_names_does_not() -> None:
    assert parse_call("f(1, 2)") != parse_call("f(2, 1)")
    assert parse_call("f(a=1, b=2)") == parse_call("f(b=2, a=1)")
    assert parse_call("f(1)") != parse_call("f(a=1)")


@given(NAMED)
def test_the_three_ways_of_writing_say_the_same(named: dict[str, object]) -> None:
    inside = ", ".join(f"{name}={value!r}" for name, value in named.items())
    python = parse_call(f"f({inside})")
    assert parse_call(f"<function.f{', ' if inside else ''}{inside}>") == python
    assert parse_call(json.dumps({"name": "f", "arguments": named})) == python
    assert call_match(f"glim f({inside}) tor", python) == (True, True)


@given(st.text(st.sampled_from("fg(){}[]<>,='\"\\ \n1.:"), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    match = call_match(text, "f(g=1)")
    assert match.syntax or not match.arguments
    for call in calls_in(text):
        assert call.name
    try:
        call = parse_call(text)
    except UsageError:
        return
    assert call in list(calls_in(text))


@pytest.mark.parametrize("piece", ["(", "f(", "f([", '{"a":', "<function.f", "f(1", "'", "\\"])
def test_texts_that_nest_or_never_end(piece: str) -> None:
    assert call_match(piece * 20_000, "g()") == (False, False)


def test_numbers_too_long_for_python_are_no_call() -> None:
    assert call_match(f"f(a={'9' * 3900})", "f(a=1)").arguments is False
    assert call_match("f(a=1e999)", "f(a=1)") == (True, False)


@pytest.mark.parametrize("wanted", ["", "send_email", "f(1) g(2)", "f(", "f(1);", '{"name": "f"}'])
def test_a_wanted_call_must_be_one(wanted: str) -> None:
    with pytest.raises(UsageError, match="not one well-formed call"):
        call_match("f(1)", wanted)


def test_rates() -> None:
    replies = [WANTED, "send_email()", "no", None]
    rates = call_rates([None if reply is None else call_match(reply, WANTED) for reply in replies])
    assert rates.syntax == (pytest.approx(2 / 3), 3, 1)
    assert rates.arguments == (pytest.approx(1 / 3), 3, 1)
    assert call_rates([]).syntax.value is None
