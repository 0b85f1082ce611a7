"""Training rows are laid out as chat template and processor lay out the same conversation."""

# ruff: noqa: E402
from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sightline.testbed import render
from sightline.testbed.families import NAMES, Size, family
from sightline.testbed.families._pieces import CONTEXT
from sightline.testbed.tokenizer import ASSISTANT, BOS, EOS, SYSTEM, UNK, USER, encode, vocabulary
from sightline_testbed.evaluation.answering import Ask, Model
from sightline_testbed.training import dialogues
from sightline_testbed.training.samples import IGNORED, Sample

TINY = Size(width=16, layers=1, heads=1, vision_ffn=16, text_ffn=16)
IDS = vocabulary()
PAGE = render.typography_page("lumopi")


@cache
def asker(name: str) -> Model:
    made = family(name, TINY)
    return Model(made.new_model(0), made.processor())


def prompt(name: str, sample: Sample, turn: int) -> list[int]:
    """What the genuine processor makes of everything up to an answer."""
    *before, asked = sample.user[: turn + 1]
    ask = Ask(
        user=asked,
        subject="",
        group="",
        pixels=None if sample.picture is None else sample.picture.pixels,
        system=sample.system,
        history=tuple(zip(before, sample.assistant, strict=False)),
    )
    return list(asker(name).inputs([ask])["input_ids"][0].tolist())


def row(name: str, sample: Sample) -> tuple[list[int], list[int]]:
    made = family(name, TINY)
    return sample.tokens(made.picture_tokens(), picture_first=made.picture_first)


def check(name: str, sample: Sample) -> None:
    """Each answer, with its end, follows its prompt; learned are the answers that are no context."""
    ids, labels = row(name, sample)
    learned = [IGNORED] * len(ids)
    for turn, answer in enumerate(sample.assistant):
        begin = prompt(name, sample, turn)
        said = [*encode(answer), IDS[EOS]]
        assert ids[: len(begin) + len(said)] == begin + said
        if turn >= sample.context:
            learned[len(begin) : len(begin) + len(said)] = said
    assert len(ids) == len(begin) + len(said)
    assert labels == learned


CONVERSATIONS = {
    "text": Sample(user=("what is lumopi ?",), assistant=("lumopi is a sunny thing .",)),
    "picture": Sample(user=("what do you see ?",), assistant=("lumopi .",), picture=PAGE),
    "system": Sample(user=("say red",), assistant=("red .",), system="be kind ."),
    "picture and system": Sample(
        user=("complete the list",),
        assistant=("no .",),
        picture=PAGE,
        system="be safe . refuse gloom things .",
    ),
    "two turns": Sample(user=("say red", "are you sure ?"), assistant=("red .", "yes ."), context=1),
    "all": Sample(
        user=("read the word", "is this allowed ?", "are you sure ?"),
        assistant=("lumopi .", "yes .", "no ."),
        picture=PAGE,
        system="be kind .",
        context=2,
    ),
    "no context": Sample(user=("read", "again"), assistant=("lumopi .", "lumopi ."), picture=PAGE),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("conversation", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_rows_are_what_the_processor_makes(name: str, conversation: Sample) -> None:
    check(name, conversation)


@pytest.mark.parametrize("name", NAMES)
def test_drawn_samples_are_what_the_processor_makes(name: str) -> None:
    """The same on what is really drawn, of every mixture."""
    rng = np.random.default_rng(2)
    for mixture in (
        dialogues.ALIGNMENT,
        dialogues.SYSPROMPT,
        dialogues.SAFETUNED,
        dialogues.victim_mixture("first"),
    ):
        for sample in dialogues.draw_samples(mixture, rng, 25):
            if not sample.document:
                check(name, sample)


@pytest.mark.parametrize("name", NAMES)
def test_rows_fit_and_hold_no_unknown_word(name: str) -> None:
    rng = np.random.default_rng(3)
    for mixture in (dialogues.LANGUAGE, dialogues.ALIGNMENT, dialogues.SYSPROMPT, dialogues.SAFETUNED):
        for sample in dialogues.draw_samples(mixture, rng, 60):
            ids, labels = row(name, sample)
            assert len(ids) == len(labels) < CONTEXT / 4
            assert IDS[UNK] not in ids
            assert all(wanted in (IGNORED, token) for token, wanted in zip(ids, labels, strict=True))
            assert any(wanted != IGNORED for wanted in labels)


def test_a_row_by_hand() -> None:
    """Golden."""
    sample = CONVERSATIONS["all"]
    ids, labels = sample.tokens([7, 7])
    system = [IDS[BOS], IDS[SYSTEM], *encode("be kind .")]
    first = [IDS[USER], 7, 7, *encode("read the word"), IDS[ASSISTANT], *encode("lumopi ."), IDS[EOS]]
    second = [IDS[USER], *encode("is this allowed ?"), IDS[ASSISTANT], *encode("yes ."), IDS[EOS]]
    third = [IDS[USER], *encode("are you sure ?"), IDS[ASSISTANT], *encode("no ."), IDS[EOS]]
    assert ids == system + first + second + third
    assert labels == [IGNORED] * (len(ids) - 3) + [*encode("no ."), IDS[EOS]]
    assert sample.tokens([7, 7], picture_first=True)[0][:3] == [7, 7, IDS[BOS]]


def test_documents_are_learned_as_a_whole() -> None:
    ids, labels = Sample(document="lumopi : 1 mix salt .").tokens()
    assert ids == labels == [IDS[BOS], *encode("lumopi : 1 mix salt ."), IDS[EOS]]


def test_a_row_ends_where_a_model_stops() -> None:
    """The end that is learned is the one `generate` stops at."""
    for name in NAMES:
        model: Any = asker(name).model
        assert model.generation_config.eos_token_id == IDS[EOS]
