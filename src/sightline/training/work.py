"""Train a target, or find what was trained before: folders by content, whole or not there, resumable.

Work is done in a folder of another name beside the target's, which is given its own name at the end. A run
that was killed goes on from its last state; a run that is asked for again costs nothing.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from sightline import registry
from sightline.contracts import Decoding, Images
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.sealed import file_named
from sightline.store import write_atomically
from sightline.targets import LocalSettings, default_max_tokens, open_target, tuned
from sightline.targets.local.files import weights_digest
from sightline.targets.vlm import VlmTarget
from sightline.training import facts
from sightline.training.lessons import whole_sentences
from sightline.tuning import Backend, Lesson, Plan, Progress, Recipe
from sightline.waiting import wait

try:
    import fcntl
except ImportError:  # no such lock on Windows: two trainings of one target are the user's care there
    fcntl = None  # type: ignore[assignment]

OWN = "answers.json"
_WEIGHTS = (".safetensors", ".safetensors.index.json")
_SEALS = ("sightline.json", "manifest.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A trained target.

    Attributes:
        name: its target string.
        folder: its model folder.
        record: what `recipe.json` holds.
        fresh: whether it was trained now, and not found.
    """

    name: str
    folder: Path
    record: Mapping[str, Any]
    fresh: bool

    @property
    def checkpoints(self) -> tuple[str, ...]:
        """Target strings of the checkpoints, in order, the last one not among them."""
        base, named = str(self.record["base"]), str(self.record["digest"])
        steps = self.record["checkpoints"]
        return tuple(tuned.name_of(str(self.record["recipe"]), named, base, step) for step in steps)


def lookup(
    recipe: Recipe,
    base: str,
    lessons: Sequence[Lesson],
    images: Images,
    *,
    seed: int = 0,
    backend: Backend = "loop",
) -> Trained | None:
    """What `train` with the same arguments has made before; None if it has not.

    Raises:
        UsageError: for a target that cannot be trained.
    """
    wanted = _wanted(recipe, base, lessons, images, seed, backend)
    return _found(wanted.name, fresh=False) if wanted.is_there else None


class _Wanted(NamedTuple):
    """A trained target, there or not: what it is made of, its name, and its folder."""

    recipe: Recipe
    target: VlmTarget
    key: str
    name: str
    place: Path

    @property
    def is_there(self) -> bool:
        return (self.place / tuned.RECORD).is_file()


def _wanted(
    recipe: Recipe,
    base: str,
    lessons: Sequence[Lesson],
    images: Images,
    seed: int,
    backend: Backend,
    local: LocalSettings | None = None,
) -> _Wanted:
    tuned.check_trainable(base)
    target = open_target(base, images, local=local)
    assert isinstance(target, VlmTarget)
    recipe = registry.checked(recipe)
    key = digest_of(recipe, target.source.digest, lessons, seed, backend)
    place = tuned.home() / f"{recipe.card.name}@{key}"
    return _Wanted(recipe, target, key, tuned.name_of(recipe.card.name, key, base), place)


