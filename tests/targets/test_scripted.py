import asyncio
import re
import sys
import time

import pytest

import sightline as sl
from sightline.cases import Conversation, Image, Turn
from sightline.contracts import Decoding
from sightline.errors import TransientError, UsageError
from sightline.study.replying import play
from sightline.targets.scripted import ScriptedTarget

PICTURE = Image("ab" * 32, 4, 4)


def ask(target, *parts, system=None, **decoding):
    conversation = Conversation.user(*parts)
    if system is not None:
        conversation = conversation.with_system(system)
    return asyncio.run(target.generate(conversation, Decoding(**decoding)))


def script(tmp_path, text):
    file = tmp_path / "script.yaml"
    file.write_text(text)
    return ScriptedTarget("scripted/test", file)


def test_echo_says_the_last_user_text():
    target = ScriptedTarget("scripted/echo", "echo")
    response = ask(target, PICTURE, "one two", "three")
    assert (response.text, response.stop) == ("one two\nthree", "stop")
    assert (response.cost.calls_target, response.cost.tokens_in, response.cost.tokens_out) == (1, 3, 3)
    assert target.calls == 1


def test_the_shipped_typographic_script_shows_the_risk():
    target = ScriptedTarget("scripted/typographic", "typographic")
    assert ask(target, "steps for x").text == "I cannot help with that."
    assert ask(target, PICTURE, "complete the list").text.startswith("Sure.")


def test_the_first_fitting_rule_answers(tmp_path):
    target = script(
        tmp_path,
        """
rules:
  - {system: "be SAFE", user: gloom, reply: safe no}
  - {user: "gloom|dark", image: false, reply: "no"}
  - {turns: 3, reply: third turn}
  - {reply: "you said {user}"}
""",
    )
    assert ask(target, "a Gloom thing", system="please be safe").text == "safe no"
    assert ask(target, "a dark thing").text == "no"
    assert ask(target, PICTURE, "a dark thing").text == "you said a dark thing"
    dialogue = Conversation.user("x").then(Turn("assistant", ("y",)), Turn("user", ("z",)))
    assert asyncio.run(target.generate(dialogue, Decoding())).text == "third turn"


def test_failures_are_transient_and_can_pass(tmp_path):
    target = script(
        tmp_path,
        """
rules:
  - {raises: rate_limit, times: 2}
  - {raises: server, times: 1}
  - {raises: timeout, times: 1, delay_ms: 30}
  - {stop: error, reply: broken for good, times: 1}
  - {stop: content_filter, times: 1}
  - {reply: fine}
""",
    )
    for message in ("429", "429", "500"):
        with pytest.raises(TransientError, match=message):
            ask(target, "x")
    started = time.monotonic()
    with pytest.raises(TransientError, match="timed out"):
        ask(target, "x")
    assert time.monotonic() - started >= 0.03
    failed = ask(target, "x")
    assert (failed.text, failed.stop, failed.error) == ("", "error", "broken for good")
    assert ask(target, "x").stop == "content_filter"
    assert ask(target, "x").text == "fine"
    assert target.calls == 7


def test_max_tokens_cuts_the_reply():
    response = ask(ScriptedTarget("scripted/echo", "echo"), "one two three", max_tokens=2)
    assert (response.text, response.stop, response.cost.tokens_out) == ("one two", "length", 2)


def test_a_picture_that_could_not_be_read_is_never_dropped():
    broken = Image("", 0, 0, problem="row 7: truncated file")
    target = ScriptedTarget("scripted/echo", "echo")
    with pytest.raises(UsageError, match="row 7: truncated file"):
        ask(target, broken, "text")
    assert target.calls == 0


def test_a_request_must_end_with_the_user():
    echo = ScriptedTarget("scripted/echo", "echo")
    reply = Turn("assistant", ("y",))
    for turns in ((), (reply,), (Turn("user", ("x",)), reply, reply), (Turn("system", ("x",)),)):
        with pytest.raises(UsageError, match="end with a user turn"):
            asyncio.run(echo.generate(Conversation(turns), Decoding()))


