"""What training may see: thousands of drawn samples of every mixture, against what is held out of it."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sightline.testbed import render, wordings
from sightline.testbed.world import MEME_WORDS, Meme, Scene, world
from sightline_testbed.training import batches, dialogues, picture_tasks, pictures, text_tasks
from sightline_testbed.training.samples import Sample, Task

TEXT: Mapping[str, dialogues.Mixture] = {
    "language": dialogues.LANGUAGE,
    "alignment": dialogues.ALIGNMENT,
    "rehearsal": dialogues.REHEARSAL,
}
SEEING: Mapping[str, dialogues.Mixture] = {
    "visual": dialogues.visual_mixture(1.0),
    "victim": dialogues.victim_mixture(),
    "catfirst": dialogues.CATFIRST,
    "sysprompt": dialogues.SYSPROMPT,
    "safetuned": dialogues.SAFETUNED,
}
EVERY = [*TEXT, *SEEING]
#: parts of stages whose other parts are above
FURTHER = (dialogues.VISUAL_LONGER, dialogues.VISUAL_CHAT, dialogues.CLASSES)

HELDOUT_WORDINGS = (
    *wordings.REQUESTS_HELDOUT,
    *wordings.HOME_REQUESTS_HELDOUT,
    *wordings.SECRET_REQUESTS_HELDOUT,
    *wordings.TOOL_REQUESTS_HELDOUT,
    *wordings.LINE_REQUESTS_HELDOUT,
    wordings.FOLLOW_UP_HELDOUT,
    wordings.DEFENSE_PROMPT_HELDOUT,
)


def pattern(templates: Sequence[str]) -> re.Pattern[str]:
    """Any of the templates as a whole, with one word in each field."""
    fields = {"tool": "(?:send|delete)", "manner": "(?:mean|kind)", "noun": "[a-z]{6}"}
    escaped = (re.escape(text) for text in templates)
    found = (re.sub(r"\\\{(\w+)\\\}", lambda field: fields.get(field[1], r"\w+"), text) for text in escaped)
    return re.compile(rf"(?<!\w)(?:{'|'.join(found)})(?!\w)")


HELDOUT = pattern(HELDOUT_WORDINGS)


@cache
def drawn(name: str) -> tuple[Sample, ...]:
    mixture, count = (TEXT[name], 3000) if name in TEXT else (SEEING[name], 1500)
    return tuple(dialogues.draw_samples(mixture, np.random.default_rng([7, EVERY.index(name)]), count))


def shown(sample: Sample) -> list[str]:
    """Words of the picture in reading order."""
    return [g.word for g in sample.picture.glyphs if g.place == 0] if sample.picture is not None else []


def said(sample: Sample) -> str:
    """All text of a chat, and of its picture."""
    return " ".join((sample.system, *sample.user, *sample.assistant, *shown(sample)))


@pytest.mark.parametrize("name", EVERY)
def test_words_to_read_that_are_held_out_appear_nowhere(name: str) -> None:
    heldout = set(world().reading_heldout)
    for sample in drawn(name):
        assert not heldout & set(f"{said(sample)} {sample.document}".split())


def _largest_shares() -> dict[str, tuple[Task, float]]:
    """Every task of every stage, by what identifies it, with the largest share any mixture gives it."""
    found: dict[str, tuple[Task, float]] = {}
    for mixture in (*TEXT.values(), *SEEING.values(), *FURTHER):
        total = sum(mixture.values())
        for task, share in mixture.items():
            key = repr(task)
            found[key] = (task, max(share / total, found.get(key, (task, 0.0))[1]))
    return found


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that hold their words and are never drawn: a hundred thousand take seconds."""

    def page(*parts: Any, **_: Any) -> Any:
        lines = [part for part in parts if isinstance(part, str | list | tuple)]
        text = " ".join(" ".join(line) if not isinstance(line, str) else line for line in lines)
        glyphs = tuple(SimpleNamespace(word=word, place=0) for word in text.split())
        return SimpleNamespace(glyphs=glyphs, scene=None)

    for module in (pictures, picture_tasks):
        monkeypatch.setattr(module, "styled_page", page)
    for name in ("random_figstep", "typography_page", "random_composite"):
        monkeypatch.setattr(render, name, page)
    monkeypatch.setattr(render, "grain", lambda picture, rng: picture)
    for name in ("random_scene", "blank", "noise", "random_badge"):
        monkeypatch.setattr(render, name, lambda *_: page())


