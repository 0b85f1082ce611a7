"""Short answers and free text against references: token F1, response F1, BLEU, ROUGE-L, chosen options."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sightline.errors import UsageError, require
from sightline.metrics.captions import longest_common, ngrams
from sightline.metrics.classification import accuracy
from sightline.metrics.means import same_length

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NUMBER = re.compile(r"(?<![\w.])[-\u2212]?\d+(?:,\d{3})*(?:\.\d+)?(?!\d)")
_ROUGE_TOKEN = re.compile(r"[a-z0-9]+")


def squad_tokens(text: str) -> list[str]:
    """Words in lower case without ASCII punctuation and articles, as in SQuAD's official evaluation."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def token_f1(reply: str, answers: Sequence[str]) -> float | None:
    """Harmonic mean of precision and recall of the shared tokens, the largest over `answers`; in [0, 1].

    SQuAD (Rajpurkar et al. 2016, 2018). As in its version 2.0, 1 if neither reply nor answer has a token, 0
    if only one of them has none. None without answers.
    """
    said = squad_tokens(reply)
    return max((_f1(said, squad_tokens(answer)) for answer in answers), default=None)


def _f1(said: list[str], right: list[str]) -> float:
    if not said or not right:
        return float(said == right)
    return 2 * (Counter(said) & Counter(right)).total() / (len(said) + len(right))


def response_f1(
    reply: str, answers: Sequence[str], ranges: Sequence[tuple[float, float]] = ()
) -> float | None:
    """PrivQA's response F1 (Chen et al. 2023): `token_f1`, or 1 if a number is in its range.

    With `ranges` (low and high, both included; one of them is enough) only the first number of the reply
    counts: 1 inside a range, else 0; thousands may be marked by commas. That the first number is read is our
    rule. None without answers and ranges.

    Raises:
        UsageError: for a range whose low end is above its high end.
    """
    if not ranges:
        return token_f1(reply, answers)
    for low, high in ranges:
        require(low <= high, "ranges", (low, high), "the low end first")
    found = _NUMBER.search(reply)
    if found is None:
        return 0.0
    number = float(found[0].replace(",", "").replace("\u2212", "-"))
    return float(any(low <= number <= high for low, high in ranges))


def rouge_l(reply: str, reference: str) -> float | None:
    """F1 of the longest common subsequence of tokens, in [0, 1]; as `rougeL` of rouge-score without stemming.

    2 LCS / (tokens of both), tokens being runs of a-z and 0-9 in lower case. None if the reference has no
    token.
    """
    said, right = _ROUGE_TOKEN.findall(reply.lower()), _ROUGE_TOKEN.findall(reference.lower())
    return 2 * longest_common(right, said) / (len(said) + len(right)) if right else None


_ENTITIES = (("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))
_APART = (
    (re.compile(r"([{-~\[-` -&(-+:-@/])"), r" \1 "),  # ASCII marks but ' , - .
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])(-)"), r"\1 \2 "),
)


def bleu_tokens(text: str) -> list[str]:
    """Tokens of WMT's mteval-v13a, which sacreBLEU calls `13a`: case is kept, marks stand apart."""
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    for written, meant in _ENTITIES:
        text = text.replace(written, meant)
    text = f" {text} "
    for pattern, apart in _APART:
        text = pattern.sub(apart, text)
    return text.split()


