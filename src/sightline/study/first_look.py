"""A first look at a user's data: do they hold responses, and with which settings does `cases` read them?"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

from sightline import registry
from sightline.errors import UsageError
from sightline.release import listed
from sightline.responses.reading import format_of

PROMPT = "What is shown in this picture?"


class FirstLook(NamedTuple):
    """Settings of `cases` with which a first case can be read; or what has to be mended before."""

    settings: Mapping[str, str]
    problem: str = ""


def holds_responses(path: Path) -> bool:
    """Whether data are answers that exist already: logs of a known harness, or a column of responses."""
    return any(path.glob("*.eval")) if path.is_dir() else bool(format_of(path))


def look_at(path: Path) -> FirstLook:
    """Try what data need most often: all tables of a folder, or a question for pictures without any."""
    problems = []
    for split, prompt in product(("", "all"), ("", PROMPT)):
        given = {"split": split, "prompt": prompt}
        settings = {name: value for name, value in given.items() if value}
        problem = _problem(path, settings)
        if not problem:
            return FirstLook(settings)
        problems.append(problem)
    return FirstLook({}, problems[0])


def _problem(path: Path, settings: Mapping[str, str]) -> str:
    """Why there is no first case with these settings; '' if there is one."""
    benchmark = registry.make("benchmark", "cases", **settings)
    try:
        with listed(path) as release:
            case = next(benchmark.cases(release), None)
    except UsageError as unfit:
        return str(unfit)
    if case is None or ("prompt" in settings and not any(case.conversation.images)):
        return f"{path}: no cases in it"
    return ""
