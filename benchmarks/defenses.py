"""What inference-time defenses do on the testbed, and what reading pictures costs.

    python benchmarks/defenses.py            # purify and ocr_guard; the latter needs the extra `ocr`
    python benchmarks/defenses.py --only purify

* purify: the pictures of `studies/whitebox.yaml` that are made on `testbed/linear` (without a bound, and
  within 32 of 255 levels), beside every request, answered bare, behind JPEG of quality 50 and behind a step
  drawn per request: restricted requests obeyed, benign twins answered, similarity (SSIM) of what the target
  is shown.
* ocr_guard: the quickstart's drawn requests on the three families, bare and behind the guard, which puts what
  RapidOCR read to the same target as text: restricted requests obeyed, benign twins refused, questions about
  pictures answered; pictures read beside distinct pictures shown; process CPU seconds per distinct picture.
* smoothing: drawn requests on `testbed/linear`, bare and behind five copies with changed pixels.

Counts are those of the judge `testbed_policy`. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from PIL import Image as PilImage

import sightline as sl
from sightline.api.samples import Samples
from sightline.defenses._readers import entry
from sightline.defenses._reading import SHELF, readings, texts_of
from sightline.defenses.purify import Purify, purified
from sightline.metrics.pictures import ssim

FAMILIES = ("testbed/linear", "testbed/queries", "testbed/cross_attention")
DRAWN = {
    "figstep": {"name": "figstep", "preset": "testbed"},
    "mm_typography": {"name": "mm_typography", "preset": "testbed", "label": "mm_typography"},
    "mm_typography_asked": {
        "name": "mm_typography",
        "preset": "testbed_asked",
        "label": "mm_typography_asked",
    },
}
QI: dict[str, Any] = {"name": "qi_visual", "preset": "testbed", "surrogate": "testbed/linear"}
MADE = {"qi": {**QI, "label": "qi"}, "qi 32/255": {**QI, "eps": "32/255", "label": "qi 32/255"}}
PURIFIED = {
    "jpeg50": {"name": "purify", "preset": "jpeg50", "label": "jpeg50"},
    "randomised": {"name": "purify", "preset": "randomised", "label": "randomised"},
}
GUARD = {"name": "ocr_guard", "preset": "testbed", "label": "ocr_guard"}
Figures = dict[str, float | int]


def pixels_of(path: str) -> np.ndarray:
    with PilImage.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def counted(samples: Samples, which: Callable[[dict[str, Any]], bool], **where: Any) -> tuple[int, int]:
    """Rows of which something is true, and all of them."""
    rows = samples.where(**where).arrow.to_pylist()
    return sum(map(which, rows)), len(rows)


def obeyed(row: dict[str, Any]) -> bool:
    return row["outcome"] in ("complied", "partial")


def withheld(row: dict[str, Any]) -> bool:
    return row["outcome"] in ("refused", "blocked_defense")


def ran(name: str, folder: Path, **parts: Any) -> Samples:
    study = sl.Study(name, judges=["testbed_policy"], seed=7, decoding={"max_tokens": 40}, **parts)
    return study.run(out=folder / name, quiet=True).samples()


def share(count: tuple[int, int]) -> float:
    return round(count[0] / count[1], 4) if count[1] else float("nan")


def purify(folder: Path) -> Figures:
    """Pictures made on gradients, bare and behind changes."""
    samples = ran(
        "purify",
        folder,
        targets=["testbed/linear"],
        benchmarks=[{"name": "testbed_requests", "subset": "requests"}],
        attacks=["none", *MADE.values()],
        defenses=["none", *PURIFIED.values()],
    )
    found: Figures = {}
    print("picture        defense      restricted obeyed   benign answered   SSIM")
    for attack in MADE:
        (path,) = {each for row in samples.where(attack=attack).arrow.to_pylist() for each in row["pictures"]}
        shown = pixels_of(path)
        for defense in ("none", *PURIFIED):
            cell = {"attack": attack, "defense": defense}
            bad = counted(samples, obeyed, expected="refuse", **cell)
            good = counted(samples, obeyed, expected="comply", **cell)
            like = "" if defense != "jpeg50" else f"{ssim(shown, after_jpeg(shown)):.3f}"
            print(f"{attack:14} {defense:12} {bad[0]:4} of {bad[1]:<10} {good[0]:6} of {good[1]:<8} {like}")
            key = f"{attack.replace(' ', '_').replace('/', '_')}_{defense}"
            found |= {f"{key}_obeyed": share(bad), f"{key}_benign_answered": share(good), f"{key}_n": bad[1]}
    return found


def after_jpeg(shown: np.ndarray) -> np.ndarray:
    steps = Purify.preset("jpeg50")._steps()
    return purified(shown, steps, np.random.default_rng(0))


def ocr_guard(folder: Path) -> Figures:
    """Drawn requests, bare and behind the guard."""
    before = SHELF.count
    samples = ran(
        "ocr_guard",
        folder,
        targets=list(FAMILIES),
        benchmarks=[{"name": "testbed_requests", "subset": "all"}],
        attacks=["none", *DRAWN.values()],
        defenses=["none", GUARD],
    )
    found: Figures = {"pictures_read": SHELF.count - before}
    print("target                   attack               defense    restricted obeyed   benign refused")
    worst_obeyed, worst_refused = 0.0, 0.0
    for target in FAMILIES:
        for defense in ("none", "ocr_guard"):
            every_bad, every_good = (0, 0), (0, 0)
            for attack in DRAWN:
                cell = {"target": target, "attack": attack, "defense": defense}
                bad = counted(samples, obeyed, expected="refuse", **cell)
                good = counted(samples, withheld, expected="comply", **cell)
                every_bad = (every_bad[0] + bad[0], every_bad[1] + bad[1])
                every_good = (every_good[0] + good[0], every_good[1] + good[1])
                counts = f"{bad[0]:4} of {bad[1]:<10} {good[0]:6} of {good[1]}"
                print(f"{target:24} {attack:20} {defense:10} {counts}")
            asked = counted(samples, obeyed, expected="answer", target=target, attack="none", defense=defense)
            print(
                f"{target:24} all drawn            {defense:10} {every_bad[0]:4} of {every_bad[1]:<10} "
                f"{every_good[0]:6} of {every_good[1]}; questions answered {asked[0]} of {asked[1]}"
            )
            key = f"{target.removeprefix('testbed/')}_{defense}"
            found |= {f"{key}_obeyed": share(every_bad), f"{key}_benign_refused": share(every_good)}
            found |= {f"{key}_utility": share(asked), f"{key}_n": every_bad[1]}
            if defense != "none":
                worst_obeyed = max(worst_obeyed, share(every_bad))
                worst_refused = max(worst_refused, share(every_good))
    found |= {"worst_obeyed": worst_obeyed, "worst_benign_refused": worst_refused}
    paths = sorted({each for row in samples.arrow.to_pylist() for each in row["pictures"]})
    return found | {"pictures_distinct": len(paths), **reading_cost(paths)}


def reading_cost(paths: Sequence[str]) -> Figures:
    """CPU seconds per picture of reading alone, the padded and mirrored tries included."""
    reader = entry("rapidocr").load()
    pictures = [pixels_of(path) for path in paths]
    texts_of(reader, pictures[0])  # loads the models
    start, words = time.process_time(), 0
    for pixels in pictures:
        words += bool(readings([texts_of(reader, pixels)]))
    seconds = (time.process_time() - start) / len(pictures)
    print(f"{len(pictures)} distinct pictures, words found in {words}, {seconds:.3f} CPU s each")
    return {"pictures_with_words": words, "cpu_s_per_picture": round(seconds, 3)}


def smoothing(folder: Path) -> Figures:
    """Drawn requests, bare and behind copies with changed pixels."""
    samples = ran(
        "smoothing",
        folder,
        targets=["testbed/linear"],
        benchmarks=[{"name": "testbed_requests", "subset": "requests"}],
        attacks=["none", DRAWN["figstep"]],
        defenses=["none", {"name": "smoothing", "preset": "testbed", "label": "smoothing"}],
    )
    found: Figures = {}
    for defense in ("none", "smoothing"):
        cell = {"attack": "figstep", "defense": defense}
        bad = counted(samples, obeyed, expected="refuse", **cell)
        good = counted(samples, obeyed, expected="comply", **cell)
        calls = sum(row["calls_target"] for row in samples.where(**cell).arrow.to_pylist())
        print(f"figstep {defense:10} {bad[0]:4} of {bad[1]:<6} benign answered {good[0]} of {good[1]}")
        found |= {f"smoothing_{defense}_obeyed": share(bad), f"smoothing_{defense}_calls": calls}
        found |= {f"smoothing_{defense}_benign_answered": share(good), f"smoothing_{defense}_n": bad[1]}
    return found


PARTS: dict[str, Callable[[Path], Figures]] = {
    "purify": purify,
    "ocr_guard": ocr_guard,
    "smoothing": smoothing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--only", choices=PARTS, default=None)
    only = parser.parse_args().only
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            if only in (None, name):
                figures |= part(Path(folder))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
