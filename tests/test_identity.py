"""Identity covers what decides: every module of a closure moves the key, a comment does not; so do fonts."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import edited
import orjson
import pytest
from apart import printed
from blind import BLIND
from edited import INSTALLED, edit, forget, text_of, with_another_constant, with_other_comments
from pages import case
from shipped import shipped
from talks import Talk

from sightline import _lazy, cards, closure, registry, targets, whitebox
from sightline.cases import Conversation
from sightline.closure import PLUMBING, without_code
from sightline.contracts import Craft, Decoding, NeedsTarget, ResolvesFiles
from sightline.defending import NeedsHelpers, NeedsInside
from sightline.defenses._readers import READERS
from sightline.digests import sha256_file
from sightline.errors import UsageError
from sightline.identities import inner_of
from sightline.records import Response
from sightline.release import OfficialRelease
from sightline.store import Blobs
from sightline.study.stage_code import STAGES, SURROGATES, stage_code
from sightline.study.surrogates import EncoderSurrogate, open_surrogate
from sightline.targets.defended import DefendedTarget

METHODS = [(kind, name) for kind in cards.KINDS for name in shipped(kind)]
NO_IMAGES = SimpleNamespace()


@pytest.fixture(autouse=True)
def _closures_as_installed() -> Iterator[None]:
    yield
    forget()


@dataclass(frozen=True)
class Keyed:
    """Something that has a key: the modules that are to be in it, and the key as it is now."""

    modules: tuple[str, ...]
    key: Callable[[], str]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, an encoder and a table, as far as opening them goes: nothing is loaded."""
    root = tmp_path_factory.mktemp("models")
    for name, kind in (("model", "llava"), ("tower", "clip")):
        (root / name).mkdir()
        config = {"model_type": kind, "architectures": ["CLIPModel"]}
        (root / name / "config.json").write_bytes(orjson.dumps(config))
        (root / name / "model.safetensors").write_bytes(b"weights")
    row = {"conversation": "0" * 32, "text": "yes", "stop": "stop", "target": "t"}
    (root / "table.jsonl").write_bytes(orjson.dumps(row))
    return root


TARGETS = {
    "vlm": "vlm/{root}/model",
    "testbed": "testbed/linear",
    "scripted": "scripted/echo",
    "replay": "replay/{root}/table.jsonl",
    "defended": "defended/self_moderation:scripted/echo",
    "inspect": "mockllm/model",
}


def modules_of(method: Any) -> tuple[str, ...]:
    """The module of a method, and those of the methods that it runs."""
    inner = (module for each in inner_of(method) for module in modules_of(each))
    return (type(method).__module__, *inner)


def keyed(what: str, folders: Path) -> Keyed:
    """A method (`attack figstep`), a target (`target vlm`), a surrogate or a stage."""
    kind, _, name = what.partition(" ")
    if kind == "target":
        string = TARGETS[name].format(root=folders)
        return Keyed(targets.modules_of(string), lambda: targets.open_target(string, NO_IMAGES).id)
    if kind == "surrogate" and name == "encoder":
        return Keyed(SURROGATES, lambda: EncoderSurrogate(f"encoder/{folders}/tower").id)
    if kind == "surrogate":
        string = f"vlm/{folders}/model"

        def key() -> str:
            return open_surrogate(string, lambda target: targets.open_target(target, NO_IMAGES)).id

        return Keyed(SURROGATES, key)
    if kind == "stage":
        return Keyed(STAGES[name], lambda: stage_code(name))
    method = registry.make(kind, name)
    return Keyed(modules_of(method), lambda: registry.identity(method))


EVERYTHING = [
    *(f"{kind} {name}" for kind, name in METHODS),
    *(f"target {name}" for name in TARGETS),
    "surrogate encoder",
    "surrogate model",
    *(f"stage {name}" for name in STAGES),
]


def modules_in(*roots: str) -> list[str]:
    return [name for name in INSTALLED.closure(*roots) if ":" not in name]


