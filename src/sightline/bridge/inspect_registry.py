"""What Inspect finds of ours under the entry point `inspect_ai`: models, tasks, a solver, a scorer.

Every Inspect process on a machine with Sightline imports this module, so it must stay light: no torch,
no transformers, no weights, no release is touched before a model is asked or a task is built.

    inspect eval sightline/figstep_safebench --model vlm/FOLDER -T attack=figstep -T root=RELEASE
    inspect eval sightline/testbed_requests --model "defended/system_prompt:testbed/linear"
    inspect eval inspect_evals/mmmu --model "defended/self_moderation:openai/gpt-4o"
    inspect eval sightline/testbed_requests -T attack=pair --model openai/gpt-4o --model-role attacker=MODEL

Inspect cuts `--model` at commas; write `;` between the settings of a defense there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inspect_ai import Task, task
from inspect_ai.model import ModelAPI, modelapi

from sightline import registry
from sightline.bridge.scorer import judged, outcome_rates
from sightline.bridge.solver import replay

__all__ = ["defended", "judged", "outcome_rates", "replay", "scripted", "swapped", "tasks", "testbed", "vlm"]


@modelapi(name="vlm")
def vlm() -> type[ModelAPI]:
    """`vlm/FOLDER-OR-ID`: a local Hugging Face image-text-to-text model."""
    from sightline.bridge.provider import VlmAPI

    return VlmAPI


@modelapi(name="testbed")
def testbed() -> type[ModelAPI]:
    """`testbed/NAME`: one of the small models that come with Sightline."""
    from sightline.bridge.provider import TestbedAPI

    return TestbedAPI


@modelapi(name="swapped")
def swapped() -> type[ModelAPI]:
    """`swapped/TOWER:vlm/FOLDER`: a local model with the vision tower of another folder."""
    from sightline.bridge.provider import SwappedAPI

    return SwappedAPI


@modelapi(name="scripted")
def scripted() -> type[ModelAPI]:
    """`scripted/FILE` or `scripted/echo`: rules that answer at once, for trying things out."""
    from sightline.bridge.provider import ScriptedAPI

    return ScriptedAPI


@modelapi(name="defended")
def defended() -> type[ModelAPI]:
    """`defended/DEFENSE:TARGET`: any target string behind a defense; they nest."""
    from sightline.bridge.provider import DefendedAPI

    return DefendedAPI


def _task_of(benchmark: str) -> Callable[..., Task]:
    def build(
        attack: str = "none",
        preset: str | None = None,
        settings: dict[str, Any] | None = None,
        judge: str | None = None,
        roles: dict[str, str] | None = None,
        root: str | None = None,
        limit: int | None = None,
        benchmark_settings: dict[str, Any] | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        epochs: int = 1,
    ) -> Task:
        from sightline.bridge.tasks import Recipe, build_task

        recipe = Recipe(
            benchmark=benchmark,
            attack=attack,
            preset=preset,
            settings=settings or {},
            judge=judge,
            roles=roles or {},
            root=root,
            limit=limit,
            benchmark_settings=benchmark_settings or {},
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            epochs=epochs,
        )
        return build_task(recipe)

    build.__name__ = build.__qualname__ = benchmark
    build.__doc__ = f"Sightline's benchmark {benchmark} under an attack, read by a judge."
    registered: Callable[..., Task] = task(build)
    return registered


tasks = {name: _task_of(name) for name in registry.names("benchmark")}
"""One task per benchmark, third parties' included; found by file name, without importing it."""
