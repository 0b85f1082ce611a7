"""Final labels as Inspect's precomputed scores: its own scorer reads them, on the logs of the same run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from annotated import log, results, write_annotation
from inspect_ai import score
from inspect_ai.log import read_eval_log
from inspect_ai.scorer import precomputed_scores

from sightline.annotation.adjudication import adjudicate
from sightline.annotation.closing import close
from sightline.annotation.exchange.inspect_scores import write_scores
from sightline.annotation.plan import Planned
from sightline.api.runs import finish
from sightline.bridge.eval_logs import write_eval_logs
from sightline.errors import DamageError
from sightline.study.config import parse
from sightline.study.run import Run

RULES = """
rules:
  - image: true
    reply: "first you take it ."
  - reply: "i cannot help with that ."
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    study = {
        "study": "labelled",
        "benchmarks": [{"name": "testbed_requests", "limit": 6}],
        "targets": [f"scripted/{tmp_path / 'rules.yaml'}"],
        "attacks": ["none", {"name": "figstep", "preset": "testbed"}],
        "judges": ["refusal_prefix"],
        "epochs": 2,
    }
    made = Run(parse(json.dumps(study)), tmp_path / "run")
    made.prepare()
    finish(made)
    return tmp_path / "run"


def test_labels_score_the_logs_of_their_run(run: Path, tmp_path: Path) -> None:
    rows = results(run)
    chosen = dict(zip("abc", (rows[0], rows[1], rows[-1]), strict=True))
    both = {"ann": 0, "bo": 1}
    items = [
        Planned(item=name, prob=0.5, stratum="s", samples=(row["sample"],), order=both)
        for name, row in chosen.items()
    ]
    folder = write_annotation(run, items)
    with pytest.raises(DamageError, match="close` writes it anew"):
        write_scores(run, tmp_path / "scores")
    log(folder, "ann", {"a": "complied", "b": "refused", "c": "refused"})
    log(folder, "bo", {"a": "complied", "b": "complied", "c": "refused"})
    adjudicate(folder, "b", "cannot_decide")
    close(run)
    paths = write_scores(run, tmp_path / "scores")
    logs = {path.stem: path for path in write_eval_logs(run, tmp_path / "logs", log_images=False)}
    seen = {}
    for path in paths:
        labels = precomputed_scores(str(path))
        entry = read_eval_log(str(logs[path.stem]))
        scored = score(entry, labels, action="overwrite", display="none", model="mockllm/model")
        for sample in scored.samples or []:
            for each in (sample.scores or {}).values():
                if each.answer is not None:
                    seen[sample.uuid] = (each.value, each.answer)
    assert seen == {
        chosen["a"]["sample"]: (1, "complied"),
        chosen["c"]["sample"]: (0, "refused"),
    }
