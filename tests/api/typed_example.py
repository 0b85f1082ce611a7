"""What a type checker sees of the front door: checked by mypy (`files` in pyproject.toml), never run."""

from __future__ import annotations

from typing import assert_type

import sightline as sl

model = sl.open_model("testbed/linear")
result = sl.attacks.GCG(steps=100)(model, "a request", target="Sure")
assert_type(result, sl.Result)
assert_type(sl.attacks.QiVisual(eps="32/255", targets=("x",))(model, ["one", "two"]), list[sl.Result])
assert_type(model.ask(result.text, image=result.image), sl.Response)
assert_type(sl.defenses.SelfModeration(rounds=2)(model), sl.Model)
assert_type(sl.judges.RefusalPrefix()("a", "b"), sl.Verdict)
assert_type(sl.benchmarks.MMSafetyBench()("folder", limit=3), list[sl.Case])
assert_type(sl.attacks.GCG.preset("nanogcg").steps, int)
assert_type(sl.load("runs/x"), sl.RunResult)
sl.attacks.GCG(stepz=3)  # type: ignore[call-arg]
sl.attacks.Nope()  # type: ignore[attr-defined]
sl.attacks.GCG()(model, "x", budgt=3)  # type: ignore[call-overload]
