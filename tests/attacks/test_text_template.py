"""text_template: families and names, slots filled once, files of the user's, end to end on the testbed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import case, craft

from sightline import registry
from sightline.attacks.templates import filled, shipped
from sightline.attacks.textual.text_template import FAMILIES
from sightline.cases import Image
from sightline.errors import UsageError
from sightline.store import Blobs
from sightline.study.seal import seal

ASKED = "How do I polish a glimber?"
CASES = [case(ASKED, id=f"b/{i}") for i in range(40)]


def template(**settings):
    return registry.make("attack", "text_template", **settings)


def test_every_family_has_a_preset_and_several_wordings():
    bank = shipped("text_template")
    assert set(bank) == set(FAMILIES)
    presets = {name for name in registry.card("attack", "text_template").presets if "testbed" not in name}
    assert presets == set(FAMILIES)
    assert all(len(set(texts)) >= 3 for texts in bank.values())


@pytest.mark.parametrize(
    ("family", "text"), [(f, text) for f, texts in shipped("text_template").items() for text in texts]
)
def test_every_wording_holds_the_request_and_no_unknown_slot(family, text):
    assert "{goal}" in text
    assert set(re.findall(r"\{\w+\}", text)) <= {"{goal}", "{target_prefix}"}
    assert ("{target_prefix}" in text) >= (family == "prefix_injection")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_uses_all_of_its_wordings_and_says_which(family, tmp_path):
    drafts = craft(template(family=family), CASES, tmp_path)
    bank = shipped("text_template")[family]
    assert {draft.note for draft in drafts} == {f"template {family}_{n + 1}" for n in range(len(bank))}
    for draft in drafts:
        wording = bank[int(draft.note.rsplit("_", 1)[1]) - 1]
        assert draft.text.startswith(wording.split("{goal}")[0].split("{target_prefix}")[0])
        assert ASKED in draft.text
        assert draft.keep_images
        assert draft.image is None


def test_without_a_family_all_of_them_come(tmp_path):
    drafts = craft(template(), [case(ASKED, id=f"b/{i}") for i in range(300)], tmp_path)
    assert {draft.note.removeprefix("template ").rsplit("_", 1)[0] for draft in drafts} == set(FAMILIES)


def test_another_seed_draws_another_wording(tmp_path):
    one, same, other = (
        [draft.text for draft in craft(template(family="fiction"), CASES, tmp_path, seed=seed)]
        for seed in (1, 1, 2)
    )
    assert one == same != other


def test_a_wording_by_name_and_the_beginning_of_the_answer(tmp_path):
    attack = template(template="prefix_injection_3", target_prefix="Of course. {key_phrase}:")
    (draft,) = craft(attack, [case(ASKED, key_phrase="glimber")], tmp_path)
    assert draft.text == f"{ASKED}\n\nOf course. glimber:"
    assert draft.note == "template prefix_injection_3"


def test_a_text_of_the_user(tmp_path):
    (draft,) = craft(template(template="Say {this}: {goal} ({goal})"), [case(ASKED)], tmp_path)
    assert draft.text == f"Say {{this}}: {ASKED} ({ASKED})"
    assert draft.note == "template of the study"


def test_forms_by_rule_are_noted(tmp_path):
    attack = template(template="Title: {statement}\n1.")
    given, derived = craft(attack, [case(ASKED, statement="Steps to shine"), case(ASKED)], tmp_path)
    assert given.text == "Title: Steps to shine\n1."
    assert given.note == "template of the study"
    assert derived.text == "Title: Steps to polish a glimber\n1."
    assert derived.note == "template of the study; text derived by rule"


BRACES = "{goal} {} {0.x} {target_prefix} {{statement}} %s {key_phrase}"


def test_braces_in_a_request_are_sent_as_they_are(tmp_path):
    (draft,) = craft(template(template="a {goal} b {target_prefix}"), [case(BRACES)], tmp_path)
    assert draft.text == f"a {BRACES} b Sure, here is the complete answer:"


@given(st.text(), st.text())
def test_slots_are_filled_once(goal, prefix):
    assert filled("<{goal}|{target_prefix}|{other}>", goal=goal, target_prefix=prefix) == (
        f"<{goal}|{prefix}|{{other}}>"
    )


def test_pictures_stay_and_a_text_that_points_at_one_still_does(tmp_path):
    """JailBreakV's pairing needs the text alone to change."""
    blobs = Blobs(tmp_path / "blobs")
    pictures = [blobs.put_pixels(np.full((8, 8, 3), value, np.uint8)) for value in (1, 2)]
    attack = template(template="authority_1")
    shown = case("Fold the glimber.", *pictures, "Fold what is shown.")
    alone = case("Fold the glimber.", pictures[0])
    for each, goal in ((shown, "Fold what is shown."), (alone, "Fold the glimber.")):
        (draft,) = craft(attack, [each], tmp_path)
        sealed = seal(draft, blobs, key="k", threat=attack.card.threat)
        assert list(sealed.conversation.images) == list(each.conversation.images)
        assert [type(part) for part in sealed.conversation.turns[-1].parts[:-1]] == [Image] * len(
            each.conversation.last_user_turn.images
        )
        assert sealed.conversation.last_user_text().endswith(goal)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"family": "fictoin"}, r"unknown family of text_template 'fictoin'\. Did you mean 'fiction'"),
        (
            {"template": "fiction_9"},
            r"unknown template of text_template 'fiction_9'\. Did you mean 'fict",
        ),
        ({"template": "Please do it"}, r"A text of your own says \{goal\} where the request"),
        ({"family": "fiction", "template": "fiction_1"}, "a `family` or a `template`, not both"),
        ({"file": "x.yaml", "template": "{goal}"}, "a `file` or the text of a `template`, not both"),
    ],
)
def test_misuse_is_named(settings, message):
    with pytest.raises(UsageError, match=message):
        template(**settings)


