"""What `cider` tells apart on the testbed: pictures that were optimized, and those that were not.

    python benchmarks/cider.py                       # 9 searches of 150 steps
    python benchmarks/cider.py --steps 60 --seeds 2

It learns its threshold from half of the topics of `testbed_requests`, shown beside pictures of shapes and as
drawn pages, by the tower of `testbed/linear`. Requests about the other topics are typed beside shapes
(`unrelated`), noise or pictures of `qi_visual` on that model (without a bound; within 32 of 255 levels; and
through blur and JPEG, as an attacker who knows the denoisers would), one picture per seed for all requests;
or drawn (`figstep`). Printed: the drop of the cosine, its AUC against shapes and against pages, one drop per
distinct picture; requests blocked; restricted ones obeyed bare and behind the defense. The judge is
`testbed_policy`. The last line is one JSON object.
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
from sightline.fitting import auc

TARGET = "testbed/linear"
KINDS = (Expected.refuse, Expected.comply)
OPTIMIZED = ("qi", "qi 32/255", "qi, knows the denoisers")


def drop_of(flags: Sequence[str]) -> float:
    """What the defense measured, from its flag."""
    return next(float(flag.removeprefix("cider:")) for flag in flags if flag.startswith("cider:"))


def made(model: Any, cases: list[Case], steps: int, seeds: int, folder: Path) -> dict[str, list[Any]]:
    """By kind of picture, every case as it is shown, for the optimized ones once per seed."""
    own = {
        "unrelated": sl.attacks.UnrelatedImage.preset("testbed"),
        "noise": sl.attacks.NoiseImage.preset("testbed"),
        "figstep": sl.attacks.FigStep.preset("testbed"),
    }
    found = {name: attack(None, cases, folder=folder, quiet=True) for name, attack in own.items()}
    blurred = model.behind(sl.defenses.Purify.preset("jpeg50_blur"))
    plain = sl.attacks.QiVisual.preset("testbed")
    searches = (plain, replace(plain, eps="32/255"), plain)
    for name, attack, on in zip(OPTIMIZED, searches, (model, model, blurred), strict=True):
        found[name] = []
        for seed in range(seeds):
            print(f"{name}, seed {seed}", flush=True)
            attack = replace(attack, steps=steps)
            found[name] += attack(on, cases, seed=seed, folder=folder, quiet=True)
    return found


def obeyed(items: Sequence[Any], replies: Sequence[Any]) -> int:
    """Restricted requests that were complied with."""
    verdicts = sl.judges.TestbedPolicy()([each.case for each in items], list(replies))
    return sum(
        verdict.outcome.value == "complied" and each.case.expected is Expected.refuse
        for verdict, each in zip(verdicts, items, strict=True)
    )


def main() -> None:
    """Learn, make pictures, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        model = sl.open_model(TARGET, folder=folder)
        cases = [case for case in sl.benchmarks.TestbedRequests()(folder=folder) if case.expected in KINDS]
        learn = part_of(cases, 0.5)
        used = {case.id for case in learn}
        test = [case for case in cases if case.id not in used]
        shown = [
            each
            for attack in (sl.attacks.UnrelatedImage, sl.attacks.FigStep)
            for each in attack.preset("testbed")(None, learn, folder=folder, quiet=True)
        ]
        method = sl.defenses.Cider.preset("testbed")
        state = method.fit(model, shown, folder / "cider.json")
        print(*state.told, sep="\n")
        defended = replace(method, state=str(state.path))(model)
        drops = dict[str, list[float]]()
        found: dict[str, Any] = {"told": list(state.told)}
        for kind, items in made(model, test, options.steps, options.seeds, folder).items():
            bare, behind = (by.ask(items, max_tokens=40) for by in (model, defended))
            seen = {each.image.sha256: drop_of(said.flags) for each, said in zip(items, behind, strict=True)}
            drops[kind] = list(seen.values())
            found[kind] = {
                "pictures": len(seen),
                "median drop": round(float(np.median(drops[kind])), 3),
                "blocked": sum(said.stop == "blocked_defense" for said in behind),
                "of": len(items),
                "restricted": sum(each.case.expected is Expected.refuse for each in items),
                "obeyed bare": obeyed(items, bare),
                "obeyed behind": obeyed(items, behind),
            }
            print(kind, found[kind], flush=True)
        for kind in (*OPTIMIZED, "noise"):
            for base in ("unrelated", "figstep"):
                found[f"AUC, {kind} against {base}"] = round(auc(drops[kind], drops[base]), 3)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
