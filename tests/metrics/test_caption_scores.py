"""BLEU, ROUGE-L and CIDEr-D of caption sets: goldens of pycocoevalcap 1.2 and by hand, quirks, bounds.

Goldens were computed outside the repository with pycocoevalcap's Bleu(4), Rouge and Cider classes (no Java)
on the same tokens; on 300 random sets the largest difference to ours was 7e-16.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import UsageError
from sightline.metrics.captions import caption_tokens, cider_d, coco_bleu, coco_rouge_l, longest_common


def tokens(*texts: str) -> list[list[str]]:
    return [text.split() for text in texts]


CAPTIONS = tokens("a man on a horse", "dogs play in the snow")
REFERENCES = [
    tokens("a man rides a horse", "a person on a horse"),
    tokens("two dogs play in snow", "dogs running in the snow"),
]
WORDS = st.lists(st.sampled_from(["glim", "frell", "tor", "on", "in"]), min_size=1, max_size=7)
SETS = st.lists(st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)), min_size=2, max_size=5)


def test_goldens_of_the_specification() -> None:
    assert coco_bleu(CAPTIONS, REFERENCES) == pytest.approx((1.0, 0.935414, 0.759147, 0.000102), abs=5e-7)
    found = cider_d(CAPTIONS, REFERENCES)
    assert found.value == pytest.approx(3.946429, abs=5e-7)
    assert found.each == pytest.approx((3.809524, 4.083333), abs=5e-7)


def test_rouge_by_hand() -> None:
    # 4 of 5 tokens are common in order with the nearest reference of either: P = R = .8
    assert coco_rouge_l(CAPTIONS, REFERENCES).value == pytest.approx(0.8)
    # P = 2/2 and R = 2/3, weight 1.44
    one = coco_rouge_l(tokens("glim frell"), [tokens("glim tor frell")])
    assert one.value == pytest.approx(2.44 * (2 / 3) / (2 / 3 + 1.44))
    assert coco_rouge_l(tokens("glim", ""), [tokens("tor"), tokens("tor")]) == (0.0, 2, 0)


def test_bleu_by_hand() -> None:
    # clipped: "glim" once; 1/2 unigrams, 1/1 bigram not present
    bleu = coco_bleu(tokens("glim glim"), [tokens("glim frell")])
    assert bleu is not None
    assert bleu[0] == pytest.approx(0.5)
    # shorter than its reference: exp(1 - 4/2)
    short = coco_bleu(tokens("glim frell"), [tokens("glim frell tor on")])
    assert short is not None
    assert short[1] == pytest.approx(math.exp(-1))
    # of two references as near in length the shorter one: no penalty for 2 of 1 or 3
    tied = coco_bleu(tokens("glim frell"), [tokens("glim frell tor", "glim")])
    assert tied is not None
    assert tied[1] == pytest.approx(1)


def test_cider_of_a_single_picture_is_zero() -> None:
    assert cider_d(CAPTIONS[:1], REFERENCES[:1]) == (0.0, (0.0,))  # idf = ln 1


def test_cider_depends_on_the_set() -> None:
    whole = cider_d(CAPTIONS, REFERENCES).each[0]
    more = cider_d(CAPTIONS + tokens("a red glim"), [*REFERENCES, tokens("a blue glim")]).each[0]
    assert more != pytest.approx(whole)


def test_length_penalty_counts_bigrams() -> None:
    # by hand, N = 2, no n-gram shared between pictures: order 1 has cosine 1/sqrt(2) (one of
    # the reference's two words), the other orders 0; the caption has no bigram, the reference one: exp(-1/72)
    found = cider_d(tokens("glim", "tor"), [tokens("glim frell"), tokens("tor")])
    assert found.each[0] == pytest.approx(10 / 4 / math.sqrt(2) * math.exp(-1 / 72))
    assert found.each[1] == pytest.approx(10 / 4)  # only order 1 exists


@given(SETS)
def test_bounds_and_invariance(rows: list[tuple[list[str], list[list[str]]]]) -> None:
    captions, references = [caption for caption, _ in rows], [refs for _, refs in rows]
    bleu, cider, rouge = (metric(captions, references) for metric in (coco_bleu, cider_d, coco_rouge_l))
    assert bleu is not None
    assert all(0 <= each <= 1 + 1e-9 for each in bleu)
    assert all(-1e-9 <= each <= 10 + 1e-9 for each in cider.each)
    assert rouge.value is not None
    assert 0 <= rouge.value <= 1 + 1e-9
    turned = [refs[::-1] for refs in references]
    assert coco_bleu(captions[::-1], turned[::-1]) == pytest.approx(bleu)
    assert cider_d(captions[::-1], turned[::-1]).value == pytest.approx(cider.value)
    assert coco_rouge_l(captions, turned) == rouge
    perfect = [refs[0] for refs in references]
    assert coco_rouge_l(perfect, references).value == pytest.approx(1)
    exact = coco_bleu(perfect, references)
    assert exact is not None
    assert exact[0] == pytest.approx(1)


@given(WORDS, WORDS)
def test_longest_common_subsequence(a: list[str], b: list[str]) -> None:
    size = longest_common(a, b)
    assert size == longest_common(b, a) == longest_common(a[::-1], b[::-1])
    assert len(set(a) & set(b)) > 0 or size == 0
    assert longest_common(a, a + b) == len(a)


def test_undefined_and_broken() -> None:
    assert coco_bleu([], []) is None
    assert cider_d([], []) == (None, ())
    assert coco_rouge_l([], []).value is None
    for metric in (coco_bleu, cider_d, coco_rouge_l):
        with pytest.raises(UsageError, match="row 1: no reference"):
            metric(CAPTIONS, [REFERENCES[0], []])
        with pytest.raises(UsageError, match="2 and 1 rows"):
            metric(CAPTIONS, REFERENCES[:1])
        with pytest.raises(UsageError, match="use caption_tokens"):
            metric(["a man"], [tokens("a man")])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A Glim, and a frell.", "a glim and a frell"),
        ("A black-and-white tor isn't here!", "a black-and-white tor is n't here"),
        ("The glim\u2019s 3.5 frells (red)...", "the glim 's 3.5 frells -lrb- red -rrb-"),
        ('A 3-year-old #1 fan says "stop" at 10:30 a.m.', "a 3-year-old # 1 fan says stop at 10:30 a.m."),
        ("No. 5 on St. Tor & 1/2 [old] frells", "no. 5 on st. tor & 1/2 -lsb- old -rsb- frells"),
        ("It cannot be; they're gone?", "it can not be they 're gone"),
        ("", ""),
    ],
)
def test_caption_tokens(text: str, expected: str) -> None:
    # the same tokens as PTBTokenizer of pycocoevalcap 1.2 (Java), run outside the repository
    assert caption_tokens(text) == expected.split()
