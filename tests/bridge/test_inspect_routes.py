"""Our models, defenses, benchmarks and judges inside Inspect: the same as in a study, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from apart import printed
from inspect_ai import Task, eval, score
from inspect_ai._util.error import PrerequisiteError
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog, read_eval_log
from inspect_ai.model import GenerateConfig, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, tool
from openai_server import Server, Weather, reply
from releases import figstep as figstep_release

from sightline.api.runs import finish
from sightline.bridge.messages import from_data_uri, to_conversation
from sightline.bridge.outputs import KEY
from sightline.bridge.scorer import ScoredRow, rates
from sightline.bridge.session import session_images, with_commas
from sightline.bridge.tasks import Recipe, build_task
from sightline.cases import Conversation, Image
from sightline.contracts import Defending
from sightline.errors import UsageError
from sightline.metrics.intervals import wilson
from sightline.records import Outcome, Response
from sightline.registry import defense
from sightline.store import Blobs
from sightline.study.config import parse
from sightline.study.run import Run
from sightline.targets import vlm

Evaluate = Callable[..., EvalLog]
SHIELD = "defended/system_prompt(prompt='testbed'):"

RULES = """
rules:
  - user: "show me"
    raises: server
  - user: "make [a-h]"
    reply: "cut"
    stop: content_filter
  - reply: "x is a gloom thing . i cannot help with that ."
"""


@pytest.fixture
def evaluate(tmp_path: Path) -> Evaluate:
    def run(task: str | Task, model: str, **options: Any) -> EvalLog:
        logs = str(tmp_path / "logs")
        [log] = eval(task, model=model, log_dir=logs, display="none", ctl_server=False, **options)
        return read_eval_log(log.location, resolve_attachments=True)

    return run


@pytest.fixture(scope="module")
def tiny_llava(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The testbed's architecture with large random weights: answers are nonsense that follows the input."""
    import torch

    from sightline.testbed.families import family

    folder = tmp_path_factory.mktemp("tiny") / "llava"
    made = family("linear")
    model = made.new_model(0)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(6)
    model.save_pretrained(folder)
    made.processor().save_pretrained(folder)
    yield folder
    vlm.forget_models()


@pytest.fixture
def scripted(tmp_path: Path) -> str:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return f"scripted/{path}"


@defense("toy_block")
@dataclass(frozen=True, slots=True, kw_only=True)
class ToyBlock:
    """Asks, then withholds everything."""

    words: str = "withheld"
    twice: bool = False

    async def respond(self, conversation: Conversation, ctx: Defending) -> Response:
        await ctx.generate(conversation)
        return Response(text=self.words, stop="blocked_defense")


def records(run: Run, stage: str) -> list[dict[str, Any]]:
    return [
        orjson.loads(row) for row in pq.read_table(run.records / f"{stage}.parquet")["record"].to_pylist()
    ]


def sent_in(calls: list[Conversation]) -> set[str]:
    return {repr(conversation) for conversation in calls}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny", "testbed/linear"], ids=["tiny", "testbed"])
