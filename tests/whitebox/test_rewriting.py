"""Rewriting a text: what may change, what is read, budgets, and controls."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sightline.budget import Budget, SpentError
from sightline.cases import Conversation
from sightline.errors import UsageError
from sightline.targets import LocalSettings
from sightline.whitebox.embedding_search import EmbeddingSearch, Margin, Rewriting, rewrite, scrambled
from sightline.whitebox.model import open_victim
from sightline.whitebox.objectives import TargetNLL
from sightline.whitebox.search import Callbacks, SearchPlan
from sightline.whitebox.suffix import whole_text
from sightline.whitebox.victim import Rows

ASKED = "how is moss made with corn ?"
AVOID = "corn : 1 mix"


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def victim():
    return open_victim("testbed/linear", local=LocalSettings(device="cpu"))


@pytest.fixture
def rewriting(victim):
    def made(**given):
        reader, prompt = whole_text(victim, Conversation.user(ASKED))
        given.setdefault("avoid", (AVOID,))
        return Rewriting(reader=reader, prompt=prompt, **given)

    return made


def started(problem):
    return EmbeddingSearch(problem, SearchPlan(20, 0, 1, Budget(), (0,)), 1, Callbacks())


def test_the_margin_is_what_is_reached_minus_what_is_avoided():
    logits = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    ids, pair = torch.tensor([0, 1, 2, 3, 0]), torch.tensor([0, 0, 1, 1, 1])
    found = Margin((1, -1)).losses(Rows(logits, ids, pair), (None, None))
    nll = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids.expand(3, -1), reduction="none")
    assert torch.allclose(found, nll[:, :2].mean(1) - nll[:, 2:].mean(1))


@pytest.mark.slow
def test_an_embedding_moved_onto_another_is_read_as_that_token(rewriting):
    run = started(rewriting(kept="corn"))
    vocabulary = run.problem.reader.vocabulary
    (other,) = vocabulary.ids("fern")
    delta = torch.zeros_like(run.original)
    assert torch.equal(run.nearest_tokens(delta), run.ids)
    moss = vocabulary.ids(ASKED).index(vocabulary.ids("moss")[0])
    corn = vocabulary.ids(ASKED).index(vocabulary.ids("corn")[0])
    for place in (moss, corn):
        delta[place] = 2 * run.embeddings[other] - run.original[place]
    found = run.nearest_tokens(delta).tolist()
    assert found[moss] == other
    assert found[corn] == run.ids[corn]  # kept
    assert run.similarity_of(run.ids) == pytest.approx(1)
    assert run.similarity_of(torch.tensor(found)) < 1


def test_tokens_that_stand_for_no_text_are_not_put_in(rewriting):
    run = started(rewriting())
    delta = torch.zeros_like(run.original)
    delta[0] = 3 * run.embeddings[run.problem.reader.vocabulary.ids("<s>")[0]] - run.original[0]
    found = int(run.nearest_tokens(delta)[0])
    assert found not in run.problem.reader.vocabulary.special


def test_a_step_follows_the_slope_of_the_moved_embeddings(rewriting):
    """By finite differences, away from the text itself, with and without the reconstruction."""
    for beta in (0.0, -0.7):
        problem = rewriting(beta=beta, rate=1e-3, usual_length=7.0, kept="corn")
        run = started(problem)
        delta = run.random_start()
        before, size = _rise(run, delta, beta), 1e-3
        moved = run.stepped(delta)[1]
        step = moved - delta
        assert step.norm() == pytest.approx(size * len(run.ids) / 7.0, rel=1e-4)
        kept = run.problem.reader.vocabulary.phrase_mask(run.ids.tolist(), "corn")
        assert not step[torch.tensor(kept)].any()
        gained = _rise(run, delta + 20 * step, beta) - before
        assert gained > 0
        for seed in range(5):
            other = torch.randn(step.shape, generator=torch.Generator().manual_seed(seed))
            other *= ~torch.tensor(kept)[:, None]
            assert _rise(run, delta + 20 * other * step.norm() / other.norm(), beta) - before < gained


def _rise(run, delta, beta):
    """What a step is to raise: the loss of the avoided answer, and the reconstruction's share."""
    scores, _ = run.evaluator.embedding_gradient(run.ids, delta)
    logits = (run.original + delta) @ run.embeddings.t()
    return -float(scores.loss[0]) + beta * float(torch.nn.functional.cross_entropy(logits, run.ids))


