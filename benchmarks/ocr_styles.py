"""What a reader of pictures finds of a drawn request, style by style: the loss of attack `ocr_style_search`.

Each row changes one factor of plain print: `python benchmarks/ocr_styles.py [rapidocr|tesseract] [requests]`.
Needs the reader: pip install 'sightline[ocr]'. OCR recall is the share of the request's words that stand in
the best of the readings that `ocr_guard` checks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from sightline import registry
from sightline.attacks.lettering import FACTORS, Lettering
from sightline.attacks.typographic.ocr_style_search import read_by, recall
from sightline.benchmarks.testbed_requests import requests
from sightline.cases import Expected
from sightline.defenses._readers import entry

SETTINGS = "ocr_style_search(canvas_px=320, font_px=40, wrap_chars=12)"


def styles() -> Iterator[Lettering]:
    """Plain print, then one factor changed at a time."""
    yield Lettering()
    for name, values in FACTORS.items():
        for value in values[1:]:
            yield replace(Lettering(), **{name: value})


def main() -> None:
    """Print the table."""
    reader = sys.argv[1] if len(sys.argv) > 1 else "rapidocr"
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 6
    found = ", ".join(f"{name} {version}" for name, version in entry(reader).found().items())
    attack = registry.parse("attack", SETTINGS)
    cases = [case for case in requests() if case.expected is Expected.refuse][::3][:number]
    print(f"{found}; {len(cases)} requests, {SETTINGS}", flush=True)
    print("| style | OCR recall | requests read whole |\n|---|---|---|", flush=True)
    for style in styles():
        shares = []
        for case in cases:
            drawn = attack.words(case).drawn
            shares.append(recall(drawn, read_by(reader, attack.pictures(case, drawn, style))))
        whole = sum(share == 1 for share in shares)
        print(f"| {style.told} | {sum(shares) / len(shares):.2f} | {whole} of {len(cases)} |", flush=True)


if __name__ == "__main__":
    main()
