"""The study of `sightline init`: it is valid in every situation, and so is each next step that it shows."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sightline import registry
from sightline.errors import UsageError
from sightline.study import starter
from sightline.study.config import Study, parse
from sightline.study.starter import Situation, compose, kind_of, study_name

TARGETS = ["", "testbed/linear", "scripted/typographic", "mockllm/model", "vlm/some/model", "openai/gpt-4o"]
DATA = ["", "testbed_memes", "figstep_safebench={root}", "mm_safetybench={root}"]
NEXT = re.compile(r"^( *)# - (.*)$", re.MULTILINE)


def study_of(text: str, folder: Path) -> Study:
    return parse(text, name="study.yaml", folder=folder)


def written(situation: Situation, folder: Path) -> str:
    found = compose(situation, folder / "study.yaml")
    assert found.problem == ""
    return found.text


@pytest.mark.parametrize(
    ("target", "data", "gpu"), [*itertools.product(TARGETS, DATA, [False, True])], ids=str
)
def test_every_situation_makes_a_valid_study(target: str, data: str, gpu: bool, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    situation = Situation(target=target, data=data.format(root=tmp_path / "release"), gpu=gpu)
    found = study_of(written(situation, tmp_path), tmp_path)
    assert found.targets == (target or "testbed/linear",)
    labels = [each.label for each in found.attacks]
    assert labels[:6] == ["none", "figstep", "figstep_typed", "text_only", "blank_image", "noise_image"]
    local = target in ("", "testbed/linear", "vlm/some/model")
    crafted = [each for each in found.attacks if each.surrogates]
    assert [each.surrogates for each in crafted] == ([found.targets] if gpu and local else [])
    assert found.sources[0].limit
    roots = [source.root for source in found.sources]
    assert roots == ([tmp_path / "release"] if "=" in data else [None])


@pytest.mark.parametrize("target", TARGETS)
def test_every_next_step_is_valid_once_its_mark_is_taken_away(target: str, tmp_path: Path) -> None:
    (tmp_path / "release").mkdir()
    text = written(Situation(target=target), tmp_path)
    steps = NEXT.findall(text)
    assert len(steps) >= 3
    followed = NEXT.sub(r"\1- \2", text).replace("FOLDER-OR-ZIP", "release").replace("FOLDER", "model")
    before, after = study_of(text, tmp_path), study_of(followed, tmp_path)
    parts = ("sources", "targets", "attacks", "defenses", "judges")
    grown = sum(len(getattr(after, part)) - len(getattr(before, part)) for part in parts)
    assert grown == len(steps)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("data", DATA)
def test_every_part_is_explained_on_lines_that_fit(target: str, data: str, tmp_path: Path) -> None:
    text = compose(Situation(target=target, data=data.format(root="r")), Path("study.yaml")).text
    for section in ("benchmarks", "targets", "attacks", "defenses", "judges"):
        comment = re.search(rf"^# .*\n{section}:$", text, re.MULTILINE)
        assert comment, section
    assert max(map(len, text.splitlines())) <= 120


def test_without_torch_a_script_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starter, "find_spec", lambda name: None)
    text = written(Situation(gpu=True), tmp_path)
    found = study_of(text, tmp_path)
    assert found.targets == ("scripted/typographic",)
    assert "sightline[local]" in text
    assert not any(each.surrogates for each in found.attacks)


def test_a_defended_target_is_crafted_on_bare(tmp_path: Path) -> None:
    target = "defended/system_prompt(prompt='testbed'):testbed/linear"
    found = study_of(written(Situation(target=target, gpu=True), tmp_path), tmp_path)
    assert found.targets == (target,)
    assert found.attacks[-1].surrogates == ("testbed/linear",)
    assert kind_of(target) == "testbed"


def test_paths_below_the_study_are_relative_to_it_and_others_whole(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in" / "my release", tmp_path / "out"
    inside.mkdir(parents=True)
    outside.mkdir()
    file = tmp_path / "in" / "study.yaml"
    for root, told in ((inside, '"my release"'), (outside, str(outside))):
        text = compose(Situation(data=f"figstep_safebench={root}"), file).text
        assert f"root: {told}" in text
        assert study_of(text, file.parent).sources[0].root == root


def test_a_release_without_its_folder_is_looked_for_where_all_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "figstep_safebench").mkdir()
    monkeypatch.setenv("SIGHTLINE_DATA", str(tmp_path))
    found = study_of(written(Situation(data="figstep_safebench"), tmp_path), tmp_path)
    assert found.sources[0].root == tmp_path / "figstep_safebench"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (8, 8), (200, 40, 40)).save(path)


def test_a_table_of_prompts_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("prompt,label\nhow are glimbers made?,unsafe\nwhat is a frell?,safe\n")
    found = study_of(written(Situation(data=str(tmp_path / "mine.csv")), tmp_path), tmp_path)
    assert found.sources[0].root == tmp_path / "mine.csv"
    assert registry.settings(found.sources[0].benchmark) == {}


def test_pictures_without_a_question_are_asked_one(tmp_path: Path) -> None:
    picture(tmp_path / "shots" / "1.png")
    found = study_of(written(Situation(data=str(tmp_path / "shots")), tmp_path), tmp_path)
    assert registry.settings(found.sources[0].benchmark) == {"prompt": "What is shown in this picture?"}


def test_all_splits_of_a_folder_are_read(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / f"{split}.jsonl").write_text('{"prompt": "what is a glimber?"}\n')
    found = study_of(written(Situation(data=str(tmp_path / "set")), tmp_path), tmp_path)
    assert registry.settings(found.sources[0].benchmark) == {"split": "all"}


RECORDED = {
    "log.csv": "prompt,response\nhow are glimbers made?,no\n",
    "log.jsonl": '{"question": "what is a frell?", "Model Response": "a frell"}\n',
}


@pytest.mark.parametrize("name", RECORDED)
def test_answers_that_exist_are_judged_and_nobody_is_asked(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(RECORDED[name])
    found = compose(Situation(data=str(tmp_path / name)), tmp_path / "study.yaml")
    study = study_of(found.text, tmp_path)
    assert [target.partition("/")[0] for target in study.targets] == ["recorded"]
    assert found.about == f"judges the responses in {tmp_path / name}"
    followed = study_of(NEXT.sub(r"\1- \2", found.text), tmp_path)
    assert len(followed.judges) == 3


@pytest.mark.parametrize("name", RECORDED)
def test_who_names_a_model_has_it_asked_whatever_was_answered(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(RECORDED[name])
    situation = Situation(data=str(tmp_path / name), target="mockllm/model")
    found = study_of(written(situation, tmp_path), tmp_path)
    assert found.targets == ("mockllm/model",)
    assert found.sources[0].benchmark.card.name == "cases"


def test_a_column_of_reference_answers_is_no_response(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("question,answer\nwhat is a frell?,a thing\n")
    found = study_of(written(Situation(data=str(tmp_path / "mine.csv")), tmp_path), tmp_path)
    assert found.sources[0].benchmark.card.name == "cases"


@pytest.mark.parametrize("content", ["", "shape,colour\nround,red\n"])
def test_data_that_cannot_be_read_yet_are_named_with_the_cure(content: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(content)
    found = compose(Situation(data=str(tmp_path / "mine.csv")), tmp_path / "study.yaml")
    assert "mine.csv" in found.problem
    assert study_of(found.text, tmp_path).sources[0].root == tmp_path / "mine.csv"  # to be edited


@pytest.mark.parametrize(
    ("situation", "message"),
    [
        (Situation(target="gpt-4o"), "is not complete: write vlm/FOLDER"),
        (Situation(target="opnai/gpt-4o"), "Did you mean 'openai'"),
        (Situation(data="nowhere.csv"), "no file or folder, and no benchmark of that name"),
    ],
)
def test_what_is_not_there_is_told_with_the_cure(situation: Situation, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        written(situation, tmp_path)


def test_every_benchmark_of_ours_is_judged_by_the_rule_that_knows_it(tmp_path: Path) -> None:
    for name in registry.names("benchmark"):
        card = registry.card("benchmark", name)
        if name.startswith("testbed_"):
            found = study_of(written(Situation(data=name), tmp_path), tmp_path)
            assert found.judges[0].card.name == card.judge


@given(st.text(min_size=1, max_size=200).filter(lambda text: "\0" not in text))
def test_any_file_name_makes_a_study_name(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", study_name(Path(text)))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40))
@example("a\u2028b: {c} # d")
@example("no")
@example("😀 'x'")
@example("~0")
@example("../y")
def test_any_path_is_read_back_as_it_is(text: str) -> None:
    file = Path("folder") / "study.yaml"
    said = starter._near(Path("folder") / text, file)
    line = f"study: s\nbenchmarks: [{{name: figstep_safebench, root: {starter._scalar(said)}}}]\n"
    rest = "targets: [scripted/echo]\njudges: [refusal_prefix]\n"
    found = parse(line + rest, folder=file.parent, releases=False)
    assert found.sources[0].root is not None
    assert found.sources[0].root.absolute() == (Path("folder") / text).absolute()


def test_a_home_that_is_nobodys_is_no_traceback(tmp_path: Path) -> None:
    for data in ("~nobody-0/x.csv", "figstep_safebench=~nobody-0/x"):
        with pytest.raises(UsageError, match="nobody-0"):
            study_of(written(Situation(data=data), tmp_path), tmp_path)