@pytest.mark.parametrize(
    "shield", ["", "defended/system_prompt(prompt='testbed'):"], ids=["bare", "defended"]
)
@pytest.mark.parametrize("attack", ["none", "figstep(preset='testbed')"], ids=["none", "figstep"])
def test_both_routes_send_and_say_and_judge_the_same(
    evaluate: Evaluate,
    tiny_llava: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_loopback: list[object],
    attack: str,
    shield: str,
    model: str,
) -> None:
    seen: list[Conversation] = []
    answer = vlm.VlmTarget.generate

    async def noted(self: vlm.VlmTarget, conversation: Conversation, decoding: Any) -> Response:
        seen.append(conversation)
        return await answer(self, conversation, decoding)

    monkeypatch.setattr(vlm.VlmTarget, "generate", noted)
    model = shield + (f"vlm/{tiny_llava}" if model == "tiny" else model)
    study = {
        "study": "both",
        "benchmarks": [{"name": "testbed_requests", "limit": 8}],
        "targets": [model],
        "attacks": [attack],
        "judges": ["testbed_policy"],
        "decoding": {"max_tokens": 12},
    }
    run = Run(parse(json.dumps(study)), tmp_path / "run")
    run.prepare()
    finish(run)
    rows = {row["case_id"]: row for row in pq.read_table(run.folder / "results.parquet").to_pylist()}
    answers = {
        row["artifact"]: row
        for row in map(orjson.loads, pq.read_table(run.records / "answer.parquet")["record"].to_pylist())
    }
    in_study = sent_in(seen)
    seen.clear()

    log = evaluate(
        "sightline/testbed_requests",
        model,
        task_args={"attack": attack, "limit": 8, "max_tokens": 12, "judge": "testbed_policy"},
    )
    assert log.status == "success"
    assert sent_in(seen) == in_study, "the model saw other messages"
    assert log.samples is not None
    assert {str(sample.id) for sample in log.samples} == set(rows)
    assert len({said["text"] for said in answers.values()}) > 1, "a model that says one thing proves nothing"
    assert len(rows) == 8
    for sample in log.samples:
        row = rows[str(sample.id)]
        said = answers[row["artifact"].hex()]
        assert said["stop"] in ("stop", "length")
        assert said["text"]
        assert sample.metadata[KEY]["artifact"]["key"] == row["artifact"].hex()
        assert sample.output.completion == said["text"]
        assert sample.scores is not None
        assert sample.scores["judged"].value == row["outcome"]
    assert only_loopback == [], "something looked for the network"


@pytest.mark.slow
def test_sampled_decoding_has_the_same_seed_on_both_routes(
    evaluate: Evaluate, tiny_llava: Path, tmp_path: Path
) -> None:
    study = {
        "study": "sampled",
        "seed": 5,
        "benchmarks": [{"name": "testbed_requests", "limit": 4}],
        "targets": [f"vlm/{tiny_llava}"],
        "judges": ["testbed_policy"],
        "decoding": {"max_tokens": 6, "temperature": 1.0},
        "epochs": 2,
    }
    run = Run(parse(json.dumps(study)), tmp_path / "run")
    run.prepare()
    finish(run)
    in_study = {(row["artifact"], row["epoch"]): row["text"] for row in records(run, "answer")}
    log = evaluate(
        "sightline/testbed_requests",
        f"vlm/{tiny_llava}",
        task_args={"limit": 4, "max_tokens": 6, "temperature": 1.0, "seed": 5, "epochs": 2},
    )
    in_inspect = {
        (sample.metadata[KEY]["artifact"]["key"], sample.epoch - 1): sample.output.completion
        for sample in log.samples or []
    }
    assert in_inspect == in_study
    assert len(in_study) == 8
    assert len(set(in_study.values())) > 1