def test_a_perturbation_of_nothing_leaves_the_loss_as_it_is(rewriting):
    problem = rewriting()
    reader, pairs, loss = problem.reader, problem.pairs, TargetNLL()
    ids = reader.start(problem.prompt, 0)
    shape = (1, len(ids), reader.embeddings().shape[1])

    def value(rows):
        return loss.losses(rows, pairs)

    still, _, _ = reader.embedding_gradient(ids, pairs, value, torch.zeros(shape))
    assert torch.equal(still, reader.token_gradient(ids, pairs, value).loss)
    moved, _, _ = reader.embedding_gradient(ids, pairs, value, torch.ones(shape))
    assert not torch.equal(still, moved)


def test_what_is_reached_already_is_left_alone(rewriting, victim):
    reader, prompt = whole_text(victim, Conversation.user(ASKED))
    found = rewrite(rewriting(avoid=("nobody says this",)), restarts=1, steps=1)
    assert found.stop_reason == "stopped"
    assert found.text.strip() == ASKED
    assert (found.best.step, found.cost.backwards) == (0, 0)
    assert reader.suffix.init == ASKED
    assert prompt.last_user_text() == ""


def test_a_rewriting_is_the_same_for_the_same_seed_and_ends_at_its_budget(rewriting):
    def run(**given):
        problem = rewriting(reach=("moss : 1 mix",), rate=5.0, kept="moss")
        return rewrite(problem, restarts=3, steps=4, **given)

    one, two = run(seed=1), run(seed=1)
    assert (one.ids, one.losses, one.checks) == (two.ids, two.losses, two.checks)
    assert one.losses != run(seed=2).losses
    assert one.cost.backwards == len(one.losses) <= 12
    poor = run(seed=1, budget=Budget(backwards=5))
    assert (poor.stop_reason, poor.cost.backwards) == ("budget", 5)
    assert poor.losses == one.losses[:5]
    with pytest.raises(SpentError, match=r"budget.forwards=2 does not pay for one step"):
        run(budget=Budget(forwards=2))


def test_a_budget_of_operations_is_kept_or_refused(rewriting):
    """What the start and the first step take is not known before they are run; then it is told."""

    def run(**given):
        return rewrite(rewriting(reach=("moss : 1 mix",), kept="moss"), restarts=1, steps=3, **given)

    whole, kept = run().cost.flops, []
    for percent in range(2, 100, 7):
        budget = Budget(flops=percent / 100 * whole)
        try:
            found = run(budget=budget)
        except SpentError:
            assert not kept
            continue
        assert budget.exceeded(found.cost) is None
        kept.append(percent)
    assert 2 < kept[0] < 90
    with pytest.raises(SpentError, match=r"budget.flops=1000 does not pay for one"):
        run(budget=Budget(flops=1000.0))


def test_a_search_in_embeddings_is_resumed(rewriting):
    """At the end of a random start, and in the midst of one, where the budget ended it."""

    def run(**given):
        return rewrite(rewriting(reach=("moss : 1 mix",), kept="moss"), restarts=3, steps=4, seed=1, **given)

    kept, short = [], []
    whole = run(callbacks=Callbacks(save=kept.append))
    run(budget=Budget(backwards=6), callbacks=Callbacks(save=short.append))
    for checkpoint in (*kept[:-1], short[-1]):
        again = run(resume=checkpoint)
        assert (again.ids, again.losses, again.checks) == (whole.ids, whole.losses, whole.checks)
        assert replace(again.cost, seconds=0.0) == replace(whole.cost, seconds=0.0)


def test_a_round_too_unlike_the_text_is_given_up(rewriting):
    found = rewrite(
        rewriting(reach=("moss : 1 mix",), rate=500.0, min_similarity=0.99, max_similarity=1.0),
        restarts=4,
        steps=5,
    )
    assert found.cost.backwards == 4


def test_the_control_keeps_what_is_kept(rewriting):
    problem = rewriting(kept="corn ?")
    texts = [scrambled(problem, seed=seed) for seed in range(3)]
    assert len(set(texts)) == 3
    for text in texts:
        assert text.endswith("corn ?")
        assert len(problem.reader.vocabulary.ids(text)) == len(problem.reader.vocabulary.ids(ASKED))
        assert problem.reader.reads(problem.prompt, problem.reader.vocabulary.ids(text))


def test_misuse_is_told(rewriting):
    with pytest.raises(UsageError, match="an answer to avoid, or one to reach"):
        rewriting(avoid=())
    for wrong, message in (
        ({"beta": 1.0}, "at most 0"),
        ({"rate": 0.0}, "more than 0"),
        ({"min_similarity": 2.0}, "-1 to"),
    ):
        with pytest.raises(UsageError, match=message):
            rewriting(**wrong)
    with pytest.raises(UsageError, match=r"nothing of .* may change"):
        rewrite(rewriting(kept=ASKED))
    for wrong in ({"restarts": 0}, {"steps": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            rewrite(rewriting(), **wrong)
