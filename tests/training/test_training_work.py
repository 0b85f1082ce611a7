"""Trained targets: found by content, whole or not there, with checkpoints, trained again on top of each
other."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from rows_to_train import few
from safetensors.torch import save_file

from sightline import registry
from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.errors import DamageError, UsageError
from sightline.records import Response
from sightline.store import Blobs
from sightline.targets import LocalSettings, default_max_tokens, open_target, tuned
from sightline.targets.vlm import VlmTarget
from sightline.training import states, work
from sightline.training.work import Trained, train
from sightline.tuning import Lesson, Plan
from sightline.waiting import wait
from sightline.whitebox.model import open_victim

BASE = "testbed/linear"
SETTINGS = LocalSettings(device="cpu")
pytestmark = pytest.mark.usefixtures("one_thread")
Rows = tuple[tuple[Lesson, ...], Blobs]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    return few(tmp_path_factory.mktemp("blobs"))


@pytest.fixture
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuned, "home", lambda: tmp_path / "tuned")


def trained(
    rows: Rows, text: str = "safety_sft(preset='testbed', steps=2, batch=4, every=1)", **more: Any
) -> Trained:
    return train(registry.parse("recipe", text), more.pop("base", BASE), *rows, local=SETTINGS, **more)


@pytest.mark.slow
@pytest.mark.usefixtures("_home")
def test_a_trained_target_answers_is_found_again_and_has_gradients(rows: Rows) -> None:
    found = trained(rows)
    assert found.fresh
    assert found.name == f"tuned/safety_sft@{found.record['digest']}:{BASE}"
    again = trained(rows)
    assert (again.fresh, again.name) == (False, found.name)
    (step,) = found.checkpoints
    assert step == f"tuned/safety_sft@{found.record['digest']}/step-1:{BASE}"
    ids = set()
    for name in (found.name, step, BASE):
        target = open_target(name, rows[1], local=SETTINGS)
        assert isinstance(target, VlmTarget)
        ids.add(target.id.partition("#")[2])
        assert wait(target.generate(rows[0][0].prompt, Decoding(max_tokens=8))).text
    assert len(ids) == 3
    assert open_victim(found.name, local=SETTINGS).id.startswith(found.name)
    assert default_max_tokens([found.name]) == 128


@pytest.mark.usefixtures("_home")
def test_the_record_says_what_was_done_and_what_it_cost(rows: Rows) -> None:
    record = trained(rows).record
    assert record["data"]["rows"] == {"testbed_training": {"comply": 2, "general": 2, "refuse": 2}}
    assert record["data"]["seen"] == {"different": 6, "in all": 8}
    assert (record["role"], record["base"], record["backend"], record["seed"]) == ("defense", BASE, "loop", 0)
    assert len(record["loss_curve"]) == 2
    assert record["trained_weights"]["tower"] == record["trained_weights"]["bridge"] == 0
    assert record["trained_weights"]["language"] > 1_000_000
    assert record["flops"] > 6 * record["tokens"]  # at least one product per weight and token, forth and back
    assert record["cpu_seconds"] > 0
    assert record["versions"]["torch"] == torch.__version__


@pytest.mark.slow
@pytest.mark.usefixtures("_home")
def test_settings_rows_seed_and_base_make_another_target(rows: Rows) -> None:
    first = trained(rows)
    others = [
        trained(rows, seed=1),
        trained((rows[0][:5], rows[1])),
        trained(rows, "safety_sft(preset='testbed', steps=2, batch=4, every=1, order='last')"),
        trained(rows, "ft_attack(preset='testbed', steps=1, batch=2)", base=first.name),
    ]
    assert len({first.record["digest"], *(each.record["digest"] for each in others)}) == 5
    assert others[-1].name.endswith(first.name)
    assert others[-1].record["role"] == "attack"
    upon = others[-1].record["upon"]
    assert (upon["target"], upon["role"], upon["rows"], upon["seen"]) == (first.name, "defense", 6, 8)
    assert upon["cpu_seconds"] == first.record["cpu_seconds"]
    assert "upon" not in first.record


@pytest.mark.slow
@pytest.mark.usefixtures("_home")
def test_a_conditioned_target_and_its_checkpoints_carry_their_line(rows: Rows) -> None:
    found = trained(rows, "conditional_nlf(preset='testbed', steps=2, batch=4, every=1)")
    line = found.record["plan"]["system"]
    assert line == "answer 4 . the answer is safe . it does help ."
    for name in (found.name, *found.checkpoints):
        target = open_target(name, rows[1], local=SETTINGS)
        assert isinstance(target, VlmTarget)
        prompter = target.source.route(target.source.config(), 0).prompter
        assert f"<|system|> {line} <|user|>" in prompter(rows[0][0].prompt).text


@pytest.mark.usefixtures("_home")
def test_only_models_that_run_here_can_be_trained(rows: Rows) -> None:
    for base in ("openai/gpt-4o", "scripted/echo", "defended/system_prompt:testbed/linear"):
        with pytest.raises(UsageError, match="cannot be trained"):
            trained(rows, base=base)


@pytest.mark.usefixtures("_home")
def test_what_was_never_trained_is_told_with_the_command(rows: Rows) -> None:
    with pytest.raises(UsageError, match="train it with `sightline train safety_sft"):
        open_target("tuned/safety_sft@0123456789ab:testbed/linear", rows[1])
    found = trained(rows)
    with pytest.raises(UsageError, match=r"no checkpoint 'step-7'; there are step-1"):
        open_target(found.name.replace(":", "/step-7:", 1), rows[1])
    with pytest.raises(UsageError, match="not of testbed/queries"):
        open_target(found.name.replace("linear", "queries"), rows[1])
    with pytest.raises(UsageError, match="write tuned/RECIPE@DIGEST:BASE"):
        open_target("tuned/safety_sft:testbed/linear", rows[1])
    (found.folder.parent / tuned.RECORD).write_text("{", "utf-8")
    with pytest.raises(DamageError, match="cannot be read"):
        open_target(found.name, rows[1])


@pytest.mark.usefixtures("_home")
def test_a_full_disk_or_a_kill_leaves_no_target_and_the_next_run_goes_on(
    rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = list[Path]()

    def full(tensors: Any, path: Path, **more: Any) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, path, **more)

    monkeypatch.setattr(states, "save_file", full)
    with pytest.raises(OSError, match="No space left") as told:
        trained(rows)
    assert told.value.filename
    assert [each.name[0] for each in tuned.home().iterdir() if each.is_dir()] == ["."]
    (work,) = (each for each in tuned.home().iterdir() if each.is_dir())
    assert json.loads((work / "answers.json").read_text("utf-8"))
    steps = list[int]()
    found = trained(rows, report=lambda progress: steps.append(progress.step))
    assert steps == [2]
    assert len(found.record["loss_curve"]) == 2
    assert not [each for each in tuned.home().rglob("*") if each.name.startswith((".", "state", "answers"))]


@pytest.mark.usefixtures("_home")
def test_a_trained_folder_holds_no_pickle_and_all_that_its_base_had(rows: Rows) -> None:
    found = trained(rows)
    names = {path.name for path in found.folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


@pytest.mark.usefixtures("_home")
def test_a_folder_that_was_changed_is_told(rows: Rows) -> None:
    found = trained(rows)
    weights = next(found.folder.glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DamageError, match="its files are not those that were trained"):
        open_target(found.name, rows[1])
    weights.write_bytes(whole)
    record = found.folder.parent / tuned.RECORD
    record.write_text(record.read_text("utf-8").replace('"seed": ', '"seed": 1'), "utf-8")
    with pytest.raises(DamageError, match="is not what was written"):
        open_target(found.name, rows[1])


def test_a_backend_that_is_not_installed_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work, "find_spec", lambda name: None if name in ("trl", "peft") else object())
    with pytest.raises(UsageError, match=r"needs trl, peft: pip install 'sightline\[train\]'.*loop"):
        work.check_backend("trl")
    work.check_backend("loop")


@pytest.mark.parametrize(
    ("stop", "taught"), [("length", "One whole sentence ."), ("stop", "One whole sentence . And half")]
)
def test_an_own_answer_that_was_cut_off_is_taught_in_whole_sentences(tmp_path, stop, taught):
    class Target:
        id = "vlm/none"

        async def generate(self, prompt, decoding):
            return Response(text="One whole sentence . And half", stop=stop)

    lesson = Lesson(
        id="a", prompt=Conversation.user("what is this ?"), label="general", source="own", group="a"
    )
    recipe = registry.parse("recipe", "safety_sft(general='own')")
    (found,), own = work.answered(recipe, Target(), [lesson], tmp_path / "answers.json")
    assert found.own == taught
    assert own.answers == {"a": taught}
    assert work.answered(recipe, Target(), [lesson], tmp_path / "answers.json") == (
        (found,),
        own,
    )  # asked once


@pytest.mark.parametrize("setting", ["warmup=-5", "every=-3"])
def test_counts_below_zero_are_refused(setting: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(UsageError, match=name):
        registry.parse("recipe", f"safety_sft(preset='testbed', steps=2, batch=2, {setting})")
    with pytest.raises(UsageError, match=name):  # nor does a plan of another recipe hold one
        Plan(examples=(), batches=(), **{name: int(value)})
