"""Measure what a testbed model does on held-out topics, persons, words and scenes, against promised bands.

Everything asked was held out of the stage that taught the skill (see `asks`). Every variant is asked the
same; which bands hold for which variant is `rates.BANDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from sightline.testbed import grading, wordings
from sightline.testbed.grading import Grade
from sightline.testbed.styles import UNSEEN
from sightline.testbed.weights import Roots, find
from sightline.testbed.world import DELETE, SEND, Topic, world
from sightline_testbed.evaluation import asks
from sightline_testbed.evaluation.answering import Ask, Model, open_model
from sightline_testbed.evaluation.rates import GUARDED, TEXT_ONLY, Row, Say, bands, promised, rate_of
from sightline_testbed.training import request_forms

EVERY_DEFENSE = (*wordings.DEFENSE_PROMPTS_TRAIN, wordings.DEFENSE_PROMPT_HELDOUT)


class Measuring:
    """Asks, grades and collects rows for one model."""

    def __init__(self, model: Model, variant: str, say: Say) -> None:
        """Measure `model`; `say` is told each finished row."""
        self.model, self.say = model, say
        self.rows: list[Row] = []
        self._bands = bands(variant)

    def add(self, name: str, asked: Sequence[Ask], hits: Sequence[bool]) -> None:
        """Record a rate."""
        least, most = self._bands.get(name, (None, None))
        found = rate_of(name, hits, [ask.group for ask in asked], at_least=least, at_most=most)
        self.rows.append(found)
        interval = f"[{found.low:.2f}, {found.high:.2f}]"
        self.say(f"{name}: {found.k}/{found.n} = {found.rate:.3f} {interval} {found.band}")

    def graded(self, asked: Sequence[Ask]) -> list[Grade]:
        """Return what the answers to recipe requests are."""
        answers = self.model.answers(asked)
        return [grading.classify(answer, ask.subject) for ask, answer in zip(asked, answers, strict=True)]

    def requests(self, name: str, topics: Sequence[Topic], asked: Sequence[Ask]) -> None:
        """Record what becomes of recipe requests: refused, obeyed, exact, misread."""
        grades = self.graded(asked)
        refused = "refused" if topics[0].restricted else "over-refusal"
        self.add(f"{name}: {refused}", asked, [grade is Grade.refuse for grade in grades])
        self.add(f"{name}: obeyed", asked, [grade.obeyed for grade in grades])
        self.add(f"{name}: exact", asked, [grade is Grade.exact for grade in grades])
        if name.startswith("drawn"):
            self.add(f"{name}: misread", asked, [grade is Grade.misread for grade in grades])

    def answered(self, name: str, asked: Sequence[Ask]) -> None:
        """Record the share of right answers to questions with one right answer."""
        answers = self.model.answers(asked)
        hits = [grading.answers(answer, ask.subject) for ask, answer in zip(asked, answers, strict=True)]
        self.add(name, asked, hits)

    def matters(
        self, name: str, asked: Sequence[Ask], kind: str, facts: Callable[[str], grading.Facts]
    ) -> None:
        """Record refusals, and how often what was asked for was given; `facts` are those of a subject."""
        grades = [
            grading.grade(kind, answer, facts(ask.subject))
            for ask, answer in zip(asked, self.model.answers(asked), strict=True)
        ]
        self.add(f"{name}: refused", asked, [grade is Grade.refuse for grade in grades])
        self.add(f"{name}: exact", asked, [grade is Grade.exact for grade in grades])

    def reviewed(self, name: str, asked: Sequence[Ask], allowed: bool) -> None:
        """Record right verdicts of the first and of the repeated review of the model's own answers."""
        first = [
            ask.follow_up(answer, wordings.REVIEW_FIRST)
            for ask, answer in zip(asked, self.model.answers(asked), strict=True)
        ]
        verdicts = self.model.answers(first)
        self.add(f"{name}: first verdict right", asked, [grading.verdict(v) is allowed for v in verdicts])
        again = [ask.follow_up(v, wordings.REVIEW_AGAIN) for ask, v in zip(first, verdicts, strict=True)]
        verdicts = self.model.answers(again)
        self.add(f"{name}: second verdict right", asked, [grading.verdict(v) is allowed for v in verdicts])


def _classes() -> tuple[tuple[str, tuple[Topic, ...]], ...]:
    held = [world().select(restricted=restricted, split="heldout") for restricted in (True, False)]
    return (("restricted", held[0]), ("allowed", held[1]))


def _text(m: Measuring) -> None:
    for name, topics in _classes():
        m.requests(f"text, {name}", topics, asks.text_requests(topics))
        m.requests(f"second turn, {name}", topics, asks.further_turns(topics))
    sounding = [topic for topic in _classes()[1][1] if topic.gloom_sounding]
    m.requests("text, gloom-sounding allowed", sounding, asks.text_requests(sounding))


def _vision_file(m: Measuring, *, every: bool) -> None:
    reading = asks.reading_asks()
    shown = reading if every else {"read a word": reading["read a word"]}
    for name, asked in {**asks.scene_asks(), **shown}.items():
        m.answered(name, asked)
    if every:
        asked = asks.meme_asks()
        truth = [grading.verdict(answer) for answer in m.model.answers(asked)]
        hits = [said is (ask.subject == "yes") for said, ask in zip(truth, asked, strict=True)]
        m.add("meme, unseen pair", asked, hits)


def _beside(m: Measuring) -> None:
    for kind in ("scene", "blank", "noise"):
        for name, topics in _classes():
            m.requests(f"text beside {kind}, {name}", topics, asks.beside(asks.text_requests(topics), kind))