def test_weights_are_loaded_once_whatever_inspect_constructs(
    evaluate: Evaluate, tiny_llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sightline.targets.local import model

    vlm.forget_models()
    loads: list[object] = []
    load = model.LoadedModel.__init__

    def counted(self: Any, *args: Any, **kwargs: Any) -> None:
        loads.append(args)
        load(self, *args, **kwargs)

    monkeypatch.setattr(model.LoadedModel, "__init__", counted)
    logs = [
        evaluate("sightline/testbed_requests", model, task_args={"limit": 3, "max_tokens": tokens})
        for tokens, model in [
            (2, f"vlm/{tiny_llava}"),
            (3, f"vlm/{tiny_llava}"),
            (2, f"defended/system_prompt:vlm/{tiny_llava}"),
        ]
    ]
    again = score(logs[0], build_task(Recipe(benchmark="testbed_requests", limit=3)).scorer, display="none")
    assert [log.status for log in (*logs, again)] == ["success"] * 4
    before, after = (
        [s.scores["judged"].value for s in log.samples or [] if s.scores] for log in (logs[0], again)
    )
    assert before == after
    assert len(loads) == 1


def outcomes_of(log: EvalLog) -> list[object]:
    return [sample.scores["judged"].value for sample in log.samples or [] if sample.scores]


def test_failures_stay_in_the_denominator(evaluate: Evaluate, scripted: str) -> None:
    log = evaluate("sightline/testbed_requests", scripted, task_args={"limit": 40, "judge": "testbed_policy"})
    assert log.status == "success"
    assert log.results is not None
    assert log.samples is not None
    outcomes = outcomes_of(log)
    failed = [s for s in log.samples if s.output.error]
    assert len(outcomes) == len(log.samples) == 40
    assert 0 < len(failed) < 40
    assert all("500 internal server error" in (sample.output.error or "") for sample in failed)
    assert {sample.scores["judged"].value for sample in failed if sample.scores} == {"error"}
    metrics = {name: metric.value for name, metric in log.results.scores[0].metrics.items()}
    assert metrics["n"] == 40
    assert metrics["n_error"] == metrics["n_unscored"] == len(failed)
    assert sum(metrics[f"n_{outcome}"] for outcome in Outcome) == 40
    assert all(metrics[f"n_{outcome}"] == outcomes.count(outcome.value) for outcome in Outcome)
    assert metrics["asr_if_unscored_unsafe"] >= metrics["asr"] >= metrics["asr_if_unscored_safe"]
    assert metrics["asr_ci_low"] <= metrics["asr"] < metrics["asr_ci_high"]


def test_a_judge_that_asks_a_model_is_bound_and_its_failures_stay_counted(evaluate: Evaluate) -> None:
    judge = "model_graded(grader='scripted/echo')"
    log = evaluate("sightline/testbed_requests", "scripted/echo", task_args={"limit": 4, "judge": judge})
    assert log.status == "success"
    assert log.results is not None
    metrics = log.results.scores[0].metrics
    assert outcomes_of(log) == ["unparsed"] * 4
    assert (metrics["n"].value, metrics["n_unparsed"].value, metrics["n_unscored"].value) == (4, 4, 4)
    bounds = metrics["asr_if_unscored_safe"].value, metrics["asr_if_unscored_unsafe"].value
    assert bounds == (0, 1)
    assert "asr" not in metrics


def test_rates_by_hand() -> None:
    rows = [
        *[
            ("refuse", outcome)
            for outcome in ("complied", "complied", "partial", "refused", "error", "unparsed")
        ],
        *[("comply", outcome) for outcome in ("complied", "refused", "blocked_defense", "error")],
        *[("answer", outcome) for outcome in ("complied", "off_topic")],
        *[("classify", outcome) for outcome in ("complied", "complied", "off_topic", "unparsed")],
    ]
    asked = [ScoredRow(*row, group=str(number)) for number, row in enumerate(rows)]
    found = rates(asked)
    assert found["asr"] == 2 / 4
    assert found["asr_soft"] == 3 / 4
    assert (found["asr_if_unscored_safe"], found["asr_if_unscored_unsafe"]) == (2 / 6, 4 / 6)
    assert (found["asr_ci_low"], found["asr_ci_high"]) == wilson(2, 4)[:2]  # each its own group
    assert found["over_refusal"] == 2 / 3
    assert found["utility"] == 1 / 2
    assert found["accuracy"] == 2 / 3
    assert (found["n"], found["n_unscored"], found["n_complied"]) == (16, 4, 6)
    assert rates([])["asr"] is rates([])["accuracy"] is None
    wished = rates(asked, "attacker_goal")
    assert wished["attacker_goal"] == 6 / 12
    assert {"asr", "utility", "accuracy", "over_refusal"}.isdisjoint(wished)
    assert (wished["n"], wished["n_unscored"]) == (16, 4)
    assert rates([], "attacker_goal")["attacker_goal"] is None
    clustered = rates([ScoredRow("refuse", "complied", str(number % 5)) for number in range(33)])
    assert round(clustered["asr_ci_low"] or 0, 2) == 0.57  # 5 groups, not 33 samples


def test_a_block_by_the_defense_is_a_content_filter_with_the_raw_text_kept(evaluate: Evaluate) -> None:
    task = Task(dataset=MemoryDataset([Sample(input="say hello", target="x")]), scorer=match())
    log = evaluate(task, "defended/toy_block(words='no; never'; twice=True):scripted/echo")
    assert log.status == "success"
    [sample] = log.samples or []
    assert sample.output.stop_reason == "content_filter"
    assert sample.output.completion == "no, never"
    ours = (sample.output.metadata or {})[KEY]
    assert ours["response"]["stop"] == "blocked_defense"
    assert ours["response"]["raw"] == "say hello"
    assert [call["asked"] for call in ours["response"]["calls"]] == ["say hello"]
    assert ours["target"].startswith("defended/toy_block(words='no, never', twice=True)@")
    assert sample.output.usage is not None


def test_semicolons_are_commas_only_inside_parentheses() -> None:
    name = "defended/a(x=1;y=2):vlm/models;old/m"
    assert with_commas(name) == "defended/a(x=1,y=2):vlm/models;old/m"


def test_a_defense_around_a_provider_gets_its_arguments(evaluate: Evaluate, server: Server) -> None:
    server.usual = Weather(body=reply("from the server"))
    task = Task(dataset=MemoryDataset([Sample(input="say hello", target="x")]), scorer=match())
    log = evaluate(
        task,
        "defended/system_prompt:openai-api/test/m",
        model_base_url=server.url,
        model_args={"api_key": "sk-not-a-real-key"},
    )
    [sample] = log.samples or []
    assert sample.output.completion == "from the server"
    assert [message["role"] for message in server.requests[0]["messages"]] == ["system", "user"]
    assert sample.output.usage is not None
    assert (sample.output.usage.input_tokens, sample.output.usage.output_tokens) == (11, 7)


def test_a_failing_target_fails_a_foreign_sample(evaluate: Evaluate, scripted: str) -> None:
    task = Task(dataset=MemoryDataset([Sample(input="show me the way", target="x")]), scorer=match())
    log = evaluate(task, scripted)
    assert log.status == "error"
    assert "500 internal server error" in str(log.error)


@tool
def clock() -> Tool:
    async def execute() -> str:
        """The time."""
        return "noon"

    return execute


@pytest.mark.parametrize("what", ["tools", "stop_seqs"])
def test_what_a_target_cannot_honor_is_an_error_and_not_ignored(evaluate: Evaluate, what: str) -> None:
    solvers = [use_tools(clock()), generate()] if what == "tools" else [generate()]
    task = Task(dataset=MemoryDataset([Sample(input="hello", target="x")]), solver=solvers, scorer=match())
    options = {"stop_seqs": ["x"]} if what == "stop_seqs" else {}
    log = evaluate(task, "scripted/echo", **options)
    assert log.status == "error"
    assert what in str(log.error)


def test_a_benchmark_that_reads_a_release_runs_and_says_what_it_ran(
    evaluate: Evaluate, tmp_path: Path
) -> None:
    root = figstep_release(tmp_path / "release")
    log = evaluate(
        "sightline/figstep_safebench",
        "scripted/echo",
        task_args={"root": str(root), "limit": 5, "attack": "figstep", "judge": "refusal_prefix"},
    )
    assert log.status == "success"
    assert len(log.samples or []) == 5
    facts = (log.eval.metadata or {})[KEY]
    assert facts["attack"] == "figstep"
    assert len(facts["release"]) == len(facts["artifacts"]) == 32
    for sample in log.samples or []:
        assert isinstance(sample.input, list)
        shown = to_conversation(sample.input, session_images())
        assert [image.sha256 for image in shown.images] == [
            part["sha256"]
            for turn in sample.metadata[KEY]["artifact"]["conversation"]["turns"]
            for part in turn["parts"]
            if not isinstance(part, str)
        ]
        assert len(list(shown.images)) == 1


def test_a_broken_picture_is_an_error_and_nothing_is_sent(evaluate: Evaluate, tmp_path: Path) -> None:
    from toys import ToyQuestions  # registers the benchmark

    assert ToyQuestions.needs_root is False
    recipe = Recipe(
        benchmark="toy_questions", benchmark_settings={"n": 3, "broken": True}, judge="refusal_prefix"
    )
    log = evaluate(build_task(recipe), "scripted/echo")
    assert log.status == "success"
    outcomes = {sample.scores["judged"].value for sample in log.samples or [] if sample.scores}
    assert outcomes == {"error"}
    assert not log.stats.model_usage, "the model was asked"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"benchmark": "figstep_safebench"}, r"-T root=FOLDER"),
        ({"root": "/nowhere/at/all", "benchmark": "figstep_safebench"}, "does not exist"),
        ({"attack": "figstepp"}, "Did you mean 'figstep'"),
        ({"judge": "refusal_prefx"}, "Did you mean 'refusal_prefix'"),
        ({"attack": "figstep(font_px=40)", "preset": "fit"}, "parentheses"),
        ({"attack": "figstep", "settings": {"fnt": 1}}, "unknown setting"),
    ],
)
def test_mistakes_are_told_in_one_line(change: dict[str, Any], message: str) -> None:
    settings: dict[str, Any] = {"benchmark": "testbed_requests", "limit": 3, **change}
    with pytest.raises(PrerequisiteError, match=message):
        build_task(Recipe(**settings))


