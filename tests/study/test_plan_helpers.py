"""A dry run counts the calls to helpers of defenses, those of stacks too."""

from __future__ import annotations

from pathlib import Path

import pytest

from sightline.study.plan import plan
from sightline.study.run import open_run

STUDY = """
study: helped
benchmarks: [{name: testbed_requests, subset: requests, limit: 4}]
targets: [testbed/linear]
defenses:
  - none
  - {name: eta, preset: testbed}
  - [{name: mllm_protector, preset: testbed}, {name: eta, preset: testbed}]
judges: [testbed_policy]
"""


def test_calls_to_helpers_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "s.yaml").write_text(STUDY, encoding="utf-8")
    run = open_run(tmp_path / "s.yaml", out=tmp_path / "run")
    run.prepare()
    shares = {share.name: share for share in plan(run.context, run.folder).targets}
    # eta: the answer and 3 x 2 candidates, each read by the detector; around it one more reading
    assert shares["helpers of eta: testbed/linear"].calls == 4 * 7
    assert shares["helpers of mllm_protector + eta: testbed/linear"].calls == 4 * (1 + 7)
    assert shares["testbed/linear"].calls == 4 * (1 + 7 + 7)
