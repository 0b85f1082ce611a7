"""CPU seconds of the Python front door: importing it, and the four lines of its first example.

    python benchmarks/front_door.py [--quick]

Everything is measured in processes of their own. Most of the example's time is the import of torch and
transformers, so it is given with and without them. Steps are few (GCG 2, with its 512 candidates; QiVisual
10): what is measured is the way to a result, not a search.
"""

from __future__ import annotations

import json
import subprocess
import sys

IMPORT = """
import time; start = time.process_time()
import sightline as sl
print(time.process_time() - start)
"""
EXAMPLE = """
import time
start = time.process_time()
if {libraries}:
    import torch, transformers
    from transformers import AutoModelForImageTextToText, AutoProcessor
libraries = time.process_time()
import sightline as sl
imported = time.process_time()
model = sl.open_model("testbed/linear")
result = sl.attacks.GCG(steps=2)(model, "a request", target="Sure", quiet=True)
picture = sl.attacks.QiVisual(eps="32/255", targets=["Sure"], steps=10, size_px=64)(model, "", quiet=True)
reply = model.ask(result.text, image=picture.image)
print(time.process_time() - imported)
"""


def seconds(code: str, runs: int) -> float:
    """The least CPU time that a fresh process printed."""
    found = []
    for _ in range(runs):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found.append(float(done.stdout.split()[-1]))
    return min(found)


def main() -> None:
    runs = 1 if "--quick" in sys.argv else 3
    found = {
        "import_cpu_seconds": seconds(IMPORT, runs),
        "example_cpu_seconds": seconds(EXAMPLE.format(libraries=True), runs),
        "example_with_libraries_cpu_seconds": seconds(EXAMPLE.format(libraries=False), runs),
    }
    for name, value in found.items():
        print(f"{name.replace('_', ' ')}: {value:.2f}")
    print(json.dumps({name: round(value, 3) for name, value in found.items()}))


if __name__ == "__main__":
    main()
