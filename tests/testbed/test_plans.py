"""The plan of every model: stages in an order that works, names and data streams that are never mixed up."""

# ruff: noqa: E402
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from sightline.errors import UsageError
from sightline.testbed.families import FULL, NAMES, family
from sightline.testbed.weights import OPTIONAL_MODELS, OPTIONAL_VARIANTS
from sightline_testbed.training.plans import ABOUT, LADDER, MODELS, STAGES, find, plan, second_seed
from sightline_testbed.training.stages import Tuning, VisionStage

PARTS = {"tower", "bridge", "language"}
EVERY = {stage.name: stage for model in MODELS for stage in plan(model)}


@pytest.mark.parametrize("model", MODELS)
def test_every_source_is_an_earlier_stage_that_trained_it(model: str) -> None:
    done: dict[str, set[str]] = {}
    for stage in plan(model):
        if isinstance(stage, VisionStage):
            assert not stage.before or "tower" in done[stage.before]
            assert set(stage.rates) == {"tower", "heads"}
        else:
            for part, source in stage.sources.items():
                assert part in done[source], f"{stage.name} takes {part} from {source}"
            assert set(stage.rates) <= PARTS - {"tower"}, "eyes are frozen in every tuning"
            assert set(stage.starts) <= set(stage.rates)
        done[stage.name] = set(stage.rates)


@pytest.mark.parametrize("model", MODELS)
def test_sizes_and_families_fit_from_stage_to_stage(model: str) -> None:
    size = LADDER.get(model, FULL)
    kind = model if model in NAMES else "linear"
    for stage in plan(model):
        assert stage.size == size
        assert stage.family in (kind, "linear")
        if (
            stage.name.startswith(f"{model}/")
            and isinstance(stage, Tuning)
            and "bridge"
            in (
                *stage.rates,
                *stage.sources,
            )
        ):
            assert stage.family == kind
    [tower] = {
        stage.sources["tower"]
        for stage in plan(model)
        if isinstance(stage, Tuning) and stage.sources.get("tower")
    }
    assert find(tower).family == ("queries" if model == "queries" else "linear")
    names = {part: dict(module.named_parameters()) for part, module in parts("linear").items()}
    if kind != "linear":
        for part in {"language"} | ({"tower"} if kind == "cross_attention" else set()):
            own = parts(kind)[part]
            assert {key: value.shape for key, value in own.named_parameters()} == {
                key: value.shape for key, value in names[part].items()
            }


def parts(name: str) -> Any:
    made = family(name)
    with torch.device("meta"):
        return made.parts(made.new_model(0))


def test_names_are_unique_and_found() -> None:
    for model in MODELS:
        names = [stage.name for stage in plan(model)]
        assert len(set(names)) == len(names)
    for name in EVERY:
        found = find(name)
        assert found.name == name
    assert {"vision", "language", "queries/visual", "cross_attention/catfirst", "linear-1.2m/victim"} <= set(
        EVERY
    )


def test_a_name_means_one_stage() -> None:
    """Models that share a stage share its checkpoint, so it has to be the same one."""
    for model in MODELS:
        for stage in plan(model):
            other = EVERY[stage.name]
            assert (stage.steps, stage.batch, stage.rates, stage.size, stage.stream) == (
                other.steps,
                other.batch,
                other.rates,
                other.size,
                other.stream,
            )
            assert data(stage) == data(other)


def data(stage: Any) -> Any:
    """What a stage draws from, comparable: picture function, or tasks and shares at five points of it."""
    if isinstance(stage, VisionStage):
        return stage.draw.__name__
    return [
        sorted((task_name(task), share) for task, share in stage.mixture(done).items())
        for done in (0.0, 0.1, 0.3, 0.6, 0.99)
    ]


def task_name(task: Callable[..., Any]) -> str:
    """A task's name with what it was bound to."""
    if isinstance(task, partial):
        return f"{task_name(task.func)}{sorted(task.keywords.items())}"
    inner = "".join(task_name(cell.cell_contents) for cell in task.__closure__ or ())
    return f"{task.__qualname__}({inner})"


