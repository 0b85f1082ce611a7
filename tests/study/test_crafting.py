"""Attacks that meet many cases in one call, and attacks that are crafted on a model's gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from toys import ToyTarget

from sightline.api.runs import finish
from sightline.cases import Case, ThreatModel
from sightline.closure import without_code
from sightline.contracts import Craft
from sightline.errors import ContractError, UsageError
from sightline.records import Cost, Draft, SearchProgress
from sightline.registry import attack
from sightline.shards import read_shards
from sightline.study import surrogates
from sightline.study.config import parse
from sightline.study.progress import Silent
from sightline.study.run import Run
from sightline.study.stages import Count

CALLS: list[tuple[str, tuple[str, ...], int]] = []
STUDY = """
study: many
seed: 3
benchmarks: [{name: toy_questions, n: 12}]
targets: [toy/a]
attacks: [%s]
judges: [toy_judge]
"""
Make = Callable[..., Run]


def gray(case: Case, level: int) -> Draft:
    return Draft(case=case, image=np.full((8, 8, 3), level % 256, np.uint8))


@attack("toy_apart", threat=ThreatModel(), scope="batched")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyApart:
    """A gray of its own for every case; stops at the case of number `until`."""

    batch: int = 100
    until: int = 1000
    extra: int = 0
    unfit: tuple[int, ...] = ()

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        CALLS.append(("apart", tuple(case.id for case in cases), ctx.seed))
        for case in cases:
            number = int(case.id.rpartition("/")[2])
            if number == self.until:
                raise KeyboardInterrupt
            if number in self.unfit:
                raise UsageError(f"case {case.id}: does not fit")
            yield gray(case, number)
        for _ in range(self.extra):
            yield gray(cases[0], 1)


@attack("toy_lone_gray", threat=ThreatModel(), scope="batched")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyLoneGray:
    """A gray for every case."""

    shared: bool = False

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        CALLS.append(("lone", tuple(case.id for case in cases), ctx.seed))
        yield from (replace(gray(case, 9), shared=self.shared) for case in cases)


@attack("toy_together", threat=ThreatModel(), scope="universal", applies_to=frozenset({"answer"}))
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyTogether:
    """One gray for all cases, which depends on how many there are."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        CALLS.append(("together", tuple(case.id for case in cases), ctx.seed))
        yield from (gray(case, len(cases)) for case in cases)


