"""Language models that see no pictures: requests as text through the tokenizer's own chat template."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from sightline.errors import UsageError
from sightline.targets.local.limits import ForeignText
from sightline.targets.local.processors import (
    Fields,
    ImageTensors,
    ReadBlob,
    control_tokens,
    first_line,
    quiet,
    template_of,
)
from sightline.targets.local.prompt import Prompt, prompter_of

#: stands for a picture, which no request of such a model shows: a character that no text holds
NO_PICTURE = "\uffff"


class TextRoute:
    """The tokenizer alone; see `processors.Route`."""

    def __init__(self, tokenizer: Any, family: str, foreign: ForeignText) -> None:
        self.tokenizer = tokenizer
        self.tensors = ImageTensors(0)
        self._foreign = foreign
        template = template_of(tokenizer)
        apply = partial(foreign.render, template, tokens=tokenizer.special_tokens_map)
        self.prompter = prompter_of(family, NO_PICTURE, template, apply, (), control_tokens(tokenizer))

    def fields(self, prompt: Prompt, read: ReadBlob) -> Fields:  # noqa: ARG002
        """See `processors.Route.fields`; the template writes the start token, if the model has one."""
        self._foreign.check_text(prompt.text)
        written = self.prompter.apply is not None
        found: Fields = dict(self.tokenizer(prompt.text, return_tensors="pt", add_special_tokens=not written))
        found.pop("token_type_ids", None)
        return found


def text_route_for(folder: Path, family: str, foreign: ForeignText) -> TextRoute:
    """The route of the language model in `folder`.

    Raises:
        UsageError: if its tokenizer cannot be loaded.
    """
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            return TextRoute(tokenizer, family, foreign)
    except Exception as broken:  # files of a foreign folder make the library raise almost anything
        raise UsageError(
            f"{folder}: the tokenizer of this {family} model cannot be loaded ({first_line(broken)}); the "
            "folder needs tokenizer.json and tokenizer_config.json"
        ) from broken
