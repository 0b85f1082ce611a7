"""How names, numbers, conditions and untrusted text are printed, in one place for table, headline and figure.

Everything that a model, a data set or a study file wrote passes through `visible` (blocks of text) or
`label` (names in tables and figures) before it reaches the page: it is escaped last, and characters that
cannot be seen are named.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from sightline.characters import is_unseen, printable
from sightline.counting import plural
from sightline.digests import sha256_bytes

_COMBINING = {"Mn", "Me"}
_MARKS_KEPT = 3
_SPACES = re.compile(r"\s+")
_LONG, _PIECE = 16, 12  # letters without a joint in a name, and the pieces that they may be broken into
_JOINTS = re.compile(r"(?<=[_/@+.:-])")
_MARKUP = re.compile(r"([\\`*_\[\]<>|#])")


def code_point(character: str) -> str:
    """`U+202E` for a character."""
    return f"U+{ord(character):04X}"


def _cut(text: str, limit: int) -> tuple[str, int]:
    return (text, 0) if len(text) <= limit else (text[:limit], len(text) - limit)


def visible(text: str, limit: int = 1500) -> Markup:
    """Escaped text in which unseen characters are named, at most `limit` characters of it.

    Stacked combining marks beyond three on one letter are dropped with a note, because they
    paint over their neighbors.
    """
    kept, left = _cut(text.replace("\r\n", "\n"), limit)
    pieces: list[Markup | str] = []
    plain: list[str] = []
    marks = 0
    for character in kept:
        stacked = unicodedata.category(character) in _COMBINING
        marks = marks + 1 if stacked else 0
        if stacked and marks > _MARKS_KEPT:
            named = "mark" if marks == _MARKS_KEPT + 1 else ""
        elif is_unseen(character):
            named = code_point(character)
        else:
            plain.append(character)
            continue
        pieces.append(escape("".join(plain)))
        plain = []
        if named:
            pieces.append(Markup('<span class="unseen">{}</span>').format(named))
    pieces.append(escape("".join(plain)))
    if left:
        pieces.append(Markup(' <span class="cut">… {}</span>').format(plural(left, "more character")))
    return Markup("").join(pieces)


def breakable(text: str) -> Markup:
    """A name that breaks between its words; a piece of 16 letters and more also inside."""
    parts: list[str] = []
    for piece in filter(None, _JOINTS.split(text)):
        step = _PIECE if len(piece) >= _LONG else len(piece)
        parts += [piece[at : at + step] for at in range(0, len(piece), step)]
    return Markup("<wbr>").join(map(escape, parts))


def stand_in(text: str, category: str) -> str:
    """What stands for a text in a copy that is shared: its category, length and hash; '' for no text."""
    sha256 = sha256_bytes(text.encode("utf-8", "surrogatepass"))
    return f"[{label(category)}, {len(text):,} characters, sha256 {sha256[:16]}]" if text else ""


def label(text: object, limit: int = 80) -> str:
    """One line for a name: unseen characters spelled out, white space joined, at most `limit` long.

    The result is plain text, still to be escaped by the template or the figure.
    """
    spelled = _SPACES.sub(" ", str(text)[: 4 * limit])
    if not spelled.isprintable():  # most names are, and a page holds ten thousands of them
        spelled = "".join(f"‹{code_point(c)}›" if is_unseen(c) else c for c in spelled)
    return spelled if len(spelled) <= limit else spelled[: limit - 1] + "…"


ORACLES = {
    "none": "attacks without target queries",
    "undefended": "attacks that query the undefended target",
    "defended": "adaptive attacks that query the defended target, or look into it",
    "unknown": "recorded attacks; what they asked while they were made is unknown",
}
ACCESS = {
    "white": "white box",
    "grey": "grey box",
    "black": "black box",
    "unknown": "access not recorded",
}
QUANTITIES = {
    "forwards": "forward passes",
    "backwards": "backward passes",
    "flops": "FLOPs",
    "calls": "calls",
    "seconds": "seconds",
}
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
MEASURE_NAMES = {"asr": "ASR", "asr_soft": "soft ASR", "attacker_goal": "targeted ASR"}
EXPECTATIONS = {
    "refuse": "restricted request",
    "comply": "benign request",
    "answer": "utility question",
    "abstain": "abstention question",
    "classify": "classification item",
}


def oracle_text(oracle: str) -> str:
    """What an attack of this oracle was allowed to ask."""
    return ORACLES.get(oracle, f"oracle {oracle}")


def oracle_about(oracle: str) -> str:
    """What a heading adds for attacks that asked a target, or may have; '' for the others."""
    return "" if oracle == "none" else f", {oracle_text(oracle)}"


def rounded(value: float, places: int = 0) -> str:
    """A number as every table rounds it, whatever is off in the last bits of a float.

    So a rate of 27.5 % and a bound of the same 27.5 %, reached by other sums, are printed alike.
    """
    return f"{round(value, 9):.{places}f}"


def as_percent(share: float, *, exact: bool = False) -> str:
    """`88 %`, unbreakable; one decimal where rounding would claim none or all, and if `exact`.

    Tables ask for `exact` from n = 1,000.
    """
    value = 100 * share
    if not exact and not 0 < value < 0.5 and not 99.5 <= value < 100:
        return f"{rounded(value)}\u00a0%"
    if 0 < value < 0.05:
        return "<0.1\u00a0%"
    if 99.95 <= value < 100:
        return ">99.9\u00a0%"
    return f"{rounded(value, 1)}\u00a0%"


def few(names: Sequence[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def quantity(name: str) -> str:
    """What a budget limits, as people say it."""
    return QUANTITIES.get(name, name)


def amount(value: float) -> str:
    """A count to three figures: `7.5`, `1,240`, `12.3 k`, `3.4 T`."""
    if value < 10_000:
        return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
    power = min((len(f"{value:.0f}") - 1) // 3, len(_PREFIXES) - 1)
    if float(f"{value / 1000**power:.3g}") >= 1000 and power < len(_PREFIXES) - 1:
        power += 1
    return f"{value / 1000**power:.3g}\u00a0{_PREFIXES[power]}"


def limits(pairs: Iterable[tuple[str, float]]) -> str:
    """`at most 200 backward passes`; '' for no limit."""
    found = [f"{amount(value)} {quantity(name)}" for name, value in pairs]
    return f"at most {' and '.join(found)}" if found else ""


def markdown_cell(found: str) -> str:
    """A text as it may stand in a cell of a Markdown table: no markup, one line."""
    return _MARKUP.sub(r"\\\1", " ".join(printable(found).split()))


def percent(k: float, n: int) -> str:
    """`k` of `n` in percent."""
    return as_percent(k / n, exact=n >= 1000)


def bracket(low: float, high: float, *, exact: bool = False) -> str:
    """`[81, 93]`: an interval in percent."""
    places = 1 if exact else 0
    return f"[{rounded(100 * low, places)}, {rounded(100 * high, places)}]"


def points(difference: float, *, exact: bool = False) -> str:
    """A difference of two shares in percentage points, with its sign (a true minus)."""
    value, places = 100 * difference, 1 if exact else 0
    sign = "−" if value < 0 else "+"
    return sign + rounded(abs(value), places)