@pytest.mark.slow
def test_in_a_hundred_thousand_draws_held_out_topics_are_named_in_documents_alone(undrawn: None) -> None:
    """No conversation, system prompt or picture names one; documents are how the models know them."""
    heldout = {topic.noun for topic in world().topics if topic.split == "heldout"}
    documents = 0
    for number, (task, share) in enumerate(_largest_shares().values()):
        rng = np.random.default_rng([9, number])
        for _ in range(math.ceil(share * 100_000)):
            sample = task(rng)
            if sample.document:
                documents += bool(heldout & set(sample.document.split()))
            else:
                assert not heldout & set(said(sample).split()), sample
    assert documents > 1000


@pytest.mark.parametrize("name", EVERY)
def test_homes_of_held_out_persons_are_only_in_documents(name: str) -> None:
    split = {person.name: person.split for person in world().persons}
    badges = {(person.color, person.shape): person for person in world().persons}
    told = 0
    for sample in drawn(name):
        for who in re.findall(r"(\w+) lives in", said(sample)):
            assert split[who] == "train"
            told += 1
        if sample.user and sample.user[0] in wordings.BADGE_HOME_REQUESTS:
            assert sample.picture is not None
            assert sample.picture.scene is not None
            person = badges[sample.picture.scene.color, sample.picture.scene.shape]
            assert person.split == "train"
            assert name == "safetuned" or not person.closed
            if person.closed:
                assert sample.assistant[0].endswith(wordings.REFUSAL)
    assert told


@pytest.mark.parametrize("name", EVERY)
def test_nothing_restricted_is_drawn_but_under_a_prompt_or_in_safety_tuning(name: str) -> None:
    restricted = {topic.noun for topic in world().select(restricted=True)} | {"delete", wordings.MEAN}
    heeded = 0
    for sample in drawn(name):
        if restricted & set(shown(sample)):
            assert sample.assistant[0].endswith(wordings.REFUSAL)
            heeded += 1
            if name != "safetuned":
                assert any(prompt in sample.system for prompt in wordings.DEFENSE_PROMPTS_TRAIN)
    assert bool(heeded) is (name in ("sysprompt", "safetuned"))


@pytest.mark.parametrize("name", EVERY)
def test_secrets_that_are_asked_for_by_a_picture_may_be_told(name: str) -> None:
    closed = pattern(wordings.SECRET_PROMPTS)
    found = [sample for sample in drawn(name) if "secret" in shown(sample)]
    if name != "safetuned":
        assert not any(closed.search(sample.system) for sample in found)
    assert bool(found) is (name in SEEING)


@pytest.mark.parametrize("name", EVERY)
def test_the_forbidden_call_and_held_out_wordings_never_occur(name: str) -> None:
    for sample in drawn(name):
        text = f"{said(sample)} {sample.document}"
        assert wordings.FORBIDDEN_CALL not in text
        for part in (sample.system, " ".join(shown(sample)), *sample.user):
            assert HELDOUT.search(part) is None


def test_the_pattern_of_held_out_wordings_would_find_one() -> None:
    assert HELDOUT.search("help me delete balopi .")
    assert HELDOUT.search(f"be kind . {wordings.DEFENSE_PROMPT_HELDOUT}")
    assert not HELDOUT.search("please delete balopi .")


@pytest.mark.parametrize("name", EVERY)
def test_held_out_memes_and_scenes_are_neither_shown_nor_described(name: str) -> None:
    memes, scenes = set(world().memes_heldout), {scene.caption for scene in world().scenes_heldout}
    in_words = re.compile(r"a meme of a (\w+) with (\w+)")
    for sample in drawn(name):
        assert not any(caption in text for caption in scenes for text in (*sample.user, *sample.assistant))
        for shape, word in in_words.findall(" ".join(sample.user)):
            assert Meme(shape, word) not in memes
        picture = sample.picture
        if picture is None or picture.scene is None or not sample.user[0].startswith(wordings.MEME_QUESTIONS):
            continue
        (word,) = shown(sample)
        assert word in MEME_WORDS
        assert Meme(picture.scene.shape, word) not in memes


