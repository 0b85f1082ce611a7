"""Turn shipped (or locally built) weights into an ordinary Hugging Face folder.

A model is a folder ``<root>/<model>`` with a ``manifest.json``, weight files (`codec`) and, once per model,
configuration, processor and tokenizer. Its variants may be spread over several roots: the main package brings
a few, the data package `sightline-testbed` the others. A variant is a list of parts, applied in order::

    {"file": "vision.safetensors"}                                adds tensors
    {"file": "vit.safetensors", "base": true}                     adds tensors that later parts may change
    {"file": "victim.safetensors"}                                here a `delta4` file: changes them
    {"file": ..., "model": "linear", "rename": {"a.": "b."}}      a file of another model, under new prefixes

`materialize` joins them, as float32 (what the models compute in), in a cache folder.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from sightline.digests import digest, sha256_file
from sightline.errors import ContractError, UsageError, nearest
from sightline.store import cache_folder
from sightline.testbed import codec

SHIPPED = Path(__file__).resolve().parent / "weights"
MANIFEST = "manifest.json"
JOINED = "model.safetensors"
WEIGHTS = ".safetensors"
#: folders of a build: what ships in the main package, and all else
MAIN, EXTRA = "main", "extra"
ENTRY_POINTS = "sightline.testbed"
DATA_PACKAGE = "sightline-testbed"
#: what the data package brings: whole models, and further variants of `linear`
OPTIONAL_MODELS = ("queries", "cross_attention", "linear-0.5m", "linear-1.2m")
OPTIONAL_VARIANTS = ("base", "vit-lowlr", "sysprompt", "safetuned", "catfirst", "catfirst-vit", "seed2")
#: how to come by them
HOW_TO_GET = f"`pip install {DATA_PACKAGE}`, or in a clone `pip install -e packages/testbed`"
_SEAL = "sightline.json"
_FIELDS = ("name", "family", "size", "variants", "files")

#: one folder of model folders, several, or none for what is installed
Roots = Path | Sequence[Path] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One weight file of a variant."""

    path: Path
    sha256: str
    rename: Mapping[str, str] = field(default_factory=dict)
    base: bool = False

    def renamed(self, name: str) -> str:
        """A tensor's name in the model, from its name in the file."""
        for old in sorted(self.rename, key=len, reverse=True):
            if name.startswith(old):
                return self.rename[old] + name.removeprefix(old)
        return name


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a name stands for: the main folder of its model, and the files that make it.

    Attributes:
        folder: with configuration, processor and tokenizer.
        files: their names and SHA-256.
        parts: weight files, in order.
    """

    model: str
    variant: str
    family: str
    size: Mapping[str, Any]
    about: str
    folder: Path
    files: Mapping[str, str]
    parts: tuple[Part, ...]


# What there is --------------------------------------------------------------------------------------


def roots() -> tuple[Path, ...]:
    """Return the folders of model folders that are installed: our own, then those of data packages.

    Raises:
        UsageError: if a data package cannot be loaded.
    """
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    return tuple(dict.fromkeys([SHIPPED, *(_package_folder(point) for point in points)]))


def _package_folder(point: importlib.metadata.EntryPoint) -> Path:
    cure = f"reinstall it, or `pip uninstall {DATA_PACKAGE}`"
    try:
        module = point.load()
    except Exception as broken:  # foreign code: whatever it raises, the user needs to know whose it is
        why = " ".join(f"{type(broken).__name__}: {broken}".split())
        raise UsageError(f"testbed data package {point.value!r} cannot be loaded ({why}): {cure}") from broken
    file = module.__file__ if isinstance(module, ModuleType) else None
    if file is None:
        raise UsageError(f"testbed data package {point.value!r} is not a module with a folder: {cure}")
    return Path(file).resolve().parent


def roots_in(folder: Path) -> tuple[Path, ...]:
    """Return the roots in a folder that `sightline testbed build --out` wrote; `folder` may be one itself.

    Raises:
        UsageError: if it holds no model folder.
    """
    found = tuple(root for root in (folder / MAIN, folder / EXTRA, folder) if any(root.glob(f"*/{MANIFEST}")))
    if not found:
        raise UsageError(
            f"{folder}: no model is in it, in {folder / MAIN} or in {folder / EXTRA}; "
            "name the folder that `sightline testbed build --out` wrote, or finish the build"
        )
    return found


def names(root: Roots = None) -> tuple[str, ...]:
    """Return every name `materialize` knows: ``linear``, ``linear@vit``, ..."""
    found: list[str] = []
    for model, folders in _models(root).items():
        found.append(model)
        found += [f"{model}@{variant}" for manifest in folders.values() for variant in manifest["variants"]]
    return tuple(found)


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a folder of weights.

    Raises:
        UsageError: if there is none.
        ContractError: if it is damaged or of an older form.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UsageError(f"{folder}: no {MANIFEST} there; name a folder that `sightline testbed build` wrote")
    cure = "reinstall sightline, or run `sightline testbed build`"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text("utf-8"))
        absent = [name for name in _FIELDS if name not in manifest]
        strays = [file for file in manifest.get("files", ()) if Path(file).name != file]
    except (ValueError, TypeError, AttributeError) as broken:
        raise ContractError(f"{path} is not a manifest ({broken}): {cure}") from broken
    if absent:
        raise ContractError(f"{path} does not say {', '.join(absent)}: {cure}")
    if strays:
        raise ContractError(f"{path} names {strays[0]!r}, which is not in its folder: {cure}")
    return manifest


def _models(root: Roots) -> dict[str, dict[Path, dict[str, Any]]]:
    """Every model with its folders and their manifests, the main folder first; models without one left out.

    Raises:
        ContractError: if two folders are main, or have the same variant.
    """
    places = roots() if root is None else (root,) if isinstance(root, Path) else tuple(root)
    found: dict[str, dict[Path, dict[str, Any]]] = {}
    for path in (path for place in places for path in sorted(place.glob(f"*/{MANIFEST}"))):
        found.setdefault(path.parent.name, {})[path.parent] = read_manifest(path.parent)
    for model, folders in found.items():
        owners: dict[str, Path] = {}
        for folder, manifest in folders.items():
            for variant in (*manifest["variants"], *(["default variant"] * bool(manifest.get("default")))):
                if variant in owners:
                    raise ContractError(
                        f"{model}: {variant} is in {owners[variant]} and in {folder}: install versions of "
                        f"sightline and {DATA_PACKAGE} that belong together"
                    )
                owners[variant] = folder
    return {
        model: dict(sorted(folders.items(), key=lambda item: not item[1].get("default")))
        for model, folders in sorted(found.items())
        if any(manifest.get("default") for manifest in folders.values())
    }


def find(name: str, root: Roots = None) -> Variant:
    """Return what ``<model>`` (its default variant) or ``<model>@<variant>`` stands for; reads no weights.

    Args:
        name: such as ``linear`` or ``linear@vit``.
        root: folder, or folders, of model folders; those installed by default.

    Raises:
        UsageError: for an unknown name, or one whose package or model is not there.
        ContractError: for a damaged manifest.
    """
    models = _models(root)
    model, _, variant = name.partition("@")
    folders = models.get(model, {})
    main = next(iter(folders), Path())
    variant = variant if "@" in name else str(folders[main]["default"]) if folders else ""
    owner = next((folder for folder, manifest in folders.items() if variant in manifest["variants"]), None)
    if owner is None:
        if root is None and _is_optional(name) and len(roots()) == 1:
            raise UsageError(f"testbed/{name} is in an optional package: {HOW_TO_GET}")
        raise UsageError(nearest(name, names(root), "testbed model"))
    manifest = folders[main]
    try:
        entry = folders[owner]["variants"][variant]
        return Variant(
            model=model,
            variant=variant,
            family=manifest["family"],
            size=manifest["size"],
            about=entry.get("about", ""),
            folder=main,
            files={
                file: facts["sha256"]
                for file, facts in sorted(manifest["files"].items())
                if not file.endswith(WEIGHTS)
            },
            parts=tuple(_part(model, owner, part, models) for part in entry["parts"]),
        )
    except (KeyError, TypeError, AttributeError) as broken:
        raise ContractError(f"{owner / MANIFEST}: variant {variant!r} is damaged ({broken!r})") from broken


def _is_optional(name: str) -> bool:
    """Whether the data package would have a name."""
    model, _, variant = name.partition("@")
    return model in OPTIONAL_MODELS or (model == "linear" and variant in OPTIONAL_VARIANTS)


def _part(
    model: str, owner: Path, part: Mapping[str, Any], models: Mapping[str, Mapping[Path, Mapping[str, Any]]]
) -> Part:
    """Look up the file of one part: in the variant's own folder first, then in the others of its model."""
    file, lender = str(part["file"]), str(part.get("model", model))
    folders = models.get(lender, {})
    for folder in sorted(folders, key=lambda folder: folder != owner):
        if file in folders[folder]["files"]:
            return Part(
                path=folder / file,
                sha256=folders[folder]["files"][file]["sha256"],
                rename=dict(part.get("rename", {})),
                base=bool(part.get("base", False)),
            )
    raise UsageError(
        f"{owner / MANIFEST} needs {file} of testbed/{lender}, which is in none of the folders of weights: "
        f"run `sightline testbed build {lender}` into the same folder, or install {DATA_PACKAGE}"
    )


