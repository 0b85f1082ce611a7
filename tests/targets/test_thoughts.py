"""Local models that think: special tokens that mark thoughts are read, also one that ends the prompt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import tiny_models as tiny

from sightline.cases import Conversation
from sightline.contracts import Decoding
from sightline.store import Blobs
from sightline.targets import LocalSettings, open_target
from sightline.targets.local.model import _unsaid
from sightline.untrusted import NO_ANSWER, REASONING

OPENED = tiny.PARTS_TEMPLATE.replace("{{ '<assistant>' }}", "{{ '<assistant> <think>' }}")


def answered(folder: Path, asked: str) -> Any:
    target = open_target(f"vlm/{folder}", Blobs(folder / "blobs"), local=LocalSettings(device="cpu"))
    return asyncio.run(target.generate(Conversation.user(asked), Decoding(max_tokens=3)))


@pytest.mark.usefixtures("one_thread")
def test_a_reply_cut_within_the_thoughts_that_its_prompt_began_has_no_answer(tmp_path: Path) -> None:
    response = answered(tiny.tiny_llava(tmp_path / "opened", template=OPENED), "what is this")
    assert (response.text, response.stop) == ("", "length")
    assert response.raw
    assert {REASONING, NO_ANSWER} <= set(response.flags)
    plain = answered(tiny.tiny_llava(tmp_path / "plain"), "what is this <think>")
    assert plain.text, "a request cannot make a reply its thoughts"
    assert plain.raw is None


def test_special_tokens_that_mark_thoughts_are_part_of_a_reply() -> None:
    tokenizer = tiny.tokenizer("\u25c1think\u25b7", "\u25c1/think\u25b7")
    unsaid = _unsaid(tokenizer)
    written = "\u25c1think\u25b7 the \u25c1/think\u25b7 red </s> <pad>"
    told = [token for token in tokenizer(written).input_ids if token not in unsaid]
    assert "".join(tokenizer.decode(told).split()) == "\u25c1think\u25b7the\u25c1/think\u25b7red"
    assert _unsaid(tiny.tokenizer()) == frozenset()