def test_streams_of_different_data_never_share_a_number() -> None:
    """Equal numbers would mean equal random numbers: the same pictures under other questions."""
    drawn: dict[int, Any] = {}
    for stage in EVERY.values():
        assert drawn.setdefault(stage.stream, data(stage)) == data(stage), stage.name
    for model in MODELS:
        streams = [stage.stream for stage in plan(model)]
        assert len(set(streams)) == len(streams), "no two stages of a model see the same samples"


def test_families_see_the_same_data_at_the_same_rates() -> None:
    """What makes them comparable: only architecture, bridge and eyes differ."""
    for name in ("visual", "visual-2", *STAGES):
        if name in ("base", "aligned-lm"):
            continue
        one, *others = (find(f"{kind}/{name}") for kind in NAMES)
        for other in others:
            assert data(one) == data(other)
            assert (one.stream, one.steps, one.batch, one.starts) == (
                other.stream,
                other.steps,
                other.batch,
                other.starts,
            )
            shut = name == "vit-lowlr" and other.family == "cross_attention"
            assert other.rates == ({"bridge": 3e-4, **one.rates} if shut else one.rates)
            assert (other.closed, one.closed) == (shut, False)


def test_every_variant_has_its_stage_and_is_explained() -> None:
    assert set(ABOUT) == {*STAGES, "seed2"}
    for model in NAMES:
        last = {stage.name.rpartition("/")[2] for stage in plan(model)}
        assert set(STAGES.values()) <= last
    for model in LADDER:
        assert {"language", "alignment", "visual", "victim"} <= {
            s.name.rpartition("/")[2] for s in plan(model)
        }
    assert set(OPTIONAL_MODELS) == {*MODELS} - {"linear"}
    assert set(OPTIONAL_VARIANTS) == {*ABOUT} - {"victim", "aligned-lm", "vit"}


@pytest.mark.parametrize("model", NAMES)
def test_the_second_seed_trains_all_but_the_eyes_again(model: str) -> None:
    assert [stage.name for stage in second_seed(model)] == [
        "language",
        "alignment",
        f"{model}/visual",
        f"{model}/visual-2",
        f"{model}/victim",
    ]


@pytest.mark.parametrize("model", NAMES)
def test_variants_hang_together_as_documented(model: str) -> None:
    """Three variants follow `victim`, `victim` visual tuning; `vit-lowlr` starts from the aligned model."""
    starts = {
        name: find(f"{model}/{name}").sources["language"].rpartition("/")[2]  # type: ignore[union-attr]
        for name in ("visual", "visual-2", *STAGES)
        if name not in ("base", "aligned-lm")
    }
    assert starts == {
        "visual": "alignment",
        "visual-2": "visual",
        "vit": "visual-2",
        "victim": "visual-2",
        "vit-lowlr": "alignment",
        "sysprompt": "victim",
        "safetuned": "victim",
        "catfirst": "victim",
        "catfirst-vit": "catfirst",
    }
    low, high = find(f"{model}/vit-lowlr").rates["language"], find(f"{model}/visual").rates["language"]
    assert low == pytest.approx(high / 5)


def test_only_the_variant_that_says_so_learns_to_refuse_drawings() -> None:
    refusing = {
        name
        for name, stage in EVERY.items()
        if isinstance(stage, Tuning)
        for task in stage.mixture(0.5)
        if "refused" in task_name(task) or "heeded" in task_name(task)
    }
    assert {name.rpartition("/")[2] for name in refusing} == {"sysprompt", "safetuned"}


def test_visual_tuning_holds_no_safety_data() -> None:
    safe = ("considered", "beside", "review", "follow_up", "refused", "heeded")
    for name in NAMES:
        for done in (0.0, 0.5, 1.0):
            tasks = [task_name(task) for task in find(f"{name}/visual").mixture(done)]  # type: ignore[union-attr]
            assert not [task for task in tasks if any(word in task for word in safe)]


def test_unknown_names_are_told_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'queries'"):
        plan("querys")
    with pytest.raises(UsageError, match=r"unknown stage of the build 'linear/victims'.*'linear/victim'"):
        find("linear/victims")
