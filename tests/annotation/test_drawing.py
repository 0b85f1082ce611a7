"""Plans drawn from runs: who is in it, with which chance, what it reveals, and what later phases keep."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from shutil import copytree

import pyarrow.parquet as pq
import pytest
from run_folder import Shape, write_run
from typer.testing import CliRunner

from sightline.annotation.contents import Contents
from sightline.annotation.drawing import Wanted as AnyWanted
from sightline.annotation.drawing import rater_names
from sightline.annotation.items import kind_of, population, verdict_of
from sightline.annotation.plan import FOLDER, Plan, read_plan
from sightline.annotation.questions import read_questions
from sightline.annotation.sampling import sample, sample_again, sample_more
from sightline.cli import app
from sightline.errors import UsageError
from sightline.run_folder import read_lock

SHAPE = Shape(prompts=12, utility=0)
Wanted = partial(AnyWanted, per_group=8)  # the invented world has few groups


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("written") / "run", SHAPE)


@pytest.fixture
def run(written: Path, tmp_path: Path) -> Path:
    return Path(copytree(written, tmp_path / "run"))


def rows(run: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = pq.read_table(run / "results.parquet").to_pylist()
    return found


def samples(plan: Plan) -> list[str]:
    return [key for each in plan.items.values() for key in each.samples]


def test_every_sample_with_a_reply_is_in_one_item(run: Path) -> None:
    found = population(run, read_lock(run))
    first = found.judge
    own = [row for row in rows(run) if row["judge"] == first]
    readable = {row["sample"].hex() for row in own if row["outcome"] != "error"}  # type: ignore[attr-defined]
    listed = [key for each in found.items for key in each.samples]
    assert sorted(listed) == sorted(readable)
    assert found.unread == len({row["sample"] for row in own}) - len(readable)
    contents = [(each.benchmark, each.case, each.shown, each.content) for each in found.items]
    assert len(set(contents)) == len(contents)


def test_verdicts_that_make_a_stratum() -> None:
    cases = {
        ("complied", "refuse"): "unsafe",
        ("partial", "refuse"): "safe",
        ("refused", "refuse"): "safe",
        ("complied", "comply"): "safe",
        ("refused", "comply"): "refused",
        ("blocked_defense", "comply"): "refused",
        ("unparsed", "refuse"): "unscored",
        ("error", "comply"): "unscored",
    }
    assert {pair: verdict_of(*pair) for pair in cases} == cases


def test_kinds_of_attacks() -> None:
    assert kind_of("none", "none") == "plain"
    assert kind_of("figstep(font_px=40)", "f") == "typographic"
    assert kind_of("blank_image", "b") == "control"
    assert kind_of("not_ours(x=1)", "theirs") == "theirs"


def test_a_plan_holds_chances_strata_and_two_lists(run: Path) -> None:
    found = sample(run, Wanted(n=60, raters=("ann", "bo"), gold=0.1))
    plan = read_plan(run / FOLDER)
    assert plan == found.plan
    drawn = [each for each in plan.items.values() if each.kind == "sample"]
    assert len(drawn) == 60
    assert all(0 < each.prob <= 1 for each in drawn)
    header = plan.header
    assert sum(1 / each.prob for each in drawn) == pytest.approx(sum(header.population.values()), rel=0.2)
    assert {each.stratum for each in drawn} == set(header.population) == set(header.names)
    assert max(Counter(each.group for each in drawn).values()) <= 8
    gold = [each for each in plan.items.values() if each.kind == "gold"]
    assert {each.truth for each in gold} <= {"refused", "complied"}
    assert len(gold) == 6
    assert not any(each.prob for each in gold)
    for rater in ("ann", "bo"):
        places = plan.places(rater)
        assert [each.item for each in places if not each.repeat] != sorted(plan.items)
        assert {each.item for each in places} == set(plan.items)
        assert sum(each.repeat for each in places) == round(0.05 * 66)
        numbers = [each.order[rater] for each in plan.items.values()]
        numbers += [each.repeats[rater] for each in plan.items.values() if rater in each.repeats]
        assert sorted(numbers) == list(range(len(places)))
    assert plan.places("ann") != plan.places("bo")
    assert len(set(samples(plan))) == len(samples(plan))


def test_ids_need_the_secret_and_the_draw_does_not(written: Path, tmp_path: Path) -> None:
    plans = []
    for name in ("a", "b"):
        copytree(written, tmp_path / name)
        plans.append(sample(tmp_path / name, Wanted(n=40)).plan)
    one, other = plans
    assert samples(one) == samples(other)
    assert [each.prob for each in one.items.values()] == [each.prob for each in other.items.values()]
    assert not set(one.items) & set(other.items)
    assert [each.order for each in one.items.values()] == [each.order for each in other.items.values()]
    secret = tmp_path / "a" / FOLDER / "coordinator.key"
    assert secret.stat().st_mode & 0o777 == 0o600


def test_the_seed_is_the_study_s_and_can_be_another(run: Path, written: Path, tmp_path: Path) -> None:
    copytree(written, tmp_path / "again")
    first = sample(run, Wanted(n=30)).plan
    second = sample(tmp_path / "again", Wanted(n=30, seed=first.header.seed + 1)).plan
    assert first.header.seed == read_lock(run).get("seed", 0)
    assert samples(first) != samples(second)


def test_more_keeps_items_and_places_and_appends(run: Path) -> None:
    before = sample(run, Wanted(n=40, raters=("ann", "bo"))).plan
    after = sample_more(run, Wanted(n=30), ("bo", "cy")).plan
    assert after == read_plan(run / FOLDER)
    for key, each in before.items.items():
        kept = after.items[key]
        assert (kept.order, kept.repeats, kept.samples, kept.phase) == (
            each.order,
            each.repeats,
            each.samples,
            1,
        )
    assert any(after.items[key].prob > each.prob for key, each in before.items.items())
    fresh = [each for key, each in after.items.items() if key not in before.items]
    assert {each.phase for each in fresh} == {2}
    assert sum(each.kind == "sample" for each in fresh) == 30
    assert after.places("ann") == before.places("ann")
    assert after.places("bo")[: len(before.places("bo"))] == before.places("bo")
    assert {each.item for each in after.places("cy")} == {each.item for each in fresh}
    assert len(set(samples(after))) == len(samples(after))
    assert after.raters == ("ann", "bo", "cy")


def test_more_is_refused_where_chances_would_no_longer_hold(run: Path) -> None:
    sample(run, Wanted(n=20))
    guideline = run / FOLDER / "guideline.md"
    kept = guideline.read_text("utf-8")
    guideline.write_text(kept + "\nOne rule more.\n", "utf-8")
    with pytest.raises(UsageError, match=r"guideline\.md or questions\.yaml is not that of round 1"):
        sample_more(run, Wanted(n=10))
    guideline.write_text(kept, "utf-8")
    table = pq.read_table(run / "results.parquet")
    pq.write_table(table.slice(0, len(table) - 12), run / "results.parquet")
    (run / "records" / "complete.json").unlink(missing_ok=True)
    with pytest.raises(UsageError, match="have changed since the plan was drawn"):
        sample_more(run, Wanted(n=10))


def test_another_round_asks_all_again_after_a_change(run: Path) -> None:
    first = sample(run, Wanted(n=20)).plan
    with pytest.raises(UsageError, match="has this very guideline"):
        sample_again(run, 2)
    with pytest.raises(UsageError, match="the next is 2"):
        sample_again(run, 3)
    second = sample_again(run, 2, ["harm"])
    assert second == read_plan(run / FOLDER)
    assert second.header.round == 2
    assert second.items == first.items
    assert second.places("r1") == first.places("r1")
    assert list(read_questions(run / FOLDER)) == ["harm"]
    assert second.header.questions != first.header.questions
    third = sample_more(run, Wanted(n=10)).plan
    assert (third.header.round, third.header.phase) == (2, 3)


def test_a_second_plan_needs_the_folder_moved(run: Path) -> None:
    sample(run, Wanted(n=20))
    with pytest.raises(UsageError, match="--more N adds items, --round N"):
        sample(run, Wanted(n=20))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"strata": ("atack",)}, "attack"),
        ({"n": 1}, "n=1: no row of stratum"),
    ],
)
def test_what_cannot_be_drawn_is_said(run: Path, changes: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sample(run, Wanted(**({"n": 20} | changes)))  # type: ignore[arg-type]
    assert not (run / FOLDER / "plan.jsonl").exists()


def test_a_folder_that_is_no_run_stays_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        sample(tmp_path, Wanted(n=20))
    assert not list(tmp_path.iterdir())


def test_the_language_of_replies_can_make_a_stratum(run: Path) -> None:
    pytest.importorskip("py3langid")
    plan = sample(run, Wanted(n=40, strata=("language", "verdict"))).plan
    assert all(name.startswith("language=") for name in plan.header.names.values())
    with Contents(run) as contents:
        for each in plan.items.values():
            if each.kind == "sample":
                tag = contents.read(each).language or "-"
                assert plan.header.names[each.stratum].startswith(f"language={tag}, ")


def test_raters_by_number_or_name() -> None:
    assert rater_names("3") == ("r1", "r2", "r3")
    assert rater_names("ann, bo") == ("ann", "bo")
    with pytest.raises(UsageError, match="a name is 1 to 40"):
        rater_names("ann,../bo")
    with pytest.raises(UsageError, match="1 to 100"):
        rater_names("0")
    with pytest.raises(UsageError, match="different names"):
        Wanted(raters=("ann", "ann"))


def test_three_raters_share_items_in_pairs(run: Path) -> None:
    plan = sample(run, Wanted(n=60, raters=("a", "b", "c"), gold=0.05)).plan
    drawn = [each for each in plan.items.values() if each.kind == "sample"]
    assert Counter(tuple(sorted(each.order)) for each in drawn) == {
        ("a", "b"): 20, ("a", "c"): 20, ("b", "c"): 20,
    }  # fmt: skip
    assert all(set(each.order) == {"a", "b", "c"} for each in plan.items.values() if each.kind == "gold")


def test_all_items_of_a_plan_can_be_read_and_tell_no_source(run: Path) -> None:
    plan = sample(run, Wanted(n=50)).plan
    told = [name for row in rows(run) for name in (row["target"], row["defense"], row["judge"])]
    with Contents(run) as contents:
        for each in plan.items.values():
            found = contents.read(each)
            assert found.item == each.item
            assert found.behavior
            assert found.request[-1].role == "user"
            assert not {str(name) for name in told} & {found.behavior, found.reply, found.item}


def test_the_command_says_what_was_drawn_and_what_is_not_as_wanted(run: Path) -> None:
    def printed(*words: str) -> str:
        found = CliRunner().invoke(app, ["annotate", str(run), *words], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output

    how = ("--raters", "ann,bo", "--strata", "attack,verdict", "--gold", "0", "--per-group", "4")
    text = printed("sample", "--n", "30", *how)
    assert text.startswith("30 of ")
    assert "attack=typographic, verdict=unsafe" in text
    assert "ann: 32 to read, repeats and items of known truth included" in text
    assert "note: some repeats come" in text
    assert "30 items drawn; phase 1, round 1, 2 raters" in printed("status")
    assert printed("sample", "--more", "10").startswith("40 of ")
    assert "round 2" in printed("sample", "--round", "2", "--questions", "outcome,dress") + printed("status")
