"""A finished run as Inspect `.eval` logs, one per cell, for `inspect view` and `inspect_ai.analysis`.

The logs hold requests, pictures and replies in clear, unsafe ones included, and `inspect view` shows
them without a curtain. That is why they are written only on request (`sightline run --eval-logs`) and
into the run's own folder; do not publish them unread. Without pictures (`log_images=False`) each
picture's SHA-256 stands in its place, so that a log still says exactly what was shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from inspect_ai._util.error import EvalError
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalPlan,
    EvalPlanStep,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.log._log import EvalScorer
from inspect_ai.model import ChatMessage, GenerateConfig, ModelOutput, ModelUsage
from inspect_ai.scorer import Score

from sightline.bridge.messages import to_messages
from sightline.bridge.outputs import KEY, REASONS
from sightline.bridge.scorer import ScoredRow, rates
from sightline.cases import Conversation, Part, Turn
from sightline.digests import digest
from sightline.errors import DamageError, UsageError
from sightline.keys import judge_key
from sightline.plain import response_of
from sightline.records import Response
from sightline.report.results import CaseTableName, current_case_tables
from sightline.run_folder import RESULTS, lock_digest
from sightline.sealed import check_table, damage_reported
from sightline.shards import Row
from sightline.store import Blobs
from sightline.study import lock as locks
from sightline.study.judging import shown_of
from sightline.tables import RESULTS_AGAIN, Table, compacted_rows, open_tables

BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True)
class _Run:
    """The tables of a run, open."""

    lock: dict[str, Any]
    created: str
    crafted: Table
    answered: Table
    judged: Table
    behaviors: dict[tuple[CaseTableName, str], str]
    blobs: Blobs
    log_images: bool

    def shown(self, conversation: Conversation) -> list[ChatMessage]:
        """The messages as they were sent; a picture that is not logged, or had a problem, is named."""
        turns = tuple(Turn(turn.role, tuple(map(self._logged, turn.parts))) for turn in conversation.turns)
        return to_messages(Conversation(turns), self.blobs)

    def _logged(self, part: Part) -> Part:
        if isinstance(part, str):
            return part
        if part.problem is not None:
            return f"[picture that could not be read: {part.problem}]"
        return part if self.log_images else f"[picture, sha256 {part.sha256}]"


def write_eval_logs(run: Path, out: Path, *, log_images: bool = True) -> list[Path]:
    """Write one log per cell of a finished run into `out`, in grid order, and return their paths.

    Writing again replaces the same files. With several judges a sample has one score per judge.

    Raises:
        UsageError: if `run` is not a run folder, or has no results yet.
    """
    lock = locks.read(run)
    results = run / RESULTS
    if not results.exists():
        raise UsageError(f"{run}: {RESULTS} is missing; finish the run with `sightline run` first")
    out.mkdir(parents=True, exist_ok=True)
    created = datetime.fromtimestamp(int(results.stat().st_mtime), UTC).isoformat()
    records = run / "records"
    with open_tables(records, "craft", "answer", "judge") as (crafted, answered, judged):
        behaviors = dict(_behaviors(current_case_tables(records, lock)))
        opened = _Run(lock, created, crafted, answered, judged, behaviors, Blobs(run / "blobs"), log_images)
        cells = groupby(_rows(results), lambda row: row["cell"])
        return [_write_cell(opened, list(rows), out) for _, rows in cells]


def _rows(results: Path) -> Iterator[Row]:
    check_table(results, RESULTS_AGAIN)
    with damage_reported(results, RESULTS_AGAIN), pq.ParquetFile(results) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            yield from batch.to_pylist()


def _behaviors(case_tables: Mapping[CaseTableName, Path]) -> Iterator[tuple[tuple[CaseTableName, str], str]]:
    """What each case of the given case tables asks for, by case table and case id."""
    for name, path in case_tables.items():
        for row in compacted_rows(path.with_suffix("")):
            yield (name, row["id"]), row["behavior"]


def _write_cell(run: _Run, rows: Sequence[Row], out: Path) -> Path:
    first = rows[0]
    judges = list(dict.fromkeys(row["judge"] for row in rows))
    names = dict(zip(judges, _score_names(judges), strict=True))
    samples: dict[bytes, list[Row]] = {}
    for row in rows:
        samples.setdefault(row["sample"], []).append(row)
    logged = [sample for batch in _batches(samples) for sample in _samples(run, batch, names)]
    name = re.sub(r"[^A-Za-z0-9.]+", "-", first["cell"])[:120].strip("-")
    cell = digest(run.lock["study"], first["cell"])
    path = out / f"{name}_{cell[:8]}.eval"
    log = EvalLog(
        status="success",
        eval=_spec(run, first, logged, names, cell),
        plan=EvalPlan(steps=[EvalPlanStep(solver="sightline/replay")], config=_config(run)),
        results=EvalResults(
            total_samples=len(logged),
            completed_samples=sum(sample.error is None for sample in logged),
            scores=[_score_of(rows, judge, name) for judge, name in names.items()],
        ),
        stats=EvalStats(
            started_at=run.created,
            completed_at=run.created,
            model_usage={_model_name(run, first): sum((_usage(each) for each in logged), ModelUsage())},
        ),
        samples=logged,
    )
    write_eval_log(log, str(path), format="eval")
    return path


def _batches(samples: dict[bytes, list[Row]]) -> Iterator[list[list[Row]]]:
    groups = list(samples.values())
    for start in range(0, len(groups), BATCH_ROWS):
        yield groups[start : start + BATCH_ROWS]


def _score_names(judges: Sequence[str]) -> list[str]:
    """Short names of judges (what stands before their settings), numbered where two are alike."""
    short = [re.split(r"[^A-Za-z0-9_]", judge, maxsplit=1)[0] or "judge" for judge in judges]
    return [
        name if short.count(name) == 1 else f"{name}_{1 + short[:index].count(name)}"
        for index, name in enumerate(short)
    ]


def _config(run: _Run) -> GenerateConfig:
    decoding = run.lock["decoding"]
    return GenerateConfig(
        max_tokens=decoding["max_tokens"], temperature=decoding["temperature"], top_p=decoding["top_p"]
    )


def _spec(run: _Run, row: Row, samples: Sequence[EvalSample], names: dict[str, str], cell: str) -> EvalSpec:
    defended = next(
        entry
        for entry in run.lock["targets"]
        if (entry["target"], entry["defense"]) == (row["target"], row["defense"])
    )
    arguments = {key: row[key] for key in ("attack", "attack_params", "defense", "oracle", "release")}
    ids = list(dict.fromkeys(str(sample.id) for sample in samples))
    lock = lock_digest(run.lock)
    return EvalSpec(
        eval_id=cell,
        run_id=lock,
        task_id=cell,
        created=run.created,
        task=f"sightline/{row['benchmark']}",
        task_version=lock[:16],
        task_display_name=row["cell"],
        task_args=arguments,
        task_args_passed=arguments,
        dataset=EvalDataset(name=row["benchmark"], samples=len(ids), sample_ids=list(ids)),
        model=_model_name(run, row),
        model_generate_config=_config(run),
        config=EvalConfig(epochs=run.lock["epochs"], log_images=run.log_images),
        packages={"sightline": str(run.lock["versions"]["sightline"])},
        scorers=[EvalScorer(name=name, options={"judge": judge}) for judge, name in names.items()],
        metadata={
            KEY: {
                "study": run.lock["study"],
                "cell": row["cell"],
                "lock": lock,
                "target_id": defended["id"],  # no model argument: Inspect would hand it to the provider
            }
        },
    )


def _model_name(run: _Run, row: Row) -> str:
    """The target string under which Inspect would ask the same (defended) model."""
    spec = next(entry.get("spec") for entry in run.lock["defenses"] if entry["label"] == row["defense"])
    return f"defended/{spec}:{row['target']}" if spec else str(row["target"])


def _score_of(rows: Sequence[Row], judge: str, name: str) -> EvalScore:
    """The rates of a cell by one judge; a rate without samples is left out."""
    mine = [row for row in rows if row["judge"] == judge]
    found = rates(
        [ScoredRow(row["expected"], row["outcome"], row["group"]) for row in mine],
        "attacker_goal" if any(row.get("scores") == "attacker_goal" for row in mine) else "case",
    )
    metrics = {key: EvalMetric(name=key, value=value) for key, value in found.items() if value is not None}
    unscored, total = int(found["n_unscored"] or 0), int(found["n"] or 0)
    return EvalScore(
        name=name,
        scorer=name,
        scored_samples=total - unscored,
        unscored_samples=unscored,
        params={"judge": judge},
        metrics=metrics,
    )


def _samples(run: _Run, groups: list[list[Row]], names: dict[str, str]) -> Iterator[EvalSample]:
    artifacts = run.crafted.rows([group[0]["artifact"].hex() for group in groups])
    answers = run.answered.rows([group[0]["sample"].hex() for group in groups])
    for group, artifact, answer in zip(groups, artifacts, answers, strict=True):
        if artifact is None or answer is None:
            what = f"a sample of case {group[0]['case_id']} is not in the records"
            raise DamageError(run.answered.parquet, what, "`sightline run` makes it again")
        yield _sample(run, group, artifact, answer, names)


def _sample(run: _Run, group: list[Row], artifact: Row, answer: Row, names: dict[str, str]) -> EvalSample:
    """A sample with the whole dialogue: of a script, every turn up to the last reply."""
    first, response = group[0], response_of(answer)
    conversation = shown_of(artifact, answer)
    messages = run.shown(conversation)
    output = _output(_model_name(run, first), response)
    failure = response.error if response.stop == "error" else None
    return EvalSample(
        id=first["case_id"],
        epoch=first["epoch"] + 1,
        input=messages,
        target=first["expected"],
        messages=messages if failure is not None else [*messages, output.message],
        output=output,
        scores=dict(_scores(run, group, response.text, names)),
        metadata={
            **{key: first[key] for key in ("expected", "category", "group", "hazard", "attack", "defense")},
            "behavior": run.behaviors.get(((first["benchmark"], first["release"]), first["case_id"]), ""),
            "artifact": first["artifact"].hex(),
            "response_hash": first["response_hash"].hex(),
            "pictures": [image.sha256 for image in conversation.images],
            "norms": artifact.get("norms", {}),
            "stop": response.stop,
            "raw": response.raw,
            "flags": list(response.flags),
            "inner_calls": _calls(answer),
            **({"crafting_calls": _calls(artifact)} if artifact.get("calls") else {}),
        },
        model_usage={output.model: output.usage} if output.usage is not None else {},
        total_time=first["seconds"],
        uuid=first["sample"].hex(),
        error=None
        if failure is None
        else EvalError(message=failure, traceback=failure, traceback_ansi=failure),
    )


def _calls(row: Row) -> list[dict[str, str]]:
    """The calls behind an answer, or those that an attack made while it crafted."""
    return [
        {name: call[name] for name in ("purpose", "asked", "text", "stop")} for call in row.get("calls", ())
    ]


def _usage(sample: EvalSample) -> ModelUsage:
    return sample.output.usage or ModelUsage()


def _output(model: str, response: Response) -> ModelOutput:
    reason = "unknown" if response.stop == "error" else REASONS[response.stop]
    output = ModelOutput.from_content(model, response.text, stop_reason=reason, error=response.error)
    used = response.cost
    total = used.tokens_in + used.tokens_out
    output.usage = ModelUsage(input_tokens=used.tokens_in, output_tokens=used.tokens_out, total_tokens=total)
    return output


def _scores(run: _Run, group: list[Row], text: str, names: dict[str, str]) -> Iterator[tuple[str, Score]]:
    """One score per judge, with the judge's own words from its record."""
    identities = {entry["id"]: entry["identity"] for entry in run.lock["judges"]}
    keys = [
        judge_key(row["sample"].hex(), row["response_hash"].hex(), row["judge"], identities[row["judge"]])
        for row in group
    ]
    for row, record in zip(group, run.judged.rows(keys), strict=True):
        reason = (record or {}).get("reason")
        yield (
            names[row["judge"]],
            Score(
                value=row["outcome"],
                answer=text,
                explanation=reason,
                metadata={"judge": row["judge"], "judge_score": row["score"], "success": row["success"]},
            ),
        )
