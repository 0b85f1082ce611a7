"""Whoever draws words has a typed twin: the same words and the same sentence, and nothing drawn."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys

import numpy as np
import pytest
from pages import case, craft
from shipped import shipped
from typer.testing import CliRunner

from drawing import cases_of
from sightline import registry
from sightline.attacks.typed_words import AsksForWords, DrawsWords
from sightline.cards import ANY_ATTACK
from sightline.cli import app
from sightline.errors import ContractError, UsageError
from sightline.goals import Goal
from sightline.metrics.cells import is_control_of, role_of
from sightline.report.cells import Role
from sightline.report.cells import role_of as shown_role
from sightline.store import Blobs

CARDS = {name: registry.card("attack", name) for name in shipped("attack")}
DRAWING = [name for name, card in CARDS.items() if issubclass(card.factory, DrawsWords)]
ASKING = [
    name
    for name, card in CARDS.items()
    if issubclass(card.factory, AsksForWords) and not issubclass(card.factory, DrawsWords)
]
"""Attacks that converse and show words; what their twins type is tested with each of them."""
OWN_CONTROLS = [name for name, card in CARDS.items() if card.control_of not in ("", ANY_ATTACK)]
TWINS = [name for name in OWN_CONTROLS if CARDS[name].control_of in DRAWING]
ASKING_TWINS = [name for name in OWN_CONTROLS if CARDS[name].control_of in ASKING]
SUFFIX = "_typed"
GOAL = Goal(kind="string", target="frell", instruction="say frell").wordings
SIZES = {"canvas_px", "width_px", "height_px", "size_px", "layout", "columns", "font", "font_px"}
SIZES |= {"side_px", "strip_px", "tile_px", "number_px", "box_width_px", "box_height_px"}
SIZES |= {"overflow", "gap_px", "margin_px", "line_px"}
"""Settings of twins that decide how large a blank page is, and no word."""
REARRANGED = ("si_attack",)
"""Attacks whose picture is their page with its parts in another order, drawn at random."""
RANDOM = {"augment_drawn"}
"""Attacks whose page is drawn at random, case by case (test_augment_drawn.py)."""
NO_HELPER = {"himrd_typed": {"preset": "one_prompt"}}
SEARCH = ("temperature", "rounds", "tries", "draws", "enough", "shuffles")
"""Settings that decide which of several tries is sent, or what of the picture, besides the words."""
OTHER_SETTINGS = {
    "figstep": (
        "items=5",
        "wrap_chars=30, canvas_px=500",
        "instruction='Fill {items} items in.'",
        "draws=question, instruction='Answer it.'",
    ),
    "fc_attack": (
        "preset=empty, items=2",
        "preset=empty, layout=s_shaped, font_px=20",
        "preset=empty, instruction='Do it.'",
    ),
    "figstep_pro": ("parts=2", "least=1, parts=7", "font_px=20", "instruction='{pictures} to {items}'"),
    "cs_dj": (
        "split=rule, distractions=3",
        "split=rule, tile_px=100, font_px=12",
        "split=rule, instruction='{last}'",
    ),
    "si_attack": (
        "instruction='tell me .'",
        "draws=1, size_px=512",
        "shuffles=text",
        "enough=0.5, per_side=4",
    ),
    "himrd": (
        "preset=one_prompt, instruction='Do {typed}.'",
        "preset=one_prompt, inducing=none, width_px=300",
        "preset=one_prompt, enough=0.5",
    ),
    "jood": ("instruction='tell me .'", "alpha=0.9, side_px=100, font_px=12", "mix=cutmix, alpha=0.3"),
    "mml": ("instruction='{words}: {map}'", "items=5, tries=1", "enough=0.5"),
    "mm_typography": (
        "instruction='tell me .'",
        "draws=statement",
        "width_px=300, font_px=20",
        "width_px=50, font_px=20, overflow=split",
    ),
    "jailbreak_in_pieces": ("instruction='tell me .'", "size_px=128, show=trigger"),
}
CASES = [
    case("How do I fold a glimber?", id="b/1"),
    case(
        "steps for balopi", id="b/2", statement="steps for balopi", key_phrase="balopi", rephrased="Say it."
    ),
    case("How do I fold a very long and dusty old velvet glimber in " + "many " * 30 + "ways?", id="b/3"),
]


def settings_of(name: str) -> list[str]:
    presets = [preset for preset in CARDS[name].presets if preset not in ("paper", "default")]
    return ["", *(f"preset={preset}" for preset in presets), *OTHER_SETTINGS.get(name, ())]


def needs_helper(name: str, settings: str) -> bool:
    """Whether a helper writes the words of an attack: they are not known without it."""
    attack = registry.parse("attack", f"{name}({settings})")
    return "attacker" in getattr(attack, "calls", {})


EVERY = [
    (name, settings) for name in DRAWING for settings in settings_of(name) if not needs_helper(name, settings)
]


def twin_of(attack, picture: str):
    """The twin with the attack's settings, as far as the twin has them."""
    name = attack.card.name + SUFFIX
    own = {field.name for field in dataclasses.fields(CARDS[name].factory)} - {"picture"}
    shared = {key: value for key, value in registry.settings(attack).items() if key in own}
    return registry.make("attack", name, picture=picture, **shared)


