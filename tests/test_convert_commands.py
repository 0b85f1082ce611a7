"""`sightline convert detoxify`: a tiny checkpoint becomes a folder of the same scores; no pickle runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BertConfig, BertForSequenceClassification
from typer.testing import CliRunner

from sightline.cli import app
from sightline.errors import UsageError
from sightline.targets.local.detoxify_checkpoint import convert_detoxify
from sightline.targets.local.files import weights_digest
from sightline.targets.local.text_classifier import text_classifier

CLASSES = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate"]
LABELS = ("toxicity", "severe_toxicity", "obscene", "threat", "insult", "identity_attack")


class Planted:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Configuration and tokenizer without weights, as of a model before it was trained further."""
    found = tmp_path / "base"
    config().save_pretrained(found)
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "[PAD]": 1, "frell": 2, "glimber": 3}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(found / "tokenizer.json"))
    return found


def config(**settings: Any) -> BertConfig:
    return BertConfig(
        vocab_size=4,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
        max_position_embeddings=16,
        initializer_range=1.0,
        **settings,
    )


def saved(path: Path, model: Any, **others: Any) -> Path:
    data = {"state_dict": model.state_dict(), "config": {"dataset": {"args": {"classes": CLASSES}}}}
    torch.save({**data, **others}, path)
    return path


@pytest.fixture
def model() -> Any:
    torch.manual_seed(3)
    return BertForSequenceClassification(config(num_labels=6)).eval()


def test_the_folder_scores_as_the_checkpoint_does(tmp_path: Path, base: Path, model: Any) -> None:
    out = tmp_path / "new" / "model"
    arguments = ["convert", "detoxify", str(saved(tmp_path / "t.ckpt", model)), str(out), "--base", str(base)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "severe_toxicity" in done.output
    labels, windows = text_classifier(out, weights_digest(out)).scores("frell glimber frell")
    assert labels == LABELS
    with torch.no_grad():
        direct = torch.sigmoid(model(input_ids=torch.tensor([[2, 3, 2]])).logits)[0].tolist()
    assert windows[0] == pytest.approx(direct, abs=1e-6)
    assert sorted(path.name for path in out.iterdir()) == [
        "config.json",
        "labels.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_a_checkpoint_that_holds_more_than_weights_fails_and_runs_nothing(
    tmp_path: Path, base: Path, model: Any
) -> None:
    planted = tmp_path / "ran"
    checkpoint = saved(tmp_path / "t.ckpt", model, besides=Planted(planted))
    with pytest.raises(UsageError, match="no Detoxify checkpoint"):
        convert_detoxify(checkpoint, base, tmp_path / "out")
    assert not planted.exists()
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".convert-*"))


def test_broken_input_is_told(tmp_path: Path, base: Path, model: Any) -> None:
    checkpoint, out = saved(tmp_path / "t.ckpt", model), tmp_path / "out"
    with pytest.raises(UsageError, match="no such file"):
        convert_detoxify(tmp_path / "absent", base, out)
    with pytest.raises(UsageError, match=r"config\.json"):
        convert_detoxify(checkpoint, tmp_path, out)
    with pytest.raises(UsageError, match="already"):
        convert_detoxify(checkpoint, base, base)
    (tmp_path / "noise.ckpt").write_bytes(b"noise")
    with pytest.raises(UsageError, match="no Detoxify checkpoint"):
        convert_detoxify(tmp_path / "noise.ckpt", base, out)
    other = json.loads((base / "config.json").read_text()) | {"hidden_size": 16}
    (base / "config.json").write_text(json.dumps(other))
    with pytest.raises(UsageError, match="weights"):
        convert_detoxify(checkpoint, base, out)
    assert not out.exists()
