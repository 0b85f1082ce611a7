"""Whether the labels of a closed round are still what raters and the adjudicator say."""

from __future__ import annotations

from pathlib import Path

from sightline.annotation.ballots import ballots, read_annotation
from sightline.annotation.closing import decisions
from sightline.annotation.plan import FOLDER
from sightline.human_labels import LABELS, read_labels


def stale_note(run: Path) -> str:
    """A note if `close` would now write other final labels than those that stand there; '' else.

    Raises:
        UsageError: if there is no plan.
        DamageError: if a file is damaged.
    """
    path = run / LABELS
    if not path.is_file():
        return ""
    found = read_annotation(run / FOLDER)
    decided, _ = decisions(found, ballots(found))
    now = {item: (each.outcome, each.final) for item, each in decided.items()}
    then = {each.item: (each.outcome, each.final) for each in read_labels(path).labels}
    changed = sum(now.get(item) != then.get(item) for item in now.keys() | then.keys())
    if not changed:
        return ""
    return (
        f"note: {path} and the cards are of before: {changed:,} items would now have another label; "
        f"`sightline annotate {run} close` writes them anew"
    )
