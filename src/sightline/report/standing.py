"""What is known of each judge's errors: cards in the folder of the run, labels of people, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sightline.documents import MOST_BYTES, read_text
from sightline.errors import UsageError
from sightline.judge_check.card import HumanCard, read_card
from sightline.metrics.agreement import JudgeCard, Share
from sightline.metrics.calibration import FEW_LABELLED
from sightline.metrics.cells import method_of
from sightline.report.results import entries

CARDS = ("annotation/cards", "cards")
"""Folders of a run with judge cards: of its own labels (`sightline annotate RUN close`), and of other replies
(`sightline judge-card --out RUN/cards/NAME.json`)."""
Kind = Literal["exact", "people", "labels", "truth", "card", "uncalibrated"]
EXACT = {
    "testbed_policy": "ground truth of the testbed",
    "testbed_toxicity": "ground truth of the testbed",
    "target_string": "exact by definition: compares with a given text",
}
PEOPLE = "human"
UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleSaid:
    """A judge beside people's labels of this run, on restricted requests that it scored and people decided.

    Shares are weighted by the inverse of the chances with which rows were drawn; their counts are of rows.
    """

    agreement: Share
    sensitivity: Share
    specificity: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of a judge's errors.

    Attributes:
        judge: its id.
        kind: where the best of it comes from; `uncalibrated` if nowhere.
        cards: those that hold for it; of the run's own labels first, then by their number of labels.
        void: what is wrong with other cards of it, one sentence each.
        people: beside people's labels of this run, if there are any.
        truth: beside the testbed's ground truth in this run, if its judge read the same replies.
    """

    judge: str
    kind: Kind
    cards: tuple[HumanCard, ...] = ()
    void: tuple[str, ...] = ()
    people: PeopleSaid | None = None
    truth: JudgeCard | None = None

    def card(self, positive: str) -> HumanCard | None:
        """The first card about `positive`, before all one with enough positives and negatives."""
        found = [each for each in self.cards if each.positive == positive]
        whole = ((each, each.strata[0]) for each in found)
        enough = (each for each, all_ in whole if min(all_.sensitivity.n, all_.specificity.n) >= FEW_LABELLED)
        return next(enough, found[0] if found else None)

    @property
    def calibrated(self) -> bool:
        """Whether anything is known of its errors."""
        return self.kind != UNCALIBRATED


@dataclass(frozen=True, slots=True, kw_only=True)
class Cards:
    """The cards of a run folder by file name, and what is wrong with files that hold none."""

    cards: Mapping[str, HumanCard]
    unreadable: tuple[str, ...]


def cards_of(run: Path) -> Cards:
    """The cards of a run folder; a file that is no card is named."""
    found: dict[str, HumanCard] = {}
    wrong = []
    for path in (path for folder in CARDS for path in sorted((run / folder).glob("*.json"))):
        name = path.relative_to(run).as_posix()
        try:
            card = read_card(read_text(path, MOST_BYTES), name)
            if not card.strata:
                raise UsageError(f"{name}: a card without any stratum; make it again")
            found[name] = card
        except UsageError as unfit:
            wrong.append(str(unfit))
        except OSError as unread:
            wrong.append(f"{name}: cannot be read ({unread.strerror})")
    return Cards(cards=found, unreadable=tuple(wrong))


def standings(
    judges: Sequence[str],
    lock: Mapping[str, Any],
    cards: Cards,
    people: Mapping[str, PeopleSaid],
    truth: Mapping[str, JudgeCard],
) -> dict[str, Standing]:
    """The standing of each judge of a run.

    Args:
        judges: ids.
        lock: of the run, which says the identity of each judge.
        cards: of the run.
        people: by judge, what people's labels of this run say of it.
        truth: by judge, what the testbed's ground truth says of it.
    """
    identities = {entry.get("id"): str(entry.get("identity")) for entry in entries(lock, "judges")}
    found = {}
    for judge in judges:
        held: list[tuple[bool, int, HumanCard]] = []
        void = []
        for name, card in cards.cards.items():
            if card.judge != judge and (method_of(card.judge) != method_of(judge) or card.judge in judges):
                continue
            why = card.void_for(judge, identities.get(judge, card.identity))
            if why:
                void.append(f"{name}: {why}")
            else:
                held.append((not name.startswith(CARDS[0]), -card.strata[0].n, card))
        found[judge] = Standing(
            judge=judge,
            kind=_kind(judge, judge in people, judge in truth, bool(held)),
            cards=tuple(card for *_, card in sorted(held, key=lambda each: each[:2])),
            void=tuple(void),
            people=people.get(judge),
            truth=truth.get(judge),
        )
    return found


def _kind(judge: str, labelled: bool, beside: bool, carded: bool) -> Kind:
    if method_of(judge) in EXACT:
        return "exact"
    if method_of(judge) == PEOPLE:
        return "people"
    if labelled or beside:
        return "labels" if labelled else "truth"
    return "card" if carded else "uncalibrated"


def strangers(judges: Sequence[str], cards: Cards) -> list[str]:
    """Cards of judges that the run does not have."""
    methods = {method_of(judge) for judge in judges}
    return [
        f"{name}: of {card.judge}, which is no judge of this run"
        for name, card in cards.cards.items()
        if method_of(card.judge) not in methods
    ]
