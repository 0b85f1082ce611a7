"""Judges without a study: replies in, verdicts out, read as the judge stage reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sightline import registry
from sightline.api.pictures import Pictures, store
from sightline.api.prompts import case_of, conversation_of, follow_ups_of
from sightline.contracts import Judge, NeedsTarget
from sightline.errors import UsageError
from sightline.plain import plain_case, plain_conversation, plain_response, plain_turn, verdict_of
from sightline.records import Response, Verdict
from sightline.study.judging import Sample, verdict_on
from sightline.study.secret import keyed
from sightline.targets import open_target
from sightline.waiting import wait


def judged(judge: Judge, requests: Any, replies: Any) -> Any:
    """Verdicts on replies; see `Judge.__call__`."""
    if not isinstance(requests, list):
        return judged(judge, [requests], [replies])[0]
    if not isinstance(replies, Sequence) or isinstance(replies, str) or len(replies) != len(requests):
        raise UsageError(f"{len(requests)} requests in a list need as many replies in a list")
    judge, pictures = registry.checked(judge), store()
    if isinstance(judge, NeedsTarget):
        judge = judge.bind(lambda name: open_target(name, pictures))
    (ready,) = keyed([judge], pictures.folder.parent)
    return wait(_verdicts(ready, [_sample(*pair, pictures) for pair in zip(requests, replies, strict=True)]))


def _sample(request: Any, reply: str | Response, pictures: Pictures) -> Sample:
    """One reply as the rows that a stage would hold; of an attack's result, the case is the attacked one."""
    shown = conversation_of(request, None, pictures)
    case = getattr(request, "case", None) or case_of(request, None, pictures)
    response = Response(text=reply) if isinstance(reply, str) else reply
    artifact = {
        "conversation": plain_conversation(shown),
        "follow_ups": [plain_turn(turn) for turn in follow_ups_of(request)],
    }
    return Sample(plain_case(case), artifact, {"key": "", **plain_response(response)})


async def _verdicts(judge: Judge, samples: Sequence[Sample]) -> list[Verdict]:
    rows = await asyncio.gather(*(verdict_on(judge, sample) for sample in samples))
    return [verdict_of(row) for row in rows]