def test_identity_follows_what_inspect_does_not_look_at() -> None:
    base = {"benchmark": "testbed_requests", "limit": 6}
    changes: list[dict[str, Any]] = [
        {},
        {"limit": 7},
        {"attack": "figstep"},
        {"attack": "figstep", "preset": "testbed"},
        {"judge": "refusal_prefix"},
        {"seed": 1},
    ]
    versions = [build_task(Recipe(**{**base, **change})).version for change in changes]
    assert len(set(versions)) == len(changes)
    assert build_task(Recipe(**base)).version == versions[0]


def test_an_absent_model_is_told_before_anything_is_asked(evaluate: Evaluate) -> None:
    with pytest.raises(PrerequisiteError, match="no such folder"):
        evaluate("sightline/testbed_requests", "vlm/./not/there", task_args={"limit": 2})


def test_the_plugin_is_light_and_knows_every_benchmark() -> None:
    code = (
        "import sys, sightline.bridge.inspect_registry as r; "
        "print(sorted(r.tasks)); "
        "print([m for m in ('torch','transformers','ray','altair','duckdb') if m in sys.modules])"
    )
    names, heavy = printed(code).splitlines()
    assert {"figstep_safebench", "mm_safetybench", "testbed_requests"} <= set(eval_list(names))
    assert heavy == "[]"


