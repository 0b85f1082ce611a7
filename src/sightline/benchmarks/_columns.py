"""Which column of a user's table is what: guessed by name, or as the study says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sightline.cases import Expected
from sightline.errors import UsageError, nearest
from sightline.rows import Row

ROLES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "case_id", "uid", "row_id", "prompt_id", "question_id", "sample_id"),
    "messages": ("messages", "conversation"),
    "text": ("prompt", "question", "text", "query", "instruction", "request", "behavior", "goal"),
    "image": (
        "image", "images", "image_path", "image_paths", "file_name", "filename", "image_file", "image_name",
        "img", "img_path", "picture", "pictures", "image_url",
    ),
    "expected": (
        "expected", "label", "unsafe", "is_unsafe", "harmful", "is_harmful", "safe", "is_safe", "benign",
        "harmless",
    ),
    "category": ("category", "hazard", "hazard_category", "harm_category", "topic", "subcategory"),
    "hazard": ("hazard_code", "hazard"),
    "answer": ("answer", "reference", "reference_answer", "ground_truth"),
    "group": ("group", "group_id", "cluster"),
    "twin": ("twin", "twin_id"),
    "system": ("system", "system_prompt"),
    "behavior": ("behavior", "goal"),
    "statement": ("statement",),
    "key_phrase": ("key_phrase",),
    "rephrased": ("rephrased",),
}  # fmt: skip
"""Names of columns by what they are, the likeliest first."""
SHARED = frozenset({("category", "hazard")})
"""Roles that may be guessed to be one column."""
SAFE = frozenset({"safe", "is_safe", "benign", "harmless"})
UNSAFE = frozenset({"unsafe", "is_unsafe", "harmful", "is_harmful"})
WORDS: Mapping[str, Expected] = {
    **{name.value: name for name in Expected},
    **dict.fromkeys(("unsafe", "harmful", "malicious"), Expected.refuse),
    **dict.fromkeys(("safe", "benign", "harmless"), Expected.comply),
}
"""What labels mean."""
_YES = frozenset({"1", "1.0", "true", "yes", "y", "t"})
_NO = frozenset({"0", "0.0", "false", "no", "n", "f"})
_ROLE_OF = {name: role for role, names in reversed([*ROLES.items()]) for name in (*names, role)}
_PICTURE = re.compile(r"^data:image/|\.(?:png|jpe?g|webp|gif)\s*$", re.IGNORECASE)
_NUMBERED = re.compile(r"(?P<stem>[a-z_]*?)_?(?P<number>\d{1,2})")


def plain_name(column: str) -> str:
    """A column's name as it is compared: 'Image Path' is 'image_path', 'Is unsafe?' is 'is_unsafe'."""
    return re.sub(r"[^\w]+", "_", column.casefold()).strip("_")


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table by role.

    Attributes:
        found: the columns of each role that the table has, as it spells them; several only for pictures.
        polarity: whether the column of labels says `safe` or `unsafe` by yes and no; '' if neither.
        rivals: where the column of labels was guessed, the others that look like one.
    """

    found: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    polarity: str = ""
    rivals: tuple[str, ...] = ()

    def __getitem__(self, role: str) -> str:
        """The column of a role; '' if there is none."""
        return self.found.get(role, ("",))[0]

    def unused(self, names: Iterable[str]) -> list[str]:
        """Those of the table's columns that no role has."""
        used = {name for columns in self.found.values() for name in columns}
        return [name for name in names if name and name not in used]


def looks_like_picture(cell: object) -> bool:
    """Whether a cell names or holds a picture."""
    if isinstance(cell, Mapping):
        return "bytes" in cell and "path" in cell
    return isinstance(cell, str) and _PICTURE.search(cell[:2_000]) is not None


def likely_text(row: Row) -> str:
    """The column that most likely says what is asked; 'NAME' if none does."""
    texts = {str(name): cell for name, cell in row.fields.items() if isinstance(cell, str)}
    named = [name for name in texts if plain_name(name).endswith(ROLES["text"])]
    longest = [name for name, cell in texts.items() if " " in cell.strip() and not looks_like_picture(cell)]
    longest.sort(key=lambda name: len(texts[name]))
    return next((name for name in [*named, *reversed(longest)] if name), "NAME")


def role_of(key: str) -> str:
    """The role that a key of the setting `columns` names.

    Raises:
        UsageError: for a key that names none.
    """
    role: str = _ROLE_OF.get(plain_name(key), "")
    if not role:
        raise UsageError(nearest(key, ROLES, "kind of column"))
    return role


