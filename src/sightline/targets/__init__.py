"""What answers: a target string -> a `Target`.

vlm/FOLDER-or-id           local Hugging Face model (never downloaded unasked)
testbed/NAME[@VARIANT]     the small models that come with Sightline
tuned/RECIPE@DIGEST:BASE    what `sightline train` made of a local model
swapped/FOLDER:TARGET      one of these with the vision tower of a folder, such as FARE's or TeCoA's
replay/TABLE[#TARGET]      answers that are stored already
scripted/FILE              rules in a YAML file; `scripted/echo` says what it is asked
defended/DEFENSE:TARGET    any target behind a defense; nests
PROVIDER/MODEL             every provider of Inspect AI: openai/gpt-4o, anthropic/..., vllm/...
inspect/PROVIDER/MODEL     the same, for providers that third parties registered with Inspect
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from sightline import registry
from sightline.contracts import Images, Target
from sightline.errors import UsageError
from sightline.targets._names import INSPECT_PROVIDERS, default_max_tokens, split, split_defended
from sightline.targets.local.settings import LocalSettings

_NONE: Mapping[str, Any] = {}
_BRIDGE = "sightline.bridge.inspect_target"
_ATTEMPTS = 5
"""Attempts of full length after which no further one is made."""
_MODULES = {
    **dict.fromkeys((*INSPECT_PROVIDERS, "inspect"), _BRIDGE),
    "vlm": "sightline.targets.vlm",
    "testbed": "sightline.targets.vlm",
    "tuned": "sightline.targets.vlm",
    "swapped": "sightline.targets.vlm",
    "replay": "sightline.targets.replay",
    "scripted": "sightline.targets.scripted",
    "recorded": "sightline.targets.recorded",
}


def modules_of(name: str) -> tuple[str, ...]:
    """The modules that prepare requests for a target and read what comes back, defenses included.

    None for a kind of target that is not known here.

    Raises:
        UsageError: for an unknown defense.
    """
    kind, _, rest = name.partition("/")
    if kind != "defended":
        return (_MODULES[kind],) if kind in _MODULES else ()
    spec, inner = split_defended(rest)
    defense: type[Any] = registry.parse("defense", spec).card.factory
    return ("sightline.targets.defended", defense.__module__, *modules_of(inner))


def asks_provider(name: str) -> bool:
    """Whether a target asks a provider of Inspect AI, at whatever depth of `defended/`."""
    return _BRIDGE in modules_of(name)


def open_target(
    name: str,
    images: Images,
    *,
    local: LocalSettings | None = None,
    model_args: Mapping[str, Any] = _NONE,
    retries: int | None = None,
    timeout: int | None = None,
    folder: Path | None = None,
) -> Target:
    """Open a target. Nothing heavy happens: weights are hashed, not loaded; no request is sent.

    Args:
        name: a target string as above.
        images: where the pictures of conversations are read from.
        local: how local models run; by default from the environment (`LocalSettings.from_environment`).
        model_args: passed on to the Inspect provider, at any depth of `defended/`.
        retries: how often a provider is asked again after a passing failure; None for its default.
        timeout: seconds after which one request to a provider is given up; None for its default.
        folder: of a study file: relative paths of `scripted/` and `replay/` are looked for there first.

    Raises:
        UsageError: unknown kind, absent folder or file, or a defense that cannot be constructed.
        AbsentExtraError: if a local model is asked for and torch or transformers is not installed.
    """
    kind, rest = split(name)
    if kind == "defended":
        from sightline.targets.defended import DefendedTarget, refuse_unready

        spec, inner = split_defended(rest)
        defense = registry.parse("defense", spec)
        refuse_unready(defense, inner, provided=asks_provider(inner))
        again = partial(
            open_target,
            images=images,
            local=local,
            model_args=model_args,
            retries=retries,
            timeout=timeout,
            folder=folder,
        )
        return DefendedTarget(defense, again(inner), images, again)
    if kind in ("vlm", "testbed", "tuned", "swapped"):
        from sightline.targets import vlm

        openers = {
            "vlm": vlm.open_vlm,
            "testbed": vlm.open_testbed,
            "tuned": vlm.open_tuned,
            "swapped": vlm.open_swapped,
        }
        return openers[kind](name, rest, images, local)
    if kind == "replay":
        from sightline.targets.replay import ReplayTarget

        return ReplayTarget(name, rest, folder)
    if kind == "scripted":
        from sightline.targets.scripted import ScriptedTarget

        return ScriptedTarget(name, rest, folder)
    if kind == "recorded":
        raise UsageError(
            f"target {name!r} cannot be asked: recorded responses come with `responses:` of a study"
        )
    return _inspect(rest if kind == "inspect" else name, images, model_args, retries, timeout)


def _inspect(
    name: str, images: Images, model_args: Mapping[str, Any], retries: int | None, timeout: int | None
) -> Target:
    """A provider of Inspect AI, through the bridge (loaded by name: only the bridge knows Inspect)."""
    try:
        bridge = importlib.import_module(_BRIDGE)
    except ModuleNotFoundError as absent:
        raise UsageError(
            f"target {name!r} needs the Python package {absent.name!r}: pip install sightline"
        ) from None
    bounds = {"max_retries": retries, "attempt_timeout": timeout, "timeout": timeout and _ATTEMPTS * timeout}
    said = {name: bound for name, bound in bounds.items() if bound is not None}
    retry_policy = bridge.RetryPolicy(**said) if said else None
    target: Target = bridge.InspectTarget(name, images, retry_policy=retry_policy, **model_args)
    return target


__all__ = [
    "LocalSettings",
    "asks_provider",
    "default_max_tokens",
    "modules_of",
    "open_target",
    "split",
    "split_defended",
]
