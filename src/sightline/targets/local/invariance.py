"""Does a model answer a request the same way alone and among others?

Synthetic requests of mixed length, with pictures of mixed size, with several pictures and without
any, run one by one and as left-padded batches. Compared are the raw scores of every step up to the
first difference, and the answers. In fp32 all answers must agree. In bf16 and fp16 rounding alone
may turn a near tie: a differing answer is forgiven if the two tokens' scores, alone, lie within the
tolerance, and the report counts it as a tie. A model that fails answers one request at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np

from sightline.cases import Conversation, Image, Part, Turn
from sightline.contracts import Decoding
from sightline.digests import digest, sha256_bytes
from sightline.rng import numpy_rng
from sightline.store import cache_folder, encode_png
from sightline.targets._asked import UnfitError
from sightline.targets.local.files import read_json, write_json
from sightline.targets.local.model import LoadedModel, Prepared, Reply

NEW_TOKENS = 8
_VERSION = 2
#: largest allowed difference of scores, relative to the spread (maximum - minimum) of a step's scores
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 1e-2}


@dataclass(frozen=True, slots=True, kw_only=True)
class InvarianceReport:
    """What the check found. `max_diff` is relative to the spread of scores; `ties` were forgiven."""

    passed: bool
    rows: int
    batches: int
    agreed: int
    ties: int
    max_diff: float
    tolerance: float


@cache
def _pictures() -> dict[str, tuple[Image, bytes]]:
    """Noise pictures of several sizes by hash (noise: every patch matters)."""
    found = {}
    for number, (height, width) in enumerate([(64, 64), (48, 96), (96, 48), (120, 120), (64, 64), (80, 56)]):
        pixels = numpy_rng("invariance", number).integers(0, 256, (height, width, 3), dtype=np.uint8)
        data = encode_png(pixels)
        sha256 = sha256_bytes(data)
        found[sha256] = (Image(sha256, width, height), data)
    return found


def _read(sha256: str) -> bytes:
    return _pictures()[sha256][1]


def _requests() -> list[Conversation]:
    images = [image for image, _ in _pictures().values()]
    words = "the red square is in the top of the image and one two three".split()  # noqa: SIM905

    def text(count: int) -> str:
        return " ".join(words[place % len(words)] for place in range(count))

    asked: list[tuple[Part, ...]] = [(image, text(3 + 7 * place)) for place, image in enumerate(images)]
    asked += [(text(2),), (text(9),), (text(30),)]
    asked += [(images[0], images[3], text(4)), (images[1], images[2], text(12))]
    found = [Conversation.user(*parts) for parts in asked]
    found.append(
        Conversation(
            (
                Turn("user", (images[0], text(5))),
                Turn("assistant", (text(4),)),
                Turn("user", (text(6),)),
            )
        )
    )
    return found


def measure(model: LoadedModel) -> InvarianceReport:
    """Run the check on a model, whose caches it leaves as they are.

    Kinds of request that the model cannot take at all are left out.
    """
    caches = model.seen, model.prefixes
    model.seen = caches[0] and caches[0].fresh()
    model.prefixes = caches[1] and caches[1].fresh()
    try:
        return _measured(model)
    finally:
        model.seen, model.prefixes = caches


def _measured(model: LoadedModel) -> InvarianceReport:
    rows: list[Prepared] = []
    for conversation in _requests():
        try:
            rows.append(model.prepare(conversation, Decoding(max_tokens=NEW_TOKENS), _read))
        except UnfitError:
            continue
    model.route.tensors.drop(_pictures())

    def cold(part: Sequence[Prepared]) -> list[Reply]:
        for memory in (model.seen, model.prefixes):
            if memory is not None:
                memory.clear()  # or a picture would be encoded once, in the batch
        return model.generate(part, new_tokens=NEW_TOKENS, scores=True)

    def warm(part: Sequence[Prepared]) -> list[Reply]:
        """Alone from nothing; in a batch on top of the keys and values of an earlier one."""
        replies = cold(part)
        if len(part) == 1:
            return replies
        return model.generate(part, new_tokens=NEW_TOKENS, scores=True)

    report = compare(rows, cold, model.dtype)
    if model.prefixes is not None:
        report = _both(report, compare(rows, warm, model.dtype))
    return report


def _both(one: InvarianceReport, other: InvarianceReport) -> InvarianceReport:
    return InvarianceReport(
        passed=one.passed and other.passed,
        rows=one.rows + other.rows,
        batches=one.batches + other.batches,
        agreed=one.agreed + other.agreed,
        ties=one.ties + other.ties,
        max_diff=max(one.max_diff, other.max_diff),
        tolerance=one.tolerance,
    )


def compare(
    rows: Sequence[Prepared], generate: Callable[[Sequence[Prepared]], list[Reply]], dtype: str
) -> InvarianceReport:
    """Compare each row alone with the same row in a batch of all rows of its bucket."""
    tolerance = TOLERANCE[dtype]
    buckets: dict[tuple[object, ...], list[Prepared]] = defaultdict(list)
    for row in rows:
        buckets[row.bucket].append(row)
    batches = [bucket for bucket in buckets.values() if len(bucket) > 1]
    compared = agreed = ties = 0
    worst = 0.0
    for bucket in batches:
        for row, among in zip(bucket, generate(bucket), strict=True):
            alone = generate([row])[0]
            compared += 1
            worst = max(worst, _difference(alone, among))
            if alone.ids == among.ids:
                agreed += 1
            elif dtype != "float32" and _is_tie(alone, among, tolerance):
                ties += 1
    passed = worst <= tolerance and agreed + ties == compared
    return InvarianceReport(
        passed=passed,
        rows=compared,
        batches=len(batches),
        agreed=agreed,
        ties=ties,
        max_diff=worst,
        tolerance=tolerance,
    )


def _first_difference(alone: Reply, among: Reply) -> int:
    pairs = enumerate(zip(alone.ids, among.ids, strict=False))
    shorter = min(len(alone.ids), len(among.ids))
    return next((step for step, (one, other) in pairs if one != other), shorter)


def _difference(alone: Reply, among: Reply) -> float:
    """Largest relative difference of scores over the steps that both runs took from the same prefix."""
    steps = min(_first_difference(alone, among) + 1, len(alone.scores), len(among.scores), len(alone.ids))
    worst = 0.0
    for one, other in zip(alone.scores[:steps], among.scores[:steps], strict=True):
        finite = one.isfinite() & other.isfinite()
        if not bool((one.isfinite() == other.isfinite()).all()):
            return float("inf")
        one, other = one[finite], other[finite]
        spread = max(float(one.max() - one.min()), 1e-6)
        worst = max(worst, float((one - other).abs().max()) / spread)
    return worst


def _is_tie(alone: Reply, among: Reply, tolerance: float) -> bool:
    step = _first_difference(alone, among)
    if step >= min(len(alone.ids), len(among.ids)):
        return False
    scores = alone.scores[step]
    spread = max(float(scores.max() - scores.min()), 1e-6)
    return float(scores[alone.ids[step]] - scores[among.ids[step]]) <= tolerance * spread


def remembered(model: LoadedModel, weights: str) -> InvarianceReport:
    """The report for these weights, measured once per version of torch and transformers."""
    import torch
    import transformers

    versions = (torch.__version__, transformers.__version__, _VERSION)
    key = digest(weights, model.dtype, model.device.partition(":")[0], *versions)
    path = cache_folder() / "batch-invariance" / f"{key}.json"
    stored = read_json(path)
    try:
        return InvarianceReport(**stored)  # type: ignore[arg-type]
    except TypeError:
        report = measure(model)
        write_json(path, asdict(report))
        return report
