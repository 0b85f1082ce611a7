import asyncio
import shutil
from dataclasses import replace

import orjson
import pytest
import yaml

from sightline.cases import Conversation, Image
from sightline.contracts import Decoding
from sightline.errors import DamageError, UsageError
from sightline.plain import conversation_of, plain_response
from sightline.records import Call, Cost, Response
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.tables import Table
from sightline.targets import open_target
from sightline.targets.replay import ReplayTarget, conversation_digest

PICTURE = Image("ab" * 32, 4, 4)
ASKED = Conversation.user(PICTURE, "what is it")
ANSWER = Response(
    text="a cube",
    raw="a red cube",
    stop="blocked_defense",
    flags=("batch1",),
    calls=(Call(purpose="answer", asked="what is it", text="a red cube", stop="stop"),),
    cost=Cost(calls_target=1, tokens_out=3),
)


def replayed(target, conversation):
    return asyncio.run(target.generate(conversation, Decoding()))


def rows(tmp_path, *entries):
    file = tmp_path / "answers.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(entry) for entry in entries))
    return file


def row(conversation, response, **more):
    return {"conversation": conversation_digest(conversation), **plain_response(response), **more}


def test_a_stored_answer_comes_back_whole(tmp_path):
    target = ReplayTarget("replay/x", rows(tmp_path, row(ASKED, ANSWER)))
    assert replayed(target, ASKED) == ANSWER


def test_another_picture_or_word_is_another_question(tmp_path):
    target = ReplayTarget("replay/x", rows(tmp_path, row(ASKED, ANSWER)))
    for other in (
        Conversation.user(Image("cd" * 32, 4, 4), "what is it"),
        Conversation.user("what is it"),
        Conversation.user(PICTURE, "what is that"),
    ):
        with pytest.raises(UsageError, match="no stored answer") as refused:
            replayed(target, other)
        assert conversation_digest(other) in str(refused.value)
        assert "what is" not in str(refused.value)  # a request's text never reaches the terminal


def test_the_same_answer_twice_is_one_and_two_answers_are_an_error(tmp_path):
    again = Response(text="a cube", cost=Cost(seconds=2.0))
    once = Response(text="a cube", cost=Cost(seconds=1.0))
    target = ReplayTarget("replay/x", rows(tmp_path, row(ASKED, once), row(ASKED, again)))
    assert replayed(target, ASKED).text == "a cube"
    target = ReplayTarget("replay/x", rows(tmp_path, row(ASKED, once), row(ASKED, Response(text="no"))))
    with pytest.raises(UsageError, match="2 different stored answers"):
        replayed(target, ASKED)


def test_one_of_several_targets_is_chosen(tmp_path):
    file = rows(
        tmp_path,
        row(ASKED, Response(text="one"), target="vlm/one"),
        row(ASKED, Response(text="two"), target="vlm/two"),
    )
    with pytest.raises(UsageError, match=r"several targets \(vlm/one, vlm/two\)"):
        ReplayTarget("replay/x", file)
    target = ReplayTarget("replay/x", f"{file}#vlm/two")
    assert replayed(target, ASKED).text == "two"
    assert target.id.startswith("replay/vlm/two#")
    with pytest.raises(UsageError, match="no answers of a target 'vlm/three'"):
        ReplayTarget("replay/x", f"{file}#vlm/three")


@pytest.mark.parametrize(
    "line", ["{", '{"text": "x", "stop": "stop"}', "[1]", '{"conversation": "a", "text": "b"}']
)
def test_a_damaged_row_is_named(tmp_path, line):
    file = rows(tmp_path, row(ASKED, ANSWER))
    file.write_bytes(file.read_bytes() + b"\n" + line.encode())
    with pytest.raises(UsageError, match=r"answers\.jsonl:2: not a stored answer"):
        ReplayTarget("replay/x", file)