# What it becomes ------------------------------------------------------------------------------------


def materialize(name: str = "linear", *, root: Roots = None, cache: Path | None = None) -> Path:
    """Return a Hugging Face folder with the weights of ``<model>`` or ``<model>@<variant>``.

    Args:
        name: such as ``linear`` (its default variant) or ``linear@vit``.
        root: folder, or folders, of model folders; those installed by default.
        cache: where to put the joined folder; `cache_folder()` by default.

    Raises:
        UsageError: for an unknown name.
        ContractError: if a file of the weights is not the one the manifest names.
    """
    found = find(name, root)
    identity = digest(found.files, [(part.sha256, part.rename, part.base) for part in found.parts])[:12]
    target = (cache or cache_folder()) / "testbed" / f"{found.model}@{found.variant}-{identity}"
    if _sealed(target):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=target.parent))
    try:
        _join(found, partial)
        if target.exists() and not _sealed(target):
            shutil.rmtree(target)
        try:
            partial.rename(target)
        except OSError:  # another process was faster
            if not _sealed(target):
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _sealed(folder: Path) -> bool:
    """Whether a joined folder is complete and unchanged."""
    seal, joined = folder / _SEAL, folder / JOINED
    if not (seal.is_file() and joined.is_file()):
        return False
    return bool(json.loads(seal.read_text("utf-8"))["sha256"] == sha256_file(joined))


