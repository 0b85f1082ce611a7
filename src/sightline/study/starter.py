"""The first study for a user's situation, as commented YAML: which target, which data, with a GPU or not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import yaml

from sightline import registry
from sightline.errors import UsageError
from sightline.study.first_look import holds_responses, look_at
from sightline.targets import split, split_defended

Kind = Literal["testbed", "scripted", "local", "provider"]

_HEAD = """\
# Written by `sightline init`; change whatever you like.
#   sightline run {file} --dry-run    counts what would be done and asks no model
#   sightline run {file}              runs it; the same command again goes on where it stopped
# It ends in runs/{study}/report.html. Lines that begin with `# -` are next steps: take the `# ` away.
study: {study}
seed: 7  # of whatever is drawn at random
"""
_BENCHMARKS = {
    "testbed": """\
# What is asked: requests about invented things, which the small models were taught to refuse, their
# harmless twins, and plain questions.{stranger}
# Next: your own table (`sightline init --data FILE`), or an official release (`sightline list benchmarks`).
benchmarks:
  - {{name: testbed_requests, subset: all}}
  # - {{name: mm_safetybench, root: FOLDER-OR-ZIP}}
""",
    "cases": """\
# What is asked: your data, one case per row. `sightline check-data {data}` shows which column is
# taken for what, rows as the model will see them, and everything that is wrong.
# `columns: {{text: COLUMN}}` takes the text from another column. `on_bad_rows: keep` makes an error outcome
# of a row that cannot be used; `error`, the default, lists all of them and stops. Without a column of
# labels each row is taken for what a safe model refuses; `expected: comply` says that it is harmless.
benchmarks:
  - {entry}
""",
    "ours": """\
# What is asked: {summary}
# Next: your own table (`sightline init --data FILE`), or an official release (`sightline list benchmarks`).
benchmarks:
  - {entry}
""",
    "official": """\
# What is asked: an official release, as its authors publish it. `sightline show {data}` has
# its settings, `sightline taxonomy {file}` the hazards that it covers.
benchmarks:
  - {entry}
""",
}
_RESPONSES = """\
# What is judged: answers that exist already. Cases, models, attacks and defenses are read off the file;
# no model is asked. `{{files: FILE, columns: {{response: COLUMN}}, model: NAME}}` says what it does not say.
responses: {root}
"""
_RESPONSES_JUDGES = """\
# Who decides what an answer is; the first one's outcomes are the headline. A list of refusal phrases asks
# no model, knows English alone, and takes what is no refusal for compliance.
# Next: a model that grades by a rubric (put it first), and the verdicts that the file holds, if it does.
judges:
  - refusal_prefix
  # - {name: model_graded, grader: openai/gpt-4o-mini}
  # - recorded
"""
_LIMIT = """\
limit: {limit}  # a first look: at most so many cases, of every category; without this line, all
"""
_TARGETS = {
    "testbed": """\
# Who answers: a small genuine model that comes along and needs no GPU.{mismatch}
# Next: your own model. Several targets are asked the same and stand side by side.
targets:
  - {target}
  # - openai/gpt-4o  # any provider of Inspect AI, its key in the environment
  # - vlm/FOLDER  # a Hugging Face image-text-to-text model, run here
""",
    "scripted": """\
# Who answers: rules that refuse what is typed and obey what is drawn; no model, since torch is missing.
# Next: `pip install 'sightline[local]'` for the small model testbed/linear, or a model of your own.
targets:
  - {target}
  # - openai/gpt-4o  # any provider of Inspect AI, its key in the environment
""",
    "local": """\
# Who answers: a model that runs here. Several targets are asked the same and stand side by side.
targets:
  - {target}
""",
    "provider": """\
# Who answers: a provider of Inspect AI, which takes its key from the environment. Several targets are
# asked the same and stand side by side.
targets:
  - {target}
""",
}
_ATTACKS = """\
# How it is asked. `none` is each case as it is: what everything else is compared with.
attacks:
  - none
  # the request drawn into a picture (FigStep), and its control: the same words, typed
  - {{name: figstep, preset: {drawn}}}
  - {figstep_typed}
  # controls of every picture: without them no effect is put down to an attack
  - text_only
  - {blank_image}
  - {noise_image}
