"""Rules of the house that a machine can check: import arrows, forbidden calls and names, sizes, cards."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from apart import printed

from sightline import cards, registry
from sightline.cards import KINDS
from sightline.targets.local.families import FAMILIES

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "sightline"
PACKAGE = ROOT / "packages" / "testbed" / "src" / "sightline_testbed"
FILES = sorted([*SRC.rglob("*.py"), *PACKAGE.rglob("*.py")])

# Layers from the bottom up; a module may import its own layer's folder and everything below.
LAYERS = [
    {
        "errors",
        "encodings",
        "documents",
        "characters",
        "counting",
        "cases",
        "goals",
        "records",
        "digests",
        "rng",
        "plain",
        "fonts",
        "sources",
        "closure",
        "_lazy",
        "taxonomy",
        "untrusted",
    },
    {
        "craft",
        "defending",
        "fitting",
        "contracts",
        "cards",
        "registry",
        "identities",
        "plugins",
        "callables",
        "tuning",
        "namespaces",
        "parquet",
        "stops",
        "keys",
        "sealed",
        "run_folder",
        "shards",
        "store",
        "tables",
        "release",
        "_trees",
        "_archives",
        "release_files",
        "rows",
        "readers",
        "inventory",
        "responses",
        "budget",
        "clocks",
        "waiting",
        "listening",
        "human_labels",
    },
    {"targets", "metrics", "scale"},
    {"whitebox"},
    {"training"},
    {"testbed"},
    {"sightline_testbed"},
    {"attacks", "defenses", "judges", "benchmarks", "image_sources", "recipes"},
    {"study", "report", "annotation", "judge_check", "gating", "comparing", "exports"},
    {"leaderboard"},
    {"data_check"},
    {"bridge"},
    {"console"},
    {"api", "service"},
    {
        "terminal",
        "benchmark_commands",
        "testbed_commands",
        "data_commands",
        "judge_commands",
        "train_commands",
        "smol_commands",
        "testbed_app",
        "serve_commands",
        "gate_commands",
        "compare_commands",
        "framework_commands",
        "quality_commands",
        "fit_commands",
        "annotate_commands",
        "annotate_exchange",
        "convert_commands",
        "taxonomy_commands",
        "init_commands",
        "response_commands",
        "cli",
        "__main__",
    },
]
# Imports inside functions (or for types alone) that cross the arrow on purpose: one look-up by name each.
LAZY = {
    ("callables", "api"),
    ("targets", "bridge"),
    ("registry", "attacks"),
    ("targets", "defenses"),
    ("craft", "whitebox"),
    ("craft", "attacks"),
}
PURE = {"attacks", "defenses", "judges", "metrics", "recipes"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "print", "input", "breakpoint"}
FORBIDDEN_NAMES = re.compile(r"(Base|Manager|Helper|Handler|Processor|Utils?)$")


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def part(path: Path) -> str:
    """The folder or top-level module that a file belongs to; `sightline_testbed` for all of that package."""
    if path.is_relative_to(PACKAGE):
        return PACKAGE.name
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def shown(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent if path.is_relative_to(PACKAGE) else SRC))


def imports(node: ast.AST) -> Iterator[str]:
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield child.module
            yield from (f"{child.module}.{alias.name}" for alias in child.names)


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_imports_point_one_way(path: Path) -> None:
    here = part(path)
    if here == "__init__":
        return
    height = next((i for i, layer in enumerate(LAYERS) if here in layer), None)
    assert height is not None, f"{here} has no layer: put it into LAYERS"
    allowed = set().union(*LAYERS[: height + 1])
    for name in imports(tree(path)):
        if name.startswith("sightline.") and (there := name.split(".")[1]) not in allowed:
            known = any(there in layer for layer in LAYERS)
            assert not known or (here, there) in LAZY, f"{path.name} imports {name} against the arrow"
        root = name.split(".")[0]
        if root == "inspect_ai":
            assert here == "bridge", f"{path.name}: only the bridge imports Inspect"
        assert root != "ray", f"{path.name}: Ray is loaded by name, and only when it is asked for"
        if root == PACKAGE.name:
            assert here in {PACKAGE.name, "testbed_commands"}, f"{path.name}: {root} is an optional package"
        if root in {"torch", "transformers"}:
            assert here in {"targets", "testbed", "whitebox", "training", PACKAGE.name}, (
                f"{path.name}: {root} belongs to the models"
            )


MODULES = {
    ".".join((path.relative_to(top.parent).with_suffix("")).parts).removesuffix(".__init__"): path
    for top in (SRC, PACKAGE)
    for path in top.rglob("*.py")
}


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, nested ones included; none for type checkers alone."""
    for node in body:
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from statements(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from statements(
                each for each in ast.iter_child_nodes(node) if isinstance(each, ast.stmt | ast.ExceptHandler)
            )


def loads(module: str) -> set[str]:
    """Modules of ours that importing a module imports, packages around them included."""
    found = set()
    for node in statements(tree(MODULES[module]).body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            packages = (".".join(parts[:length]) for length in range(1, len(parts) + 1))
            found |= {package for package in packages if package in MODULES}
    return {name for name in found if name != module and not module.startswith(f"{name}.")}


def test_a_family_of_models_is_named_in_one_table() -> None:
    found = {
        path.name
        for path in FILES
        if path.is_relative_to(SRC)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and node.value in FAMILIES
    }
    assert found == {"families.py"}


def test_no_import_circle() -> None:
    TopologicalSorter({module: loads(module) for module in MODULES}).prepare()  # CycleError names the circle


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_no_forbidden_call_or_name(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common", "misc"}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in FORBIDDEN_CALLS, f"{path}:{node.lineno}: {node.func.id}()"
            if part(path) in PURE and not path.stem.startswith("_"):
                assert node.func.id != "open", f"{path}:{node.lineno}: methods do no input or output"
        if isinstance(node, ast.ClassDef):
            assert not FORBIDDEN_NAMES.search(node.name), f"{path}:{node.lineno}: class {node.name}"
    wanted = {"pickle", "dill", "joblib", "shelve", "marshal", "requests", "tqdm", "argparse"}
    assert not wanted & {name.split(".")[0] for name in imports(tree(path))}


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_sizes(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    method = part(path) in {"attacks", "defenses", "judges", "benchmarks", "recipes"}
    assert lines <= (300 if method else 400), f"{path.name} has {lines} lines: does it hold one idea?"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 80, f"{path.name}: {node.name} has {length} lines"


def _methods() -> list[tuple[cards.Kind, str]]:
    folders = {kind: SRC / f"{kind}s" for kind in KINDS}
    return [
        (kind, path.stem)
        for kind, folder in folders.items()
        for path in sorted(folder.glob("*/*.py" if any(folder.glob("*/__init__.py")) else "*.py"))
        if not path.stem.startswith("_")
    ]


@pytest.mark.parametrize(("kind", "name"), _methods())
@pytest.mark.slow
def test_every_method_has_a_whole_card_a_test_and_a_row_in_the_docs(kind: cards.Kind, name: str) -> None:
    card = registry.card(kind, name)
    assert card.summary.endswith("."), f"{name}: the first docstring line is one sentence"
    assert len(card.summary) <= 120
    assert card.code
    assert kind != "attack" or card.threat is not None
    for preset in card.presets:
        assert registry.make(kind, name, preset=preset) is not None
    tests = ROOT / "tests"
    assert any(name in path.read_text(encoding="utf-8") for path in tests.glob(f"{kind}s/test_*.py")), (
        f"{name} has no test under tests/{kind}s"
    )
    assert f"`{name}`" in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), f"{name}: no docs row"


@pytest.mark.parametrize(
    "module", ["sightline", "sightline.cli", "sightline.registry", "sightline.testbed.world"]
)
def test_light_imports_load_nothing_heavy(module: str) -> None:
    heavy = {"torch", "transformers", "inspect_ai", "ray", "pyarrow", "altair", "duckdb"}
    code = f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))"
    assert printed(code) == "[]"


def test_listing_the_methods_loads_no_model_library() -> None:
    code = (
        "import sys; from sightline import cards, registry\n"
        "for kind in cards.KINDS:\n"
        "    for name in registry.names(kind): registry.card(kind, name)\n"
        "print(sorted({'torch', 'transformers', 'inspect_ai'} & set(sys.modules)))"
    )
    assert printed(code) == "[]"


def test_files_of_tests_have_different_names() -> None:
    """pytest imports them by their base name: of two alike, one is not run."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
