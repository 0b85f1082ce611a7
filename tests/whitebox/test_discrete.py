"""The search for text on a model whose best filling is known: steps, budgets, checks, memory, resumption."""

from __future__ import annotations

from dataclasses import asdict, replace

import planted_text
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_text import TOKENS, Letters, Planted, pair

from sightline.budget import UNLIMITED, Budget, Meter, SpentError
from sightline.errors import UsageError
from sightline.whitebox.candidates import ModelEvaluator
from sightline.whitebox.checkpoint import CheckpointFile, load_state, save_state
from sightline.whitebox.compute import RngStream
from sightline.whitebox.objectives import TargetNLL
from sightline.whitebox.samplers import FixedPairs, WithoutReplacement
from sightline.whitebox.search import Callbacks
from sightline.whitebox.stops import all_targets_greedy, any_target_greedy, loss_below
from sightline.whitebox.suffix import TokenSuffix
from sightline.whitebox.token_optimizers import GCG, HotFlip, steepest
from sightline.whitebox.token_search import TextProblem, search_tokens

OPTIMIZERS = (
    GCG(candidates=60, topk=8),
    GCG(candidates=60, topk=8, places="random", block=1),
    HotFlip(candidates=3),
)


def problem(*readers, optimizer=OPTIMIZERS[0], stop=any_target_greedy, **given):
    given.setdefault("sampler", FixedPairs((pair(),)))
    return TextProblem(readers=readers or (Planted(),), optimizer=optimizer, stop=stop, **given)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("seed", range(4))
def test_a_planted_filling_is_found(optimizer, seed):
    reader = Planted(seed=seed)
    found = search_tokens(problem(reader, optimizer=optimizer), steps=30, seed=seed)
    assert (found.stop_reason, found.best.greedy_share) == ("stopped", 1.0)
    assert list(found.ids) == reader.best
    assert found.text == reader.text(reader.best)
    assert found.best.step <= (6 if isinstance(optimizer, HotFlip) else 29)


@pytest.mark.parametrize("seed", range(4))
def test_the_planted_tokens_are_those_of_steepest_descent(seed):
    reader = Planted(seed=seed)
    loss = TargetNLL()
    _, grads, _ = reader.token_gradient(
        reader.start(pair().prompt, 0), (pair(),), lambda r: loss.losses(r, (pair(),))
    )
    assert steepest(grads, torch.ones(TOKENS, dtype=torch.bool), 4)[:, 0].tolist() == reader.best
    banned = torch.ones(TOKENS, dtype=torch.bool)
    banned[reader.best[0]] = False
    found = steepest(grads, banned, TOKENS)
    assert found.shape == (6, TOKENS - 1)
    assert reader.best[0] not in found.flatten().tolist()


def test_every_prompt_counts_the_same_in_every_place():
    """One gradient is a thousand times the other; a place without any does not become NaN."""
    grads = torch.zeros(2, 2, 5)
    grads[0, 0] = torch.tensor([-1000.0, 0, 0, 0, -400])
    grads[1, 0] = torch.tensor([0, -0.5, 0, 0, -0.4])
    found = steepest(grads, torch.ones(5, dtype=torch.bool), 1)
    assert found[0].tolist() == [4]
    assert steepest(grads * 1e-30, torch.ones(5, dtype=torch.bool), 1)[0].tolist() == [4]


def looks(asked):
    """What an optimizer of a problem may ask, with the pairs of the probe."""
    return ModelEvaluator(asked.readers, asked.loss, asked.probe_pairs, Meter(UNLIMITED), lambda _: None)


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 9),
    candidates=st.integers(1, 80),
    topk=st.integers(1, 50),
    block=st.integers(0, 10),
    places=st.sampled_from(["even", "random"]),
    seed=st.integers(0, 1000),
)
def test_candidates_change_one_place_to_an_allowed_token_that_fits(
    length, candidates, topk, block, places, seed
):
    letters = Letters(banned=(3, 5, 7), pairs=False)
    reader = Planted(suffix=TokenSuffix(length=length), vocabulary=letters, seed=seed)
    flip = GCG(candidates=candidates, topk=topk, block=block, places=places)
    look = looks(problem(reader, optimizer=flip))
    ids = torch.arange(length) % 3  # no equal neighbors
    result = flip.step(look, ids, 0, RngStream(seed=seed, keys=(0,), place=(0,)))
    fillings = [row for row, _ in reader.scored]
    assert len(set(fillings)) == len(fillings) <= candidates
    edge = TOKENS - 1
    for row, unchanged in reader.scored:
        changed = [place for place in range(length) if row[place] != ids[place]]
        assert len(changed) == 1
        assert unchanged <= changed[0]
        token = row[changed[0]]
        assert token not in letters.banned
        beside = (edge, *row)[changed[0]], (*row, -1)[changed[0] + 1]
        assert token not in beside
    if fillings:
        assert tuple(result.ids.tolist()) in fillings
    else:
        assert torch.equal(result.ids, ids)