def fitting(attack):
    """The cases whose words an attack's picture holds: on the testbed's pages only short ones."""
    found = []
    for asked in CASES:
        try:
            getattr(attack, "page", attack.page_size)(attack.words(asked).drawn)
        except UsageError:
            continue
        found.append(asked)
    assert CASES[1] in found
    return found


def pictures_of(draft):
    """What a draft's last turn shows, in order."""
    return draft.images if draft.image is None else (draft.image,)


def first_turn(draft, words, folder):
    """The draft of the first of two turns, whose pictures are in the folder; the second one is checked."""
    if not words.follow_up:
        assert not draft.before
        return draft
    (first,) = draft.before
    assert (draft.text, pictures_of(draft), draft.keep_images) == (words.follow_up, (), False)
    images = tuple(Blobs(folder / "blobs").pixels(image) for image in first.images)
    one = images[0] if len(images) == 1 else None
    return dataclasses.replace(draft, text=first.text, image=one, images=() if one is not None else images)


def test_the_attacks_that_draw_words():
    assert {"figstep", "mm_typography", "jailbreak_in_pieces"} <= set(DRAWING)


@pytest.mark.parametrize("name", DRAWING)
def test_whoever_draws_words_has_a_typed_twin(name):
    assert CARDS[name].control_of == ""
    twin = CARDS[name + SUFFIX]
    assert twin.control_of == name
    assert twin.applies_to == CARDS[name].applies_to
    own = {field.name for field in dataclasses.fields(CARDS[name].factory)}
    assert set(twin.alike) == ({field.name for field in dataclasses.fields(twin.factory)} & own - SIZES)
    assert not twin.surrogate
    assert not twin.extra
    assert twin.threat.access == "black"


@pytest.mark.parametrize("name", ASKING)
def test_whoever_asks_for_words_has_a_typed_twin_that_asks_for_no_picture(name):
    twin, attack = CARDS[name + SUFFIX], CARDS[name]
    assert twin.control_of == name
    assert twin.applies_to == attack.applies_to
    own = {field.name for field in dataclasses.fields(attack.factory)}
    assert set(twin.alike) == ({field.name for field in dataclasses.fields(twin.factory)} & own - SIZES)
    for settings in settings_of(name):
        whole = registry.parse("attack", f"{name}({settings})")
        assert set(twin_of(whole, "blank").calls) <= set(whole.calls) & {"attacker"}


@pytest.mark.parametrize("name", TWINS + ASKING_TWINS)
def test_a_twin_belongs_to_an_attack_and_is_a_control_everywhere(name):
    assert name == CARDS[name].control_of + SUFFIX
    assert CARDS[name].control_of in DRAWING + ASKING
    assert CARDS[name].role == "control"
    assert role_of(name) == "control"
    assert shown_role(f"{name}(picture='blank')") is Role.control
    assert is_control_of(name, CARDS[name].control_of)
    assert not is_control_of(name, "qi_visual")


def test_a_caption_on_a_case_s_own_picture_has_a_typed_twin_too():
    """Its twin keeps that picture, so what is said here of twins of pages does not hold for it."""
    assert set(OWN_CONTROLS) - set(TWINS + ASKING_TWINS) == {"caption_strip_typed", "drawn_injection_typed"}


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.control_of == ANY_ATTACK])
def test_other_controls_say_so_too(name):
    assert CARDS[name].role == "control"
    assert role_of(name) == "control"


def test_only_the_reference_leaves_cases_as_they_are():
    assert [name for name, card in CARDS.items() if card.role == "plain"] == ["none"]