"""
_WHITEBOX = """\
  # a picture made on the model's own gradients; its control is the noise above
  - {whitebox}
"""
_NO_WHITEBOX = {
    "testbed": """\
  # next: a picture made on the model's own gradients; `sightline list attacks` has more
  # - {whitebox}
""",
    "local": """\
  # next, with a GPU: a picture made on the model's own gradients, so many backward passes each
  # - {whitebox}
""",
    "provider": """\
  # next: pictures made on the gradients of a model that runs here, and shown to this one
  # - {{name: carlini, targets: [Sure], surrogate: vlm/FOLDER, budget: {{backwards: 200}}}}
""",
}
_DEFENSES = """\
# With which protection: `none` is the bare target. Next: what a defense helps, and what it takes away.
defenses:
  - none
  # - {system_prompt}
  # - {self_moderation}
"""
_JUDGES = {
    "testbed": """\
# Who decides what an answer is; the first one's outcomes are the headline. A rule of the invented
# world knows the truth; a list of refusal phrases is what there is elsewhere.
judges:
  - JUDGE
  - {name: refusal_prefix, phrases: testbed}
""",
    "other": """\
# Who decides what an answer is; the first one's outcomes are the headline. This list of English phrases asks
# no model and sees refusals alone: not whether an answer helps or talks of something else, no refusal in
# other words or in another language. All that counts as harm, so that its ASR is mostly too high.
# Better: a model that grades by a rubric, put first, and people's labels of a part (`sightline annotate`).
judges:
  - refusal_prefix
  # - {name: model_graded, grader: openai/gpt-4o-mini}
""",
}
_DECODING = {
    "testbed": "decoding: {max_tokens: 40}\n",
    "other": """\
decoding:
  max_tokens: 512  # of one answer; more for a model that thinks first
  temperature: 0  # null for a model that takes none
""",
}


STRANGER = " Your model does not know the words: this\n# shows that everything works, and no more."
STAND_IN = (
    " It knows the words of its\n# invented world alone: a stand-in until you name a model of your own."
)
WORDS = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null"})
"""What YAML takes for something else than a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a user has.

    Attributes:
        target: a target string; '' for a model that comes along, or for none if the data are responses.
        data: a table, a folder, or the name of a benchmark, also as `NAME=FOLDER`; '' for invented requests.
        gpu: whether attacks on gradients may take a GPU.
    """

    target: str = ""
    data: str = ""
    gpu: bool = False

    @property
    def asked(self) -> str:
        """The target of the study: the given one, or the best that is installed."""
        if self.target:
            return self.target.strip()
        return "testbed/linear" if find_spec("torch") else "scripted/typographic"


def kind_of(target: str) -> Kind:
    """What answers, behind whatever defenses.

    Raises:
        UsageError: for what is no target string.
    """
    kind = split(_innermost(target)).kind
    if kind in ("testbed", "scripted"):
        return "testbed" if kind == "testbed" else "scripted"
    return "local" if kind == "vlm" else "provider"


class Starter(NamedTuple):
    """A study's text and what it does; data of the user's own, and what has to be mended in them; else ''."""

    text: str
    about: str
    own: str = ""
    problem: str = ""


def compose(situation: Situation, file: Path) -> Starter:
    """The study for a situation; paths of data are relative to the file's folder where they are below it.

    Raises:
        UsageError: for a target or data that there is not.
    """
    path = _home(situation.data)
    if situation.data and not situation.target and path.exists() and holds_responses(path):
        parts = (
            _HEAD.format(file=file, study=study_name(file)),
            _RESPONSES.format(root=_scalar(_near(path, file))),
            _RESPONSES_JUDGES,
        )
        return Starter("\n".join(parts), f"judges the responses in {path}")
    target = situation.asked
    kind = kind_of(target)
    ours = kind in ("testbed", "scripted")
    judge, benchmark, own, problem = _benchmark(situation.data, file, ours=ours)
    preset = "testbed" if ours else ""
    text = "\n".join(
        [
            _HEAD.format(file=file, study=study_name(file)),
            benchmark,
            _LIMIT.format(limit=60 if ours else 20),
            _TARGETS[kind].format(target=_scalar(target), mismatch="" if judge else STAND_IN),
            _ATTACKS.format(
                drawn=preset or "fit",
                figstep_typed=_entry("figstep_typed", preset=preset),
                blank_image=_entry("blank_image", preset=preset),
                noise_image=_entry("noise_image", preset=preset),
            )
            + _gradients(kind, target, gpu=situation.gpu),
            _DEFENSES.format(
                system_prompt=_entry("system_prompt", prompt=preset),
                self_moderation=_entry("self_moderation", wording=preset),
            ),
            _JUDGES["testbed" if ours and judge else "other"].replace("JUDGE", judge),
            _DECODING["testbed" if ours else "other"],
        ]
    )
    return Starter(text, f"asks {target} about {situation.data or 'invented requests'}", own, problem)


def study_name(file: Path) -> str:
    """A name for the study: that of its file, with the letters that a name may have."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", file.stem).strip("-._")[:64]
    return name or "study"


