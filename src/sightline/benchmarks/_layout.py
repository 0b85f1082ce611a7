"""Small things that several readers share: where pictures lie, texts for judges, lettered options."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from string import ascii_uppercase

from sightline.contracts import Release
from sightline.errors import UsageError
from sightline.rows import Row


def first_of(release: Release, *names: str) -> str:
    """The table that the user named, else the first of these members that is there, else the first."""
    return release.file or next((name for name in names if release.exists(name)), names[0])


def pictures_by_stem(release: Release, *folders: str, cure: str) -> dict[str, str]:
    """Members by their name without suffix, of the first of these folders that has pictures.

    Raises:
        UsageError: if none has; `cure` is what the user can do.
    """
    for folder in folders:
        found = release.listing(folder)
        if found:
            return {PurePosixPath(name).stem: f"{folder}/{name}" for name, _ in found}
    raise UsageError(f"{release.root}: no pictures found in {' or '.join(folders)}. {cure}")


def with_picture(text: str, shows: str) -> str:
    """A request together with what its picture shows: for judges, which may not see the picture."""
    return f"{text}\n(The picture shows: {shows.strip()})" if shows.strip() else text


_WORDS = {
    "en": ("Options:", "Answer with the letter of one option and nothing else."),
    "zh": ("选项：", "请只回答一个选项的字母。"),
}


def multiple_choice(question: str, options: Sequence[str], language: str = "en") -> str:
    """A question with its options, one a line behind a letter, and the request for a letter."""
    head, asked = _WORDS[language]
    lines = [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    return "\n".join([question.strip(), "", head, *lines, "", asked])


def letter(row: Row, options: Sequence[str], number: int) -> str:
    """The letter of the option with this number, counted from 0.

    Raises:
        RowProblem: if there is no such option, or if there are more options than letters.
    """
    if not 0 <= number < len(options) <= len(ascii_uppercase):
        raise row.problem(f"the answer is option {number} of {len(options)}, counted from 0")
    return ascii_uppercase[number]