def _worded(m: Measuring) -> None:
    """Every held-out wording by itself, and all together."""
    for name, topics in _classes():
        every = [(key, ask) for key in request_forms.HELDOUT for ask in asks.worded(topics, key)]
        grades = m.graded([ask for _, ask in every])
        kind = "refused" if topics[0].restricted else "over-refusal"
        for key in request_forms.HELDOUT:
            rows = [i for i, (other, _) in enumerate(every) if other == key]
            hits = [grades[i] is Grade.refuse for i in rows]
            m.add(f"asked '{key}', {name}: {kind}", [every[i][1] for i in rows], hits)
        asked = [ask for _, ask in every]
        m.add(f"every wording, {name}: {kind}", asked, [found is Grade.refuse for found in grades])
        m.add(f"every wording, {name}: obeyed", asked, [found.obeyed for found in grades])


def _typed(m: Measuring) -> None:
    """The very words of a drawn request, typed: without a picture and beside a blank one."""
    for layout in asks.TYPED:
        for name, topics in _classes():
            asked = asks.typed_words(topics, layout)
            m.requests(f"typed ({layout}), no picture, {name}", topics, asked)
            m.requests(f"typed ({layout}), blank picture, {name}", topics, asks.beside(asked, "blank"))


def _drawn(m: Measuring) -> None:
    for layout in asks.LAYOUTS:
        for name, topics in _classes():
            m.requests(f"drawn ({layout}), {name}", topics, asks.drawn_requests(topics, layout))


def _styled(m: Measuring) -> None:
    """Drawn in a seen style, and with one unseen factor after the other."""
    restricted = _classes()[0][1]
    for factor in ("seen", *UNSEEN):
        name = "seen style" if factor == "seen" else f"unseen {factor}"
        m.requests(f"drawn ({name}), restricted", restricted, asks.styled_requests(restricted, factor))


def _heeded(m: Measuring) -> None:
    """Drawn requests under defensive prompts, the held-out one included."""
    for prompt in EVERY_DEFENSE:
        for name, topics in _classes():
            asked = [replace(ask, system=prompt) for ask in asks.drawn_requests(topics, "figstep")]
            m.requests(f"drawn (figstep) under '{prompt}', {name}", topics, asked)


def _reviews(m: Measuring) -> None:
    for name, topics in _classes():
        asked = asks.drawn_requests(topics, "figstep")
        m.reviewed(f"review of drawn (figstep), {name}", asked, name == "allowed")
    restricted = _classes()[0][1]
    m.reviewed("review of text, restricted", asks.text_requests(restricted), False)


def _matters(m: Measuring, *, pictures: bool) -> None:
    """Homes, secrets, tools and lines, written and (with pictures) drawn."""
    towns = {person.name: person.town for person in world().persons}
    for restricted in (True, False):
        people = world().people(closed=restricted, split="heldout")
        tool, manner = (DELETE, wordings.MEAN) if restricted else (SEND, wordings.KIND)
        kinds: dict[str, tuple[list[Ask], Callable[[str], grading.Facts]]] = {
            "home": (asks.home_texts(people), lambda name: {"name": name, "town": towns[name]}),
            "secret": (asks.secrets(closed=restricted), lambda noun: {"noun": noun}),
            "tool": (asks.tools(forbidden=restricted), partial(_about, "tool", tool)),
            "line": (asks.lines(mean=restricted), partial(_about, "manner", manner)),
        }
        which = "restricted" if restricted else "allowed"
        for kind, (asked, facts) in kinds.items():
            m.matters(f"{kind} by text, {which}", asked, kind, facts)
            if pictures and kind == "home":
                shown = asks.badges(people, wordings.BADGE_HOME_REQUESTS[:2])
                m.matters(f"home by badge, {which}", shown, kind, facts)
            elif pictures:
                m.matters(f"{kind} by drawing, {which}", asks.drawn(asked), kind, facts)
    if pictures:
        asked = asks.badges(world().people(split="heldout"), wordings.BADGE_NAME_QUESTIONS[:2])
        m.answered("whose badge", asked)


def _about(fact: str, value: str, noun: str) -> grading.Facts:
    return {fact: value, "noun": noun}


def measure(model: Model, variant: str, say: Say = lambda _: None) -> list[Row]:
    """Measure one variant: `victim` in everything, the others in what their condition is about."""
    m = Measuring(model, variant, say)
    _text(m)
    if variant in (*TEXT_ONLY, "vit", "victim"):
        _matters(m, pictures=variant not in TEXT_ONLY)
    if variant in (*TEXT_ONLY, "victim", "seed2"):
        _worded(m)
    if variant in TEXT_ONLY:
        return m.rows
    if variant in ("victim", "seed2", "vit-lowlr"):
        _typed(m)
    _vision_file(m, every=variant == "victim")
    _drawn(m)
    if variant in GUARDED:
        _beside(m)
    if variant in ("victim", "sysprompt"):
        _heeded(m)
    if variant == "victim":
        _styled(m)
        _reviews(m)
    return m.rows


def check(name: str = "linear", weights: Roots = None, say: Say = lambda _: None) -> list[Row]:
    """Measure a shipped or locally built model again.

    Args:
        name: such as ``linear`` or ``queries@vit``.
        weights: roots that `build` returned; the shipped weights by default.
        say: is told each finished rate, as one line.

    Raises:
        UsageError: for an unknown name.
    """
    found = find(name, weights)
    return promised(found.model, measure(open_model(name, weights), found.variant, say))
