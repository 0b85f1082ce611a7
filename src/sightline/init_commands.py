"""What `sightline init` does: three questions, or flags, and a study that runs as it is."""

from __future__ import annotations

import shlex
import sys
from collections import deque
from pathlib import Path

import typer

from sightline.errors import UsageError
from sightline.release import listed
from sightline.study.config import Study, parse
from sightline.study.starter import Situation, compose, kind_of
from sightline.terminal import say

TARGET = """\
Which model? For example openai/gpt-4o, anthropic/..., vlm/FOLDER (a Hugging Face model, run here).
Leave it empty for a small model that comes along, or if your data are answers that exist already."""
DATA = """\
Which data? A table of prompts or of answers (.csv, .jsonl, .parquet, ...), a folder, a benchmark's name.
Leave it empty for invented requests that come along."""

WITH_GRADIENTS = ("testbed", "local")


def write_study(file: Path, *, target: str | None, data: str | None, gpu: bool | None, force: bool) -> None:
    """Write a study for what the flags say; on a terminal, ask for what they leave open.

    Raises:
        UsageError: for a file that is there already (unless `force`), and for a target or data that is not.
    """
    if file.exists() and not force:
        raise UsageError(f"{file} is there already: name another file, or write over it with --force")
    if on_terminal():
        target = _ask(TARGET) if target is None else target
        local = kind_of(Situation(target=target).asked) in WITH_GRADIENTS
        data = _ask(DATA) if data is None else data
        gpu = typer.confirm("Is there a GPU for attacks on gradients?") if gpu is None and local else gpu
    situation = Situation(target=target or "", data=data or "", gpu=bool(gpu))
    starter = compose(situation, file)
    study = parse(starter.text, name=str(file), folder=file.parent)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w" if force else "x", encoding="utf-8") as stream:
        stream.write(starter.text)
    say(f"wrote {file}: it {starter.about}")
    problem = starter.problem or (_unfit(study) if starter.own else "")
    if problem:
        say(f"note: it cannot run yet: {problem}")
    if situation.gpu and kind_of(situation.asked) not in WITH_GRADIENTS:
        say(f"{situation.asked} gives no gradients: the study says how to attack those of another model")
    check = f"sightline check-data {shlex.quote(starter.own)}    # what is taken for what, and what is wrong"
    steps = [check] if starter.own else []
    named = shlex.quote(str(file))
    steps += [f"sightline run {named} --dry-run    # counts what would be done, asks nothing"]
    steps += [f"sightline run {named}"]
    say("next: " + "\n      ".join(steps))


def _unfit(study: Study) -> str:
    """What is wrong with the rows of a study's data, without reading a picture; '' if nothing is."""
    for source in study.sources:
        try:
            with listed(source.root) as release:
                deque(source.benchmark.cases(release), maxlen=0)
        except UsageError as unfit:
            return str(unfit)
    return ""


def on_terminal() -> bool:
    """Whether somebody can answer questions."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def _ask(question: str) -> str:
    say(question)
    answer: str = typer.prompt(">", default="", show_default=False, prompt_suffix=" ")
    return answer.strip()
