"""From a study to labels of people, on a small testbed model: run, sample, read, answer, status."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from sightline.annotation.contents import Contents
from sightline.annotation.events import Event, events_path
from sightline.annotation.plan import FOLDER, read_plan
from sightline.cli import app

STUDY = """
study: little
seed: 7
benchmarks: [{name: testbed_requests, subset: all}]
targets: [testbed/linear]
attacks: [none, {name: figstep, preset: testbed}]
defenses: [none, {name: self_moderation, wording: testbed}]
judges: [testbed_policy, {name: refusal_prefix, phrases: testbed}]
decoding: {max_tokens: 40}
limit: 24
"""


def printed(*words: str) -> str:
    found = CliRunner().invoke(app, [*words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


def test_people_read_a_sample_of_a_testbed_run(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    from sightline.api.samples import samples_of

    study, run = tmp_path / "study.yaml", tmp_path / "run"
    study.write_text(STUDY, "utf-8")
    printed("run", str(study), "--out", str(run))
    told = printed("annotate", str(run), "sample", "--n", "24", "--raters", "ann,bo", "--gold", "0.2")
    assert "attack=typographic, target=testbed/linear, verdict=unsafe" in told

    plan = read_plan(run / FOLDER)
    table = {row["sample"]: row for row in samples_of(run)}
    truth = {"refused": "refused", "complied": "complied"}
    with Contents(run) as contents:
        for each in plan.items.values():
            shown = contents.read(each)
            for key in each.samples:  # the label is carried to all of them: they are the same to a reader
                row = table[key]
                assert (row["behavior"], row["reply"]) == (shown.behavior, shown.reply)
                assert row["prompt"] == shown.request[-1].text
                assert [Path(path).name for path in row["pictures"]] == list(shown.request[-1].pictures)
            if each.kind == "gold":
                assert truth[each.truth] == table[each.samples[0]]["outcome"]
    kinds = Counter(each.kind for each in plan.items.values())
    assert kinds["gold"] > 0
    assert any(len(each.samples) > 1 for each in plan.items.values())  # with and without the defense alike

    for rater in plan.raters:
        path = events_path(run / FOLDER, rater)
        path.parent.mkdir(exist_ok=True)
        events = [
            Event(event="answer", rater=rater, item=item, repeat=repeat, questions={"outcome": "refused"})
            for item, repeat in plan.places(rater)
        ]
        path.write_bytes(b"".join(orjson.dumps(asdict(event)) + b"\n" for event in events))
    lines = printed("annotate", str(run), "status")
    for rater in plan.raters:
        number = len(plan.places(rater))
        assert f"{rater}: {number} of {number} done" in lines
