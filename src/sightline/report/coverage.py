"""Which hazards a run asked about, in which form, and which it did not.

A form is what the attacks change (words, a drawn picture, pixels), or the plain request. A hazard without
requests is not measured; it is never 0 %.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from sightline import taxonomy
from sightline.metrics.cells import means_of, role_of
from sightline.metrics.intervals import FEW_GROUPS
from sightline.report.results import Results

FORMS = {
    "plain": "asked plainly",
    "text": "attacks on words",
    "drawn": "drawn attacks",
    "pixels": "attacks on pixels",
    "recorded": "recorded attacks",
}
MOST_ROWS = 80
NOTE = (
    "Counts are distinct requests, and groups of requests that are about the same thing; below "
    f"{FEW_GROUPS} groups a rate says little about others of its kind. What nothing was asked about is "
    "not measured, never 0 %."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A hazard or native category: distinct restricted requests, their groups, and requests by form."""

    name: str
    benchmark: str
    requests: int
    groups: int
    forms: Mapping[str, int]

    @property
    def few(self) -> bool:
        """Whether there are too few groups to speak of others of their kind."""
        return self.groups < FEW_GROUPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What was asked, and the hazards of the taxonomy that nothing was asked about.

    `coded`: whether any case carries a code of the taxonomy; `left` rows do not fit.
    """

    lines: tuple[Line, ...]
    forms: tuple[str, ...]
    absent: tuple[str, ...]
    coded: int
    known: int
    left: int


def coverage(results: Results, judge: str) -> Coverage | None:
    """Of the requests that a judge read; None for a run without restricted requests."""
    specs = [str(row[0]) for row in results.rows("select distinct attack_params from raw")]
    forms = [_form(spec) for spec in specs]
    rows = results.rows(
        "with form as (select unnest(?::varchar[]) as spec, unnest(?::varchar[]) as form)"
        " select coalesce(hazard, '') as hazard, case when coalesce(hazard, '') = ''"
        " then coalesce(category, '') else '' end as category, benchmark, form,"
        ' count(distinct case_id), count(distinct "group")'
        " from raw join form on attack_params = spec"
        " where judge = ? and expected = 'refuse' group by all order by all",
        [specs, forms, judge],
    )
    asked: dict[tuple[str, str, str], dict[str, tuple[int, int]]] = defaultdict(dict)
    for hazard, category, benchmark, form, cases, groups in rows:
        asked[hazard, category, benchmark][form] = (cases, groups)
    if not asked:
        return None
    codes = list(taxonomy.hazards())
    order = sorted(asked, key=lambda place: (_rank(place[0], codes), *place))
    used = {form for found in asked.values() for form in found}
    covered = {name for code, *_ in asked for name in _codes(code)}
    hazards = [each for each in taxonomy.hazards().values() if not each.is_tag]
    return Coverage(
        lines=tuple(_line(place, asked[place]) for place in order[:MOST_ROWS]),
        forms=tuple(form for form in FORMS if form in used or form != "recorded"),
        absent=tuple(f"{each.name} ({each.code})" for each in hazards if each.code not in covered),
        coded=sum(each.code in covered for each in hazards),
        known=len(hazards),
        left=max(0, len(order) - MOST_ROWS),
    )


def _rank(code: str, codes: list[str]) -> int:
    return codes.index(code) if code in codes else len(codes)


def _codes(code: str) -> set[str]:
    """A code, the one that it is a part of."""
    known = taxonomy.hazards().get(code)
    return set() if known is None else {code, known.parent} - {""}


def _form(spec: str) -> str:
    """The form of an attack's requests; '' for controls, which ask nothing new."""
    role = role_of(spec)
    if role != "attack":
        return "plain" if role == "plain" else ""
    return means_of(spec) or "recorded"


def _line(place: tuple[str, str, str], asked: Mapping[str, tuple[int, int]]) -> Line:
    hazard, category, benchmark = place
    known = taxonomy.hazards().get(hazard)
    return Line(
        name=f"{known.name} ({hazard})" if known is not None else hazard or category or "(no category)",
        benchmark=benchmark,
        requests=max(cases for cases, _ in asked.values()),
        groups=max(groups for _, groups in asked.values()),
        forms={form: cases for form, (cases, _) in asked.items() if form},
    )


def section(results: Results, judge: str) -> dict[str, object]:
    """What `coverage.html.j2` prints."""
    return {"covered_hazards": coverage(results, judge), "form_names": FORMS, "coverage_note": NOTE}