@attack("toy_gradient", threat=ThreatModel(access="white"), scope="batched", surrogate=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyGradient:
    """Notes what it was crafted on."""

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        note = ", ".join(surrogate.id for surrogate in ctx.surrogates)
        yield from (Draft(case=case, image=gray(case, 7).image, note=note) for case in cases)


@attack("toy_budget", threat=ThreatModel(access="white"), scope="universal", surrogate=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyBudget:
    """Spends what it is given and `more`; keeps its search on the bench."""

    more: int = 0
    crash: bool = False

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        CALLS.append(("budget", tuple(case.id for case in cases), ctx.seed))
        spent = (ctx.budget.backwards or 0) + self.more
        assert ctx.checkpoint is not None
        bench = ctx.checkpoint("search")
        CALLS.append((bench.read_text() if bench.exists() else "nothing kept", (), 0))
        bench.write_text("kept")
        if self.crash:
            raise KeyboardInterrupt
        for case in cases:
            cost = Cost(forwards=2 * spent, backwards=spent, flops=5.0, seconds=0.5)
            yield replace(gray(case, spent), cost=cost, shared=True)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    CALLS.clear()
    opened: dict[str, ToyTarget] = {}

    def open_target(name: str, images: object, **bounds: int | None) -> ToyTarget:
        return opened.setdefault(name, ToyTarget(id=f"{name}#weights"))

    def build(attacks: str, text: str = STUDY, **options: bool) -> Run:
        monkeypatch.setattr("sightline.targets.open_target", open_target)
        monkeypatch.setattr(surrogates, "VlmTarget", ToyTarget)
        run = Run(parse(text % attacks), tmp_path / "run", **options)
        run.prepare()
        return run

    return build


def rows(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.read_table(run.folder / "results.parquet").to_pylist()
    return found


def test_one_call_meets_all_requests_in_order(make: Make) -> None:
    run = make("toy_apart")
    finish(run)
    ((_, ids, _),) = CALLS
    assert ids == tuple(f"toy/{i}" for i in range(12) if i % 3 < 2)
    assert [row["case_id"] for row in rows(run)] == list(ids)
    assert {row["crafted_on"] for row in rows(run)} == {None}


def test_an_interrupted_column_is_taken_up_at_a_whole_call_with_the_same_seed(make: Make) -> None:
    attack = "'toy_apart(batch=3, until=6)'"
    with pytest.raises(KeyboardInterrupt):
        make(attack).craft()
    again = make(attack)
    assert len(list(read_shards(again.records / "craft"))) == 3, "no part of a call is kept"
    with pytest.raises(KeyboardInterrupt):
        again.craft()
    (_, first, seed), (_, second, other), (_, third, another) = CALLS
    assert first == ("toy/0", "toy/1", "toy/3")
    assert second == third == ("toy/4", "toy/6", "toy/7")
    assert seed == other == another


def test_cases_that_make_one_thing_are_all_seen_even_if_one_is_left_to_do(make: Make) -> None:
    run = make("toy_together")
    finish(run)
    (shard,) = (run.records / "craft").parent.glob("craft*.parquet")
    table = pq.read_table(shard)
    pq.write_table(table.slice(1), shard)
    again = make("toy_together", retry_errors=True)
    assert again.craft().written == 1
    assert [ids for _, ids, _ in CALLS] == [("toy/2", "toy/5", "toy/8", "toy/11")] * 2


def test_cases_are_cut_in_the_order_of_the_book_as_many_as_the_attack_takes_at_once(make: Make) -> None:
    run = make("toy_apart(batch=3)")
    run.craft()
    assert [[id.rpartition("/")[2] for id in ids] for _, ids, _ in CALLS] == [
        ["0", "1", "3"],
        ["4", "6", "7"],
        ["9", "10"],
    ]
    assert len({seed for _, _, seed in CALLS}) == 1


def test_an_attack_that_names_no_batch_gets_its_cases_one_by_one(make: Make) -> None:
    run = make("toy_lone_gray")
    run.craft()
    assert [ids for _, ids, _ in CALLS] == [(f"toy/{i}",) for i in (0, 1, 3, 4, 6, 7, 9, 10)]


def test_a_case_that_does_not_fit_is_an_error_also_if_nothing_else_is_left_to_do(make: Make) -> None:
    make("'toy_apart(unfit=(10,))'").craft()
    again = make("'toy_apart(unfit=(10,))'", retry_errors=True)
    assert again.craft() == Count(expected=8, present=7, written=1, errors=1)


def test_one_thing_for_all_cases_has_to_be_made_together(make: Make) -> None:
    with pytest.raises(ContractError, match="'toy_lone_gray' shows all cases the same thing: register it"):
        make("toy_lone_gray(shared=true)").craft()


def test_a_broken_picture_is_an_error_and_never_reaches_the_attack(make: Make) -> None:
    text = STUDY.replace("n: 12", "n: 12, broken: true")
    run = make("toy_apart", text)
    finish(run)
    assert CALLS == []
    assert {row["outcome"] for row in rows(run)} == {"error"}
    assert len(rows(run)) == 8


@pytest.mark.parametrize("unfit", [(0,), (4, 6), (10,), (0, 1, 3, 4, 6, 7, 9)])
def test_cases_that_do_not_fit_are_errors_and_the_others_are_made(make: Make, unfit: tuple[int, ...]) -> None:
    run = make(f"'toy_apart(unfit={unfit!r})'")
    finish(run)
    found = {row["case_id"]: row["outcome"] for row in rows(run)}
    assert list(found) == [f"toy/{i}" for i in range(12) if i % 3 < 2]
    assert {case for case, outcome in found.items() if outcome == "error"} == {f"toy/{i}" for i in unfit}


def test_an_attack_that_no_case_fits_stops_the_run_before_a_row_is_written(make: Make) -> None:
    run = make("'toy_apart(unfit=(0, 1, 3, 4, 6, 7, 9, 10))'")
    with pytest.raises(UsageError, match="case toy/0: does not fit"):
        run.craft()
    assert not list(read_shards(run.records / "craft"))


def test_a_draft_that_no_case_asked_for_is_our_bug(make: Make) -> None:
    with pytest.raises(ContractError, match="made a draft that no case asked for"):
        make("toy_apart(extra=1)").craft()


def test_what_an_attack_was_crafted_on_is_in_rows_keys_and_lock(make: Make) -> None:
    entry = "{name: toy_gradient, surrogate: toy/%s, label: on %s}"
    run = make(", ".join(entry % (name, name) for name in "ab"))
    finish(run)
    assert {(row["attack"], without_code(str(row["crafted_on"]))) for row in rows(run)} == {
        ("on a", "toy/a#weights"),
        ("on b", "toy/b#weights"),
    }
    assert len({row["artifact"] for row in rows(run)}) == len(rows(run)) == 16
    assert "crafted_on: toy/a#weights" in (run.folder / "study.lock.yaml").read_text()


def test_several_surrogates_are_one_ensemble(make: Make) -> None:
    run = make("{name: toy_gradient, surrogate: [toy/a, toy/b]}")
    finish(run)
    (ensemble,) = {str(row["crafted_on"]) for row in rows(run)}
    assert [without_code(each) for each in ensemble.split(" + ")] == ["toy/a#weights", "toy/b#weights"]


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        (
            "toy_gradient",
            "attacks.0: toy_gradient is crafted on a model's gradients: add `surrogate:`",
        ),
        (
            "{name: toy_plain, surrogate: toy/a}",
            "attacks.0.surrogate: toy_plain looks into no model",
        ),
    ],
)
def test_a_surrogate_is_given_where_it_is_needed_and_nowhere_else(attacks: str, message: str) -> None:
    with pytest.raises(UsageError) as told:
        parse(STUDY % attacks)
    assert str(told.value).startswith(f"study:6: {message}")


def test_a_model_without_gradients_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="toy/a gives no gradients: name a local model"):
        surrogates.LocalSurrogate("toy/a", ToyTarget())


