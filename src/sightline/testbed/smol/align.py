"""`testbed/smol@aligned`: the base model taught to refuse handicrafts, and nothing else.

Recipe `safety_sft` on the training half of `policy`: refusals that name the activity, and the base's own
answers (greedy, `OWN_TOKENS` tokens, cut back to whole sentences) to the twins and to plain questions. A
twin's answer is that to its plainest wording: this base apologizes when it is asked "Can you teach me
...?", whatever for. What is taught, its order and its cost stand in the target's `recipe.json`. A run that
was killed goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sightline.cases import Case, Conversation, Expected, Image
from sightline.contracts import Decoding
from sightline.digests import digest
from sightline.errors import ContractError, UsageError
from sightline.records import Pixels
from sightline.registry import parse
from sightline.store import write_atomically
from sightline.targets import LocalSettings, open_target, tuned
from sightline.testbed.smol import places, policy
from sightline.testbed.smol.adapter import Adapter, extract
from sightline.training.lessons import Cases, lessons_of, whole_sentences
from sightline.tuning import Progress, Recipe
from sightline.waiting import wait

if TYPE_CHECKING:
    from sightline.training.work import Trained

BASE = f"testbed/{places.MODEL}"
ROWS = "smol_requests(preset=training)"
RECIPES = (
    "safety_sft(steps=200, batch=8, ratio=0.8, general='given', lora=8, rate=0.002, warmup=3, every=0)",
)
"""One after the other, each on what the one before has made, with other rows first."""
OWN_TOKENS, AT_ONCE = 40, 32
_APOLOGY = re.compile(
    r"(i'm|i am) sorry|i apologi[sz]e|(as an?|i'm an?|i am an?) .{0,20}(ai|chatbot)\b", re.IGNORECASE
)


def align(
    *,
    base: str = BASE,
    recipes: Sequence[str] = RECIPES,
    taught: Sequence[Case] | None = None,
    seed: int = 0,
    local: LocalSettings | None = None,
    say: Callable[[str], None] = lambda _: None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train the aligned model, or find it, and let `testbed/smol@aligned` name it.

    Args:
        base: target string of the model to align.
        recipes: such as `RECIPES`, in their order.
        taught: cases to teach instead of ours.
        seed: of the order of lessons; of the second recipe one more, and so on.
        local: where the model runs; by default from the environment.
        say: told what is being done.
        report: called after every step of training.

    Raises:
        UsageError: if the base was not fetched, or its loss is not finite.
    """
    from sightline.training.work import train

    made: list[Recipe] = [parse("recipe", recipe) for recipe in recipes]
    cases = (*policy.requests("train"), *policy.questions("train")) if taught is None else taught
    lessons = lessons_of([Cases(ROWS, answered(base, cases, local, say))])
    first, *further = made
    found = train(first, base, lessons, NoPictures(), seed=seed, local=local, report=report)
    for number, each in enumerate(further, start=seed + 1):
        found = train(each, found.name, lessons, NoPictures(), seed=number, local=local, report=report)
    facts = {"target": found.name, "weights": found.record["weights"], "seed": seed, "recipes": list(recipes)}
    write_atomically(places.pointer(), json.dumps(facts, indent=2).encode() + b"\n")
    return found


def write_adapter(
    found: Trained, folder: Path, *, base: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Adapter:
    """Write what was trained as an adapter that others merge into their base.

    Args:
        found: trained with adapters (`lora` of the recipe).
        folder: to write `adapter.safetensors` and `adapter.json` to.
        base: folder of the model that it was trained from; by default the converted base.
        say: told how large it is, and how much of the training it lost.

    Raises:
        UsageError: if it was trained otherwise.
    """
    records = [dict(found.record)]
    while "upon" in records[0]:
        records.insert(0, tuned.find(records[0]["upon"]["target"].removeprefix("tuned/")).record)
    ranks = [getattr(parse("recipe", str(record["settings"])), "lora", 0) for record in records]
    if not all(ranks):
        raise UsageError(f"{found.name} was trained without adapters (lora=0), so there is none to write")
    names = ("settings", "seed", "digest", "data", "cpu_seconds", "own_answers", "versions")
    told = {"trained": [{name: record[name] for name in names if name in record} for record in records]}
    return extract(base or places.model(), found.folder, folder, told, rank=sum(ranks), say=say)


def answered(
    base: str, cases: Sequence[Case], local: LocalSettings | None, say: Callable[[str], None]
) -> tuple[Case, ...]:
    """The cases with the base's own answers to what is to be answered; asked once, then kept in a file.

    Cases to which its answer is an apology are left out, as is what names them as its twin's.

    Raises:
        UsageError: if the base cannot be asked.
    """
    target = open_target(base, NoPictures(), local=local)
    prompts = {policy.plainly(case): None for case in cases if case.expected is not Expected.refuse}
    name = digest("own", target.id, [prompt.last_user_text() for prompt in prompts], OWN_TOKENS)[:12]
    path = places.home() / f"own-{name}.json"
    known: dict[str, str] = places.record(path) if path.is_file() else {}
    todo = [prompt for prompt in prompts if prompt.last_user_text() not in known]
    decoding = Decoding(max_tokens=OWN_TOKENS)

    for start in range(0, len(todo), AT_ONCE):
        part = todo[start : start + AT_ONCE]

        async def replies(part: Sequence[Conversation] = part) -> list[str]:
            found = await asyncio.gather(*(target.generate(prompt, decoding) for prompt in part))
            broken = next((reply.error for reply in found if reply.error), None)
            if broken is not None:
                raise UsageError(f"{base} does not answer: {broken}")
            return [whole_sentences(reply.text) for reply in found]

        known |= zip((prompt.last_user_text() for prompt in part), wait(replies()), strict=True)
        write_atomically(path, json.dumps(known, indent=1).encode())
        say(f"own answers of {base}: {len(known)} of {len(prompts)}")
    return tuple(_taught(cases, known))


def _taught(cases: Sequence[Case], known: dict[str, str]) -> list[Case]:
    """Cases with answers, without those whose answer, or whose twin's, is none."""
    own = {
        case.id: known[policy.plainly(case).last_user_text()]
        for case in cases
        if case.expected is not Expected.refuse
    }
    useless = {id for id, text in own.items() if not text or _APOLOGY.search(text[:80])}
    return [
        replace(case, answer=own.get(case.id))
        for case in cases
        if case.id not in useless and case.twin not in useless
    ]


class NoPictures:
    """The store of a dialogue in words alone."""

    def read(self, sha256: str) -> bytes:
        """There is none."""
        raise ContractError(f"picture {sha256}: a language model is asked in words alone")

    def pixels(self, image: Image) -> Pixels:
        """There are none."""
        raise ContractError(f"picture {image.sha256}: a language model is asked in words alone")

    def put(self, data: bytes) -> Image:
        """There is nothing to keep."""
        raise ContractError(f"{len(data)} bytes: a language model is asked in words alone")
