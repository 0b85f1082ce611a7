"""Write a model's folder as `weights` reads it: weight files, manifest with hashes, the other files.

The caller names each weight file once, as tensors to be stored or as a file that exists elsewhere, and says
of each variant which of them make it; bases of differences and their order follow from that::

    write_model(
        SHIPPED / "linear",
        name="linear", family="linear", size=asdict(FULL), default="victim",
        sources={
            "vision": OwnFile(state=tower_and_projector),
            "vit": OwnFile(state=vit_language),
            "aligned-lm": OwnFile(state=aligned_language),
            "victim": OwnFile(state=victim_language, how="delta4", base="vit"),
        },
        variants={
            "victim": Made(parts=("vision", "victim"), about="refuses text, obeys drawings"),
            "vit": Made(parts=("vision", "vit"), about="after plain visual tuning"),
            "aligned-lm": Made(parts=("vision", "aligned-lm"), about="before visual tuning"),
        },
        extra_files=folder_of_save_pretrained, facts={"versions": ..., "settings": ..., "stages": ...},
    )

A difference is taken to the base *as decoded*, so the errors of a base do not add to those of its variants.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sightline.digests import sha256_file
from sightline.errors import UsageError, nearest
from sightline.testbed import codec
from sightline.testbed.weights import MANIFEST, WEIGHTS, Part, join, read_manifest

CARD = "CARD.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFile:
    """Tensors that become the weight file ``<source>.safetensors``.

    Attributes:
        state: genuine Hugging Face name -> array or CPU tensor of floats, without gradient.
        how: see `codec`.
        base: for `delta4`: the source that it is the difference to; it may hold further tensors.
    """

    state: Mapping[str, Any]
    how: codec.How = "int8"
    base: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedFile:
    """A weight file that exists: of another model, or of this model's folder in another root.

    Attributes:
        file: its name.
        model: whose it is; this model's by default.
        rename: new prefixes of tensor names, by old prefix.
        base: the source that it was stored as the difference to, if it was.
    """

    file: str
    model: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    base: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A variant: the sources that make it, without bases, and one sentence about it."""

    parts: tuple[str, ...]
    about: str


def write_model(
    folder: Path,
    *,
    name: str,
    family: str,
    size: Mapping[str, int],
    sources: Mapping[str, OwnFile | SharedFile],
    variants: Mapping[str, Made],
    default: str | None = None,
    extra_files: Path | None = None,
    facts: Mapping[str, Any] | None = None,
    roots: Sequence[Path] = (),
) -> dict[str, Any]:
    """Write a folder of weights, or write it anew; the same arguments give the same bytes.

    Args:
        folder: where to; its name is the model's. What lay there is replaced as a whole, its card included.
        name: of the model.
        family: `linear`, `queries` or `cross_attention`.
        size: fields of `families.Size`.
        sources: weight files, by the name that `variants` and bases use.
        variants: what makes each variant.
        default: its variant without `@`; none for further variants of a model whose main folder is elsewhere.
        extra_files: folder of configuration, processor and tokenizer, which are copied (main folder only).
        facts: goes into the manifest: versions, settings, stages.
        roots: where the models of `SharedFile` files lie.

    Returns:
        The manifest.

    Raises:
        UsageError: for an unknown source, base, owner or default, for variants that do not hold the same
            tensors, or if `folder` holds something else.
        ContractError: naming a tensor that cannot be stored or joined.
    """
    if default is not None and default not in variants:
        raise UsageError(nearest(default, variants, "default variant"))
    _check_place(folder, name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        partial.chmod(0o755)
        chains = {source: _chain(source, sources) for made in variants.values() for source in made.parts}
        parts: dict[str, Part] = {}
        for source in dict.fromkeys(step for chain in chains.values() for step in chain):
            what = sources[source]
            if isinstance(what, SharedFile):
                parts[source] = _find(what, name, roots)
            else:
                parts[source] = _store(partial / f"{source}{WEIGHTS}", what, sources, parts)
        listed = {variant: _listed(made, chains) for variant, made in variants.items()}
        _check_same_tensors(name, {variant: _joined(steps, parts) for variant, steps in listed.items()})
        if extra_files is not None:
            _copy(extra_files, partial)
        manifest = {
            "name": name,
            "family": family,
            "size": dict(size),
            **({"default": default} if default else {}),
            "variants": {
                variant: {
                    "about": made.about,
                    "parts": [_entry(source, sources, base) for source, base in listed[variant].items()],
                }
                for variant, made in variants.items()
            },
            **_inventory(partial),
            **(facts or {}),
        }
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _check_place(folder: Path, name: str) -> None:
    if folder.name != name:
        raise UsageError(f"{folder}: the folder of a model has its name, {name!r}")
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} holds files but no {MANIFEST}: it is not replaced; name another folder")