@pytest.mark.parametrize("what", EVERYTHING)
def test_a_constant_in_any_module_of_the_closure_moves_the_key_and_a_comment_does_not(
    what: str, folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = keyed(what, folders)
    edit(monkeypatch, {})
    before = found.key()
    modules = modules_in(*found.modules)
    assert set(found.modules) <= set(modules)
    edit(monkeypatch, {module: with_other_comments(text_of(module)) for module in modules})
    assert found.key() == before, f"comments moved the key of {what}"
    for module in modules:
        edit(monkeypatch, {module: with_another_constant(text_of(module))})
        assert found.key() != before, f"{module}: another constant left the key of {what}"


FLIPS = {
    "the sign of TargetNLL": ("sightline.whitebox.objectives", "TargetNLL"),
    "the descent direction of SignGD": ("sightline.whitebox.optimizers", "SignGD"),
}


def flipped(module: str, name: str) -> str:
    """The module with the first + or - of a class turned round."""
    text = text_of(module)
    classes = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    (found,) = (node for node in classes if name == node.name)
    for node in ast.walk(found):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub | ast.Add | ast.Mult):
            left, right = ast.get_source_segment(text, node.left), ast.get_source_segment(text, node.right)
            return edited.replaced(text, node, f"-({left}) + ({right})")
    raise AssertionError(f"{name} computes nothing")