STUDY = """
study: replayed
seed: 3
benchmarks: [{name: testbed_requests, subset: requests, limit: 4}]
targets: [scripted/typographic]
attacks: [none, {name: figstep, preset: testbed}]
defenses: [none, {name: self_moderation, rounds: 1}]
judges: [refusal_prefix]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of the engine's own: two targets (one defended), answers compacted to Parquet."""
    run = Run(parse(STUDY), tmp_path_factory.mktemp("replay") / "run")
    run.prepare()
    run.craft()
    asyncio.run(run.answer())
    return run


def test_a_run_folder_is_replayed_by_target(finished):
    folder, images = finished.folder, finished.blobs
    with pytest.raises(UsageError, match="several targets"):
        ReplayTarget("replay/x", folder)
    for name in (
        "scripted/typographic",
        "defended/self_moderation(rounds=1):scripted/typographic",
    ):
        target = open_target(name, images)
        again = open_target(f"replay/{folder}#{name.partition('(')[0]}", images)
        with Table(folder / "records" / "craft") as crafted:
            shown = [conversation_of(row["conversation"]) for row in crafted]
        assert len(shown) == 8
        for conversation in shown:
            new, old = replayed(target, conversation), replayed(again, conversation)
            clocks = {"seconds": 0.0, "latency": 0.0, "cpu_seconds": 0.0}
            assert replace(old, cost=replace(old.cost, **clocks)) == replace(
                new, cost=replace(new.cost, **clocks)
            )


@pytest.mark.parametrize(
    ("stop", "wanted"),
    [("max_tokens", "length"), ("LENGTH", "length"), ("Content_Filter", "content_filter"), ("stop", "stop")],
)
def test_how_a_stored_answer_ended_is_read_in_providers_words(tmp_path, stop, wanted):
    file = rows(tmp_path, {**row(ASKED, ANSWER), "stop": stop})
    assert replayed(ReplayTarget("replay/x", file), ASKED).stop == wanted


@pytest.mark.parametrize("stop", ["banana", "", None, ["stop"], 1])
def test_an_unknown_end_of_a_stored_answer_is_refused(tmp_path, stop):
    file = rows(tmp_path, {**row(ASKED, ANSWER), "stop": stop})
    with pytest.raises(UsageError, match=r"answers\.jsonl:1: .*stop=.* is none of stop, length"):
        ReplayTarget("replay/x", file)


def test_an_extended_run_replays_what_its_lock_names(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "extended")
    smaller = parse(STUDY.replace("[none, {name: self_moderation, rounds: 1}]", "[none]"))
    run = Run(smaller, folder, extend=True)
    run.prepare()
    target = ReplayTarget("replay/x", folder)  # one target is left, so none need be chosen
    assert target.id.startswith("replay/scripted/typographic#")
    with Table(folder / "records" / "craft") as crafted:
        shown = conversation_of(next(iter(crafted))["conversation"])
    assert replayed(target, shown).stop == "stop"
    with pytest.raises(UsageError, match="no answers of a target 'defended/'"):
        ReplayTarget("replay/x", f"{folder}#defended/")


def test_a_foreign_answer_in_a_run_is_refused(finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "copy")
    lock = yaml.safe_load((folder / "study.lock.yaml").read_text())
    for change in ({"seed": 4}, {"decoding": lock["decoding"] | {"max_tokens": 41}}):
        (folder / "study.lock.yaml").write_text(yaml.safe_dump(lock | change))
        with pytest.raises(UsageError, match="none of the 16 answers belongs to the study"):
            ReplayTarget("replay/x", f"{folder}#scripted/")
    (folder / "study.lock.yaml").write_text("format: 2\ntargets: 3")
    with pytest.raises(DamageError, match=r"study\.lock\.yaml: damaged .*; replay needs the lock"):
        ReplayTarget("replay/x", folder)
    (folder / "study.lock.yaml").unlink()
    with pytest.raises(UsageError, match="not a run folder"):
        ReplayTarget("replay/x", folder)
