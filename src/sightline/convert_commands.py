"""The command `sightline convert`: its arguments and what it prints."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert_command(
    what: Annotated[Literal["detoxify"], typer.Argument(help="What kind of checkpoint it is.")],
    checkpoint: Annotated[Path, typer.Argument(help="The checkpoint as it was released.")],
    out: Annotated[Path, typer.Argument(help="The new folder.")],
    base: Annotated[
        Path,
        typer.Option(help="Folder with config.json and tokenizer.json of the model it was trained from."),
    ],
) -> None:
    """Write a pickled checkpoint as a folder of safetensors, without running what it holds.

    Example: `sightline convert detoxify toxic_original.ckpt models/detoxify --base models/bert-base-uncased`
    """
    from sightline.targets.local.files import need_local
    from sightline.terminal import say

    del what
    need_local("convert")
    from sightline.targets.local.detoxify_checkpoint import convert_detoxify

    labels = convert_detoxify(checkpoint.expanduser(), base.expanduser(), out.expanduser())
    say(f"{out}: {', '.join(labels)}")
    say(f"judge: toxicity(scorer='detoxify', folder='{out}')")
