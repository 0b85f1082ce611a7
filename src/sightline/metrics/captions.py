"""Scores of captions against several references, as COCO's evaluation computes them: BLEU, ROUGE-L, CIDEr-D.

All take token lists, one caption per picture with all references of the picture; `caption_tokens` makes
tokens nearly as COCO's tokenizer does. The scores are of a whole set: CIDEr-D and BLEU of a subset are not
means over it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sightline.errors import UsageError
from sightline.metrics.means import Mean, mean, same_length

Tokens = Sequence[str]
Gram = tuple[str, ...]
_ORDER = 4
_DROPPED = frozenset(["''", "'", '"', "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])
_BRACKETS = dict(zip("()[]{}", ["-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-"], strict=True))
"""COCO's evaluation means to drop round and curly ones, but lists them in upper case: they stay as tokens."""
_WORD = re.compile(
    r"[a-z]\.(?:[a-z]\.)+|(?:mrs?|ms|dr|st|jr|sr|vs)\.|no\.(?=\s?\d)|'n'"
    r"|(?:(?!n't\b)[^\W\d_])+(?=n't\b)|n't\b|'(?:s|m|d|ll|re|ve)\b"
    r"|(?:\d+(?:[.,:/]\d+)*|[^\W_]+)(?:[-_/][^\W_]+)*|\.\.\.|--|\S"
)
_SPLIT = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "wanna": ("wan", "na")}


class CiderD(NamedTuple):
    """CIDEr-D of a set (None without captions) and of each of its captions."""

    value: float | None
    each: tuple[float, ...]


def caption_tokens(text: str) -> list[str]:
    """Lower-case tokens of a caption in the manner of the Penn Treebank, without punctuation.

    Words joined by a hyphen stay one token, contractions are split. Stanford's PTBTokenizer, which COCO uses
    and which needs Java, differs on rarer marks: for figures to be compared with published ones to the last
    digit, tokenize with it.
    """
    tokens: list[str] = []
    for token in _WORD.findall(text.lower().replace("\u2019", "'")):
        tokens += _SPLIT.get(token, (_BRACKETS.get(token, token),))
    return [token for token in tokens if token not in _DROPPED]


def ngrams(tokens: Tokens) -> list[Counter[Gram]]:
    """Counts of the n-grams of each order 1..4."""
    return [Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in range(1, _ORDER + 1)]