@pytest.mark.parametrize("flip", FLIPS)
def test_a_flipped_sign_in_the_engine_moves_the_key_of_every_attack_on_gradients(
    flip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = [registry.make("attack", name) for name in shipped("attack")]
    on_gradients = [attack for attack in attacks if attack.card.surrogate]
    assert "qi_visual" in {attack.card.name for attack in on_gradients}
    before = {attack: registry.identity(attack) for attack in attacks}
    module, name = FLIPS[flip]
    edit(monkeypatch, {module: flipped(module, name)})
    assert all(registry.identity(attack) != before[attack] for attack in on_gradients)
    plain = registry.make("attack", "none")
    assert registry.identity(plain) == before[plain]


@pytest.mark.slow
def test_a_changed_data_file_moves_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a copy of the package: each declared file, or one of a pattern, changed by a byte."""
    copy = tmp_path / "sightline"
    ignored = shutil.ignore_patterns("weights", "__pycache__", "*.safetensors")
    shutil.copytree(edited.installed_folder(), copy, ignore=ignored)
    tree = closure.SourceTree({"sightline": copy})
    for kind, name in METHODS:
        module = registry.card(kind, name).factory.__module__
        before = tree.closure(module)
        for part in (part for part in before if ":" in part):
            owner, _, pattern = part.partition(":")
            home = tree.path(owner)
            assert home is not None
            file = next(home.parent.glob(pattern))
            whole = file.read_bytes()
            file.write_bytes(whole + b"\n")
            assert tree.closure(module)[part] != before[part], part
            file.write_bytes(whole)


# --- Nothing that decides is left out -----------------------------------------


def test_plumbing_is_short_has_reasons_and_holds_nothing_that_decides() -> None:
    assert len(PLUMBING) <= 16
    for module, reason in PLUMBING.items():
        assert INSTALLED.path(module) is not None, f"{module} is no module"
        assert len(reason) > 20
        places = {"sightline.testbed.weights", "sightline.testbed.smol.places"}
        if module not in places | {"sightline.targets", "sightline.whitebox.through"}:
            assert module.count(".") <= 1, f"{module}: only modules of the top level are plumbing"
            assert module.partition(".")[2] not in {"cases", "records", "rng", "store", "budget", "release"}


GOAL = {"attacker_goal": "string", "attacker_target": "frell", "attacker_instruction": "say frell"}
"""What a third party wants of a case; see `sightline.goals`."""


def test_no_closure_loads_a_module_that_cannot_be_read_off_its_text() -> None:
    modules = {name for kind, m in METHODS for name in modules_in(registry.card(kind, m).factory.__module__)}
    modules |= {name for string in TARGETS.values() for name in modules_in(*targets.modules_of(string))}
    modules |= {name for roots in STAGES.values() for name in modules_in(*roots)}
    for module in modules:
        path = INSTALLED.path(module)
        assert path is not None
        assert not INSTALLED.source(path).unresolved, f"{module} loads a module by a name that is computed"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                by_name = node.value.id == "registry" and node.attr in {"make", "parse", "card"}
                assert not by_name, f"{module} finds a method by name: its code would be in no key"


def test_who_wraps_a_benchmark_has_its_identity() -> None:
    made = registry.make("benchmark", "third_party")
    other = registry.make("benchmark", "third_party", of="testbed_requests(subset='all')")
    assert [registry.identity(each) for each in inner_of(made)] != [
        registry.identity(each) for each in inner_of(other)
    ]
    assert "sightline.benchmarks.testbed_requests" in registry.parts(made)


def test_packages_do_nothing_when_they_are_imported() -> None:
    """Their `__init__` is in a closure only where something is taken from the package itself."""
    harmless = (
        ast.Import,
        ast.ImportFrom,
        ast.Assign,
        ast.AnnAssign,
        ast.FunctionDef,
        ast.ClassDef,
        ast.Expr,
    )
    for path in edited.installed_folder().rglob("__init__.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.If):
                assert getattr(node.test, "id", "") == "TYPE_CHECKING", f"{path}:{node.lineno}"
                continue
            assert isinstance(node, harmless), f"{path}:{node.lineno}"
            if isinstance(node, ast.Expr):
                assert isinstance(node.value, ast.Constant), f"{path}:{node.lineno}: a call"


def test_a_lazy_package_exports_what_its_type_checkers_see() -> None:
    """Else a module that `whitebox.__getattr__` serves could be in no closure."""
    served = set(_lazy.homes(whitebox.__file__).values())
    assert served <= INSTALLED.closure("sightline.whitebox").keys()


def declared_by(kind: str, name: str) -> set[Path]:
    """The data files in a method's key."""
    root = edited.installed_folder()
    found: set[Path] = set()
    for part in registry.parts(registry.make(kind, name)):
        owner, _, pattern = part.partition(":")
        if pattern:
            found |= {path.resolve() for path in root.joinpath(*owner.split(".")[1:-1]).glob(pattern)}
    return found


def test_every_data_file_of_the_package_is_in_some_key() -> None:
    declared = {path for kind, name in METHODS for path in declared_by(kind, name)}
    for folder in ("attacks", "defenses", "judges", "benchmarks", "fonts"):
        for path in (edited.installed_folder() / folder).rglob("*"):
            if path.is_file() and path.suffix not in {".py", ".pyc"} and "LICENSE" not in path.name:
                assert path.resolve() in declared, f"{path}: declare it with data=(...) where it is read"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Every file of the package that is opened and is no code."""
    found: list[Path] = []
    root = edited.installed_folder()

    def look(event: str, given: tuple[Any, ...]) -> None:
        if _watching and event == "open" and isinstance(given[0], str) and given[0].startswith(str(root)):
            path = Path(given[0]).resolve()
            if path.suffix not in {".py", ".pyc"} and "testbed/weights" not in path.as_posix():
                found.append(path)

    sys.addaudithook(look)
    _watching.append(True)
    yield found
    _watching.clear()


_watching: list[bool] = []


def _forget_files() -> None:
    """Empty the caches of our modules, so that what a method needs is read again."""
    for name, module in list(sys.modules.items()):
        if name.startswith("sightline.") and name != "sightline.closure":
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear") and getattr(value, "__module__", "") == name:
                    value.cache_clear()


def _itself(target: Any) -> Any:
    return target


async def _written(target: Any, conversation: Conversation, decoding: Decoding, how: Any) -> Response:
    """What a target that only says things writes when it is looked into."""
    return await target.generate(conversation, decoding)


@pytest.fixture(autouse=True)
def _blind(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here needs the extra `ocr`."""
    monkeypatch.setitem(READERS, "rapidocr", BLIND)


def _exercise(kind: str, name: str, blobs: Blobs) -> None:
    """Use a method once, in every preset, as far as it goes without a model."""
    presets = ["default", *registry.card(kind, name).presets]
    for method in (registry.make(kind, name, preset=preset) for preset in presets):
        if kind == "attack" and not method.card.surrogate:
            wordings = {"statement": "steps for balopi", "key_phrase": "balopi", "rephrased": "steps for it"}
            asked = case("steps for balopi", id="b/1", **wordings, **GOAL)
            if hasattr(method, "converse"):
                helpers = {role: ["no"] for role in ("target", "attacker", "captioner", "translator")}
                ctx = Craft(images=blobs, talk=Talk(verdicts=lambda _: "refused", **helpers))
                with suppress(UsageError):  # helpers that say this cannot be read
                    asyncio.run(method.converse(asked, ctx))
            else:
                list(method.craft([asked], Craft(images=blobs)))
        if kind == "defense":
            if isinstance(method, NeedsHelpers) and hasattr(method, "model"):
                method = dataclasses.replace(method, model="scripted/echo")
            bare = targets.open_target("scripted/echo", blobs)
            if isinstance(method, NeedsInside):
                bare.inside = partial(_itself, bare)
                bare.write = partial(_written, bare)
            opener = partial(targets.open_target, images=blobs)
            with suppress(UsageError):  # without a state, a helper or an encoder
                target = DefendedTarget(method, bare, blobs, opener)
                asyncio.run(target.generate(Conversation.user("steps for x"), Decoding()))
        if kind == "judge":
            if isinstance(method, NeedsTarget):
                if hasattr(method, "grader"):
                    method = dataclasses.replace(method, grader="scripted/echo")
                method = method.bind(lambda string: targets.open_target(string, blobs))
            item = case("steps for balopi", id="b/1")
            with suppress(UsageError):  # `human`, without labels of a run
                asyncio.run(method.judge(item, item.conversation, Response(text="balopi : 1. stir")))
                _ = method.id
        if kind == "benchmark" and not method.needs_root:
            list(method.cases(OfficialRelease(None, blobs)))


@pytest.mark.parametrize(("kind", "name"), METHODS)
@pytest.mark.slow
def test_every_file_that_a_method_reads_is_in_its_key(
    kind: str, name: str, tmp_path: Path, opened: list[Path]
) -> None:
    found: set[str] = set()
    for preset in ["default", *registry.card(kind, name).presets]:
        found |= set(registry.resolved(registry.make(kind, name, preset=preset)).values())
    opened.clear()
    _forget_files()
    _exercise(kind, name, Blobs(tmp_path / "blobs"))
    scripts = edited.installed_folder() / "targets" / "scripts"  # of the target that answers here: in its id
    for path in set(opened) - declared_by(kind, name):
        assert path.parent == scripts or sha256_file(path) in found, f"{kind} {name} reads {path} unasked"


def test_every_attack_with_a_font_resolves_it() -> None:
    drawing = [name for name in shipped("attack") if hasattr(registry.make("attack", name), "font")]
    assert {"figstep", "mm_typography", "misleading", "jailbreak_in_pieces"} <= set(drawing)
    for name in drawing:
        attack = registry.make("attack", name)
        assert isinstance(attack, ResolvesFiles), f"{name} draws with a font that is in no key"
        assert len(attack.resolved()["font"]) == 64


def test_listing_methods_computes_no_closure() -> None:
    code = (
        "from sightline import cards, registry\n"
        "from sightline.closure import closure\n"
        "for kind in cards.KINDS:\n"
        "    for name in registry.names(kind): registry.card(kind, name)\n"
        "print(closure.cache_info().misses)"
    )
    assert printed(code) == "0"


def test_computing_keys_loads_no_model_library() -> None:
    code = (
        "import sys\n"
        "from sightline import cards, registry\n"
        "from sightline.errors import AbsentExtraError\n"
        "for kind in cards.KINDS:\n"
        "    for name in registry.names(kind):\n"
        "        try: registry.identity(registry.make(kind, name))\n"
        "        except AbsentExtraError: assert name == 'ocr_guard', name\n"
        "print(sorted({'torch', 'transformers', 'inspect_ai'} & set(sys.modules)))"
    )
    assert printed(code) == "[]"


# --- Ids of models ------------------------------------------------------------


def test_an_id_without_its_code_is_that_of_weights_and_settings(folders: Path) -> None:
    target = targets.open_target(f"vlm/{folders}/model", NO_IMAGES)
    surrogate = open_surrogate(f"vlm/{folders}/model", lambda name: target)
    assert surrogate.id != target.id
    assert without_code(surrogate.id) == without_code(target.id)
    assert without_code("vlm/~/models/x") == "vlm/~/models/x"
    assert without_code(without_code(target.id)) == without_code(target.id)


def test_another_version_of_what_decodes_is_another_target(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ids() -> dict[str, str]:
        return {
            name: targets.open_target(TARGETS[name].format(root=folders), NO_IMAGES).id
            for name in ("vlm", "inspect", "scripted")
        }

    before = ids()
    monkeypatch.setattr(closure, "_version", lambda package: f"{package} of tomorrow")
    after = ids()
    assert {name for name in before if before[name] != after[name]} == {"vlm", "inspect"}


def test_unknown_kinds_of_targets_have_no_code_of_ours() -> None:
    assert targets.modules_of("toy/a") == ()
    with pytest.raises(UsageError, match="unknown defense"):
        targets.modules_of("defended/nothing_like_it:scripted/echo")
