"""A finished run in other formats: its rates, or JailbreakBench artifacts with prompts and responses."""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from sightline.errors import UsageError, nearest
from sightline.exports import every_eval_ever, hub, tables
from sightline.exports.left_out import unread, unscored
from sightline.exports.rates import rates_of
from sightline.plain import case_of, conversation_of, response_of
from sightline.records import SCORED, Outcome
from sightline.report.results import current_case_tables, entries
from sightline.responses.answers import Answer, user_turn
from sightline.responses.formats import jailbreakbench
from sightline.responses.table import NO_PROMPT
from sightline.run_folder import RESULTS
from sightline.sealed import damage_reported
from sightline.shards import Row
from sightline.store import write_atomically
from sightline.study import lock as locks
from sightline.tables import RESULTS_AGAIN, Table, compacted_rows, open_tables

_FLAT = {
    "csv": ("rates.csv", tables.as_csv),
    "parquet": ("rates.parquet", tables.as_parquet),
    "json": ("rates.json", tables.as_json),
}
_OF_PAPER = {"latex": ("rates.tex", tables.as_latex), "html": ("rates.html", tables.as_html)}
FORMATS = (*_FLAT, *_OF_PAPER, "every-eval-ever", "hf-eval-results", jailbreakbench.NAME)
IN_CLEAR = frozenset({jailbreakbench.NAME})
"""Formats that hold prompts and responses; the others hold rates alone."""
_UNFIT = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a format wants to know that no run can tell.

    Attributes:
        datasets: of `hf-eval-results`: the dataset of the Hub that a benchmark is, `ORG/NAME[:TASK]`.
        measure: of `hf-eval-results`: the measure that the task is of, such as `over_refusal`; '' for ASR.
        organization, relationship: of `every-eval-ever`: who evaluated, and what he is to the model.
    """

    datasets: Mapping[str, str] = field(default_factory=dict)
    measure: str = ""
    organization: str = "unknown"
    relationship: str = "other"

    def __post_init__(self) -> None:
        if self.relationship not in every_eval_ever.RELATIONSHIPS:
            raise UsageError(nearest(self.relationship, every_eval_ever.RELATIONSHIPS, "relationship"))


def export(
    folder: str | os.PathLike[str],
    *,
    format: str = FORMATS[0],
    out: str | os.PathLike[str] | None = None,
    **about: Any,
) -> list[Path]:
    """Write a finished run in another format below `out`, by default `exports/FORMAT` in the run's folder.

    `csv`, `parquet`, `json`: a row for every rate with its interval, n, unscored samples and outcome counts.
    `latex`, `html`: tables of attacks, defenses and targets by the study's first judge. `every-eval-ever`: a
    record for each target and defense. `hf-eval-results`: files for a model repository. None of these holds a
    prompt or a response.

    `jailbreakbench`: the requests with prompts and responses in clear, one file for each benchmark, attack,
    target and defense. `jailbroken` is the verdict of the study's first judge, null where it has none;
    recorded responses of that format keep their own numbers, parameters and further verdicts. `stop`, `error`
    and `expected`, which the schema lacks, are further keys where they say more than a plain answer to a
    request to refuse; `responses:` reads them back. What is not known is null. Pictures are not part of the
    schema, nor are scripts of several turns: cells with either are left out, and told with a warning.

    Args:
        about: see `About`: `datasets`, `organization`, `relationship`.

    Raises:
        UsageError: for an unknown format, a run without results, or one of which nothing can be written.
    """
    paths, left_out = exported(folder, format=format, out=out, about=About(**about))
    for told in left_out:
        warnings.warn(f"not exported: {told}", UserWarning, stacklevel=2)
    return paths


def exported(
    folder: str | os.PathLike[str],
    *,
    format: str,
    out: str | os.PathLike[str] | None,
    about: About = About(),
) -> tuple[list[Path], list[str]]:
    """The files that were written, and what was left out; see `export`.

    Nothing is written before all of it is made.
    """
    if format not in FORMATS:
        raise UsageError(nearest(format, FORMATS, "format to export"))
    run = Path(folder).expanduser()
    below = Path(out) if out is not None else run / "exports" / format
    files, left_out = _artifact_files(run) if format in IN_CLEAR else _rate_files(run, format, about)
    if not files:
        raise UsageError(f"{run}: no cell can be exported: {'; '.join(left_out) or 'there is none'}")
    for name, content in files.items():
        path = below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    return [below / name for name in files], left_out


def _rate_files(run: Path, format: str, about: About) -> tuple[dict[str, bytes], list[str]]:
    rates = rates_of(run)
    if format in _FLAT:
        name, written = _FLAT[format]
        return {name: written(rates)}, unscored(rates)
    if format in _OF_PAPER:
        name, written = _OF_PAPER[format]
        return {name: written(rates)}, unread(run, rates.lock, rates.primary) + unscored(
            rates, tables.PAPER, first=True
        )
    if format == "hf-eval-results":
        found, others = hub.files(rates, about.datasets, about.measure)
        measures = (about.measure,) if about.measure else hub.SUCCESS
        told = unread(run, rates.lock, rates.primary, about.datasets)
        told += unscored(rates, measures, benchmarks=about.datasets, first=True)
        return found, others + told
    found = every_eval_ever.files(rates, organization=about.organization, relationship=about.relationship)
    return found, unread(run, rates.lock, rates.primary) + unscored(rates, first=True)


def _artifact_files(run: Path) -> tuple[dict[str, bytes], list[str]]:
    found: dict[str, bytes] = {}
    lock = locks.read(run)
    judge = _first_judge(run, lock)
    left_out: list[str] = unread(run, lock, judge)
    for name, artifact in _artifacts(run, lock, judge):
        if isinstance(artifact, str):
            left_out.append(artifact)
        else:
            text = json.dumps(artifact, indent=4, ensure_ascii=False) + "\n"
            found[f"{_unlike(name, found)}.json"] = text.encode()
    return found, left_out


def _unlike(name: str, taken: Mapping[str, bytes]) -> str:
    """The name, numbered if a file is called so already, also where letters' cases are not told apart."""
    known = {each.removesuffix(".json").casefold() for each in taken}
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(each for each in names if each.casefold() not in known)


