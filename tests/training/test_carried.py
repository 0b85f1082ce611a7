"""A line that a trained target carries stands before every conversation, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sightline.cases import Conversation, Image, Turn
from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.targets.local.source import FolderSource
from sightline.testbed.weights import materialize
from sightline.training.carried import TEMPLATE, carry, template_in

LINE = 'answer 4 . it\'s a "safe" one .'
PICTURE = Image(sha256="1" * 64, width=64, height=64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(materialize("linear"), tmp_path / "model"))


def prompt(folder: Path, conversation: Conversation) -> str:
    source = FolderSource(folder, LocalSettings(device="cpu"))
    return str(source.route(source.config(), 0).prompter(conversation).text)


def test_prompts_are_those_of_the_base_with_the_line(folder: Path) -> None:
    talk = Conversation.user(PICTURE, "a").then(Turn("assistant", ("b",)), Turn("user", ("c",)))
    asked = [talk, Conversation.user("a"), Conversation.user("a").with_system("own rule")]
    wanted = [prompt(folder, each.with_system(LINE)) for each in asked]
    carry(folder, LINE)
    assert [prompt(folder, each) for each in asked] == wanted
    assert wanted[1].startswith(f"<s><|system|> {LINE} <|user|> a")


def test_a_second_line_stands_behind_the_first(folder: Path) -> None:
    carry(folder, "one .")
    carry(folder, "two .")
    assert "<|system|> one . two . <|user|>" in prompt(folder, Conversation.user("a"))


def test_templates_of_strings_are_carried_too(folder: Path) -> None:
    text = (
        "{% for m in messages %}[{{ m['role'] }}]{% if m['content'] is not string %}"
        "{{ raise_exception('no') }}{% endif %}{{ m['content'] }}{% endfor %}"
    )
    (folder / TEMPLATE).write_text(text)
    wanted = prompt(folder, Conversation.user(PICTURE, "a").with_system(LINE))
    carry(folder, LINE)
    assert prompt(folder, Conversation.user(PICTURE, "a")) == wanted


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("", "no chat template"),
        (
            "{% for m in messages if m['role'] != 'system' %}{% for p in m['content'] %}"
            "{{ p['text'] if p['type'] == 'text' else '<image>' }}{% endfor %}{% endfor %}",
            "knows no system turn",
        ),
    ],
)
def test_a_folder_that_cannot_carry_it_is_told_and_left_as_it_is(
    folder: Path, template: str, told: str
) -> None:
    (folder / TEMPLATE).unlink()
    if template:
        (folder / TEMPLATE).write_text(template)
    with pytest.raises(UsageError, match=told):
        carry(folder, LINE)
    assert template_in(folder) == template


def test_the_template_is_found_where_folders_keep_it(folder: Path) -> None:
    (folder / TEMPLATE).unlink()
    settings = folder / "tokenizer_config.json"
    stored = json.loads(settings.read_text())
    settings.write_text(json.dumps({**stored, "chat_template": [{"name": "default", "template": "x"}]}))
    assert template_in(folder) == "x"