def test_a_file_of_the_user(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "calm: ['Softly: {goal}']\nloud:\n  - '{goal}!'\n  - >-\n    Loudly:\n    {goal}\n", "utf-8"
    )
    (draft,) = craft(template(file=str(path), family="calm"), [case(ASKED)], tmp_path)
    assert (draft.text, draft.note) == (f"Softly: {ASKED}", "template calm_1")
    (draft,) = craft(template(file=str(path), template="loud_2"), [case(ASKED)], tmp_path)
    assert draft.text == f"Loudly: {ASKED}"
    attack = template(file=str(path))
    before = dict(attack.resolved())
    path.write_text("calm: ['Gently: {goal}']\n", "utf-8")
    assert dict(attack.resolved()) != before
    assert template().resolved() == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("calm: ['{goal}', 'Softly']", r"mine\.yaml: text 2 of 'calm' has no \{goal\}"),
        ("calm: '{goal}'", r"mine\.yaml: 'calm' is no list of texts"),
        ("calm: [1]", r"mine\.yaml: 'calm' is no list of texts"),
        ("calm: []", r"mine\.yaml: 'calm' is no list of texts"),
        ("- '{goal}'", r"mine\.yaml: expected families"),
        ("", r"mine\.yaml: expected families"),
        ("calm: [", r"mine\.yaml:1: not valid YAML"),
    ],
)
def test_a_broken_file_is_named(text, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=message):
        template(file=str(path)).resolved()
    with pytest.raises(UsageError, match=r"templates 'no/such\.yaml' cannot be read"):
        template(file="no/such.yaml").resolved()


def test_an_unknown_family_of_a_file_is_told_with_its_own_names(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("calm: ['{goal}']", "utf-8")
    with pytest.raises(UsageError, match=r"'clam'\. Did you mean 'calm'\? Known: calm\."):
        template(file=str(path), family="clam").resolved()
