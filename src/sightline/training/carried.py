"""A line that a trained target carries: its chat template puts it first in every conversation.

So whatever opens the folder (a target, a surrogate, another recipe, another program) meets the model as it
was trained. A line is only written if the folder's prompts are then the base's with that system turn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sightline.cases import Conversation, Image, Turn
from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.targets.local.source import FolderSource

TEMPLATE = "chat_template.jinja"
_ELSEWHERE = ("chat_template.json", "processor_config.json", "tokenizer_config.json")
_HEAD = (
    "{%- set carried = LINE -%}"
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set own = messages[0]['content'] -%}"
    "{%- set both = carried ~ '\\n' ~ own if own is string else [{'type': 'text', 'text': carried}] + own -%}"
    "{%- set messages = [{'role': 'system', 'content': both}] + messages[1:] -%}"
    "{%- else -%}"
    "{%- set messages = [{'role': 'system', 'content': FIRST}] + messages -%}"
    "{%- endif -%}"
)
_FORMS = (
    "carried if messages[0]['content'] is string else [{'type': 'text', 'text': carried}]",
    "carried",
)
"""A system turn's content: as the user's is, or always a string."""
_PICTURE = Image(sha256="0" * 64, width=8, height=8)
_TRIED = (
    Conversation.user("a request"),
    Conversation.user(_PICTURE, "a request"),
    Conversation.user("a request").with_system("a rule"),
    Conversation.user(_PICTURE, "one").then(Turn("assistant", ("two",)), Turn("user", ("three",))),
)


def carry(folder: Path, line: str) -> None:
    """Change a model folder's chat template so that `line` stands before every conversation.

    Raises:
        UsageError: if the folder has no chat template, or one that knows no system turn.
    """
    own, base = template_in(folder), _prompter(folder)
    if not own:
        raise UsageError(
            f"{folder}: has no chat template, so a trained model cannot carry the line {line!r}: give the "
            f"base a {TEMPLATE}"
        )
    if any("system_in_user" in base(each.with_system(line)).flags for each in _TRIED):
        raise UsageError(
            f"{folder}: its chat template knows no system turn, so a trained model cannot carry the line "
            f"{line!r}: take a base whose template has one"
        )
    wanted = [base(each.with_system(line)).text for each in _TRIED]
    for form in _FORMS:
        text = _HEAD.replace("LINE", json.dumps(line)).replace("FIRST", form) + own
        (folder / TEMPLATE).write_text(text, "utf-8")
        if [_prompter(folder)(each).text for each in _TRIED] == wanted:
            return
    (folder / TEMPLATE).write_text(own, "utf-8")
    raise UsageError(f"{folder}: the line {line!r} could not be put into its chat template")


def template_in(folder: Path) -> str:
    """The chat template of a model folder, of several the default one; '' if there is none."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text("utf-8")
    for name in _ELSEWHERE:
        if (folder / name).is_file():
            found = json.loads((folder / name).read_text("utf-8")).get("chat_template")
            if isinstance(found, list):
                found = {each["name"]: each["template"] for each in found}.get("default")
            if found:
                return str(found)
    return ""


def _prompter(folder: Path) -> Any:
    source = FolderSource(folder, LocalSettings(device="cpu"))
    return source.route(source.config(), 0).prompter
