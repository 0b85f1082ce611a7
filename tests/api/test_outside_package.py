"""Methods of third parties, found by their entry points: in Python, in a study, and in the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from outside import installed

import sightline

CODE = """
import sightline as sl
assert "OutsideAttack" in dir(sl.attacks) and "OutsideJudge" in dir(sl.judges)
model = sl.defenses.OutsideDefense()("scripted/echo")
result = sl.attacks.OutsideAttack(times=2)(model, "fold a crane", quiet=True)
assert result.text == "fold a crane FOLD A CRANE FOLD A CRANE", result
reply = model.ask(result)
assert reply.text.endswith("CRANE Take care."), reply
assert sl.judges.OutsideJudge()(result, reply).outcome == "complied"
assert [case.id for case in sl.benchmarks.OutsideBenchmark()()] == ["cranes/0", "cranes/1"]
run = sl.Study(
    "outside", targets=["scripted/echo"], benchmarks=[sl.benchmarks.OutsideBenchmark()],
    attacks=["none", sl.attacks.OutsideAttack()], defenses=["none", "outside_defense"],
    judges=[sl.judges.OutsideJudge()],
).run(quiet=True)
outcomes = [(row["attack"], row["outcome"]) for row in run.samples().where(defense="none")]
assert outcomes == [("none", "refused")] * 2 + [("outside_attack", "complied")] * 2, outcomes
print("all well")
"""


def python(*arguments: str, packages: Path, cwd: Path) -> str:
    """What Python prints with the package beside ours on its path."""
    path = os.pathsep.join(
        [str(packages), str(Path(sightline.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    )
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def packages(tmp_path):
    return installed(tmp_path / "site-packages")


def test_an_outside_package_works_as_ours(packages, tmp_path):
    assert "all well" in python("-c", CODE, packages=packages, cwd=tmp_path)


def test_an_outside_package_is_listed(packages, tmp_path):
    listed = python("-m", "sightline", "list", packages=packages, cwd=tmp_path)
    for kind in ("attack", "defense", "judge", "benchmark"):
        assert f"outside_{kind}" in listed
    shown = python("-m", "sightline", "show", "outside_attack", packages=packages, cwd=tmp_path)
    assert "Write the request twice" in shown


def test_a_broken_package_ends_nothing_but_itself(packages, tmp_path):
    (packages / "outside_methods" / "an_attack.py").write_text(
        "raise RuntimeError('broken')\n", encoding="utf-8"
    )
    code = "import sightline as sl; assert 'OutsideAttack' not in dir(sl.attacks); sl.attacks.OutsideAttack"
    with pytest.raises(AssertionError, match=r"has no attribute|unknown attack class"):
        python("-c", code, packages=packages, cwd=tmp_path)
    assert "cannot be imported" in python(
        "-m", "sightline", "list", "attacks", packages=packages, cwd=tmp_path
    )