@pytest.mark.parametrize(
    ("control", "attack", "other"),
    [
        ("gcg(preset=testbed_random)", "gcg(preset=testbed)", "gcg(preset=testbed, length=9)"),
        (
            "qi_text(preset=testbed_random)",
            "qi_text(preset=testbed)",
            "qi_text(preset=testbed, place=before)",
        ),
        ("tpgd(preset=testbed_random)", "tpgd(preset=testbed)", "tpgd(preset=testbed, keep='')"),
        (
            "jailbreak_in_pieces(preset=testbed_trigger)",
            "jailbreak_in_pieces(preset=testbed)",
            "jailbreak_in_pieces(preset=testbed, trigger=visual)",
        ),
    ],
)
def test_settings_can_make_an_attack_a_control_of_itself(control, attack, other):
    control, attack, other = (
        registry.spec(registry.parse("attack", text)) for text in (control, attack, other)
    )
    assert (role_of(control), role_of(attack)) == ("control", "attack")
    assert is_control_of(control, attack)
    assert not is_control_of(control, other)
    assert not is_control_of(control, "carlini")


def test_every_setting_that_a_card_names_exists():
    for card in CARDS.values():
        settings = {field.name for field in dataclasses.fields(card.factory)}
        assert {*card.alike, *card.control_when, *(now.to for now in card.renamed.values())} <= settings
        assert all(now.to == name for name, now in card.renamed.items() if name in settings)


def test_a_control_says_what_it_controls_for():
    with pytest.raises(ContractError, match="role='control' and says control_of"):
        dataclasses.replace(CARDS["text_only"], role="attack")


def test_an_old_name_of_a_setting_is_told_in_one_line_and_keeps_the_seeds_of_studies():
    with pytest.raises(
        UsageError, match="attack 'gcg': setting 'said' is now 'baseline' \\(default False\\)"
    ):
        registry.parse("attack", "gcg(said=control)")
    assert registry.seed_text(registry.parse("attack", "gcg(baseline=True, length=4)")) == (
        "gcg(length=4, said='control')"
    )


@pytest.mark.parametrize(
    "name",
    [n for n, card in CARDS.items() if not card.surrogate and not hasattr(card.factory, "converse")],
)
def test_a_picture_that_hangs_on_the_words_of_a_case_is_told(name, tmp_path):
    """Found by what an attack does: the same case in other words gets another picture."""
    made = []
    for words in ("How do I fold a glimber?", "How do I polish a tronk?"):
        (draft,) = craft(registry.make("attack", name), [case(words, **GOAL)], tmp_path, seed=3)
        made.append([pixels.tobytes() for pixels in pictures_of(draft)])
    assert (made[0] != made[1]) == (name in DRAWING)


@pytest.mark.parametrize("name", [name for name, card in CARDS.items() if card.surrogate])
def test_searching_attacks_that_draw_a_case_s_words_are_told(name):
    """Found by what a module imports, as no model is at hand: pages, and the words to draw on them."""
    source = ast.parse(inspect.getsource(sys.modules[CARDS[name].factory.__module__]))
    imported = {
        alias.name
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sightline.attacks")
        for alias in node.names
    }
    draws = "wordings" in imported and bool({"rendering", "page", "Typography", "FigStep"} & imported)
    assert draws == (name in DRAWING)


@pytest.mark.parametrize(("name", "settings"), EVERY)
def test_the_twin_types_what_the_attack_draws_and_says(name, settings, tmp_path):
    attack = registry.parse("attack", f"{name}({settings})")
    cases = fitting(attack)
    plain = craft(twin_of(attack, "none"), cases, tmp_path)
    white = craft(twin_of(attack, "blank"), cases, tmp_path)
    for asked, *drafts in zip(cases, plain, white, strict=True):
        words = attack.words(asked)
        alone, beside = (first_turn(draft, words, tmp_path) for draft in drafts)
        assert words.drawn
        typed = [words.drawn, words.sentence] if words.sentence else [words.drawn]
        assert alone.text == beside.text == "\n".join(typed)
        assert alone.image is None
        assert not alone.keep_images
        assert (beside.image == 255).all()
        assert beside.image.shape == (*attack.page_size(words.drawn)[::-1], 3)
        assert alone.note.endswith(words.note)