def bleu(replies: Sequence[str], references: Sequence[Sequence[str]]) -> float | None:
    """Corpus BLEU-4 from 0 to 100, as sacreBLEU computes it by default (tokens `13a`, smoothing `exp`).

    B * exp(mean_{n<=4} ln p_n), p_n = matches / n-grams over all replies; the k-th order without a match
    counts as 1 / (2^k n-grams). B = exp(1 - r/c) if the replies have fewer tokens (c) than the references
    nearest in length (r), else 1. 0 without any match, or if no reply has four tokens. None without replies.
    It is not COCO's BLEU.

    Raises:
        UsageError: if the two differ in length, or for a reply without references (with its row).
    """
    same_length("replies and lists of references", replies, references)
    matches, total, length, nearest = [0] * 4, [0] * 4, 0, 0
    for row, (reply, texts) in enumerate(zip(replies, references, strict=True)):
        if not texts:
            raise UsageError(f"row {row}: no reference; leave the reply out and say so")
        said, right = bleu_tokens(reply), [bleu_tokens(text) for text in texts]
        length += len(said)
        nearest += min((abs(len(each) - len(said)), len(each)) for each in right)[1]
        counted = [ngrams(each) for each in right]
        for n, grams in enumerate(ngrams(said)):
            most: Counter[tuple[str, ...]] = Counter()
            for each in counted:
                most |= each[n]
            matches[n] += (grams & most).total()
            total[n] += grams.total()
    if not replies:
        return None
    if not any(matches) or not all(total):
        return 0.0
    logs, missed = 0.0, 0
    for hits, grams_said in zip(matches, total, strict=True):
        missed += not hits
        logs += math.log((hits or 0.5**missed) / grams_said)
    brevity = math.exp(1 - nearest / length) if length < nearest else 1.0
    return 100.0 * brevity * math.exp(logs / 4)


class Choices(NamedTuple):
    """Accuracy over all `n` questions (None without any), of which the `unparsed` count as wrong."""

    accuracy: float | None
    n: int
    unparsed: int


_LETTER = re.compile(
    r"(?:(?:the |my )?(?:correct |best |right |final )?(?:answer|option|choice)(?: is| would be)? ?[:=]? ?)?"
    r"(?:option |choice )?[\W_]*([a-z])(?:[\W_]*$|[).:,]|\n| [-\u2013\u2014] )",
    re.IGNORECASE,
)
"""A reply that starts with a letter."""
_ANOTHER = re.compile(r"[\W_]*(?:and|or)?[\W_]*([a-z])(?:[\W_]*$|[).:,])", re.IGNORECASE)
"""What follows the letter of a reply that lists several."""
_STATED = re.compile(
    r"\b(?i:answer|option|choice)(?: is| ?:) ?(?i:option |choice )?[\W_]*"
    r"(?:([A-Z])(?![\w'])|([a-z])(?:\)|\.?\s*$))"
)


def chosen_option(reply: str, options: Sequence[str]) -> str | None:
    """The letter (A, B, ...) of the option that a reply names, or None if it names none, or more than one.

    Read are the whole text of an option, with or without its letter; a letter at the start ("B", "(b) ...",
    "Answer: B"); letters stated anywhere as the answer ("so the answer is B"). If they are not all the same,
    or beyond the options, none is.

    Raises:
        UsageError: for more than 26 options, or two alike.
    """
    require(len(options) <= len(string.ascii_uppercase), "options", len(options), "26 at most")
    plain = [" ".join(squad_tokens(option)) for option in options]
    if len(set(options)) < len(options):
        raise UsageError(f"two options are alike: {', '.join(map(repr, options))}")
    letters = string.ascii_uppercase[: len(options)]
    text = "\n".join(line for line in (" ".join(each.split()) for each in reply.splitlines()) if line)
    stated = {(upper or lower).upper() for upper, lower in _STATED.findall(text)}
    said = " ".join(squad_tokens(reply))
    for letter, option in zip(letters, plain, strict=True):
        if said and plain.count(option) == 1 and said in {option, f"{letter.lower()} {option}"}:
            stated.add(letter)
    if (first := _LETTER.match(text)) is not None:
        stated.add(first[1].upper())
        if (another := _ANOTHER.match(text, first.end(1))) is not None:
            stated.add(another[1].upper())
    return stated.pop() if len(stated) == 1 and stated <= set(letters) else None


def choice_accuracy(keys: Sequence[str], chosen: Sequence[str | None]) -> Choices:
    """Right letters / questions, in [0, 1]; a reply in which no letter was found (None) is wrong and counted.

    MMMU's and SIUO's rule for replies that cannot be parsed; some harnesses draw a letter at random instead.

    Raises:
        UsageError: if the columns differ in length.
    """
    same_length("keys and chosen options", keys, chosen)
    return Choices(accuracy(keys, chosen), len(keys), sum(letter is None for letter in chosen))
