"""`sightline frameworks`: what a run measured, by the items of public frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def frameworks_command(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="owasp_llm_2025, nist_ai_rmf_1_0, eu_ai_act or ailuminate_1_0; repeat. Default: all."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the tables to this Markdown file.")] = None,
) -> None:
    """What a run measured anything about, by the items of public frameworks: coverage, never compliance.

    The mapping is Sightline's own and says for each item what the evidence does not show.

    Example: `sightline frameworks runs/quickstart --name owasp_llm_2025`
    """
    from sightline.report.frameworks import text
    from sightline.store import write_atomically
    from sightline.terminal import say

    found = text(folder, name or ())
    if out is not None:
        write_atomically(out, f"{found}\n".encode())
    say(found)
