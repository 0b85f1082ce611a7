"""Whether the labels of a closed round are still what raters and the adjudicator say."""

from __future__ import annotations

from pathlib import Path

from sightline.annotation.ballots import read_annotation
from sightline.annotation.closing import labels_now
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
    now = {key: (each.outcome, each.final) for key, each in labels_now(run, found).items()}
    then = {(each.item, each.sample): (each.outcome, each.final) for each in read_labels(path).labels}
    changed = len({key[0] for key in now.keys() | then.keys() if now.get(key) != then.get(key)})
    if not changed:
        return ""
    return (
        f"note: {path} and the cards are of before: {changed:,} items would now have another label; "
        f"`sightline annotate {run} close` writes them anew"
    )