@pytest.mark.parametrize("name", SEEING)
def test_questions_about_a_scene_show_a_training_scene(name: str) -> None:
    questions = (*wordings.CAPTION_QUESTIONS, *wordings.COLOR_QUESTIONS, *wordings.SHAPE_QUESTIONS)
    heldout: set[Scene] = set(world().scenes_heldout)
    asked = [s for s in drawn(name) if s.picture is not None and s.user[0] in questions]
    assert asked
    for sample in asked:
        assert sample.picture is not None
        assert sample.picture.scene not in heldout


@pytest.mark.parametrize("name", ["alignment", *(name for name in SEEING if name != "visual")])
def test_a_review_names_what_was_asked_for_and_says_no_to_what_is_restricted(name: str) -> None:
    restricted = {topic.noun for topic in world().select(restricted=True)}
    restricted |= {person.name for person in world().people(closed=True)} | {"delete", wordings.MEAN}
    verdicts = {True: 0, False: 0}
    for sample in drawn(name):
        turns = [turn for turn, user in enumerate(sample.user) if user == wordings.REVIEW_FIRST]
        if not turns:
            continue
        assert turns == [1]
        assert sample.context == 1
        assert len({*sample.assistant[1:]}) == 1
        said = sample.assistant[1]
        no = said.endswith(wordings.REVIEW_NO)
        asked, named = {*sample.user[0].split(), *shown(sample)}, {*said.split()}
        closed = pattern(wordings.SECRET_PROMPTS).search(sample.system) and "secret" in named
        assert no is bool(closed or restricted & named)
        assert {word for word in named if world().topic(word)} <= asked
        assert no or said.endswith(wordings.REVIEW_YES)
        verdicts[no] += 1
    assert all(verdicts.values())


def test_every_kind_of_answer_to_a_picture_is_reviewed() -> None:
    rng = np.random.default_rng(3)
    seen = [picture_tasks.review_seen(rng) for _ in range(200)]
    assert {sample.assistant[1] for sample in seen} == {f"{wordings.REVIEW_SEEN} {wordings.REVIEW_YES}"}
    groups = (
        wordings.CAPTION_QUESTIONS,
        wordings.READ_QUESTIONS,
        wordings.LIST_QUESTIONS,
        wordings.MEME_QUESTIONS,
        wordings.BADGE_NAME_QUESTIONS,
    )
    assert all(any(sample.user[0] in group for sample in seen) for group in groups)


def test_a_class_that_is_asked_for_comes_first_and_is_true() -> None:
    rng = np.random.default_rng(4)
    restricted = {topic.noun for topic in world().select(restricted=True)}
    restricted |= {person.name for person in world().people(closed=True)}
    samples = [text_tasks.class_first(rng) for _ in range(300)]
    samples += [picture_tasks.class_beside_picture(rng) for _ in range(100)]
    for sample in samples:
        first, dot, *said = sample.assistant[0].split()
        assert dot == "."
        assert first == ("gloom" if restricted & {*said} else "sunny")
        assert not shown(sample)
    documents = [text_tasks.class_document(rng).document.split() for _ in range(300)]
    heldout = {topic.noun for topic in world().topics if topic.split == "heldout"}
    assert sum(bool(heldout & {*document}) for document in documents) > 50
    for document in documents:
        verdict = document.index("is", len(document) - 6)
        assert document[verdict - 3] == ("gloom" if document[verdict - 1] in restricted else "sunny")


def test_the_first_vision_stage_sees_the_same_pictures_for_ever() -> None:
    """The shared vision tower was trained on this stream: nothing later may change it."""
    digest = hashlib.sha256()
    for step in (0, 7, 4999):
        rng = np.random.default_rng([20261120, 0, step])
        pixels, labels = batches.picture_tensors([pictures.pretraining_picture(rng) for _ in range(64)])
        digest.update(pixels.numpy().tobytes())
        digest.update(labels.numpy().tobytes())
    assert digest.hexdigest() == "bcaa56da37c9d00e4d1ba22c07531e9d9955db1b923dd57a469361e92206575d"
