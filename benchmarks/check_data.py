"""How fast a user's data are checked: pictures and rows per second of a core. Last line: one JSON object.

python benchmarks/check_data.py            # 10^5 pictures, 10^5 rows of text
python benchmarks/check_data.py --quick    # 2,000 pictures, 20,000 rows

The pictures are invented: JPEG of 640 x 480, about 70 kB. Rates are for each second of processor time that
the check takes (all threads), so that they hold on a machine that does other work too. Beside them stands
what does not hang on the machine: the cost of a check over that of decoding each picture wholly.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import sightline as sl
from sightline.data_check.alike import alike
from sightline.store import decode_picture

DIFFERENT = 500
"""Different scenes; each further picture is one of them moved by some pixels and with a mark."""


def scenes() -> list[np.ndarray]:
    """Smooth pictures with some grain."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(DIFFERENT):
        small = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
        found.append(np.asarray(small.resize((640, 480), Image.Resampling.BICUBIC)))
    return found


def write(folder: Path, count: int) -> None:
    """So many pictures, in folders of a thousand, and a table of them."""
    found = scenes()
    with (folder / "mine.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["prompt", "image_path", "label"])
        for number in range(count):
            name = f"{number // 1000:03}/{number:06}.jpg"
            (folder / name).parent.mkdir(exist_ok=True)
            turn = number // DIFFERENT
            pixels = np.roll(found[number % DIFFERENT], (3 * turn, 7 * turn), axis=(0, 1))
            Image.fromarray(pixels).save(folder / name, "JPEG", quality=90)
            table.writerow([f"What is in picture {number}?", name, "safe" if number % 2 else "unsafe"])


def measured(work: Callable[[], object]) -> tuple[float, float, object]:
    """Seconds of processor time and on the wall, and what came out."""
    before, start = time.process_time(), time.perf_counter()
    found = work()
    return time.process_time() - before, time.perf_counter() - start, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--folder", type=Path, help="keep and use pictures in this folder")
    parser.add_argument("--pictures", type=int, help="another number of pictures")
    parser.add_argument("--write", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:  # in a process of its own: its memory is not the check's
        write(Path(given.write[0]), int(given.write[1]))
        return
    pictures, texts = (2_000, 20_000) if given.quick else (100_000, 100_000)
    pictures = given.pictures or pictures
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch) / "pictures"
        if not (folder / "mine.csv").exists():
            folder.mkdir(parents=True, exist_ok=True)
            subprocess.run([sys.executable, __file__, "--write", folder, str(pictures)], check=True)
        cpu, wall, _ = measured(lambda: sl.check_data(folder / "mine.csv"))
        sample = [path.read_bytes() for path in sorted(folder.glob("000/*.jpg"))[:200]]
        whole, _, _ = measured(lambda: [decode_picture(data) for data in sample])
        rows = Path(scratch) / "texts.jsonl"
        rows.write_text("\n".join(json.dumps({"prompt": f"What is {n}?", "id": n}) for n in range(texts)))
        text_cpu, _, _ = measured(lambda: sl.check_data(rows, quiet=True))
    rng = np.random.default_rng(1)
    hashes = [int(value) for value in rng.integers(0, 2**63, 100_000)]
    near_cpu, _, groups = measured(lambda: alike(hashes, [bytes(256)] * len(hashes)))
    size = io.BytesIO(sample[0]).getbuffer().nbytes
    figures = {
        "pictures": pictures,
        "picture_kb": round(size / 1000, 1),
        "pictures_per_core_second": round(pictures / cpu, 1),
        "pictures_per_second": round(pictures / wall, 1),
        "check_over_whole_decoding": round((cpu / pictures) / (whole / len(sample)), 3),
        "text_rows_per_core_second": round(texts / text_cpu),
        "near_duplicates_of_100000_cpu_s": round(near_cpu, 2),
        "near_groups_of_random_hashes": len(groups),  # type: ignore[arg-type]
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
