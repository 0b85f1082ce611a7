"""Where GOAT-Bench's memes come from: the original sets, each in its authors' layout, as rows of one form."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sightline.contracts import Release
from sightline.rows import Row

MAMI_GOLD = ("file_name", "misogynous", "shaming", "stereotype", "objectification", "violence")
MULTIOFF = tuple(f"Split Dataset/{part}_meme_dataset.csv" for part in ("Training", "Validation", "Testing"))
HARMEME = ("Harm-C/val", "Harm-C/test", "Harm-P/val_v1", "Harm-P/test_v1")
YES = frozenset(
    [
        "1",
        "yes",
        "true",
        "hateful",
        "misogynous",
        "misogynistic",
        "offensive",
        "sarcastic",
        "harmful",
        "somewhat-harmful",
        "very-harmful",
    ]
)
NO = frozenset({"0", "no", "false", "benign"})


def originals(task: str, release: Release) -> Iterator[Row]:
    """The rows of a task in its original set: each with _picture, _folders, _text and _label."""
    yield from _READERS[task](release)


def verdict(row: Row) -> str:
    """'yes' or 'no', as the label of a row says it.

    Raises:
        RowProblem: for an empty or unknown label.
    """
    value = row.value("_label", default=None)
    said = value[0] if isinstance(value, list) and value else value
    word = f"{said:g}" if isinstance(said, int | float) else str(said)
    word = word.strip().casefold().replace(" ", "-").replace("_", "-")
    if word in YES:
        return "yes"
    if word in NO or word.startswith(("no-", "not-", "non-")):
        return "no"
    raise row.problem(f"its label is {repr(value)[:60]}, neither yes nor no")


def _hatefulness(release: Release) -> Iterator[Row]:
    """Hateful Memes, phase 2: 2,000 memes."""
    table = release.locate("FHM/test_unseen.jsonl", "hateful_memes/test_unseen.jsonl", "test_unseen.jsonl")
    for row in release.rows(table):
        yield _as_meme(row, "img", "text", "label", _beside(table, ""))


def _misogyny(release: Release) -> Iterator[Row]:
    """MAMI's gold labels of the test part; transcriptions from its table, if it is there."""
    gold = release.locate("test_labels.txt", "truth.txt")
    texts: dict[str, str] = {}
    folder = gold.rpartition("/")[0]
    table = next((name for name in release.names(folder, "test.csv")), "")
    for row in release.rows(table) if table else ():
        texts[row.word("file_name", default="")] = row.text("Text Transcription", default="")
    for row in release.rows(gold, header=MAMI_GOLD):
        said = texts.get(str(row.fields.get("file_name")), "")
        yield _as_meme(
            row.also(_said=said), "file_name", "_said", "misogynous", _beside(gold, "test", "TEST/test")
        )


def _offensiveness(release: Release) -> Iterator[Row]:
    """MultiOFF, its three parts."""
    for name in MULTIOFF:
        table = release.locate(name)
        for row in release.rows(table, columns=("image_name", "sentence", "label")):
            above = table.rpartition("/")[0].rpartition("/")[0]
            yield _as_meme(
                row, "image_name", "sentence", "label", _beside(f"{above}/x", "Labelled Images", "")
            )


def _sarcasm(release: Release) -> Iterator[Row]:
    """MSD, its test part: one Python list a line, of id, text, label of the hashtag, label of a person."""
    table = release.locate("text/test2.txt")
    folders = _beside(table, "dataset_image", "images", "")
    above = table.rpartition("/")[0].rpartition("/")[0]
    folders += [f"{above}/{name}".strip("/") for name in ("dataset_image", "images", "")]
    for number, line in enumerate(release.text(table).split("\n"), start=1):
        if line.strip():
            yield _post(Row(table, "line", number, {}), line, folders)


def _post(row: Row, line: str, folders: list[str]) -> Row:
    try:
        value = ast.literal_eval(line)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not (isinstance(value, list) and len(value) == 4 and all(isinstance(each, str) for each in value[:2])):
        what = "not a list of id, text and two labels"
        return Row(row.file, row.unit, row.number, {}, fault=f"{line[:40]!r} is {what}")
    name, text, _, label = value
    return row.also(_picture=name, _folders=folders, _text=text, _label=str(label))


def _harmfulness(release: Release) -> Iterator[Row]:
    """Harm-C and Harm-P, their validation and test parts."""
    for part in HARMEME:
        names = [f"{root}Annotations/{part}.jsonl" for root in ("HarMeme_V1/", "MOMENTA/HarMeme_V1/", "")]
        table = next(filter(release.exists, names), names[0])
        root = table.rpartition("Annotations/")[0]
        kind = "covid_19" if part.startswith("Harm-C") else "us_pol"
        inside = (f"harmeme_images_{kind}", f"{part[:6]}/images", "images", "")
        folders = [f"{above}{name}" for above in dict.fromkeys((root, "")) for name in inside]
        for row in release.rows(table):
            yield _as_meme(row, "image", "text", "labels", folders)


_READERS = {
    "hatefulness": _hatefulness,
    "misogyny": _misogyny,
    "offensiveness": _offensiveness,
    "sarcasm": _sarcasm,
    "harmfulness": _harmfulness,
}


def _beside(table: str, *names: str) -> list[str]:
    """Folders beside a table."""
    folder = table.rpartition("/")[0]
    return [f"{folder}/{name}".strip("/") for name in names]


def _as_meme(row: Row, picture: str, text: str, label: str, folders: list[str]) -> Row:
    """A row with the cells of one form."""
    if row.fault:
        return row
    cells = {"_picture": picture, "_text": text, "_label": label}
    found = {new: row.value(old, default=None) for new, old in cells.items()}
    return row.also(_folders=folders, **found)
