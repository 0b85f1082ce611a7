"""A benchmark under an attack as an Inspect task, crafted by the study's own stages.

Cases are read and artifacts sealed before the task starts, by the code that a study runs, so that both
routes send the same messages. Inspect sees final conversations with pictures as data URIs.

Inspect's identity of a task covers neither the dataset's content nor the scorer nor a model's weights.
Here the task's `version` and the arguments of solver and scorer carry digests of the release, of all
artifacts, of the judge and of the target; the metadata says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inspect_ai import Task
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, GenerateConfig
from inspect_ai.model._model import active_model
from rich.markup import escape

from sightline import __version__, registry
from sightline.bridge import roles
from sightline.bridge.inspect_target import RetryPolicy
from sightline.bridge.messages import to_messages
from sightline.bridge.outputs import KEY
from sightline.bridge.provider import SightlineAPI
from sightline.bridge.scorer import judged, open_judge
from sightline.bridge.session import session_folder, session_images
from sightline.bridge.solver import replay
from sightline.contracts import Attack, Decoding, Images, Judge
from sightline.digests import digest
from sightline.errors import UsageError
from sightline.plain import artifact_of
from sightline.shards import Row
from sightline.study.case_table import CaseTable, read_cases
from sightline.study.config import Source, Study
from sightline.study.context import RunContext
from sightline.study.crafting import craft
from sightline.study.grid import Column
from sightline.study.progress import Silent
from sightline.tables import Table
from sightline.targets import default_max_tokens

DEFAULT_JUDGE = "refusal_prefix"
"""For benchmarks whose card names no judge of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The parameters of a task (`-T name=value`).

    Attributes:
        attack: registry form, such as `figstep` or `figstep(font_px=40)`.
        preset, settings: of the attack, if it is named plainly.
        judge: registry form; None takes the benchmark's own.
        roles: models that the attack asks while it is crafted, by role, as in a study; else Inspect's own
            (`--model-role attacker=MODEL`).
        root: folder or zip of the official release.
        limit: number of cases, taken in turn from every category.
        max_tokens: of a reply; by default 128 for the testbed's models, 512 for others.
    """

    benchmark: str
    attack: str = "none"
    preset: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    judge: str | None = None
    roles: dict[str, str] = field(default_factory=dict)
    root: str | None = None
    limit: int | None = None
    benchmark_settings: dict[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    epochs: int = 1

    def open_attack(self) -> Attack:
        """The attack. Raises UsageError for an unknown name or setting, or settings given twice."""
        if "(" not in self.attack:
            made: Attack = registry.make("attack", self.attack, preset=self.preset, **self.settings)
            return made
        if self.preset or self.settings:
            raise UsageError("give an attack's settings in its parentheses or as -T settings, not both")
        parsed: Attack = registry.parse("attack", self.attack)
        return parsed

    def decoding(self) -> Decoding:
        """How the evaluated model is asked."""
        model = active_model()
        most = self.max_tokens or default_max_tokens([str(model) if model is None else roles.name_of(model)])
        return Decoding(max_tokens=most, temperature=self.temperature, top_p=self.top_p, seed=self.seed)

    def source(self) -> Source:
        """The benchmark with its release folder. Raises UsageError if it needs one and has none."""
        benchmark = registry.make("benchmark", self.benchmark, **self.benchmark_settings)
        if benchmark.needs_root and self.root is None:
            raise UsageError(
                f"{self.benchmark} reads an official release: add -T root=FOLDER, the folder or zip of it"
            )
        root = None if self.root is None else Path(self.root).expanduser()
        if root is not None and not root.exists():
            raise UsageError(f"{root} does not exist; name the folder or zip of the release with -T root=")
        return Source(label=self.benchmark, benchmark=benchmark, root=root, limit=self.limit)


def crafted(recipe: Recipe, judge: Judge) -> tuple[CaseTable, list[tuple[Row, Row]]]:
    """The benchmark's cases and their artifacts, as plain rows in release order.

    An attack that converses talks to the model that is evaluated, before the evaluation starts.

    Raises:
        UsageError: from the benchmark or the attack.
        ContractError: if the attack breaks its threat model's promise.
    """
    named = roles.named(recipe.open_attack(), recipe.roles, judge)
    study = Study(name=recipe.benchmark, seed=recipe.seed, sources=(recipe.source(),), attacks=(named,))
    records, blobs = session_folder() / "records", session_images()
    case_table = read_cases(study.sources[0], records, blobs, Silent())
    column = Column.of(named, study, talkers=roles.talkers(named, recipe.decoding()))
    run = RunContext(study=study, records=records, blobs=blobs, case_tables=[case_table], columns=[column])
    craft(run)
    pairs: list[tuple[Row, Row]] = []
    with Table(records / "craft") as table:
        for cases in run.case_rows(case_table, column):
            for case, artifact in zip(cases, table.rows(column.keys(cases)), strict=True):
                assert artifact is not None, "the craft stage counts its rows"
                pairs.append((case, artifact))
    return case_table, pairs


def samples(pairs: list[tuple[Row, Row]], images: Images, *, sampled: bool) -> Iterator[Sample]:
    """One Inspect sample per artifact, with everything that judging needs in its metadata."""
    for case, artifact in pairs:
        sealed = artifact_of(artifact)
        messages: str | list[ChatMessage]
        if sealed.problem is None:
            messages = to_messages(sealed.conversation, images)
        else:
            messages = f"[not sent: {sealed.problem}]"
        yield Sample(
            input=messages,
            target=case.get("answer") or case["expected"],
            id=case["id"],
            metadata={
                "expected": case["expected"],
                "category": case["category"],
                "group": case["group"],
                "hazard": case.get("hazard", ""),
                KEY: {"case": case, "artifact": artifact, "sampled": sampled},
            },
        )


def asked_model() -> str:
    """Identity of the model that Inspect is about to ask: of a target of ours, weights and defenses too.

    Empty if no evaluation is under way.

    Raises:
        UsageError: if a target of ours cannot be opened; better now than in every sample.
    """
    model = active_model()
    if model is None:
        return ""
    return model.api.target().id if isinstance(model.api, SightlineAPI) else str(model)


def build_task(recipe: Recipe) -> Task:
    """The Inspect task of a recipe.

    Raises:
        PrerequisiteError: with our one-line message, for whatever the user has to mend.
    """
    try:
        spec = recipe.judge or registry.card("benchmark", recipe.benchmark).judge or DEFAULT_JUDGE
        judge = open_judge(spec)
        case_table, pairs = crafted(recipe, judge)
        asked = asked_model()
    except UsageError as wrong:
        raise PrerequisiteError(escape(str(wrong))) from None  # Inspect prints it as markup
    attack = recipe.open_attack()
    artifacts = digest([artifact["key"] for _, artifact in pairs])
    facts = {
        "sightline": __version__,
        "benchmark": registry.spec(case_table.source.benchmark),
        "benchmark_identity": registry.identity(case_table.source.benchmark),
        "release": case_table.release,
        "cases": digest([case["key"] for case, _ in pairs]),
        "attack": registry.spec(attack),
        "attack_identity": registry.identity(attack),
        "artifacts": artifacts,
        "judge": judge.id,
        "judge_identity": registry.identity(judge),
        "warnings": list(case_table.warnings),
    }
    retry_policy = RetryPolicy()
    return Task(
        dataset=MemoryDataset(
            list(samples(pairs, session_images(), sampled=recipe.temperature > 0)), name=recipe.benchmark
        ),
        solver=replay(artifacts=artifacts, asked=asked, seed=recipe.seed),
        scorer=judged(spec, identity=registry.identity(judge)),
        config=GenerateConfig(
            max_tokens=recipe.decoding().max_tokens,
            temperature=recipe.temperature,
            top_p=recipe.top_p if recipe.top_p < 1 else None,
            max_connections=retry_policy.max_connections,
            max_retries=retry_policy.max_retries,
            timeout=retry_policy.timeout,
            attempt_timeout=retry_policy.attempt_timeout,
        ),
        epochs=recipe.epochs,
        version=digest(facts)[:16],
        metadata={KEY: facts},
    )
