"""Readers of words in pictures, by name: `rapidocr` (extra `ocr`), `tesseract` (the installed program).

A reader is loaded when it first reads. `READERS` is a table: who adds a reader adds an entry. What a reader
finds on the machine (packages, a program) is asked for when a study is opened, and is part of its identity.
"""

from __future__ import annotations

import csv
import importlib.util
import io
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from PIL import Image as PilImage

from sightline.errors import AbsentExtraError, UsageError, nearest
from sightline.records import Pixels

SMALLEST_PX = 256
"""RapidOCR looks for text in a picture whose shorter side is enlarged to this; larger pictures stay."""
QUICK_PX = 416
"""Longest side at which RapidOCR looks for lines first; words are read at the picture's own size. Where it
finds none, or is not sure of them, it looks again at the picture's own size."""
SURE = 0.97
"""Below, a picture is read again."""
AT_ONCE = 2
"""Lines that are recognized together: each is padded to the longest of them."""
SECONDS = 60
"""After which Tesseract is given up."""
_MODELS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
}


class Read(NamedTuple):
    """Lines of a picture from top to bottom, and how sure the reader is of them: 0..1, 0 for no lines."""

    lines: tuple[str, ...]
    sure: float


class Reader(Protocol):
    """Reads pictures. Whatever it raises is a failure to read."""

    def read(self, pixels: Pixels, *, quick: bool = False) -> Read:
        """The lines of a picture: uint8 RGB, height x width x 3. `quick`: small lines may be overlooked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderEntry:
    """A reader by name.

    Attributes:
        found: versions of what it needs on this machine, by name. Raises UsageError with the cure.
        load: makes it ready; called once in a process.
    """

    found: Callable[[], Mapping[str, str]]
    load: Callable[[], Reader]


def entry(name: str) -> ReaderEntry:
    """The reader of that name; nothing is loaded.

    Raises:
        UsageError: for an unknown name; the nearest is offered.
    """
    if name not in READERS:
        raise UsageError(nearest(name, READERS, "reader of defense 'ocr_guard'"))
    return READERS[name]


class RapidOcr:
    """RapidOCR on the processor, in one thread, with the models of its package: nothing is downloaded."""

    def __init__(self) -> None:
        self._quick = _engine(QUICK_PX, "max")
        self._fine = _engine(SMALLEST_PX, "min")

    def read(self, pixels: Pixels, *, quick: bool = False) -> Read:
        """See `Reader`."""
        if max(pixels.shape[:2]) <= QUICK_PX:
            return _read(self._fine, pixels)
        found = _read(self._quick, pixels)
        if quick or (found.lines and found.sure >= SURE):
            return found
        return max(found, _read(self._fine, pixels), key=lambda each: each.sure)


def _engine(side_px: int, limits: str) -> Any:
    """RapidOCR that looks for lines where the shorter side is at least `side_px`, or the longer one at most.

    Its models are loaded when it first reads.
    """
    from rapidocr import RapidOCR

    params: dict[str, Any] = {f"{part}.model_path": str(path) for part, path in _models().items()}
    params |= {f"EngineConfig.onnxruntime.{which}_op_num_threads": 1 for which in ("intra", "inter")}
    params |= {"Det.limit_side_len": side_px, "Det.limit_type": limits}
    return RapidOCR(params={**params, "Rec.rec_batch_num": AT_ONCE, "Global.log_level": "critical"})


def _read(engine: Any, pixels: Pixels) -> Read:
    """What RapidOCR reads in a picture, given in its order of channels."""
    found = engine(np.ascontiguousarray(pixels[:, :, ::-1]))
    lines = tuple(str(line) for line in found.txts or ())
    return Read(lines, float(np.mean(found.scores)) if lines else 0.0)


def _models() -> dict[str, Path]:
    """The files of RapidOCR's models, by part.

    Raises:
        UsageError: if the package came without them.
    """
    spec = importlib.util.find_spec("rapidocr")
    assert spec is not None
    assert spec.origin is not None
    found = {part: Path(spec.origin).parent / "models" / name for part, name in _MODELS.items()}
    absent = [path.name for path in found.values() if not path.is_file()]
    if absent:
        raise UsageError(
            f"rapidocr {version('rapidocr')} came without {', '.join(absent)}, and nothing is downloaded: "
            "pip install 'rapidocr==3.10.0'"
        )
    return found


def _rapidocr_found() -> Mapping[str, str]:
    for package in ("rapidocr", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise AbsentExtraError("defense 'ocr_guard' with reader 'rapidocr'", "ocr", package)
    _models()
    return {package: version(package) for package in ("rapidocr", "onnxruntime")}


class Tesseract:
    """The installed program `tesseract`, asked for a table of words. Not verified here against a real one."""

    def read(self, pixels: Pixels, *, quick: bool = False) -> Read:  # noqa: ARG002
        """See `Reader`; it has one speed."""
        file = io.BytesIO()
        PilImage.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
        command = [_program(), "stdin", "stdout", "--psm", "6", "tsv"]
        done = subprocess.run(  # noqa: S603 - a program of the user's, without a shell
            command, input=file.getvalue(), capture_output=True, check=True, timeout=SECONDS
        )
        return read_table(done.stdout.decode("utf-8"))


def read_table(text: str) -> Read:
    """Lines and mean confidence of Tesseract's table of words."""
    lines: dict[tuple[str, ...], list[str]] = {}
    sure: list[float] = []
    for row in csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE):
        word = (row["text"] or "").strip()
        if word and float(row["conf"]) >= 0:
            place = tuple(row[key] for key in ("block_num", "par_num", "line_num"))
            lines.setdefault(place, []).append(word)
            sure.append(float(row["conf"]) / 100)
    return Read(tuple(" ".join(words) for words in lines.values()), float(np.mean(sure)) if sure else 0.0)


def _program() -> str:
    found = shutil.which("tesseract")
    if found is None:
        raise UsageError(
            "defense 'ocr_guard' with reader 'tesseract' needs the program tesseract, which is not on the "
            "PATH: install it (apt-get install tesseract-ocr), or take reader 'rapidocr'"
        )
    return found


def _tesseract_found() -> Mapping[str, str]:
    return {"tesseract": _version(_program())}


@cache
def _version(program: str) -> str:
    done = subprocess.run(  # noqa: S603 - a program of the user's, without a shell
        [program, "--version"], capture_output=True, check=False, timeout=SECONDS
    )
    return (done.stdout or done.stderr).decode("utf-8", "replace").partition("\n")[0].strip()


READERS: dict[str, ReaderEntry] = {
    "rapidocr": ReaderEntry(found=_rapidocr_found, load=RapidOcr),
    "tesseract": ReaderEntry(found=_tesseract_found, load=Tesseract),
}
