"""The front door as a stranger uses it: what there is, what help says, what is loaded, what types say."""

from __future__ import annotations

import dataclasses

import pytest
import toys
from apart import printed

import sightline as sl
from sightline import _lazy, registry
from sightline.cards import KINDS

FOLDERS = {
    "attack": sl.attacks,
    "benchmark": sl.benchmarks,
    "defense": sl.defenses,
    "judge": sl.judges,
    "recipe": sl.recipes,
}


def test_import_loads_nothing_heavy_and_costs_little():
    code = (
        "import sys, time; start = time.process_time(); import sightline\n"
        "spent = time.process_time() - start; dir(sightline)\n"
        "heavy = {'torch', 'transformers', 'inspect_ai', 'pyarrow', 'numpy', 'pydantic', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), spent < 0.2)"
    )
    assert printed(code) == "[] True"


@pytest.mark.parametrize("kind", KINDS)
def test_every_registered_method_is_named_in_its_folder(kind):
    ours = {
        registry.card(kind, name).factory
        for name in registry.names(kind)
        if registry.card(kind, name).factory.__module__.startswith("sightline.")
    }
    folder = FOLDERS[kind]
    assert ours <= {getattr(folder, name) for name in dir(folder)}
    assert _lazy.homes(folder.__file__) == {cls.__name__: cls.__module__ for cls in ours}


@pytest.mark.parametrize("kind", KINDS)
def test_class_names_follow_from_method_names(kind):
    """So that a class is found without importing the others."""
    for name in registry.names(kind):
        cls = registry.card(kind, name).factory
        ours = cls.__module__.startswith("sightline.")  # others are toys of tests in the same process
        assert name == "none" or cls.__name__.lower() == name.replace("_", "") or not ours


def test_an_unknown_class_is_told_with_its_like():
    with pytest.raises(AttributeError, match="Did you mean 'QiVisual'"):
        _ = sl.attacks.QiVisuals


def test_help_shows_settings_presets_and_how_to_call():
    text = sl.attacks.GCG.__doc__
    assert text.startswith(registry.card("attack", "gcg").summary)
    assert "candidates: " in text
    assert "GCG.preset('nanogcg')" in text
    call = sl.attacks.GCG.__call__.__doc__
    assert "(height, width, 3) of\n" in call or "(height, width, 3) of uint8" in " ".join(call.split())
    assert "pixel levels 0..255" in call


def test_presets_are_constructed_from_the_class():
    assert sl.attacks.GCG.preset("nanogcg") == registry.make("attack", "gcg", preset="nanogcg")
    assert sl.attacks.GCG.preset("nanogcg", steps=3).steps == 3
    with pytest.raises(sl.UsageError, match="unknown preset"):
        sl.attacks.GCG.preset("nano")


def test_a_method_that_derives_from_nothing_is_callable_too():
    assert not any(base is not object for base in toys.ToyPlain.__bases__)
    assert toys.ToyPlain()(None, "hello", quiet=True).text == "hello"
    assert toys.ToyPlain.preset("default") == toys.ToyPlain()


def test_methods_are_frozen_settings():
    for name in dir(sl.attacks):
        assert dataclasses.is_dataclass(getattr(sl.attacks, name))