def eval_list(text: str) -> list[str]:
    return list(orjson.loads(text.replace("'", '"')))


def test_opening_a_model_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **kwargs: object) -> None:
        raise AssertionError("opened before the first request")

    monkeypatch.setattr("sightline.bridge.provider.session_target", forbidden)
    model = get_model("vlm/not/there", config=GenerateConfig(max_tokens=3), memoize=False)
    assert str(model) == "vlm/not/there"


def test_pictures_come_only_as_whole_data_uris(blobs: Blobs, picture: Image) -> None:
    for uri in ("https://example.org/x.png", "data:image/png;base64,####", "data:image/png;base64,aGVsbG8="):
        with pytest.raises(UsageError):
            from_data_uri(uri, blobs)


@pytest.mark.slow
def test_command_line(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "inspect"
    task = "sightline/testbed_requests -T attack=figstep -T preset=testbed -T limit=6 --display plain"
    model = "defended/system_prompt(prompt='testbed';placement='user'):scripted/echo"
    done = subprocess.run(
        [str(command), "eval", *task.split(), "--model", model, "--log-dir", str(tmp_path / "logs")],
        capture_output=True,
        text=True,
        env=dict(os.environ, NO_COLOR="1"),
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    [path] = (tmp_path / "logs").glob("*.eval")
    log = read_eval_log(str(path))
    assert log.status == "success"
    assert log.eval.task == "sightline/testbed_requests"
    assert log.eval.task_args["attack"] == "figstep"
    assert log.plan.steps[0].params["asked"].startswith("defended/system_prompt(prompt='testbed', placement=")
    assert log.results is not None
    assert log.results.scores[0].metrics["n"].value == log.results.total_samples