def _chain(source: str, sources: Mapping[str, OwnFile | SharedFile]) -> tuple[str, ...]:
    """A source with all its bases, the first base first."""
    chain: list[str] = []
    step: str | None = source
    while step is not None:
        if step not in sources:
            raise UsageError(nearest(step, sources, "source of weights"))
        if step in chain:
            raise UsageError(f"source {step!r} is its own base")
        chain.insert(0, step)
        step = sources[step].base
    return tuple(chain)


def _listed(made: Made, chains: Mapping[str, tuple[str, ...]]) -> dict[str, bool]:
    """The sources of a variant in order, bases included, with whether each is only there to be changed."""
    steps: dict[str, bool] = {}
    for source in made.parts:
        for base in chains[source][:-1]:
            steps.setdefault(base, True)
        steps[source] = False
    return steps


def _joined(steps: Mapping[str, bool], parts: Mapping[str, Part]) -> dict[str, codec.Floats]:
    return join([replace(parts[source], base=base) for source, base in steps.items()])


def _store(
    path: Path, what: OwnFile, sources: Mapping[str, OwnFile | SharedFile], parts: Mapping[str, Part]
) -> Part:
    """Write a source's tensors, as the difference to its base as decoded if it has one."""
    base = None
    if what.base is not None:
        base = _joined(dict.fromkeys(_chain(what.base, sources), True), parts)
    codec.save(path, what.state, what.how, base)
    return Part(path=path, sha256=sha256_file(path))


def _find(shared: SharedFile, name: str, roots: Sequence[Path]) -> Part:
    owner = shared.model or name
    for root in roots:
        if (root / owner / MANIFEST).is_file():
            files = read_manifest(root / owner)["files"]
            if shared.file in files:
                path = root / owner / shared.file
                return Part(path=path, sha256=files[shared.file]["sha256"], rename=shared.rename)
    looked = ", ".join(str(root) for root in roots) or "no folder: give `roots`"
    raise UsageError(f"{shared.file} of {owner} was not found; looked in {looked}")


def _entry(source: str, sources: Mapping[str, OwnFile | SharedFile], base: bool) -> dict[str, Any]:
    """How the manifest names a part."""
    what = sources[source]
    entry: dict[str, Any] = {"file": what.file if isinstance(what, SharedFile) else f"{source}{WEIGHTS}"}
    if isinstance(what, SharedFile):
        entry |= {"model": what.model} if what.model else {}
        entry |= {"rename": dict(what.rename)} if what.rename else {}
    return entry | ({"base": True} if base else {})


def _check_same_tensors(name: str, joined: Mapping[str, Mapping[str, codec.Floats]]) -> None:
    first, *others = joined
    for other in others:
        strange = sorted(joined[first].keys() ^ joined[other].keys())
        if strange:
            raise UsageError(
                f"{name}@{first} and {name}@{other} must hold the same tensors; {strange[0]!r} is in one only"
            )


def _copy(extra_files: Path, folder: Path) -> None:
    for path in sorted(extra_files.iterdir()):
        if path.is_file() and path.suffix != WEIGHTS and path.name not in (MANIFEST, CARD):
            shutil.copyfile(path, folder / path.name)


def _inventory(folder: Path) -> dict[str, Any]:
    files = {
        path.name: {"sha256": sha256_file(path), "bytes": path.stat().st_size}
        for path in sorted(folder.iterdir())
    }
    return {"bytes": sum(facts["bytes"] for facts in files.values()), "files": files}
