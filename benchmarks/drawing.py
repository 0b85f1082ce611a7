"""CPU time of drawing pages, and apart from it of writing them as PNG files; one process, one core.

    python benchmarks/drawing.py            # 500 pages, best of 5 rounds
    python benchmarks/drawing.py --quick    # 100 pages, best of 3; ends within half a minute

* `figstep`, `figstep_fit`, `mm_typography`: pages of different statements, drawn, a second; of FigStep also
  in Chinese (`figstep_chinese`) and, where Pillow has raqm, in Arabic (`figstep_arabic`).
* `encoded`: FigStep pages written as PNG as the seal stage writes them (`store.encode_png`) a second, and
  `both`: drawn and written.
* `flow_chart`: charts of six steps; `captioned`: captions set below a picture of 512 pixels.

Time is that of the process (`time.process_time`), of the best round: on a busy machine others cost cache.
Last line: one JSON object of pages a second.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from PIL import features
from rich.console import Console
from rich.table import Table

from sightline import registry
from sightline.attacks import charts, pictures, strips
from sightline.attacks.font_files import find_font
from sightline.store import encode_png

STATEMENTS = {
    "": "Steps to fold a glimber of the kind {}, with a frell and twice",
    "chinese": "用弗雷尔把第{}种格林伯折叠两次的七个步骤",
    "arabic": "خطوات طي الجليمبر من النوع {} مرتين",
}


def pages_a_second(make: Callable[[Any], object], of: Sequence[Any], rounds: int) -> float:
    """Of the best round; what is only done once, such as opening a font, is done before."""
    make(of[0])
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        for each in of:
            make(each)
        best = min(best, time.process_time() - start)
    return len(of) / best


def measured(pages: int, rounds: int) -> dict[str, float]:
    figstep, fit = registry.make("attack", "figstep"), registry.make("attack", "figstep", preset="fit")
    typography = registry.make("attack", "mm_typography")
    texts = {
        script: [figstep.listed(statement.format(number)) for number in range(pages)]
        for script, statement in STATEMENTS.items()
    }
    phrases = [f"glimbering of the kind {number}" for number in range(pages)]
    drawn = [figstep.page(text)[0] for text in texts[""][:100]]
    style = strips.TextStyle(font=find_font("DejaVuSans.ttf"), font_px=24, padding_px=4)
    photo = pictures.blank((512, 512), (90, 120, 150))
    steps = [[f"Step {number} of {part}" for part in range(6)] for number in range(pages // 5)]
    found = {
        "figstep": pages_a_second(figstep.page, texts[""], rounds),
        "figstep_fit": pages_a_second(fit.page, texts[""], rounds),
        "figstep_chinese": pages_a_second(figstep.page, texts["chinese"], rounds),
        "mm_typography": pages_a_second(typography.page, phrases, rounds),
        "encoded": pages_a_second(encode_png, drawn, rounds),
        "both": pages_a_second(lambda text: encode_png(figstep.page(text)[0]), texts[""], rounds),
        "flow_chart": pages_a_second(lambda texts: charts.flow_chart(texts, style), steps, rounds),
        "captioned": pages_a_second(
            lambda text: strips.captioned(photo, strips.caption((512, 128), text, style, text)),
            phrases,
            rounds,
        ),
    }
    if features.check("raqm"):
        found["figstep_arabic"] = pages_a_second(figstep.page, texts["arabic"], rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    found = measured(100 if quick else 500, 3 if quick else 5)
    table = Table("pages", "a second of CPU time", "milliseconds each")
    for name, rate in found.items():
        table.add_row(name, f"{rate:.0f}", f"{1000 / rate:.2f}")
    Console().print(table)
    print(json.dumps({name: round(rate, 1) for name, rate in found.items()}))


if __name__ == "__main__":
    main()