def verify(source: Path, manifest: Mapping[str, Any]) -> None:
    """Compare every file of a folder of weights with its manifest.

    Raises:
        ContractError: naming the first file that differs or is missing.
    """
    for file, facts in manifest["files"].items():
        _verify(source / file, facts["sha256"])


def _verify(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise ContractError(f"{path} is missing: reinstall sightline, or run `sightline testbed build`")
    if sha256_file(path) != sha256:
        raise ContractError(f"{path} is not the file its manifest names: reinstall sightline")


def join(parts: Sequence[Part]) -> dict[str, codec.Floats]:
    """Load weight files in order and return all tensors, under the model's names.

    Raises:
        ContractError: if a file is not the one its manifest names, is damaged, changes what no base brought,
            or brings a tensor for the second time.
    """
    tensors: dict[str, codec.Floats] = {}
    changeable: dict[str, codec.Floats] = {}
    for part in parts:
        _verify(part.path, part.sha256)
        loaded = codec.load(part.path, changeable, part.renamed)
        twice = sorted((loaded.keys() & tensors.keys()) - changeable.keys())
        if twice:
            raise ContractError(f"{part.path}: tensor {twice[0]!r} is already there, and not from a base")
        tensors |= loaded
        changeable = {name: value for name, value in changeable.items() if name not in loaded}
        changeable |= loaded if part.base else {}
    return tensors


def _join(found: Variant, target: Path) -> None:
    """Write shared files and the joined weights of one variant."""
    from safetensors.numpy import save_file

    for file, sha256 in found.files.items():
        _verify(found.folder / file, sha256)
        shutil.copyfile(found.folder / file, target / file)
    save_file(join(found.parts), target / JOINED, metadata={"format": "pt"})
    (target / JOINED).chmod(0o644)
    seal = {"model": found.model, "variant": found.variant, "sha256": sha256_file(target / JOINED)}
    (target / _SEAL).write_text(json.dumps(seal, indent=2) + "\n", "utf-8")