def columns_of(names: Iterable[str], said: Mapping[str, str | tuple[str, ...] | None]) -> Columns:
    """Map a table's columns: those that are said first, then by their names; a column has one role.

    A column that is said and absent is mapped all the same: the row that lacks it tells so.
    """
    spelled: dict[str, str] = {}
    for name in names:
        spelled.setdefault(plain_name(name), name)
    found: dict[str, tuple[str, ...]] = {}
    polarity, rivals = "", list[str]()
    for key, value in said.items():
        role = role_of(key)
        wanted = (value,) if isinstance(value, str) else value or ()
        found[role] = tuple(spelled.get(plain_name(name), name) for name in wanted if name)
        if role == "expected":
            polarity = _polarity(key) or next(map(_polarity, found[role]), "")
    left = set(found)
    taken = {name for columns in found.values() for name in columns}
    for role, guesses in ROLES.items():
        if role in left:
            continue
        free = [spelled[name] for name in guesses if name in spelled]
        free = [name for name in free if name not in taken or (role == "hazard" and _shared(found, name))]
        columns = tuple(free[:1])
        if role == "image":
            columns = (*columns, *(name for name in _numbered(spelled) if name not in columns))
        if columns:
            found[role] = columns
            taken |= {*columns}
            if role == "expected":
                polarity, rivals = _polarity(columns[0]), free[1:]
    rivals = [name for name in rivals if name not in taken]
    return Columns({role: columns for role, columns in found.items() if columns}, polarity, tuple(rivals))


def _shared(found: Mapping[str, tuple[str, ...]], name: str) -> bool:
    """Whether a column that was taken is the category's: it may hold codes of hazards."""
    return name in found.get("category", ())


def _polarity(name: str) -> str:
    plain = plain_name(name)
    return "safe" if plain in SAFE else "unsafe" if plain in UNSAFE else ""


def _numbered(spelled: Mapping[str, str]) -> list[str]:
    """Columns such as `image_1`, `image_2`, in the order of their numbers."""
    found = []
    for plain, name in spelled.items():
        match = _NUMBERED.fullmatch(plain)
        if match and match["stem"] in ROLES["image"]:
            found.append((int(match["number"]), name))
    return [name for _, name in sorted(found)]


def expected_of(
    row: Row, columns: Columns, labels: Mapping[str, str], otherwise: Expected, label: str = ""
) -> Expected:
    """What a safe model does with a row, by its label; `otherwise` where the table has none.

    `label` is the column of labels of the whole table, which a row that is cut short does not have.

    Raises:
        RowProblem: for a label that is absent or empty, or whose meaning is not sure.
    """
    column = columns["expected"] or label
    if not column:
        return otherwise
    value = row.value(column)
    said = str(value).casefold() if isinstance(value, bool) else row.word(column).casefold()
    found = Expected(labels[said]) if said in labels else _meant(said, columns.polarity)
    if found:
        _check_rivals(row, column, found, columns)
        return found
    if said in _YES or said in _NO:
        raise row.problem(
            f"{column!r} is {said!r}: safe or unsafe? Say it by `columns: {{unsafe: {column}}}` or `columns: "
            f"{{safe: {column}}}` (1 is yes), or by `labels: {{{said}: refuse}}`"
        )
    raise row.problem(
        f"{column!r} is {said[:40]!r}, which is none of {', '.join(WORDS)}. Say what it means by `labels: "
        f"{{{said[:40]}: refuse}}`, or that this column is no label by `columns: {{expected: null}}`"
    )


def _meant(said: str, polarity: str) -> Expected | None:
    """What a label means; None if that is not sure."""
    if said in WORDS:
        return WORDS[said]
    if polarity and (said in _YES or said in _NO):
        return Expected.refuse if (said in _YES) == (polarity == "unsafe") else Expected.comply
    return None


def _check_rivals(row: Row, column: str, found: Expected, columns: Columns) -> None:
    """Whether another column of labels says the opposite.

    Raises:
        RowProblem: if one does.
    """
    for name in columns.rivals:
        other = _meant(str(row.value(name)).strip().casefold(), _polarity(name))
        if {found, other} == {Expected.refuse, Expected.comply}:
            one, two = (repr(row.fields[each])[:40] for each in (column, name))
            raise row.problem(
                f"{column!r} is {one} and {name!r} is {two}, which contradict each other. Mend the row, or "
                f"say which column holds by `columns: {{expected: {column}}}`"
            )
