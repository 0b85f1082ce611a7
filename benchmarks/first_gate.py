"""Seconds from a clone to a gate: the ten commands of docs/gate_an_api.md, in a fresh clone.

    python benchmarks/first_gate.py [REPOSITORY]

Takes the commands and the table from the page, clones the repository (this one), and runs all in one shell on
a free port. pip takes packages from its cache if it has them. The last command fails, as the page says: two
rows prove nothing. Prints one line of JSON: seconds by the clock and of the processor for each command.
"""

from __future__ import annotations

import json
import re
import resource
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(language: str) -> list[str]:
    """The blocks of the page in a language."""
    page = (ROOT / "docs" / "gate_an_api.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def script(port: int, log: Path) -> str:
    """The commands, each followed by a line of its status and times in `log`."""
    lines = ["set +e", "TIMEFORMAT='%R %U %S'"]
    for command in (line for block in blocks("bash") for line in block.splitlines() if line.strip()):
        said = command.partition("  #")[0].strip().replace("8123", str(port))
        if said.endswith("&"):
            lines += [f"{said}", "server=$!", f"echo 'started 0 0 0' >> {log}"]
        else:
            lines.append(f'{{ time {said} 2>&1; }} 2>> {log}; echo "status $?" >> {log}')
    return "\n".join([*lines, "kill $server", ""])


def main() -> None:
    source = sys.argv[1] if len(sys.argv) > 1 else str(ROOT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        clone, log = Path(scratch) / "clone", Path(scratch) / "times"
        subprocess.run(["git", "clone", "-q", source, str(clone)], check=True)
        (clone / "prompts.csv").write_text(blocks("text")[0], encoding="utf-8")
        subprocess.run(["bash", "-c", script(port, log)], cwd=clone, check=False, stdout=sys.stderr)
        times = log.read_text(encoding="utf-8")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(times, file=sys.stderr)
    found = [line.split() for line in times.splitlines() if re.fullmatch(r"[\d.]+ [\d.]+ [\d.]+", line)]
    status = [int(each) for each in re.findall(r"^status (\d+)$", times, re.MULTILINE)]
    print(
        json.dumps(
            {
                "clock_s": round(sum(float(each[0]) for each in found)),
                "cpu_s": round(used.ru_utime + used.ru_stime),
                "clock_s_of_each": [round(float(each[0]), 1) for each in found],
                "status": status,
            }
        )
    )


if __name__ == "__main__":
    main()