def test_even_places_are_all_tried_as_often():
    reader = Planted()
    flip = GCG(candidates=12, topk=TOKENS - 1)
    counts = [0] * 6
    look = looks(problem(reader, optimizer=flip))
    for step in range(40):
        flip.step(look, torch.zeros(6, dtype=torch.long), 0, RngStream(seed=0, keys=(0,), place=(step,)))
    for row, _ in reader.scored:
        counts[next(place for place in range(6) if row[place])] += 1
    assert max(counts) <= 80
    assert min(counts) >= 70  # two of twelve a step, but for repetitions


def test_hotflip_goes_from_place_to_place_and_never_back():
    reader = Planted()
    found = search_tokens(problem(reader, optimizer=HotFlip(candidates=2), stop=None), steps=9, every=1)
    losses = [check.loss for check in found.checks]
    assert losses == sorted(losses, reverse=True)
    assert {unchanged for _, unchanged in reader.scored} == {0, 1, 2, 3, 4, 5}


def test_what_does_not_read_back_is_never_taken():
    reader = Planted()
    spoiled = replace(reader, unread=(reader.best[0],))
    found = search_tokens(problem(spoiled, stop=None), steps=12)
    assert reader.best[0] not in found.ids
    assert [row for row, _ in spoiled.scored if reader.best[0] in row]


def test_the_loss_is_the_sum_over_models_and_success_takes_all():
    readers = (Planted(seed=1), Planted(seed=1), Planted(seed=2))
    alone = search_tokens(problem(readers[0], stop=None), steps=1, every=1)
    both = search_tokens(problem(*readers[:2], stop=None), steps=1, every=1)
    assert both.checks[0].loss == pytest.approx(2 * alone.checks[0].loss)
    assert both.cost.forwards == 2 * alone.cost.forwards
    mixed = search_tokens(problem(readers[0], readers[2]), steps=20)
    assert mixed.best.greedy_share == 0
    assert mixed.stop_reason == "steps"


def test_several_targets_are_done_when_one_or_all_are_written():
    pairs = FixedPairs((pair(1.0), pair(-1.0)))
    one = search_tokens(problem(sampler=pairs, stop=any_target_greedy), steps=9)
    assert (one.stop_reason, one.best.step, one.best.greedy_share) == ("stopped", 0, 0.5)
    every = search_tokens(problem(sampler=pairs, stop=all_targets_greedy), steps=3)
    assert every.stop_reason == "steps"
    assert search_tokens(problem(stop=loss_below(1e9)), steps=3).stop_reason == "stopped"


def test_the_best_is_chosen_on_the_probe_batch():
    """The steps see a target that the probe does not want: the start stays the best."""
    sampler = WithoutReplacement((pair(-1.0), pair(-2.0)), 1)
    found = search_tokens(problem(sampler=sampler, probe=(pair(1.0),), stop=None), steps=8, every=2)
    losses = [check.loss for check in found.checks]
    assert [check.step for check in found.checks] == [0, 2, 4, 6, 8]
    assert found.best.loss == min(losses)
    assert losses[-1] > losses[0]


def test_equal_seeds_give_equal_texts_and_others_do_not():
    def run(seed, key=0):
        return search_tokens(
            problem(optimizer=GCG(candidates=10, topk=30), stop=None), steps=5, seed=seed, key=key
        )

    assert (run(3).ids, run(3).losses, run(3).checks) == (run(3).ids, run(3).losses, run(3).checks)
    assert len({run(seed).ids for seed in range(4)}) > 1
    assert len({run(0, key).ids for key in range(4)}) > 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_pass_is_one_candidate_through_one_model(optimizer):
    reader = Planted()
    found = search_tokens(problem(reader, optimizer=optimizer, stop=None), steps=7)
    assert found.cost.backwards == reader.slopes == 7
    assert found.cost.forwards == reader.slopes + len(reader.scored)
    assert found.cost.flops > 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("limit", [{"forwards": 150}, {"backwards": 3}, {"flops": 3000.0}])
def test_a_budget_is_never_exceeded(optimizer, limit):
    ((name, most),) = limit.items()
    reader = Planted()
    found = search_tokens(problem(reader, optimizer=optimizer, stop=None), steps=1000, budget=Budget(**limit))
    assert found.stop_reason == "budget"
    assert 0.2 * most < getattr(found.cost, name) <= most


def test_seconds_end_a_search():
    ticks = iter(range(10_000))
    callbacks = Callbacks(clock=lambda: next(ticks) / 10)
    found = search_tokens(problem(stop=None), steps=1000, budget=Budget(seconds=20.0), callbacks=callbacks)
    assert found.stop_reason == "budget"


