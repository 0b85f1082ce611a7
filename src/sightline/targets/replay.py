"""`replay/TABLE[#TARGET]`: answers again what a table already holds, and nothing else.

TABLE is a run folder (what was shown, from `records/craft`, joined with what came back, from
`records/answer`), or a JSONL file of rows with

    conversation   digest of the conversation (`conversation_digest`)
    text, stop     and any other field of a response
    target         optional: whose answer it is

If the table holds answers of several targets, `#` and the beginning of a target's id choose one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import orjson

from sightline.cases import Conversation
from sightline.closure import with_code
from sightline.contracts import Decoding
from sightline.digests import digest, sha256_file
from sightline.errors import UsageError
from sightline.keys import answer_key
from sightline.plain import plain_conversation, plain_response, response_of
from sightline.records import Response, Stop
from sightline.run_folder import LOCK, read_lock
from sightline.sealed import damage_reported
from sightline.tables import Table
from sightline.targets._asked import checked
from sightline.targets._places import beside, sought
from sightline.untrusted import sanitized, sanitized_row

_STOPS: dict[str, str] = {name: name for name in get_args(Stop)} | {
    "max_tokens": "length",
    "model_length": "length",
}
_FIELDS = ("text", "stop", "raw", "error", "flags", "calls", "cost")


class _Stored(NamedTuple):
    """One row of a table: digest of the conversation, JSON of the response, whose it is."""

    conversation: str
    response: bytes
    target: str


def conversation_digest(conversation: Conversation) -> str:
    """Identity of what was shown: roles, texts and pictures by hash; 32 hexadecimal characters."""
    return digest(plain_conversation(conversation))


class ReplayTarget:
    """Answers from a table; `folder` is that of a study, beside which a relative path is looked for first.

    Raises:
        UsageError: if the table is absent or unreadable, or holds several targets and none was chosen.
    """

    def __init__(self, name: str, table: str | Path, folder: Path | None = None) -> None:
        path, _, wanted = str(table).partition("#")
        self.path = beside(folder, path)
        if self.path.is_dir():
            rows = _of_run(self.path, wanted)
        elif self.path.is_file():
            rows = _of_file(self.path, wanted)
        else:
            raise UsageError(
                f"target {name!r}: {path} is neither a run folder nor a JSONL file{sought(folder)}"
            )
        self._answers: dict[str, dict[str, bytes]] = {}
        targets = set()
        for stored in rows:
            targets.add(stored.target)
            held = self._answers.setdefault(stored.conversation, {})
            held.setdefault(_said(stored.response), stored.response)
        if len(targets) > 1:
            shown = ", ".join(sorted(targets))
            raise UsageError(f"{path} holds answers of several targets ({shown}): write replay/{path}#TARGET")
        if not targets:
            raise UsageError(f"{path} holds no answers{f' of a target {wanted!r}' if wanted else ''}")
        content = digest({key: sorted(held) for key, held in self._answers.items()})
        self.id = with_code(f"replay/{targets.pop()}#{content[:16]}", __name__)

    def __repr__(self) -> str:
        return f"ReplayTarget({self.id!r})"

    async def generate(self, conversation: Conversation, decoding: Decoding) -> Response:  # noqa: ARG002
        """The stored answer, with the cost that it had; decoding settings were those of the table.

        Raises:
            UsageError: if the table has no answer to this conversation, or several different ones.
        """
        key = conversation_digest(checked(conversation))
        held = self._answers.get(key, {})
        if len(held) != 1:
            found = f"{len(held)} different stored answers" if held else "no stored answer"
            raise UsageError(
                f"{self.path}: {found} to the conversation with digest {key}, which ends with a user text "
                f"of {len(conversation.last_user_text())} characters; replay answers only what the table "
                "was asked, and only if it was answered one way"
            )
        return response_of(orjson.loads(next(iter(held.values()))))


def _said(response: bytes) -> str:
    """Digest of a stored response without its cost: the same answer given twice is one answer."""
    return digest({key: value for key, value in orjson.loads(response).items() if key != "cost"})


def _response(row: dict[str, Any]) -> bytes:
    return orjson.dumps({key: row[key] for key in _FIELDS if key in row})


def _stop(said: object) -> str:
    """How a stored answer ended, in our words; providers write `max_tokens` or `LENGTH`."""
    if not isinstance(said, str) or said.lower() not in _STOPS:
        raise ValueError(f"stop={said!r:.80} is none of {', '.join(_STOPS)}")
    return _STOPS[said.lower()]


def _of_file(path: Path, wanted: str) -> Iterator[_Stored]:
    source = sha256_file(path)[:16]
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)  # reads half a surrogate pair, which orjson does not
                said = orjson.dumps(
                    plain_response(sanitized(response_of(row | {"stop": _stop(row["stop"])})))
                )
                conversation, target = sanitized_row([row["conversation"], row.get("target", source)])
                stored = _Stored(str(conversation), said, str(target))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as broken:
                raise UsageError(
                    f"{path}:{number}: not a stored answer ({type(broken).__name__}: {broken}); "
                    "it needs at least 'conversation', 'text' and 'stop'"
                ) from None
            if stored.target.startswith(wanted):
                yield stored


def _of_run(folder: Path, wanted: str) -> Iterator[_Stored]:
    """Rows of a run. A response's key is the digest of artifact, target id, decoding settings and epoch.

    A run that was extended also holds answers of targets, or under settings, that its lock no longer
    names; they are left out.
    """
    records = folder / "records"
    lock = _lock(folder)
    decoding = _decoding(lock)
    targets = [str(entry["id"]) for entry in lock["targets"]]
    with Table(records / "craft") as crafted:
        shown = {row["key"]: row["shown"] for row in crafted}
    with Table(records / "answer") as answers:
        ours = 0
        for row in answers:
            artifact, epoch = row["artifact"], row["epoch"]
            keys = {answer_key(artifact, target, decoding, epoch): target for target in targets}
            target = keys.get(row["key"])
            if target is None:
                continue
            if artifact not in shown:
                raise UsageError(
                    f"{records}: what was shown for the answer {row['key']} is not in records/craft; "
                    "run `sightline craft` on that folder first"
                )
            ours += 1
            if target.startswith(wanted):
                yield _Stored(shown[artifact], _response(row), target)
        if len(answers) and not ours:
            raise UsageError(
                f"{records}: none of the {len(answers)} answers belongs to the study in study.lock.yaml; "
                "finish that run first"
            )


def _lock(folder: Path) -> dict[str, Any]:
    cure = "replay needs the lock as its run wrote it: copy that folder again, or finish its run"
    found = read_lock(folder, cure)
    with damage_reported(folder / LOCK, cure):
        _decoding(found)
        list(found["targets"])
    return found


def _decoding(lock: Mapping[str, Any]) -> Decoding:
    """How a run sampled; of recorded responses that is not known, and its lock says null."""
    return Decoding(**{**lock["decoding"], "top_p": lock["decoding"]["top_p"] or 1.0}, seed=lock["seed"])