class _Asked(NamedTuple):
    """What is asked: the judge that knows the truth of it ('' = none), the section, `own` as in `Starter`."""

    judge: str
    section: str
    own: str = ""
    problem: str = ""


def _benchmark(data: str, file: Path, *, ours: bool) -> _Asked:
    if not data:
        section = _BENCHMARKS["testbed"].format(stranger="" if ours else STRANGER)
        return _Asked("testbed_policy", section)
    name, _, folder = data.partition("=")
    if name in registry.names("benchmark") and name != "cases":
        card = registry.card("benchmark", name)
        root = _scalar(_near(_home(folder), file)) if folder else ""
        kind = "official" if card.factory.needs_root else "ours"
        facts = {"data": name, "entry": _entry(name, root=root), "file": file, "summary": card.summary}
        judge = "" if kind == "official" else card.judge or "testbed_policy"
        return _Asked(judge, _BENCHMARKS[kind].format(**facts))
    path = _home(data)
    if not path.exists():
        raise UsageError(
            f"data {data!r}: no file or folder, and no benchmark of that name. Name a table (.csv, .tsv, "
            ".json, .jsonl, .parquet), a folder, or a benchmark of `sightline list benchmarks`, with the "
            "folder of its release if that is not below $SIGHTLINE_DATA: mm_safetybench=FOLDER"
        )
    look = look_at(path)
    settings = {name: _scalar(value) for name, value in look.settings.items()}
    entry = _entry("cases", root=_scalar(_near(path, file)), **settings)
    return _Asked("", _BENCHMARKS["cases"].format(data=path, entry=entry), str(path), look.problem)


def _gradients(kind: Kind, target: str, *, gpu: bool) -> str:
    """The attack on gradients: on the target itself if it has any, else how to make one on another model."""
    inner = _scalar(_innermost(target))
    whitebox = f"{{name: carlini, targets: [Sure], surrogate: {inner}, budget: {{backwards: 200}}}}"
    if kind == "testbed":
        whitebox = _entry("qi_visual", preset="testbed", surrogate=inner)
    text = _WHITEBOX if gpu and kind in ("testbed", "local") else _NO_WHITEBOX.get(kind, "")
    return text.format(whitebox=whitebox)


def _innermost(target: str) -> str:
    """The target behind all defenses."""
    kind, rest = split(target)
    return _innermost(split_defended(rest).inner) if kind == "defended" else target


def _home(text: str) -> Path:
    """A path as it is given, `~` for the user's own folder."""
    try:
        return Path(text).expanduser()
    except RuntimeError:  # ~nobody
        return Path(text)


def _near(path: Path, file: Path) -> str:
    """A path as the study names it: relative to the study's folder if it lies below it."""
    whole, folder = path.absolute(), file.parent.absolute()
    near = whole.relative_to(folder) if whole.is_relative_to(folder) else whole
    return str(whole if str(near).startswith("~") else near)


def _entry(name: str, **settings: str) -> str:
    """A method as a study names it, with the settings that have a value."""
    said = "".join(f", {key}: {value}" for key, value in settings.items() if value)
    return f"{{name: {name}{said}}}" if said else name


def _scalar(text: str) -> str:
    """A text as a YAML value, in quotes where it needs them."""
    plain = re.fullmatch(r"[A-Za-z/][A-Za-z0-9_./@-]*", text) and text.casefold() not in WORDS
    if plain:
        return text
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10_000).rstrip("\n")