class _UnfitError(Exception):
    """A cell for which the format has no place."""


def _first_judge(run: Path, lock: Mapping[str, Any]) -> str:
    first = next(iter(entries(lock, "judges")), None)
    if first is None:
        raise UsageError(f"{run}: its lock names no judge, and this format tells the first one's verdicts")
    return str(first["id"])


def _artifacts(run: Path, lock: Mapping[str, Any], judge: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Name and artifact of every cell; for one that the format has no place for, why."""
    with damage_reported(run / RESULTS, RESULTS_AGAIN):
        rows = pq.read_table(run / RESULTS, filters=[("judge", "=", judge)]).to_pylist()
    cells: dict[str, list[Row]] = {}
    for row in rows:
        cells.setdefault(row["cell"], []).append(row)
    several = len({row["benchmark"] for row in rows}) > 1
    cases = _cases(run, lock)
    with open_tables(run / "records", "craft", "answer") as (crafted, answered):
        named = _named(rows, answered) if "responses" in lock else {}
        for members in cells.values():
            artifacts = crafted.rows([row["artifact"].hex() for row in members])
            answers = answered.rows([row["sample"].hex() for row in members])
            try:
                held = [
                    _answer(
                        row,
                        cases[row["benchmark"], row["case_id"]],
                        artifact or {},
                        answer or {},
                        named.get((row["benchmark"], row["case_id"]), {}),
                    )
                    for row, artifact, answer in zip(members, artifacts, answers, strict=True)
                ]
            except _UnfitError as unfit:
                yield "", str(unfit)
                continue
            first = members[0]
            names = [first["benchmark"]] if several else []
            names += [first["attack"], first["defense"], first["target"].removeprefix("recorded/")]
            name = "/".join(_UNFIT.sub("-", each).strip("-.") or "unnamed" for each in names)
            yield name, jailbreakbench.artifact(held, _parameters(lock, first, held, judge))


def _named(rows: list[Row], answered: Table) -> dict[tuple[str, str], Row]:
    """What recorded responses call their cases; a case that a model did not answer is called the same."""
    found: dict[tuple[str, str], Row] = {}
    for row, answer in zip(rows, answered.rows([row["sample"].hex() for row in rows]), strict=True):
        said = (answer or {}).get("recorded", {})
        if said:
            names = {name: said[name] for name in ("case", "index", "goal", "behavior") if name in said}
            found.setdefault((row["benchmark"], row["case_id"]), names)
    return found


def _cases(run: Path, lock: Mapping[str, Any]) -> dict[tuple[str, str], Row]:
    tables = current_case_tables(run / "records", lock)
    return {
        (name[0], row["id"]): row
        for name, path in tables.items()
        for row in compacted_rows(path.with_suffix(""))
    }


def _answer(row: Row, case_row: Row, artifact: Row, answered: Row, named: Row) -> Answer:
    case, response = case_of(case_row), response_of(answered)
    shown = conversation_of(artifact["conversation"])
    if artifact.get("follow_ups"):
        what = "is asked in several turns, for which this format has no place; `--eval-logs` writes them"
        raise _UnfitError(f"{row['cell']}: case {case.id} {what}")
    if any(shown.images):
        raise _UnfitError(f"{row['cell']}: case {case.id} shows pictures, for which this format has no place")
    recorded = dict(answered.get("recorded", {}))
    verdicts = dict(recorded.pop("verdicts", {}))
    outcome = Outcome(row["outcome"])
    verdicts["jailbroken"] = outcome is Outcome.complied if outcome in SCORED else None
    about = {"number_of_queries": row["craft_calls"] or None, **named, **recorded}
    if not recorded:
        cost = answered.get("cost", {})
        about |= {"prompt_tokens": cost.get("tokens_in"), "response_tokens": cost.get("tokens_out")}
    unsent = response.stop == "error"
    not_shown = shown.last_user_text() == NO_PROMPT or (bool(named) and not recorded)  # no row of the case
    return Answer(
        place=row["cell"],
        case=str(about.pop("case", None) or case.id),
        behavior=case.behavior,
        turns=() if not_shown else user_turn(shown.last_user_text()),
        text=None if unsent else response.text,
        stop=response.stop,
        error=response.error,
        expected=case.expected.value,
        category=case.category,
        verdicts=verdicts,
        about=about,
    )


def _parameters(lock: Mapping[str, Any], row: Row, held: list[Answer], judge: str) -> dict[str, Any]:
    """Those that the responses came with, else what is known of the run."""
    target, attack, defense = row["target"].removeprefix("recorded/"), row["attack"], row["defense"]
    for file in dict(lock.get("responses") or {}).get("files", ()):
        known = dict(file.get(jailbreakbench.PARAMETERS) or {})
        said = [str(known.get(name) or "none") for name in ("model", "method", "defense")]
        if known and [*said[:2], said[2].casefold()] == [target, attack, defense.casefold()]:
            return known
    jailbreaks = sum(bool(answer.verdicts["jailbroken"]) for answer in held)
    submitted = sum(bool(answer.turns) for answer in held)
    spec = next((e.get("spec") for e in entries(lock, "attacks") if e.get("label") == attack), None)
    return {
        "model": target,
        "method": attack,
        "method_parameters": {"sightline": spec},
        "defense": defense,
        "attack_type": None,
        "attack_success_rate": jailbreaks / len(held),
        "total_number_of_jailbreaks": jailbreaks,
        "number_of_submitted_prompts": submitted,
        "total_number_of_queries": None,
        "total_prompt_tokens": None,
        "total_response_tokens": None,
        "evaluation_date": None,
        "evaluation_llm_provider": None,
        "judge": judge,
        "decoding": dict(lock["decoding"]) if "responses" not in lock else None,
    }
