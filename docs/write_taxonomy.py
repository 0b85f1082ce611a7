"""Write docs/taxonomy.md from the crosswalk: `make docs-write`. The docs test compares it."""

from __future__ import annotations

from pathlib import Path

from sightline import taxonomy

HEAD = f"""# Hazards

Made by `make docs-write` from `taxonomy/crosswalk.yaml`, version {taxonomy.VERSION}; do not edit.

Every benchmark sorts its cases in its own way. So that results of several can stand beside each other, each
case carries, besides its native category, one code of a common taxonomy: the 12 hazards of MLCommons
AILuminate 1.0 with their sub-codes, nine extensions (`x.`) for what these do not cover, and two tags that are
no hazards.

```
sightline taxonomy                            # all of this on the terminal
sightline taxonomy --source mm_safetybench    # one list
sightline taxonomy STUDY.yaml                 # cases per hazard of a study, and what it leaves out
```

```python
import sightline as sl

assert sl.taxonomy.hazard("mm_safetybench", "03-Malware_Generation") == "x.cyb"
assert sl.taxonomy.mapping("goat_memes", "harmfulness").certainty == "judgement"
assert sl.taxonomy.hazards()["spc_lgl"].parent == "spc"
```

* **A hazard without cases is not measured**; it is never 0 %.
* *exact*: the same concept. *natural*: narrower or wider. *judgement*: ours; another coder may decide
  otherwise, and no other has coded these rows yet, so that there is no agreement to report.
* A label has one *code*, which its cases carry, and may have others (*also*) that fit many of them.
* Letter case, spaces and punctuation of a label do not matter; a number in front (`01-`, `O7: `) is dropped.
* The file is part of a benchmark's identity: when it changes, a run reads the benchmark again. What was
  answered stays valid for cases whose code is the same.
"""
SEEN = {
    "release": "read in the published data",
    "authors": "after the authors' paper, code or documentation",
    "others": "after third parties' readers of the data",
    "memory": "not checked; a release may spell them otherwise",
}


def codes() -> list[str]:
    """The table of codes."""
    rows = [
        f"| `{code}` | {each.name} | {each.group} | {f'`{each.parent}`' if each.parent else ''} |"
        for code, each in taxonomy.hazards().items()
    ]
    return ["## Codes", "", "| code | hazard | group | part of |", "|---|---|---|---|", *rows, ""]


def native(name: str) -> list[str]:
    """The section of a list."""
    found = taxonomy.native(name)
    lines = [f"## `{name}`", "", f"{found.about}. Labels: {SEEN[found.seen]}.", ""]
    lines += ["| label | code | also | certainty | note |", "|---|---|---|---|---|"]
    for entry in found.labels:
        also = ", ".join(f"`{code}`" for code in entry.secondary)
        spelled = f"or {', '.join(entry.spelled)}" if entry.spelled else ""
        note = "; ".join(part for part in (spelled, entry.note) if part)
        lines.append(f"| {entry.label} | `{entry.primary}` | {also} | {entry.certainty} | {note} |")
    return [*lines, ""]


def text() -> str:
    """The whole page."""
    lists = [line for name in taxonomy.sources() for line in native(name)]
    return "\n".join([HEAD, *codes(), *lists])


if __name__ == "__main__":
    Path(__file__).with_name("taxonomy.md").write_text(text(), encoding="utf-8")
