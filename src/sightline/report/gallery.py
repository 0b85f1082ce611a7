"""Example cases: a few samples of every kind, chosen by key, with pictures, texts, responses and verdicts."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as PilImage

from sightline.cases import Case, Conversation, Image
from sightline.contracts import Images
from sightline.errors import UsageError
from sightline.metrics.cells import limits_of
from sightline.plain import artifact_of, case_of, response_of
from sightline.records import Artifact, Call, Pixels, Response, Verdict
from sightline.report.cells import Role, role_of
from sightline.report.figures import OUTCOME_ORDER
from sightline.report.making import Making, making
from sightline.report.results import Pick, Results, recorded_cases, recorded_verdicts
from sightline.report.shown_names import ShownNames
from sightline.report.text import stand_in
from sightline.shards import Row
from sightline.store import Blobs

MOST_CASES = 40
PER_KIND = 4
OPEN_EXPECTATIONS = frozenset({"comply", "answer"})
"""Benign requests: shown unless the response reaches the attacker's goal. Everything else starts hidden."""

EXPECTED_ORDER = {"refuse": 0, "comply": 1, "answer": 2}
OUTCOME_RANK = {outcome.value: number for number, outcome in enumerate(OUTCOME_ORDER)}

Chosen = tuple[Pick, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Side:
    """What was sent, in one form: (role, text) in order, and the pictures."""

    title: str
    texts: tuple[tuple[str, str], ...]
    pictures: tuple[Picture, ...]
    n_pictures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One case of the gallery. `covered`: its text and pictures are hidden until clicked."""

    number: int
    attack: str
    defense: str
    target: str
    benchmark: str
    case_id: str
    kind: str
    category: str
    expected: str
    outcome: str
    plain_outcome: str | None
    covered: bool
    sides: tuple[Side, ...]
    answer: str | None
    response: Response | None
    verdicts: tuple[Verdict, ...]
    calls: tuple[Call, ...]
    crafting: tuple[Call, ...]
    problem: str
    making: Making | None = None

    @property
    def reasons(self) -> tuple[tuple[str, str], ...]:
        """(judge, what it said) where a judge said anything."""
        return tuple((verdict.judge, verdict.reason) for verdict in self.verdicts if verdict.reason)


def without_texts(card: Card) -> Card:
    """A card of a redacted copy: texts are replaced by category, length and hash, pictures left out."""

    def hidden(text: str) -> str:
        return stand_in(text, card.kind or card.category)

    def hidden_call(call: Call) -> Call:
        return replace(call, asked=hidden(call.asked), text=hidden(call.text))

    response = card.response
    if response is not None:
        response = replace(
            response,
            text=hidden(response.text),
            raw=None if response.raw is None else hidden(response.raw),
            error=None if response.error is None else hidden(response.error),
            flags=tuple(flag.partition(":")[0] for flag in response.flags),
        )
    sides = (
        replace(
            side,
            texts=tuple((role, hidden(text)) for role, text in side.texts),
            pictures=tuple(replace(picture, uri="", note="", problem="") for picture in side.pictures),
        )
        for side in card.sides
    )
    return replace(
        card,
        covered=False,
        case_id=stand_in(card.case_id, "case"),
        sides=tuple(sides),
        answer=None if card.answer is None else hidden(card.answer),
        response=response,
        verdicts=tuple(replace(verdict, reason=hidden(verdict.reason)) for verdict in card.verdicts),
        calls=tuple(hidden_call(call) for call in card.calls),
        crafting=tuple(hidden_call(call) for call in card.crafting),
        problem=hidden(card.problem),
        making=None if card.making is None else card.making.without_settings(),
    )


_WITHHELD = ("refused", "blocked_defense", "blocked_provider")
_UNSCORED = ("error", "unparsed")


def _quota(pick: Pick, role: Role, bare: bool) -> int:
    """How many samples of a kind are shown."""
    if pick.outcome in _UNSCORED:
        return 1
    if pick.expected == "refuse":
        if role is Role.attack:
            return {"complied": 3, "refused": 2}.get(pick.outcome, 1) if bare else 1
        if role is Role.plain:
            return 2 if bare and pick.outcome == "refused" else int(bare or pick.outcome == "complied")
        return int(bare and pick.outcome in ("complied", "refused"))
    if role is Role.control:
        return 0
    if pick.expected == "comply":
        return int(pick.outcome in _WITHHELD or (bare and pick.outcome == "complied"))
    return int(bare or pick.outcome in _WITHHELD)


def _rank(pick: Pick, role: Role, bare: bool) -> int:
    """Priority of a kind: effects, then failures, then costs, then the rest."""
    if pick.expected == "refuse" and role is not Role.control:
        return 0 if bare else 1
    if pick.outcome in _UNSCORED:
        return 2
    if pick.expected != "refuse" and pick.outcome != "complied":
        return 3
    return 4


def choose(picks: Sequence[Pick], undefended: Collection[str], *, targeted: bool = False) -> list[Chosen]:
    """At most `MOST_CASES` samples: one of each kind in order of rank, then more of the main kinds.

    They come back in reading order: attacks, plain requests, controls; undefended first. With `targeted`,
    the judge scores the attacker's goal, and all cases count as restricted requests.
    """

    def weighed(pick: Pick, weigh: Callable[[Pick, Role, bool], int]) -> int:
        seen = replace(pick, expected="refuse") if targeted else pick
        return weigh(seen, role_of(pick.attack_params), pick.defense in undefended)

    ranked = sorted(picks, key=lambda pick: (weighed(pick, _rank), pick.attack, pick.defense))
    piles = [[(pick, sample) for sample in pick.samples[: weighed(pick, _quota)]] for pick in ranked]
    in_turn = [item for layer in zip_longest(*piles) for item in layer if item is not None]

    def reading(item: Chosen) -> tuple[object, ...]:
        pick = item[0]
        return (
            role_of(pick.attack_params),
            pick.attack,
            pick.defense not in undefended,
            pick.defense,
            EXPECTED_ORDER.get(pick.expected, 9),
            OUTCOME_RANK.get(pick.outcome, 9),
            item[1]["sample"],
        )

    return sorted(in_turn[:MOST_CASES], key=reading)


def _side(title: str, conversation: Conversation, blobs: Blobs, known: dict[str, Picture]) -> Side:
    pictures = []
    images = list(conversation.images)
    for image in images[:3]:
        if image.sha256 not in known or image.problem:
            known[image.sha256] = embed(image, blobs)
        pictures.append(known[image.sha256])
    texts = tuple((turn.role, turn.text) for turn in conversation.turns if turn.text)
    return Side(title, texts, tuple(pictures), len(images))


def _sides(
    case: Case | None,
    artifact: Artifact | None,
    response: Response | None,
    blobs: Blobs,
    known: dict[str, Picture],
) -> tuple[Side, ...]:
    """The clean request, and what was sent; of a script of several turns, the dialogue as it went."""
    sides = []
    script = artifact is not None and bool(artifact.follow_ups)
    if case is not None and (script or artifact is None or artifact.conversation != case.conversation):
        sides.append(_side("Clean request", case.conversation, blobs, known))
    if artifact is not None:
        changed = bool(sides)
        title = "As attacked" if changed else "As sent (unchanged)"
        sent = artifact.conversation
        if script:
            title = f"As attacked, {len(artifact.follow_ups) + 1} turns"
            sent = sent.played(artifact.follow_ups, () if response is None else response.replies)
        sides.append(_side(title, sent, blobs, known))
    return tuple(sides)


def _plain_outcomes(
    results: Results, chosen: Sequence[Chosen], judge: str
) -> dict[tuple[str, str, str], str]:
    """Outcome of the same request without an attack, by (case, target, defense)."""
    ids = sorted({sample["case_id"] for _, sample in chosen})
    found = results.rows(
        "select case_id, target, defense, min(outcome), count(distinct outcome) from results"
        " where judge = ? and regexp_matches(attack_params, '^none\\b')"
        " and case_id in (select unnest(?::varchar[])) group by 1, 2, 3",
        [judge, ids],
    )
    return {row[:3]: row[3] if row[4] == 1 else "mixed" for row in found}


def _shown(results: Results) -> set[str]:
    """The columns whose samples are shown: of a series the largest budget and its first seed."""
    rows = results.rows("select distinct series, coalesce(budget, ''), craft_seed, attack from results")
    order = sorted(rows, key=lambda row: (limits_of(row[1]), -row[2], row[3]))
    return {attack for attack in {row[0]: row[3] for row in order}.values()}


def _by(rows: Sequence[Row], field: str) -> Mapping[str, Row]:
    return {row[field]: row for row in rows}


def cards(
    results: Results,
    lock: Mapping[str, Any],
    judge: str,
    undefended: Collection[str],
    names: ShownNames | None = None,
) -> tuple[list[Card], int]:
    """The gallery of one judge's results, and how many samples it was chosen from; see `ShownNames`."""
    shown = names if names is not None else ShownNames()
    every = results.picks(judge, PER_KIND)
    columns = _shown(results)
    picks = [pick for pick in every if pick.attack in columns]
    said = results.rows("select distinct judge from results where scores = 'attacker_goal'")
    reached = {(row[0], "complied") for row in said}
    chosen = choose(picks, undefended, targeted=(judge, "complied") in reached)
    samples = [sample for _, sample in chosen]
    craft = _by(results.records("craft", "key", [s["artifact"] for s in samples if s["artifact"]]), "key")
    answers = _by(results.records("answer", "key", [s["sample"] for s in samples]), "key")
    cases = recorded_cases(results, lock, samples)
    verdicts = recorded_verdicts(results, lock, [s["sample"] for s in samples])
    plain = _plain_outcomes(results, chosen, judge)
    blobs = Blobs(Path(results.run) / "blobs")
    known: dict[str, Picture] = {}
    found = []
    for number, (pick, sample) in enumerate(chosen, start=1):
        row = cases.get((sample["benchmark"], sample["case_id"]))
        case = case_of(row) if row is not None else None
        artifact = artifact_of(craft[sample["artifact"]]) if sample["artifact"] in craft else None
        response = response_of(answers[sample["sample"]]) if sample["sample"] in answers else None
        attacked = role_of(pick.attack_params) is not Role.plain
        found.append(
            Card(
                number=number,
                attack=pick.attack,
                defense=pick.defense,
                target=sample["target"],
                benchmark=sample["benchmark"],
                case_id=sample["case_id"],
                kind=sample["hazard"] or "",
                category=sample["category"] or "",
                expected=pick.expected,
                outcome=pick.outcome,
                plain_outcome=plain.get((sample["case_id"], sample["target"], pick.defense))
                if attacked
                else None,
                covered=pick.expected not in OPEN_EXPECTATIONS
                or any((v.judge, v.outcome.value) in reached for v in verdicts.get(sample["sample"], ())),
                sides=_sides(case, artifact, response, blobs, known),
                answer=case.answer if case else None,
                response=response,
                verdicts=tuple(
                    sorted(verdicts.get(sample["sample"], ()), key=lambda v: (v.judge != judge, v.judge))
                ),
                calls=response.calls if response else (),
                crafting=artifact.calls if artifact else (),
                problem=sample["error"] or "",
                making=making(
                    replace(artifact, crafted_on=shown.within(artifact.crafted_on or "") or None),
                    pick.attack_params,
                    sample["budget"] or "",
                    sample["craft_seed"],
                )
                if attacked and artifact is not None
                else None,
            )
        )
    return found, sum(pick.count for pick in every)


MAX_SIDE = 512
MAX_BYTES = 40_000
_COPIES: tuple[tuple[int, int | None], ...] = (
    *((side, None) for side in (512, 384, 256, 192, 128)),
    (256, 64),
    (128, 64),
    (64, 64),
)
"""(longer side in pixels, number of colors) of the copies that are tried, best first."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An embedded picture: `uri` is a data URI, or '' with `problem` set; sizes in pixels of the file."""

    uri: str
    width: int
    height: int
    sha256: str
    note: str = ""
    problem: str = ""

    @property
    def shown_width(self) -> int:
        """CSS pixels: small pictures are enlarged by a whole factor, large ones left to the layout."""
        return self.width * max(1, 208 // max(1, self.width)) if self.width else 0


class _Copy(NamedTuple):
    data: bytes
    size: tuple[int, int]
    colors: int | None


def _png(pixels: Pixels, side: int, colors: int | None) -> tuple[bytes, tuple[int, int]]:
    picture = PilImage.fromarray(np.asarray(pixels))
    picture.thumbnail((side, side), PilImage.Resampling.LANCZOS)
    if colors is not None:
        picture = picture.quantize(colors)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue(), picture.size


def _reduced(pixels: Pixels) -> tuple[bytes, str]:
    """The largest PNG copy that fits `MAX_BYTES`: at full color if it can be, else with 64 colors."""
    made = (_Copy(*_png(pixels, side, colors), colors) for side, colors in _COPIES)
    copy = next(each for each in made if len(each.data) <= MAX_BYTES)
    note = f"copy at {copy.size[0]}×{copy.size[1]}"
    return copy.data, note + (f", {copy.colors} colors" if copy.colors else "")


def embed(image: Image, images: Images) -> Picture:
    """A picture as data URI; one that cannot be read becomes a note, never a gap."""
    where = (image.width, image.height, image.sha256)
    if image.problem is not None:
        return Picture("", *where, problem=image.problem)
    try:
        data, media, note = images.read(image.sha256), image.media, ""
        pixels = images.pixels(image)
    except UsageError as broken:
        return Picture("", *where, problem=str(broken))
    if max(pixels.shape[:2]) > MAX_SIDE or len(data) > MAX_BYTES:
        (data, note), media = _reduced(pixels), "image/png"
    return Picture(f"data:{media};base64,{base64.b64encode(data).decode()}", *where, note=note)