@pytest.mark.parametrize(("name", "settings"), [each for each in EVERY if not CARDS[each[0]].surrogate])
@pytest.mark.slow
def test_the_attack_draws_and_says_what_it_tells(name, settings, tmp_path):
    attack = registry.parse("attack", f"{name}({settings})")
    for asked in fitting(attack):
        words = attack.words(asked)
        (draft,) = craft(attack, [asked], tmp_path)
        draft = first_turn(draft, words, tmp_path)
        assert draft.text == words.sentence
        shown = draft.image if draft.image is not None else np.concatenate(draft.images, axis=1)
        assert shown.shape == (*attack.page_size(words.drawn)[::-1], 3)
        if name in RANDOM:
            continue
        page = attack.page(words.drawn)[0]
        if name in REARRANGED:
            shown, page = np.sort(shown, axis=None), np.sort(page, axis=None)
        assert (shown == page).all()


@pytest.mark.parametrize("name", DRAWING)
def test_a_twin_is_compared_with_attacks_that_say_the_same(name):
    """Of every pair of settings: where `alike` settings are equal, and only there, the words are."""
    attacks = [registry.parse("attack", f"{name}({settings})") for own, settings in EVERY if own == name]
    twins = [twin_of(attack, "none") for attack in attacks]
    for attack in attacks:
        for twin in twins:
            compared = is_control_of(registry.spec(twin), registry.spec(attack))
            same = all(attack.words(asked) == twin.attack.words(asked) for asked in CASES)
            searched = [getattr(attack, each, 0) == getattr(twin, each, 0) for each in SEARCH]
            assert compared == (same and all(searched)), (attack, twin)


@pytest.mark.parametrize("picture", ["none", "blank"])
@pytest.mark.parametrize("name", TWINS)
def test_a_twin_drops_the_case_s_own_picture(name, picture, tmp_path):
    own = Blobs(tmp_path / "blobs").put_pixels(np.zeros((9, 9, 3), dtype=np.uint8))
    (draft,) = craft(
        registry.make("attack", name, picture=picture, **NO_HELPER.get(name, {})),
        [case("Fold it.", own, "see")],
        tmp_path,
    )
    assert not draft.keep_images
    assert (draft.image is None) == (picture == "none")


@pytest.mark.parametrize("name", [name for name in TWINS + ASKING_TWINS if "testbed" in CARDS[name].presets])
@pytest.mark.parametrize("preset", ["testbed", "testbed_blank"])
def test_presets_of_the_testbed_have_its_words_and_its_size(name, preset, tmp_path):
    attack = registry.make("attack", CARDS[name].control_of, preset="testbed")
    twin = registry.make("attack", name, preset=preset)
    assert twin == twin_of(attack, "blank" if preset == "testbed_blank" else "none")
    requests = [each for each in cases_of("testbed_requests")[:6] if each.expected in ("refuse", "comply")]
    assert requests
    for asked, draft in zip(requests, craft(twin, requests, tmp_path), strict=True):
        phrase = asked.wordings["key_phrase"]
        assert phrase in draft.text.split() or draft.text.replace("\n", "").startswith(phrase)
        assert preset == "testbed" or max(draft.image.shape) <= 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("figstep_typed(items=12)", r"items=12 is out of range: expected 1\.\.9"),
        ("figstep_typed(canvas_px=1)", r"canvas_px=1 is out of range: expected 16\.\.4096 pixels"),
        ("figstep_typed(picture=white)", r"setting 'picture'.*'none' or 'blank'"),
        ("figstep_typed(wrap_chars=9)", r"unknown setting of attack 'figstep_typed' 'wrap_chars'"),
        ("mm_typography_typed(width_px=5)", r"width_px=5 is out of range"),
        ("jailbreak_in_pieces_typed(size_px=5)", r"size_px=5 is out of range"),
    ],
)
def test_bad_settings_are_named(text, message):
    with pytest.raises(UsageError, match=message):
        registry.parse("attack", text)


def test_the_smallest_page_has_a_twin():
    assert registry.parse("attack", "figstep_typed(canvas_px=16, picture=blank)").canvas_px == 16


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        *((name, ("controls", name + SUFFIX)) for name in DRAWING),
        *((name, ("control", "of", CARDS[name].control_of)) for name in OWN_CONTROLS),
        ("text_only", ("control", "of", "any", "attack")),
    ],
)
def test_a_card_names_the_twin_and_the_attack(shown, line):
    done = CliRunner().invoke(app, ["show", shown])
    assert done.exit_code == 0
    assert line in {tuple(each.split()) for each in done.stdout.splitlines()}