def test_a_budget_that_does_not_pay_for_a_step_is_told():
    with pytest.raises(SpentError, match=r"budget.forwards=20 does not pay for one step.* it takes up to 64"):
        search_tokens(problem(), steps=3, budget=Budget(forwards=20))
    with pytest.raises(SpentError, match=r"budget.flops=9 does not pay"):
        search_tokens(problem(), steps=3, budget=Budget(flops=9.0))


def test_candidates_that_do_not_fit_into_memory_are_halved_and_said():
    heard = []
    whole = search_tokens(problem(stop=None), steps=3, seed=2)
    reader = Planted(full_above=7)
    found = search_tokens(
        problem(reader, stop=None),
        steps=3,
        seed=2,
        callbacks=Callbacks(report=lambda p: heard.append(p.message)),
    )
    assert found.ids == whole.ids
    assert found.cost.forwards == whole.cost.forwards
    assert max(reader.sizes) <= 7
    halvings = [message for message in heard if "out of memory" in message]
    assert halvings
    assert "going on with" in halvings[0]
    with pytest.raises(UsageError, match="one candidate alone does not fit into memory"):
        search_tokens(problem(Planted(full_above=0)), steps=3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(optimizer, tmp_path):
    sampler = WithoutReplacement((pair(1.0), pair(0.5), pair(2.0)), 1)

    def asked():
        return problem(optimizer=optimizer, sampler=sampler, stop=None)

    kept = []
    whole = search_tokens(asked(), steps=12, every=4, callbacks=Callbacks(save=kept.append))
    for number, checkpoint in enumerate(kept[:-1]):
        save_state(checkpoint, tmp_path / "state")
        later = search_tokens(asked(), steps=12, every=4, resume=load_state(tmp_path / "state"))
        assert later.ids == whole.ids, number
        assert (later.checks, later.losses, later.best) == (whole.checks, whole.losses, whole.best)
        spent, wanted = asdict(later.cost), asdict(whole.cost)
        del spent["seconds"], wanted["seconds"]
        assert spent == wanted
    with pytest.raises(UsageError, match="state of another search: seed was 0"):
        search_tokens(asked(), steps=12, every=4, seed=1, resume=kept[1])


def test_a_bench_takes_a_search_up_and_ignores_that_of_others(tmp_path):
    path = tmp_path / "bench"
    reader = Planted()
    whole = search_tokens(problem(stop=None), steps=8, every=2)

    class StoppedError(Exception):
        pass

    def report(progress):
        if progress.step == 6:
            raise StoppedError

    with pytest.raises(StoppedError):
        search_tokens(
            problem(stop=None),
            steps=8,
            every=2,
            checkpoint_file=CheckpointFile(path, pause=0),
            callbacks=Callbacks(report=report),
        )
    again = search_tokens(
        problem(reader, stop=None), steps=8, every=2, checkpoint_file=CheckpointFile(path, pause=0)
    )
    assert again.ids == whole.ids
    assert reader.slopes == 4
    other = search_tokens(
        problem(stop=None), steps=8, every=2, seed=9, checkpoint_file=CheckpointFile(path, pause=0)
    )
    assert other.ids == search_tokens(problem(stop=None), steps=8, every=2, seed=9).ids


def test_misuse_is_told():
    for wrong, message in (
        ({"candidates": 0}, "at least 1"),
        ({"topk": 0}, "at least 1"),
        ({"block": -1}, "0 to choose"),
        ({"places": "evn"}, "even"),
    ):
        with pytest.raises(UsageError, match=message):
            GCG(**wrong)
    with pytest.raises(UsageError, match="at least 1"):
        HotFlip(candidates=0)
    with pytest.raises(UsageError, match="at least one model and one pair"):
        TextProblem(readers=(), optimizer=GCG(), sampler=FixedPairs((pair(),)))
    with pytest.raises(UsageError, match="give all readers one"):
        problem(Planted(), Planted(suffix=TokenSuffix(length=7)))
    with pytest.raises(UsageError, match="no token of its vocabulary is of the kind 'ascii'"):
        search_tokens(problem(Planted(vocabulary=Letters(banned=tuple(range(TOKENS))))), steps=1)
    with pytest.raises(UsageError, match="gradient of the loss to the text is exactly zero"):
        search_tokens(problem(sampler=FixedPairs((pair(0.0),)), stop=None), steps=1)
    with pytest.raises(UsageError, match="not a finite number"):
        search_tokens(problem(sampler=FixedPairs((pair(float("nan")),))), steps=1)
    for wrong in ({"steps": 0}, {"steps": 1, "every": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            search_tokens(problem(), **wrong)


def test_planted_models_agree_with_their_description():
    reader = Planted()
    assert bool(reader.logits(torch.eye(TOKENS)[torch.tensor(reader.best)][None], (pair(),)).target_is_greedy)
    assert reader.taste.shape[1] == planted_text.TOKENS
