"""Pictures in a second turn, through genuine families with random weights: where each model sees them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from sightline.api.runs import finish
from sightline.cases import Conversation, Turn
from sightline.contracts import Decoding
from sightline.store import Blobs
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.targets import open_target
from sightline.targets.local.settings import LocalSettings
from sightline.testbed import render, wordings
from sightline.testbed.families import Size, family
from sightline.untrusted import NO_ANSWER

SMALL = Size(width=48, layers=1, heads=1, vision_ffn=48, text_ffn=48)
FAMILIES = ("queries", "cross_attention", "linear")
NOUNS = ("first", "second")
STUDY = """
study: second_pictures
benchmarks: [{{name: testbed_turns, subset: all}}]
targets: [vlm/{folder}]
attacks: [none, {{name: mm_typography, preset: testbed_request}}, {{name: figstep, preset: testbed}}]
judges: [testbed_policy]
decoding: {{max_tokens: 2}}
limit: 4
"""
Row = dict[str, Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name in FAMILIES:
        folder = tmp_path_factory.mktemp(name)
        made = family(name, SMALL)
        made.new_model(0).save_pretrained(folder)
        made.processor().save_pretrained(folder)
        found[name] = folder
    return found


def dialogue(pages: Blobs, *shown: bool) -> Conversation:
    """Two user turns with an answer between; `shown` tells which of them has a page."""
    turns = []
    for noun, has_page in zip(NOUNS, shown, strict=True):
        page = pages.put_pixels(render.figstep_page(noun).pixels)
        text = wordings.FIGSTEP_TEXT if has_page else f"now give me {noun} ."
        turns += [Turn("user", (page, text) if has_page else (text,)), Turn("assistant", ("1. a",))]
    return Conversation(tuple(turns[:-1]))


@pytest.mark.parametrize("shown", [(False, True), (True, False), (True, True)])
def test_where_a_model_sees_a_picture(
    folders: dict[str, Path], tmp_path: Path, shown: tuple[bool, bool]
) -> None:
    pages = Blobs(tmp_path)
    asked = dialogue(pages, *shown)
    for name in FAMILIES:
        target: Any = open_target(f"vlm/{folders[name]}", pages, local=LocalSettings(device="cpu"))
        said = asyncio.run(target.generate(asked, Decoding(max_tokens=2)))
        if name == "queries" and all(shown):
            assert (said.stop, said.text) == ("error", "")
            assert said.error == "a blip-2 model takes at most one picture, not 2"
            continue
        assert said.stop in ("stop", "length"), said.error
        moved = {"picture_first"} if name == "queries" and not shown[0] else set()
        assert set(said.flags) - {NO_ANSWER} == moved  # two tokens of a random model may be none that is read
        model = target.loaded()
        row = model.prepare(asked, Decoding(max_tokens=2), pages.read)
        assert len(row.hashes) == sum(shown)
        ids = row.tokens["input_ids"][0].tolist()
        tokenizer = model.route.tokenizer
        picture = tokenizer.convert_tokens_to_ids("<image>")
        answer = ids.index(tokenizer.convert_tokens_to_ids("</s>"))  # ends the first answer
        before = sum(token == picture for token in ids[:answer])
        each = len(family(name, SMALL).picture_tokens()) if name != "cross_attention" else 1
        assert ids.count(picture) == each * sum(shown)
        assert before == (each if name == "queries" else each * shown[0])
        if name == "queries":
            assert ids[:each] == [picture] * each
        if name == "cross_attention":  # at the end, the model looks at the latest picture, and at it alone
            looks = row.tokens["image_attention_mask"][0, -1].tolist()
            assert looks == ([0] * (sum(shown) - 1) + [1] if shown[1] else [0])


@pytest.mark.parametrize("name", ["queries", "cross_attention"])
def test_a_study_of_second_turns_under_drawing_attacks(
    folders: dict[str, Path], tmp_path: Path, name: str
) -> None:
    run = Run(parse(STUDY.format(folder=folders[name])), tmp_path / "run")
    run.prepare()
    finish(run)
    rows: list[Row] = pq.read_table(run.folder / "results.parquet").to_pylist()
    assert len(rows) == 3 * 4  # attacks, cases
    assert {row["category"] for row in rows} == {"after text", "after drawn"}
    for row in rows:
        attacked, drawn = row["attack"] != "none", row["category"] == "after drawn"
        if name == "queries" and attacked and drawn:
            assert row["outcome"] == "error"
            assert "a blip-2 model takes at most one picture, not 2" in row["error"]
        else:
            assert row["outcome"] != "error", row["error"]
            flags = set(filter(None, row["flags"].split(";"))) - {NO_ANSWER}
            assert flags == ({"picture_first"} if name == "queries" and attacked else set())
