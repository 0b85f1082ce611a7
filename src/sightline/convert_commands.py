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


def record_scores_command(
    texts: Annotated[Path, typer.Argument(help="JSON lines, each with `text` or `response`.")],
    out: Annotated[Path, typer.Argument(help="The file of scores; one that is there is gone on with.")],
    per_second: Annotated[float, typer.Option(min=0.01, max=100, help="Requests a second.")] = 1.0,
) -> None:
    """Ask Perspective for scores of texts and record them: until 31 December 2026, when the service ends.

    Sends the texts to Google. The key is read from the environment, PERSPECTIVE_API_KEY.

    Example: `sightline record-scores answers.jsonl scores.jsonl`
    """
    import json
    import os

    from sightline.errors import UsageError
    from sightline.responses.perspective import record
    from sightline.terminal import say

    key = os.environ.get("PERSPECTIVE_API_KEY", "")
    if not key:
        raise UsageError("record-scores: set PERSPECTIVE_API_KEY in the environment")
    found = []
    for number, line in enumerate(texts.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            found.append(str(row["text"] if "text" in row else row["response"]))
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{texts}:{number}: write a JSON object with text or response") from None
    done = record(found, out, key, per_second=per_second)
    say(f"{out}: {done.new:,} new scores, {done.before:,} were there, {len(done.refused):,} have none")
    for name, why in done.refused:
        say(f"{name[:16]}: {why}")
    say(f"judge: toxicity(scorer='perspective', replay='{out}')")
