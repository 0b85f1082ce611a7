"""A Detoxify checkpoint, which is a pickle, as a folder that `toxicity(scorer='detoxify')` reads.

The pickle is opened by a child process that lets nothing but tensors and plain values out of it, never by
ours. Layout of the checkpoint (`state_dict`, `config.dataset.args.classes`) and the names that the package
gives to three classes are from memory of unitaryai/detoxify, not read by us.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sightline.errors import UsageError
from sightline.targets.local import checkpoint_child
from sightline.targets.local.text_classifier import TextClassifier

SECONDS = 1800
NAMED = {"toxic": "toxicity", "severe_toxic": "severe_toxicity", "identity_hate": "identity_attack"}
_LETTERS = 300


def convert_detoxify(checkpoint: Path, base: Path, out: Path) -> tuple[str, ...]:
    """Write the folder `out` and return the labels.

    Args:
        checkpoint: the released file.
        base: a folder with config.json and tokenizer.json of the model that it was trained from.
        out: the new folder.

    Raises:
        UsageError: if something is absent, `out` is there, the checkpoint holds more than tensors and plain
            values, or its weights do not fit the configuration.
    """
    for path in (checkpoint, base / "config.json", base / "tokenizer.json"):
        if not path.is_file():
            raise UsageError(f"{path}: no such file")
    if out.exists():
        raise UsageError(f"{out}: is there already; name a new folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".convert-") as kept:
        made = Path(kept) / "model"
        made.mkdir()
        _unpickle(checkpoint, made)
        labels = _describe(made, base)
        TextClassifier(made)
        made.rename(out)
    return labels


def _unpickle(checkpoint: Path, made: Path) -> None:
    command = [sys.executable, "-P", checkpoint_child.__file__, str(checkpoint.resolve()), str(made)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise UsageError(f"{checkpoint}: not read within {SECONDS} seconds") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise UsageError(
            f"{checkpoint}: is no Detoxify checkpoint of tensors and plain values: {lines[-1][:_LETTERS]}"
        )


def _describe(made: Path, base: Path) -> tuple[str, ...]:
    """Configuration, tokenizer and labels beside the weights."""
    listed = made / "classes.json"
    classes = json.loads(listed.read_text(encoding="utf-8"))
    listed.unlink()
    labels = tuple(NAMED.get(each, each) for each in classes)
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        config |= {
            "id2label": {str(number): label for number, label in enumerate(labels)},
            "label2id": {label: number for number, label in enumerate(labels)},
        }
    except (ValueError, TypeError):
        raise UsageError(f"{base / 'config.json'}: is no configuration of a model") from None
    (made / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (made / "labels.json").write_text(json.dumps(labels), encoding="utf-8")
    shutil.copyfile(base / "tokenizer.json", made / "tokenizer.json")
    return labels
