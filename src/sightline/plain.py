"""Plain (JSON-ready) forms of cases and records, and back; fields at their default are left out.

Written by hand rather than by a validation library: every sample passes here several times, and the
files are our own. A value that is missing or of the wrong shape raises KeyError or TypeError.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sightline.cases import Case, Conversation, Expected, Image, Part, Turn
from sightline.digests import digest
from sightline.records import NO_COST, Artifact, Call, Cost, Outcome, Response, Verdict

Plain = dict[str, Any]


def _without_defaults(**fields: Any) -> Plain:
    return {key: value for key, value in fields.items() if value or value == 0}


def plain_part(part: Part) -> str | Plain:
    """Text as it is; an image as a mapping."""
    if isinstance(part, str):
        return part
    found: Plain = {"sha256": part.sha256, "width": part.width, "height": part.height}
    if part.media != "image/png":
        found["media"] = part.media
    if part.problem is not None:
        found["problem"] = part.problem
    return found


def pictures_in(row: Plain) -> Iterator[str]:
    """SHA-256 of the pictures that a case or an artifact needs, the clean one that was perturbed included."""
    turns = (*row["conversation"]["turns"], *row.get("follow_ups", ()))
    parts = [part for turn in turns for part in turn["parts"]]
    for part in (*parts, row.get("clean", "")):
        if not isinstance(part, str) and "problem" not in part:
            yield part["sha256"]


def plain_conversation(conversation: Conversation) -> Plain:
    """`{"turns": [{"role": ..., "parts": [...]}]}`."""
    return {"turns": [plain_turn(turn) for turn in conversation.turns]}


def plain_turn(turn: Turn) -> Plain:
    """`{"role": ..., "parts": [...]}`."""
    return {"role": turn.role, "parts": [plain_part(part) for part in turn.parts]}


def turn_of(plain: Plain) -> Turn:
    """Back from `plain_turn`."""
    parts = (part if isinstance(part, str) else Image(**part) for part in plain["parts"])
    return Turn(plain["role"], tuple(parts))


def conversation_of(plain: Plain) -> Conversation:
    """Back from `plain_conversation`."""
    return Conversation(tuple(map(turn_of, plain["turns"])))


def plain_cost(cost: Cost) -> Plain:
    """Only what was used; times to the microsecond."""
    if cost is NO_COST:
        return {}
    found = {name: getattr(cost, name) for name in Cost.__slots__}
    for name in ("seconds", "latency", "cpu_seconds"):
        found[name] = round(found[name], 6)
    return {name: value for name, value in found.items() if value}


def cost_of(plain: Plain | None) -> Cost:
    """Back from `plain_cost`."""
    return Cost(**plain) if plain else NO_COST


def plain_case(case: Case) -> Plain:
    """A case as a mapping."""
    return {
        "id": case.id,
        "conversation": plain_conversation(case.conversation),
        "behavior": case.behavior,
        "expected": case.expected.value,
        "category": case.category,
        "group": case.group,
        **_without_defaults(
            hazard=case.hazard,
            twin=case.twin,
            answer=case.answer,
            answers=list(case.answers),
            wordings=dict(case.wordings),
            problem=case.problem,
        ),
    }


def case_of(plain: Plain) -> Case:
    """Back from `plain_case`; keys of the row itself are ignored."""
    return Case(
        id=plain["id"],
        conversation=conversation_of(plain["conversation"]),
        behavior=plain["behavior"],
        expected=Expected(plain["expected"]),
        category=plain["category"],
        group=plain["group"],
        hazard=plain.get("hazard", ""),
        twin=plain.get("twin"),
        answer=plain.get("answer"),
        answers=tuple(plain.get("answers", ())),
        wordings=plain.get("wordings", {}),
        problem=plain.get("problem"),
    )


def plain_artifact(artifact: Artifact) -> Plain:
    """An artifact as a mapping, its key first; `shown`: see `shown_digest`."""
    conversation = plain_conversation(artifact.conversation)
    follow_ups = [plain_turn(turn) for turn in artifact.follow_ups]
    return {
        "key": artifact.key,
        "case_id": artifact.case_id,
        "shown": shown_digest(conversation, follow_ups),
        "conversation": conversation,
        **_without_defaults(
            follow_ups=follow_ups,
            calls=[plain_call(call) for call in artifact.calls],
            crafted_on=artifact.crafted_on,
            norms=dict(artifact.norms),
            clean=None if artifact.clean is None else plain_part(artifact.clean),
            trace=artifact.trace,
            checks=artifact.checks,
            cost=plain_cost(artifact.cost),
            shared=artifact.shared or None,
            in_training_set=artifact.in_training_set,
            note=artifact.note,
            problem=artifact.problem,
            passing=artifact.passing or None,
        ),
    }


def shown_digest(conversation: Plain, follow_ups: Sequence[Plain]) -> str:
    """Digest of what an artifact shows: its conversation and, of a script, the user turns after it."""
    return digest(conversation, *([follow_ups] if follow_ups else []))


def artifact_of(plain: Plain) -> Artifact:
    """Back from `plain_artifact`."""
    return Artifact(
        key=plain["key"],
        case_id=plain["case_id"],
        conversation=conversation_of(plain["conversation"]),
        follow_ups=tuple(map(turn_of, plain.get("follow_ups", ()))),
        calls=tuple(Call(**call) for call in plain.get("calls", ())),
        crafted_on=plain.get("crafted_on"),
        norms=plain.get("norms", {}),
        clean=Image(**plain["clean"]) if "clean" in plain else None,
        trace=tuple((int(step), float(loss)) for step, loss in plain.get("trace", ()) if loss is not None),
        checks=tuple(
            (int(step), float(loss), float(share))
            for step, loss, share in plain.get("checks", ())
            if loss is not None
        ),
        cost=cost_of(plain.get("cost")),
        shared=plain.get("shared", False),
        in_training_set=plain.get("in_training_set"),
        note=plain.get("note", ""),
        problem=plain.get("problem"),
        passing=plain.get("passing", False),
    )


def plain_call(call: Call) -> Plain:
    """A call as a mapping."""
    return {name: getattr(call, name) for name in Call.__slots__}


def plain_response(response: Response) -> Plain:
    """A response as a mapping."""
    return {
        "text": response.text,
        "stop": response.stop,
        **_without_defaults(
            raw=response.raw,
            error=response.error,
            flags=response.flags,
            calls=[plain_call(call) for call in response.calls],
            replies=response.replies,
            cost=plain_cost(response.cost),
        ),
    }


def response_of(plain: Plain) -> Response:
    """Back from `plain_response`."""
    return Response(
        text=plain["text"],
        stop=plain["stop"],
        raw=plain.get("raw"),
        error=plain.get("error"),
        flags=tuple(plain.get("flags", ())),
        calls=tuple(Call(**call) for call in plain.get("calls", ())),
        replies=tuple(plain.get("replies", ())),
        cost=cost_of(plain.get("cost")),
    )


def plain_verdict(verdict: Verdict) -> Plain:
    """A verdict as a mapping."""
    return {
        "outcome": verdict.outcome.value,
        "judge": verdict.judge,
        **_without_defaults(
            score=verdict.score,
            reason=verdict.reason,
            fields=dict(verdict.fields),
            cost=plain_cost(verdict.cost),
        ),
    }


def verdict_of(plain: Plain) -> Verdict:
    """Back from `plain_verdict`."""
    return Verdict(
        outcome=Outcome(plain["outcome"]),
        judge=plain["judge"],
        score=plain.get("score"),
        reason=plain.get("reason", ""),
        fields=plain.get("fields", {}),
        cost=cost_of(plain.get("cost")),
    )
