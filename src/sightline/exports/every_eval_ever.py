"""Every Eval Ever's records: one JSON file for each target and defense, a result for each rate.

Schema: evaleval/every_eval_ever, every_eval_ever/schemas/eval.schema.json, version 0.2.2. Attack, defense and
judge, for which the schema has no fields, stand in the name of each result and in its details.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from sightline import __version__
from sightline.digests import digest
from sightline.exports.rates import LOWER_IS_BETTER, Line, Rates
from sightline.metrics.rates import MEASURES

SCHEMA = "0.2.2"
RELATIONSHIPS = ("first_party", "third_party", "collaborative", "other")


def files(
    rates: Rates, *, organization: str, relationship: str, now: float | None = None
) -> dict[str, bytes]:
    """Contents of the files by name.

    Args:
        organization: who evaluated.
        relationship: of the evaluator to the model, one of `RELATIONSHIPS`.
        now: when the record is made, in seconds since 1970; by default now.
    """
    stamp = str(int(time.time() if now is None else now))
    found = {}
    lines = rates.by_primary()
    for target, defense in dict.fromkeys((line.cell.id.target, line.cell.id.defense) for line in lines):
        mine = [line for line in lines if (line.cell.id.target, line.cell.id.defense) == (target, defense)]
        name = digest(target, defense, str(rates.lock.get("study")))[:12]
        record = _record(rates, target, defense, mine, stamp)
        record["source_metadata"] |= {
            "source_organization_name": organization,
            "evaluator_relationship": relationship,
        }
        found[f"{name}.json"] = (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
    return found


def _record(rates: Rates, target: str, defense: str, lines: list[Line], stamp: str) -> dict[str, Any]:
    study = str(rates.lock.get("study", ""))
    entry: Mapping[str, Any] = next(
        (e for e in rates.lock.get("targets", ()) if (e["target"], e["defense"]) == (target, defense)), {}
    )
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{study}/{target}/{stamp}",
        "evaluation_timestamp": rates.finished.isoformat(timespec="seconds"),
        "retrieved_timestamp": stamp,
        "source_metadata": {"source_name": f"Sightline study {study}", "source_type": "evaluation_run"},
        "eval_library": {
            "name": "sightline",
            "version": str(dict(rates.lock.get("versions") or {}).get("sightline", __version__)),
        },
        "model_info": {
            "name": target,
            "id": target.partition("/")[2] or target,
            "additional_details": {"defense": defense, "id": str(entry.get("id", ""))},
        },
        "evaluation_results": [_result(rates, line) for line in lines],
    }


def _result(rates: Rates, line: Line) -> dict[str, Any]:
    cell, rate = line.cell.id, line.rate
    assert rate.point is not None
    decoding = dict(rates.lock.get("decoding") or {})
    return {
        "evaluation_name": f"{cell.benchmark} | {cell.shown} | {line.measure}",
        "source_data": {
            "dataset_name": cell.benchmark,
            "source_type": "other",
            "additional_details": {"release_sha256": cell.release},
        },
        "metric_config": {
            "evaluation_description": MEASURES[line.measure].meaning,
            "metric_id": f"sightline.{line.measure}",
            "metric_name": line.measure,
            "metric_unit": "proportion",
            "lower_is_better": line.measure in LOWER_IS_BETTER,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1,
            "additional_details": _texts({"judge": cell.judge}),
        },
        "score_details": {
            "score": rate.point,
            "details": _texts(
                {
                    "attack": cell.attack_params,
                    "role": cell.role,
                    "crafted_on": cell.crafted_on,
                    "oracle": cell.oracle,
                    "budget": cell.budget,
                    "defense": cell.defense,
                    "unscored": rate.unscored,
                    "lower_bound": rate.lower_bound,
                    "upper_bound": rate.upper_bound,
                    "groups": rate.groups,
                }
            ),
            "uncertainty": {
                "confidence_interval": {
                    "lower": rate.low,
                    "upper": rate.high,
                    "confidence_level": 0.95,
                    "method": f"{rate.method}, clustered by behavior",
                },
                "num_samples": rate.n,
            },
        },
        "generation_config": {
            "generation_args": {
                name: decoding[name]
                for name in ("temperature", "top_p", "max_tokens")
                if name in decoding and (name != "max_tokens" or decoding[name])
            }
        },
    }


def _texts(values: Mapping[str, object]) -> dict[str, str]:
    """Details are texts in this schema; empty ones are left out."""
    return {name: str(value) for name, value in values.items() if str(value)}