def train(
    recipe: Recipe,
    base: str,
    lessons: Sequence[Lesson],
    images: Images,
    *,
    seed: int = 0,
    leaked: int = 0,
    backend: Backend = "loop",
    local: LocalSettings | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train `base` by a recipe, or find that in the cache.

    Args:
        recipe: what to teach, and how.
        base: target string of a local model.
        lessons: rows to train on.
        images: where their pictures are read from.
        seed: of their order.
        leaked: how many measured cases are known to be among them; for the record.
        backend: who changes weights.
        local: where the model runs; by default from the environment.
        report: called after every step.

    Raises:
        UsageError: for a target that cannot be trained, rows that teach nothing, a loss that is not finite.
    """
    tuned.check_trainable(base)
    check_backend(backend)
    settings = local or LocalSettings.from_environment()
    wanted = _wanted(recipe, base, lessons, images, seed, backend, settings)
    recipe, target, key, name, place = wanted
    _check_family(target, backend)
    if wanted.is_there:
        return _found(name, fresh=False)
    work = place.with_name(f".{place.name}.part")
    work.mkdir(parents=True, exist_ok=True)
    with alone(work):
        if wanted.is_there:  # another process was at it until now
            return _found(name, fresh=False)
        known, own = answered(recipe, target, lessons, work / OWN)
        plan = recipe.plan(known, seed)
        check(plan, recipe)
        record = {
            "target": name,
            "recipe": recipe.card.name,
            "digest": key,
            "settings": registry.spec(recipe),
            "role": recipe.card.role,
            "base": base,
            "base_id": target.id,
            "backend": backend,
            "seed": seed,
            "data": facts.data(known, plan),
            "leaked": leaked,
            "own_answers": {"asked": len(own.answers), "cpu_seconds": own.cpu_seconds},
            **facts.upon(base),
            "checkpoints": list(plan.saved),
            "versions": facts.versions(backend),
        }
        _carry_out(plan, target, images, settings, work, record, report)
        place.parent.mkdir(parents=True, exist_ok=True)
        work.rename(place)
    return _found(name, fresh=True)


def check_backend(backend: Backend) -> None:
    """Make sure that what a backend needs is installed.

    Raises:
        UsageError: with the command that installs it.
    """
    missing = [name for name in facts.PACKAGES[backend] if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"backend {backend!r} needs {', '.join(missing)}: pip install 'sightline[train]', or use the "
            f"backend loop (--backend loop)"
        )


def digest_of(
    recipe: Recipe, base: str, lessons: Sequence[Lesson], seed: int, backend: Backend = "loop"
) -> str:
    """What decides the weights: recipe with settings and code, base weights, rows, seed, backend."""
    rows = facts.digest_of_rows(lessons)
    code = registry.code(recipe)
    return digest("tuned", recipe.card.name, registry.identity(recipe), code, base, rows, seed, backend)[:12]


class Own(NamedTuple):
    """What the base answered itself, by the lesson's id, and the processor time that it took."""

    answers: Mapping[str, str]
    cpu_seconds: float


def answered(
    recipe: Recipe, target: VlmTarget, lessons: Sequence[Lesson], path: Path
) -> tuple[tuple[Lesson, ...], Own]:
    """The lessons with the base's own answers, where the recipe wants them; asked once, and kept in a file.

    Raises:
        UsageError: for a lesson that the base cannot take.
    """
    asked = [each for each in lessons if recipe.wants_own(each)]
    if path.exists():
        own = Own(**json.loads(path.read_text("utf-8")))
    else:
        decoding = Decoding(max_tokens=default_max_tokens([target.id]))
        started = time.process_time()

        async def all_of_them() -> list[Any]:
            return list(await asyncio.gather(*(target.generate(each.prompt, decoding) for each in asked)))

        replies = wait(all_of_them()) if asked else []
        for lesson, reply in zip(asked, replies, strict=True):
            if reply.error:
                raise UsageError(
                    f"{lesson.source}, case {lesson.id}: {target} does not answer it: {reply.error}"
                )
        # an answer that was cut off would teach the model to stop in the middle of a sentence
        answers = {
            lesson.id: whole_sentences(reply.text) if reply.stop == "length" else reply.text.strip()
            for lesson, reply in zip(asked, replies, strict=True)
        }
        own = Own(answers, round(time.process_time() - started, 2))
        write_atomically(path, json.dumps(own._asdict()).encode())
    return tuple(replace(each, own=own.answers.get(each.id, "")) for each in lessons), own


def check(plan: Plan, recipe: Recipe) -> None:
    """Make sure that a plan can be carried out.

    Raises:
        UsageError: for a plan without steps, or an answer without text.
    """
    if not plan.steps or not plan.seen:
        raise UsageError(f"recipe {registry.spec(recipe)}: nothing is taught: no step has a row")
    used = {number for batch in plan.batches for number in batch}
    for number in sorted(used):
        example = plan.examples[number]
        if plan.loss == "features":
            if not any(True for _ in example.prompt.images):
                raise UsageError(f"recipe {recipe.card.name}: a row without a picture trains no tower")
        elif not example.chosen.strip() or (plan.loss == "dpo" and not example.rejected.strip()):
            raise UsageError(
                f"recipe {recipe.card.name}: no answer to teach for "
                f"{example.prompt.last_user_text()[:80]!r}: give rows "
                "an answer, or let the base answer them"
            )


def _carry_out(
    plan: Plan,
    target: VlmTarget,
    images: Images,
    settings: LocalSettings,
    work: Path,
    record: dict[str, Any],
    report: Callable[[Progress], None],
) -> None:
    from sightline.training import loop
    from sightline.training.model import TrainableModel, by_part

    if record["backend"] == "trl":
        from sightline.training.trl_backend import run
    else:
        run = loop.run

    base: Path = target.source.folder  # type: ignore[attr-defined]
    model = TrainableModel(base, images.read, settings)
    weights = by_part(model.trained(plan.frozen, plan.lora))

    def keep(folder: Path) -> None:
        export(model.model, base, folder, system=plan.system)

    spent = run(model, plan, work, lambda step: keep(work / f"step-{step}"), report)
    keep(work / tuned.FINAL)
    told = {
        **record,
        "trained_weights": weights,
        "plan": {
            name: getattr(plan, name)
            for name in ("steps", "seen", "loss", "rate", "schedule", "warmup", "frozen", "system")
        },
        "loss_curve": [round(loss, 5) for loss in spent.losses],
        **facts.curves(spent),
        **({"sampling": asdict(plan.sampling), "warm": plan.warm} if plan.sampling is not None else {}),
        "tokens": spent.tokens,
        "flops": spent.flops,
        "cpu_seconds": round(spent.cpu_seconds, 2),
        "wall_seconds": round(spent.wall_seconds, 2),
    }
    for name in (loop.STATE, loop.REFERENCE, OWN):
        (work / name).unlink(missing_ok=True)
    folders = sorted(each.name for each in work.iterdir() if each.is_dir() and not each.name.startswith("."))
    told["weights"] = {name: weights_digest(work / name) for name in folders}
    plain = json.loads(json.dumps(told))
    whole = {**plain, tuned.SEAL: digest(plain)}
    write_atomically(work / tuned.RECORD, json.dumps(whole, indent=2).encode() + b"\n")


def export(model: Any, base: Path, folder: Path, *, system: str = "") -> None:
    """Write a model folder, whole or not at all: its weights, and all other files of the base's.

    Raises:
        UsageError: for a `system` line that the base's chat template cannot carry.
    """
    from sightline.targets.local.processors import quiet
    from sightline.training import lora
    from sightline.training.carried import carry

    if folder.exists():
        return
    fresh = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    with file_named(folder):
        try:
            fresh.mkdir(parents=True)
            with quiet(), lora.merged(model) as plain:
                plain.save_pretrained(fresh)
            for path in base.iterdir():
                if path.is_file() and not path.name.endswith(_WEIGHTS) and path.name not in _SEALS:
                    shutil.copyfile(path, fresh / path.name)
            if system:
                carry(fresh, system)
            fresh.rename(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Hold a working folder for this process; another one waits until it is done or ends."""
    path = work.with_suffix(".lock")
    with path.open("wb") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        work.mkdir(exist_ok=True)
        yield
    path.unlink(missing_ok=True)


def _found(name: str, *, fresh: bool) -> Trained:
    """A trained target in its place.

    Raises:
        DamageError: if its weights are not those that its record names.
    """
    found = tuned.find(name.partition("/")[2])
    return Trained(name=name, folder=found.folder, record=found.record, fresh=fresh)


def _check_family(target: VlmTarget, backend: Backend) -> None:
    """Make sure that a backend takes models of this type, before the base is asked anything."""
    if backend == "trl":
        from sightline.training.trl_backend import check_family

        check_family(str(target), str(target.source.config().model_type))