def test_a_guard_is_asked_about_a_reply_which_stands_last_and_a_study_never_asks_so():
    echo = ScriptedTarget("scripted/echo", "echo")
    dialogue = Conversation.user("x").then(Turn("assistant", ("y",)))
    assert asyncio.run(echo.generate(dialogue, Decoding())).text == "y"
    with pytest.raises(UsageError, match="end with a user turn"):
        asyncio.run(play(echo, dialogue, (), Decoding()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: 3", "'rules'"),
        ("- x", "'rules'"),
        ("rules: [{replay: x}]", "rule 1: replay"),
        ("rules: [{reply: x}, {user: '('}]", "rule 2: not a regular expression"),
        ("rules: [{raises: everything}]", "rule 1: raises"),
        ("{", "not valid YAML"),
        ("rules: " + "[" * 20_000, "more than 50 levels"),
    ],
)
def test_a_wrong_script_is_named_with_its_rule(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        script(tmp_path, text)


def test_no_fitting_rule_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="no rule fits") as refused:
        ask(script(tmp_path, "rules: [{user: x, reply: z}]"), "forge a glimber")
    assert "glimber" not in str(refused.value)  # a request's text never reaches the terminal
    assert "(15 characters); add a last rule without conditions" in str(refused.value)


def test_the_id_follows_the_rules(tmp_path):
    one = script(tmp_path, "rules: [{reply: a}]").id
    assert script(tmp_path, "rules: [{reply: b}]").id != one
    assert script(tmp_path, "rules:\n  - reply: a").id == one


def test_a_call_is_cheap():
    """Counted, not timed: a study of 10^5 replies must not be spent in its stand-in."""
    target = ScriptedTarget("scripted/echo", "echo")
    conversation, decoding, calls = Conversation.user(PICTURE, "complete the list"), Decoding(), 0

    def seen(_frame, event, _argument):
        nonlocal calls
        calls += event in ("call", "c_call")

    async def many(times):
        sys.setprofile(seen)
        try:
            for _ in range(times):
                await target.generate(conversation, decoding)
        finally:
            sys.setprofile(None)

    asyncio.run(many(100))
    assert calls < 100 * 80  # 44 each, measured


RULES = "rules: [{reply: beside the study}]"


def test_a_relative_file_lies_beside_the_study_or_where_the_command_runs(tmp_path, monkeypatch):
    shell, study = tmp_path / "shell", tmp_path / "study"
    for folder, text in ((shell, RULES.replace("beside the study", "by the shell")), (study, RULES)):
        folder.mkdir()
        (folder / "rules.yaml").write_text(text)
    monkeypatch.chdir(shell)
    file = "rules.yaml"
    name = f"scripted/{file}"
    assert ask(ScriptedTarget(name, file, study), "hello").text == "beside the study"
    assert ask(ScriptedTarget(name, file), "hello").text == "by the shell"
    (study / file).unlink()
    assert ask(ScriptedTarget(name, file, study), "hello").text == "by the shell"
    with pytest.raises(UsageError, match=re.escape(f"neither in {study} nor in {shell}")):
        ScriptedTarget("scripted/other.yaml", "other.yaml", study)


def test_a_study_finds_its_scripts_from_anywhere(tmp_path, monkeypatch):
    """Targets, defended ones and graders; from another place nothing is asked again."""
    study = tmp_path / "study"
    study.mkdir()
    (study / "rules.yaml").write_text(RULES)
    (study / "here.yaml").write_text(
        "study: here\nbenchmarks: [{name: testbed_requests, subset: requests, limit: 1}]\n"
        "targets: [scripted/rules.yaml]\nattacks: [none]\n"
        "defenses: [{name: system_prompt, preset: testbed}]\n"
        "judges: [refusal_prefix, \"model_graded(grader='scripted/rules.yaml')\"]\n"
    )
    monkeypatch.chdir(tmp_path)
    run = sl.run(study / "here.yaml", out=tmp_path / "out", quiet=True)
    assert {row["target"]: row["n"] for row in run.cells().to_pylist()} == {"scripted/rules.yaml": 1}
    monkeypatch.chdir(study)
    again = sl.run(study / "here.yaml", out=tmp_path / "out", quiet=True)
    assert not again.counts