def _checked(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> None:
    same_length("captions and lists of references", captions, references)
    for row, each in enumerate(references):
        if not each:
            raise UsageError(f"row {row}: no reference; leave the picture out and say so")
    for row, tokens in enumerate([*captions, *(tokens for each in references for tokens in each)]):
        if isinstance(tokens, str):
            raise UsageError(f"text {row} ({tokens[:40]!r}) is no list of tokens; use caption_tokens")


def coco_bleu(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> tuple[float, ...] | None:
    """BLEU-1 to BLEU-4 of a whole set, each in [0, 1], as pycocoevalcap computes them; None without captions.

    BLEU-k = B * (prod_{n<=k} (matches_n + 1e-15) / (ngrams_n + 1e-9))^(1/k), with matches clipped by the
    largest count in a reference; B = exp(1 - r/c) if the captions have fewer tokens (c) than the references
    nearest in length (r; of two as near the shorter), else 1. No smoothing: the two constants leave a trace
    where an order has no match. It is not sacreBLEU's score, which has its own tokens and smoothing.

    Raises:
        UsageError: if the two differ in length, or for a caption without references (with its row).
    """
    _checked(captions, references)
    if not captions:
        return None
    matches, total = [0] * _ORDER, [0] * _ORDER
    length = nearest = 0
    for tokens, refs in zip(captions, references, strict=True):
        length += len(tokens)
        nearest += min((abs(len(ref) - len(tokens)), len(ref)) for ref in refs)[1]
        most: list[Counter[Gram]] = [Counter() for _ in range(_ORDER)]
        for ref in refs:
            most = [a | b for a, b in zip(most, ngrams(ref), strict=True)]
        for n, grams in enumerate(ngrams(tokens)):
            matches[n] += (grams & most[n]).total()
            total[n] += grams.total()
    ratio = (length + 1e-15) / (nearest + 1e-9)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    scores, product = [], 1.0
    for n in range(_ORDER):
        product *= (matches[n] + 1e-15) / (total[n] + 1e-9)
        scores.append(brevity * product ** (1 / (n + 1)))
    return tuple(scores)


def longest_common(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence."""
    above = [0] * (len(b) + 1)
    for token in a:
        row = [0]
        for j, other in enumerate(b):
            row.append(above[j] + 1 if token == other else max(above[j + 1], row[j]))
        above = row
    return above[-1]


def coco_rouge_l(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Mean:
    """Mean over captions of (1 + b^2) P R / (R + b^2 P), b = 1.2, in [0, 1], as pycocoevalcap computes it.

    P and R are the longest common subsequence over the length of caption and reference, each the largest over
    the references, which need not be the same one. A caption without a match (or without tokens) gets 0.

    Raises:
        UsageError: as `coco_bleu`.
    """
    _checked(captions, references)
    return mean(
        _rouge(tokens, refs, weight=1.2**2) for tokens, refs in zip(captions, references, strict=True)
    )


def _rouge(tokens: Tokens, references: Sequence[Tokens], weight: float) -> float:
    common = [longest_common(ref, tokens) for ref in references]
    if not any(common):
        return 0.0
    precision = max(common) / len(tokens)
    recall = max(found / len(ref) for found, ref in zip(common, references, strict=True) if ref)
    return (1 + weight) * precision * recall / (recall + weight * precision)


def cider_d(captions: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> CiderD:
    """CIDEr-D (Vedantam et al. 2015) as pycocoevalcap computes it: 0 to 10, the mean over captions.

    For n = 1..4, g(x) = count(x) * (ln N - ln max(1, df(x))), df the number of the N pictures with x in a
    reference. Per reference: sum_x min(g_cap, g_ref) g_ref / (|g_cap| |g_ref|) * exp(-d^2 / 72); then the
    mean over n and references, times 10. Of the reference code: d is the difference in *bigrams*, and df is
    that of the pictures in the call. So the score depends on the set, and one picture alone scores 0: compare
    whole sets.

    Raises:
        UsageError: as `coco_bleu`.
    """
    _checked(captions, references)
    seen: Counter[Gram] = Counter()
    counted = [[ngrams(ref) for ref in refs] for refs in references]
    for refs in counted:
        seen.update({gram for grams in refs for order in grams for gram in order})
    pictures = math.log(len(captions)) if captions else 0.0
    weight = {gram: pictures - math.log(df) for gram, df in seen.items()}

    def vector(grams: list[Counter[Gram]]) -> list[dict[Gram, float]]:
        return [{gram: count * weight.get(gram, pictures) for gram, count in each.items()} for each in grams]

    each = []
    for tokens, refs in zip(captions, counted, strict=True):
        grams = ngrams(tokens)
        mine = vector(grams)
        scores = [
            _likeness(mine, vector(ref))
            * math.exp(-((grams[1].total() - ref[1].total()) ** 2) / (2 * 6.0**2))
            for ref in refs
        ]
        each.append(10.0 * math.fsum(scores) / len(refs))
    return CiderD(mean(each).value, tuple(each))


def _likeness(mine: list[dict[Gram, float]], other: list[dict[Gram, float]]) -> float:
    """Mean over the orders of the clipped cosine; an order without weight on a side gives 0."""
    total = 0.0
    for a, b in zip(mine, other, strict=True):
        length = math.sqrt(sum(v * v for v in a.values())) * math.sqrt(sum(v * v for v in b.values()))
        if length:
            total += sum(min(v, b[gram]) * b[gram] for gram, v in a.items() if gram in b) / length
    return total / _ORDER