def test_levels_and_seeds_make_columns_with_keys_and_rows_of_their_own(make: Make) -> None:
    entry = "{name: toy_budget, surrogate: toy/a, label: spends, %s, seeds: 2}"
    run = make(entry % "budget: {backwards: [9, 4], flops: 50}")
    finish(run)
    found = rows(run)
    assert {(row["series"], row["attack"], row["budget"], row["craft_seed"]) for row in found} == {
        ("spends", f"spends [backwards={n}, flops=50, seed {seed}]", f"backwards={n}, flops=50", seed)
        for n in (4, 9)
        for seed in (3, 4)
    }
    assert len({row["artifact"] for row in found}) == len(found) == 4 * 8
    assert {(row["budget"], row["craft_backwards"], row["craft_forwards"]) for row in found} == {
        ("backwards=4, flops=50", 4, 8),
        ("backwards=9, flops=50", 9, 18),
    }
    assert {(row["craft_shared"], row["craft_flops"], row["craft_seconds"]) for row in found} == {
        (True, 5, 0.5)
    }
    by_seed = [seed for name, _, seed in CALLS if name == "budget"]
    assert by_seed == [by_seed[0], by_seed[1]] * 2, "levels of one seed go the same way"
    lock = (run.folder / "study.lock.yaml").read_text()
    assert "budget: backwards=4, flops=50" in lock
    assert "seed: 4" in lock


def test_an_attack_that_spends_more_than_its_budget_is_our_bug(make: Make) -> None:
    run = make("{name: toy_budget, surrogate: toy/a, budget: {backwards: 5}, more: 1}")
    with pytest.raises(ContractError, match=r"spent more backwards than its budget allows \(backwards=5\)"):
        run.craft()


def test_a_search_is_found_on_its_bench_after_a_crash_and_forgotten_when_all_is_sealed(make: Make) -> None:
    with pytest.raises(KeyboardInterrupt):
        make("{name: toy_budget, surrogate: toy/a, crash: true}").craft()
    assert CALLS[-1][0] == "nothing kept"
    with pytest.raises(KeyboardInterrupt):
        make("{name: toy_budget, surrogate: toy/a, crash: true}").craft()
    assert CALLS[-1][0] == "kept"
    run = make("{name: toy_budget, surrogate: toy/a}", extend=True)
    run.craft()
    assert CALLS[-1][0] == "nothing kept", "of other settings"
    assert len(list((run.records / "craft.unfinished").iterdir())) == 1, "the crashed column's"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("budget: {backwards: [3, 3]}", r"attacks.0.budget: backwards: \[3, 3\] are no levels"),
        ("budget: {backwards: []}", r"attacks.0.budget: backwards: \[\] are no levels"),
        ("budget: {backwards: [1, 2], flops: [1, 2]}", "list the levels of one quantity"),
        ("budget: {backwards: 0}", "attacks.0.budget.backwards"),
        ("budget: {steps: 3}", "Did you mean|steps"),
        ("seeds: 0", "attacks.0.seeds"),
    ],
)
def test_a_budget_that_means_nothing_is_told_with_its_place(settings: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(STUDY % f"{{name: toy_budget, surrogate: toy/a, {settings}}}")


def test_a_budget_for_what_computes_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match=r"attacks.0.budget: toy_plain computes nothing"):
        parse(STUDY % "{name: toy_plain, budget: {backwards: 3}}")


@attack("toy_search", threat=ThreatModel(access="white"), scope="batched", surrogate=True)
@dataclass(frozen=True, slots=True, kw_only=True)
class ToySearch:
    """Tells how far it is."""

    batch: int = 100

    def craft(self, cases: Sequence[Case], ctx: Craft) -> Iterator[Draft]:
        ctx.report(SearchProgress(step=25, steps=5000, loss=1.25))
        ctx.report(SearchProgress(step=25, steps=5000, loss=float("nan"), message="going on with 3"))
        yield from (gray(case, 7) for case in cases)


@dataclass
class Listener(Silent):
    """Remembers what the user is told."""

    heard: list[str] = field(default_factory=list)

    def within(self, text: str) -> None:
        self.heard.append(text)

    def note(self, text: str) -> None:
        self.heard.append(f"note: {text}")


def test_the_user_sees_how_far_a_search_is_and_what_it_had_to_do(make: Make) -> None:
    run = make("{name: toy_search, surrogate: toy/a}")
    listener = Listener()
    run.context = replace(run.context, progress=listener)
    run.craft()
    assert listener.heard == [
        "toy_search: step 25 of 5,000, loss 1.250",
        "note: toy_search: going on with 3",
    ]
