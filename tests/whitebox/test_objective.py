"""Terms against hand-computed values and against plain loops; ensembles, parts, misuse."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from planted import LETTERS, SIZE, WIDTH, Look, Toy, pair, plant
from torch import Tensor

from sightline.errors import ContractError, UsageError
from sightline.whitebox.objectives import (
    FeatureDistance,
    ImageRegularizer,
    Objective,
    SoftLogits,
    TargetNLL,
    prefix_weights,
)
from sightline.whitebox.victim import Rows

PAIRS = (pair("say", "ab"), pair("tell me", "c"))


def certain(*probabilities: float) -> Rows:
    """One artifact, two letters; letter 0, the target, has the given probabilities; pairs of 2 and 1."""
    logits = torch.tensor([[[math.log(p), math.log(1 - p)] for p in probabilities]])
    return Rows(logits, torch.zeros(3, dtype=torch.long), torch.tensor([0, 0, 1]))


def pictures(n: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("reduction", "wanted"),
    [("token_mean", (1 + 2 + 3) / 3), ("pair_mean", (1.5 + 3) / 2), ("sum", 6.0)],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_reductions_by_hand(reduction: str, sign: int, wanted: float) -> None:
    rows = certain(math.exp(-1), math.exp(-2), math.exp(-3))
    term = TargetNLL(reduction=reduction, sign=sign, weight=2.0)
    torch.testing.assert_close(term.losses(rows, PAIRS), torch.tensor([2 * sign * wanted]))


def test_weighted_reductions_by_hand() -> None:
    rows = certain(math.exp(-1), math.exp(-2), math.exp(-3))

    def weights(tokens: object) -> Tensor:
        assert tokens.position.tolist() == [0, 1, 0]
        assert tokens.length.tolist() == [2, 2, 1]
        assert tokens.pairs == PAIRS
        return torch.tensor([3.0, 1.0, 4.0])

    for reduction, wanted in (("sum", 3 + 2 + 12), ("token_mean", 17 / 8), ("pair_mean", (5 / 4 + 3) / 2)):
        found = TargetNLL(reduction=reduction, weights=weights).losses(rows, PAIRS)
        torch.testing.assert_close(found, torch.tensor([wanted], dtype=torch.float32))


def test_prefix_weights_are_the_sum_of_all_prefix_means() -> None:
    toy, x = Toy(), pictures(1).requires_grad_(True)
    term = TargetNLL(reduction="sum", weights=prefix_weights)
    (once,) = torch.autograd.grad(Objective(victims=(toy,), rows=(term,))(x, (pair(target="abc"),)).sum(), x)
    plain = Objective(victims=(toy,), rows=(TargetNLL(),))
    passes = [torch.autograd.grad(plain(x, (pair(target="abc"[:j]),)).sum(), x)[0] for j in (1, 2, 3)]
    torch.testing.assert_close(once, sum(passes))


def test_soft_targets_that_are_certain_are_hard_ones() -> None:
    toy, x = Toy(), pictures()
    hard = Objective(victims=(toy,), rows=(TargetNLL(),))(x, PAIRS)
    sure = {one: torch.eye(LETTERS)[[ord(c) - 97 for c in one.target]] for one in PAIRS}
    torch.testing.assert_close(Objective(victims=(toy,), rows=(SoftLogits(soft=sure),))(x, PAIRS), hard)
    flat = {one: torch.full((len(one.target), LETTERS), 1 / LETTERS) for one in PAIRS}
    logits = toy.rows(x, PAIRS).logits
    wanted = -logits.log_softmax(-1).mean((1, 2))
    torch.testing.assert_close(Objective(victims=(toy,), rows=(SoftLogits(soft=flat),))(x, PAIRS), wanted)
    with pytest.raises(UsageError, match="no soft targets for the pair with target 'a'"):
        Objective(victims=(toy,), rows=(SoftLogits(soft=flat),))(x, (pair(target="a"),))
    wrong = SoftLogits(soft={PAIRS[0]: torch.ones(3, LETTERS)})
    with pytest.raises(ContractError, match=r"\(3, 8\), the victim predicts \(2, 8\)"):
        Objective(victims=(toy,), rows=(wrong,))(x, PAIRS[:1])


def test_a_batch_has_the_losses_of_its_pictures_and_victims_are_summed() -> None:
    x = pictures(3)
    toys = (Toy(0), Toy(1, convolution=True))
    whole = Objective(victims=toys, rows=(TargetNLL(),))
    each = [Objective(victims=(toy,), rows=(TargetNLL(),)) for toy in toys]
    assert torch.equal(whole(x, PAIRS), each[0](x, PAIRS) + each[1](x, PAIRS))
    assert torch.equal(whole(x, PAIRS)[1:2], whole(x[1:2], PAIRS))


def test_parts_sum_to_the_whole() -> None:
    x, clean = pictures(), pictures(seed=5)
    objective = Objective(
        victims=(Toy(0), Toy(1)),
        rows=(TargetNLL(), TargetNLL(sign=-1, weight=0.3)),
        pictures=(FeatureDistance.to_picture(Look(), clean), ImageRegularizer(clean=clean, weight=0.7)),
    )
    assert objective.passes == len(objective.parts) == 3
    assert [part.passes for part in objective.parts] == [1, 1, 1]
    torch.testing.assert_close(sum(part(x, PAIRS) for part in objective.parts), objective(x, PAIRS))
    assert Objective(pictures=(ImageRegularizer(clean=clean),)).parts[0].passes == 0


def test_distances_of_features() -> None:
    look, x, other = Look(), pictures(3), pictures(1, seed=1)
    mine, theirs = look.features(x), look.features(other)
    near = FeatureDistance.to_picture(look, other)
    torch.testing.assert_close(near.losses(x), (mine - theirs).square().sum(1).sqrt())
    away = replace(near, metric="l2_squared", sign=-1, weight=2.0)
    torch.testing.assert_close(away.losses(x), -2 * (mine - theirs).square().sum(1))
    cosine = (mine * theirs).sum(1) / (mine.norm(dim=1) * theirs.norm(dim=1))
    torch.testing.assert_close(replace(near, metric="cosine").losses(x), 1 - cosine)
    own = FeatureDistance.to_picture(look, x)
    assert own.losses(x).tolist() == [0, 0, 0]
    torch.testing.assert_close(own.take([2, 0, 0]).losses(x[[2, 0, 0]]), torch.zeros(3))
    assert (own.take([1, 2, 0]).losses(x) > 0).all()
    leaf = x.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(own.losses(leaf).sum(), leaf)
    assert torch.equal(grad, torch.zeros_like(x))  # not NaN
    with pytest.raises(UsageError, match="look has 7 values"):
        FeatureDistance(encoder=look, target=torch.zeros(1, 6)).losses(x)


def test_regularizer_is_the_norm_channel_by_channel() -> None:
    clean = torch.zeros(2, 3, 2, 2)
    x = clean.clone()
    x[0, 0, 0], x[0, 2, 1, 1], x[1, 1] = torch.tensor([0.3, 0.4]), 0.2, 0.1
    term = ImageRegularizer(clean=clean, weight=10.0)
    torch.testing.assert_close(term.losses(x), torch.tensor([5.0 + 2.0, 2.0]))
    torch.testing.assert_close(term.take([1]).losses(x[1:]), torch.tensor([2.0]))


def test_probe_says_what_would_be_written() -> None:
    planted = plant(2, 16)
    star = torch.cat([planted.clean[:1].float() / 255] * 2)
    objective = Objective(victims=(planted.victim,), rows=(TargetNLL(),))
    said = pair(target=planted.victim.says(star[0]))
    probed = objective.probe(star, (*planted.pairs, said))
    assert probed.target_is_greedy.tolist() == [[False, True], [False, True]]
    assert not probed.loss.requires_grad
    for victims in ((planted.victim, Toy(9)), (Toy(9), planted.victim)):
        both = Objective(victims=victims, rows=(TargetNLL(),))
        assert not both.probe(star, (said,)).target_is_greedy.any()  # the other victim says something else
    alone = Objective(pictures=(FeatureDistance.to_picture(Look(), star[:1]),))
    assert alone.probe(star).target_is_greedy.shape == (2, 0)


def test_perturbation_belong_to_their_artifact_and_prompt() -> None:
    toy, x = Toy(), pictures()
    objective = Objective(victims=(toy,), rows=(TargetNLL(reduction="sum"),))
    perturbation = torch.zeros(2, 2, WIDTH)
    perturbation[1] = 0.5
    found, plain = objective(x, PAIRS, (None, perturbation)), objective(x, PAIRS)
    assert torch.equal(found[0], plain[0])
    assert found[1] != plain[1]
    alone = objective(x[1:], PAIRS[:1]) + objective(x[1:], PAIRS[1:], (perturbation[1:],))
    torch.testing.assert_close(found[1:], alone)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TargetNLL(reduction="mean"), "unknown reduction 'mean'. Did you mean"),
        (lambda: TargetNLL(sign=2), "sign=2 is out of range"),
        (lambda: TargetNLL(weight=-1.0), "the sign is a field of its own"),
        (lambda: SoftLogits(soft={}, reduction="summ"), "Did you mean 'sum'"),
        (
            lambda: FeatureDistance(encoder=Look(), target=torch.zeros(1, 7), metric="cosin"),
            "Did you mean 'cosine'",
        ),
        (lambda: ImageRegularizer(clean=pictures(), weight=0), "weight=0 is out of range"),
        (lambda: Objective(), "an objective needs a term"),
        (
            lambda: Objective(victims=(Toy(),), pictures=(ImageRegularizer(clean=pictures()),)),
            "with victims needs rows",
        ),
        (lambda: Objective(rows=(TargetNLL(),)), "with rows needs victims"),
        (lambda: Objective(victims=(Toy(),), rows=(TargetNLL(),))(pictures()), "the sampler gave none"),
    ],
)
def test_misuse(make: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)


OWN = (pair("say", "ab"), pair("tell me", "c"), pair("say", "cde"), pair("what is it", "h"))


@pytest.mark.parametrize("reduction", ["token_mean", "pair_mean", "sum"])
def test_artifacts_with_pairs_of_their_own_share_a_pass(reduction: str) -> None:
    """Each loss and each written target is what the artifact has alone; nothing else is asked."""
    x, victim = pictures(5), Toy()
    of_each = ((2, 0), (1, 3), (0, 2), (2, 0), (3, 1))
    term = TargetNLL(reduction=reduction)
    regularizer = ImageRegularizer(clean=pictures(5, seed=1))
    together = Objective(victims=(victim,), rows=(term,), pictures=(regularizer,), own=of_each)
    loss, forced = together(x, OWN), together.probe(x, OWN).target_is_greedy
    assert forced.shape == (5, 2)
    for i, numbers in enumerate(of_each):
        mine = tuple(OWN[number] for number in numbers)
        alone = Objective(victims=(victim,), rows=(term,), pictures=(regularizer.take([i]),))
        torch.testing.assert_close(loss[i : i + 1], alone(x[i : i + 1], mine))
        assert torch.equal(forced[i : i + 1], alone.probe(x[i : i + 1], mine).target_is_greedy)
    some = together.take([3, 1])
    torch.testing.assert_close(some(x[[3, 1]], OWN), loss[[3, 1]])


def test_only_pairs_of_artifacts_at_work_are_asked_with_their_perturbations() -> None:
    asked: list[tuple] = []

    class Asked(Toy):
        def rows(self, x, pairs, *, perturbations=()):
            asked.append((tuple(pairs), [None if n is None else float(n.sum()) for n in perturbations]))
            return super().rows(x, pairs, perturbations=perturbations)

    objective = Objective(victims=(Asked(),), rows=(TargetNLL(),), own=((3,), (1,)))
    perturbations = [torch.full((2, len(one.prompt.last_user_text().split()), WIDTH), float(i))
              for i, one in enumerate(OWN)]  # fmt: skip
    objective(pictures(2), OWN, perturbations)
    assert asked[-1] == ((OWN[1], OWN[3]), [float(perturbations[1].sum()), float(perturbations[3].sum())])
    objective.take([1])(pictures(1), OWN)
    assert asked[-1] == ((OWN[1],), [])


def test_wrong_pairs_of_their_own_are_told() -> None:
    terms = {"victims": (Toy(),), "rows": (TargetNLL(),)}
    with pytest.raises(UsageError, match="every artifact as many pairs"):
        Objective(**terms, own=((0,), (1, 2)))
    with pytest.raises(UsageError, match="at least one"):
        Objective(**terms, own=((), ()))
    with pytest.raises(ContractError, match="about 2 artifacts and pairs up to number 4"):
        Objective(**terms, own=((0,), (4,)))(pictures(2), OWN)
    with pytest.raises(ContractError, match="the step has 3 artifacts and 4 pairs"):
        Objective(**terms, own=((0,), (1,)))(pictures(3), OWN)
