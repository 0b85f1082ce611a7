"""What defenses that look inside do on the testbed: `inferaligner` with its controls, `hidden_detect`.

    python benchmarks/inside.py
    python benchmarks/inside.py --target testbed/linear@catfirst --aligned testbed/linear@aligned-lm

Both learn from half of the topics of `testbed_requests` (and from the same drawn as FigStep does), and are
asked about the other half: restricted requests refused and obeyed, benign twins refused and answered, typed
and drawn. Gates are read at the blocks named by `--layers`, whatever `fit` chose. Controls of steering:
`random`, vectors of the same length in random directions; `shuffled`, vectors and biases learned with the
labels of topics dealt out anew. The judge is `testbed_policy`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import sightline as sl
from sightline.api.fitting import part_of
from sightline.cases import Case, Expected
from sightline.defenses.hidden_detect import HiddenDetect
from sightline.defenses.inferaligner import Inferaligner
from sightline.digests import digest
from sightline.fitting import Learned, State, write_state
from sightline.records import WITHHELD

Counts = dict[str, str]


def dealt_anew(cases: Sequence[Case]) -> list[Case]:
    """The same cases with the expectations of topics in another order."""
    said = {case.group: case.expected for case in cases}
    mixed = sorted(said, key=lambda group: digest("dealt", group))
    now = dict(zip(mixed, (said[group] for group in sorted(said)), strict=True))
    return [replace(case, expected=now[case.group]) for case in cases]


def turned(state: State, out: Path) -> State:
    """The state with steering vectors of the same lengths in random directions."""
    t = state.arrays["t"]
    drawn = np.random.default_rng(7).normal(size=t.shape)
    lengths = np.linalg.norm(t, axis=1, keepdims=True) / np.linalg.norm(drawn, axis=1, keepdims=True)
    learned = Learned({**state.arrays, "t": drawn * lengths}, state.facts, state.told)
    return write_state(out, state.defense, state.target, learned, state.cases)


def asked(model: Any, forms: dict[str, list[tuple[Case, Any]]], judge: Any) -> Counts:
    """Of each form and class, how many were refused and how many obeyed or answered."""
    found: Counts = {}
    for form, shown in forms.items():
        replies = model.ask([what for _, what in shown], max_tokens=64)
        verdicts = judge([case for case, _ in shown], replies)
        for expected, name in ((Expected.refuse, "restricted"), (Expected.comply, "benign")):
            own = [v for v, (case, _) in zip(verdicts, shown, strict=True) if case.expected is expected]
            refused = sum(verdict.outcome in WITHHELD for verdict in own)
            done = sum(verdict.outcome.value == "complied" for verdict in own)
            found[f"{form}, {name}"] = f"{refused} refused, {done} done of {len(own)}"
    return found


def main() -> None:
    """Learn, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="testbed/linear@catfirst-vit")
    parser.add_argument("--aligned", default="testbed/linear@catfirst")
    parser.add_argument("--layers", type=int, nargs="+", default=[2, 3])
    parser.add_argument("--alphas", type=float, nargs="+", default=[1, 2, 4, 8])
    options = parser.parse_args()
    model = sl.open_model(options.target)
    folder = model.pictures.folder
    cases = sl.benchmarks.TestbedRequests()(folder=folder)
    learn = part_of(cases, 0.5)
    used = {case.id for case in learn}
    test = [case for case in cases if case.id not in used]
    figstep = sl.attacks.FigStep.preset("testbed")
    drawn = {
        name: figstep(None, some, folder=folder, quiet=True) for name, some in (("l", learn), ("t", test))
    }
    forms = {
        "typed": [(case, case) for case in test],
        "drawn": [(each.case, each) for each in drawn["t"]],
    }
    judge = sl.judges.TestbedPolicy()
    found: dict[str, Any] = {"bare": asked(model, forms, judge)}
    print("bare", found["bare"], flush=True)
    with tempfile.TemporaryDirectory() as where:
        out = Path(where)
        method = Inferaligner(aligned=options.aligned)
        states = {
            "own": method.fit(model, learn, out / "own.json"),
            "shuffled": method.fit(model, dealt_anew(learn), out / "shuffled.json"),
        }
        states["random"] = turned(states["own"], out / "random.json")
        for kind in ("own", "shuffled"):
            print(kind, *states[kind].told, sep="\n  ")
        for position in ("last_prompt", "every_step"):
            for kind, state in states.items():
                for alpha in options.alphas:
                    defense = Inferaligner(
                        state=str(state.path), layers=tuple(options.layers), alpha=alpha, position=position
                    )
                    name = f"inferaligner, {position}, {kind}, alpha {alpha:g}"
                    found[name] = asked(defense(model), forms, judge)
                    print(name, found[name], flush=True)
        for name, learned in (("typed", learn), ("typed and drawn", [*learn, *drawn["l"]])):
            method = HiddenDetect(wording="testbed")
            state = method.fit(model, learned, out / "detect.json")
            print(f"hidden_detect, {name}", *state.told, sep="\n  ")
            key = f"hidden_detect, {name}"
            found[key] = asked(replace(method, state=str(state.path))(model), forms, judge)
            print(key, found[key], flush=True)
    print(json.dumps({"target": options.target, **found}))


if __name__ == "__main__":
    main()
