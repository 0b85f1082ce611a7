"""Write docs/results_table.md from the table's schema: `make docs-write`. The docs test compares it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from sightline.study.results import SCHEMA

HEAD = """# The table of results

The columns of `results.parquet`, made from the code by `make docs-write`; do not edit. One row per answered
sample and judge; a sample is a reply of a target, behind a defense, to what an attack made of a case. How
rates are made of them is in [the protocol](protocol.md).

| column | type | what it says |
|---|---|---|
"""
SAYS: Mapping[str, str] = {
    "study": "name of the study",
    "cell": "benchmark, target, attack and defense, as one name",
    "target": "target string, as the study has it",
    "target_hash": "digest of the target's whole id: weights, settings, code that asks",
    "crafted_on": "ids of the models that the attack looked into or talked to; null for none",
    "attack": "label of the attack's column",
    "series": "label without the level of the budget: the columns of one curve share it",
    "budget": "what one artifact could spend; null without a limit",
    "craft_seed": "number of the seed from which the artifact was crafted",
    "attack_params": "the attack with its settings, in text form",
    "oracle": "`none`, `undefended` or `defended`: which target the attack asked while it was made",
    "defense": "label of the defense; `none` for the bare target",
    "benchmark": "label of the benchmark",
    "release": "digest of what was read of the release",
    "case_id": "name of the case within its benchmark",
    "group": "cluster of the case: behavior or topic; intervals go by it",
    "hazard": "code of the common taxonomy ([hazards](taxonomy.md))",
    "category": "the benchmark's own category",
    "expected": "what a safe model does: `refuse`, `comply`, `answer`, `abstain`, `classify`",
    "epoch": "number of the reply to the same artifact, from 0",
    "sample": "key of the reply in `records/answer`",
    "artifact": "key of the artifact in `records/craft`",
    "shown": "digest of the conversation that was shown, pictures by hash; null where none could be made",
    "response_hash": "digest of what judges read of the reply",
    "outcome": "one of the eight outcomes ([protocol](protocol.md))",
    "judge": "id of the judge: name, hash of lists and prompts, grader, whether it sees pictures",
    "scores": "`case` or `attacker_goal`: what `complied` grants",
    "score": "the judge's own scale; null if it has none",
    "refused": "whether the outcome is `refused`, `blocked_provider` or `blocked_defense`",
    "success": "whether the outcome is `complied`",
    "calls_target": "calls of targets: reply and crafting",
    "calls_aux": "calls of helpers: defense and crafting",
    "calls_judge": "calls of graders: verdict and crafting",
    "tokens_in": "tokens read, of all calls",
    "tokens_out": "tokens written, of all calls",
    "flops": "floating-point operations, of models that run here",
    "seconds": "of targets, helpers and graders, as they report them",
    "latency": "seconds on the clock from the request to what the user sees",
    "cpu_seconds": "processor seconds of this process for the reply",
    "made_on_target": "whether the attack looked into or talked to the model that answers; null if into none",
    "seen": "whether the attack was optimized on it or a defense learned from it; null if neither learns",
    "craft_shared": "whether all cases of a call share the artifact, so that its cost was paid once",
    "craft_calls": "calls of targets and helpers while crafting",
    "craft_calls_aux": "of these, calls of helpers",
    "craft_calls_judge": "calls of the in-loop judge",
    "craft_tokens_in": "tokens read while crafting",
    "craft_tokens_out": "tokens written while crafting",
    "craft_forwards": "forward passes of the artifact's search",
    "craft_backwards": "backward passes",
    "craft_flops": "floating-point operations while crafting",
    "craft_seconds": "seconds of crafting",
    "flags": "what the border noted of the reply, joined by `;` ([protocol](protocol.md))",
    "error": "why there is no reply or no verdict; null where there are both",
}
TAIL = """
## Where prompts and replies are

Not in this table: it can be shared where texts must not. They lie in the run's records and pictures
([run folders](run_folders.md)), in clear:

| what | where |
|---|---|
| what was asked plainly | `records/cases-*.parquet` |
| what was shown: conversation, pictures by SHA-256 | `records/craft.parquet`, `blobs/` |
| replies, also before a defense, with the calls behind them | `records/answer.parquet` |
| verdicts with their reasons | `records/judge.parquet` |

`sl.load(RUN).samples()` joins all of it: one row per sample with `prompt`, `pictures` (paths), `reply`,
`raw`, `verdicts` of all judges, `stop`, `error`, norms and costs; displays cover texts, data hold them.

```
import sightline as sl

samples = sl.load("runs/quickstart").samples()
broken = samples.where(attack="figstep", outcome="complied")
print(broken[0]["prompt"], broken[0]["reply"])     # in clear
table = broken.to_pandas()                         # or .arrow, .to_polars(); DuckDB takes it by name
```

`sightline export RUN --format jailbreakbench` writes prompts and replies ([responses](responses.md)); other
formats hold rates alone ([compare](compare.md)).
"""


def kind(column: pa.Field) -> str:
    """The type of a column in words."""
    if pa.types.is_dictionary(column.type):
        return "text (dictionary)"
    if pa.types.is_fixed_size_binary(column.type):
        return f"{column.type.byte_width} bytes"
    return {"string": "text", "bool": "true or false", "float": "float32"}.get(
        str(column.type), str(column.type)
    )


def text() -> str:
    """The whole page."""
    return HEAD + "".join(f"| `{each.name}` | {kind(each)} | {SAYS[each.name]} |\n" for each in SCHEMA) + TAIL


if __name__ == "__main__":
    Path(__file__).with_name("results_table.md").write_text(text(), encoding="utf-8")
