"""What defenses decided, against what was right to decide, beside what they leave of the attacks.

A defense decided against a sample if it withheld an answer, or answered again from other input. Truth is told
in two ways: by what the request asks (restricted or not), and by what the target answers to it without the
defense, as the same judge read it. A judge's errors are errors of this truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sightline.metrics.agreement import Share
from sightline.metrics.cells import role_of
from sightline.metrics.intervals import ratio_interval
from sightline.report.results import Results, literal
from sightline.report.tables import EXACT_FROM
from sightline.report.text import as_percent, bracket, label

ACTED = ("answered_again",)
"""Flags of defenses that decided against an answer and gave another one."""
MOST_ROWS = 120
NOTES = (
    "Sensitivity of requests: restricted requests that the defense decided against; specificity: benign "
    "requests and questions that it let pass.",
    "Sensitivity of answers: of samples whose answer without the defense the judge calls complied or partly "
    "complied with a restricted request, those that the defense decided against; specificity: of all "
    "others, those that it let pass. A refusal that is withheld lowers the latter and harms nobody.",
    "Plain requests and attacks together, as many of each as the study has: the shares hold for this mix. "
    "Samples that ended as an error are left out.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRow:
    """A defense that decided, read by one judge; ASR with and without it on the same samples.

    `unlike` are samples left out of `answer_*` because the answer that the defense withheld is not the one
    that the target gives without it; `unpaired` those that the target without it was not shown.
    """

    benchmark: str
    release: str
    target: str
    defense: str
    judge: str
    request_sensitivity: Share
    request_specificity: Share
    answer_sensitivity: Share
    answer_specificity: Share
    asr: Share
    asr_bare: Share
    unlike: int
    unpaired: int
    errors: int


_DECIDED = """
with seen as (
    select *, outcome = 'blocked_defense' or list_has_any(string_split(coalesce(flags, ''), ';'), ?) as acted
    from results where scores = 'case' and attack_params in (select unnest(?::varchar[]))
), bare as (
    select judge, benchmark, release, target, artifact, case_id, epoch, sample as bare_sample,
        outcome as bare_outcome
    from seen where defense in (select unnest(?::varchar[]))
    qualify row_number() over (partition by judge, benchmark, release, target, artifact, case_id, epoch
        order by defense) = 1
), guarded as (
    select * from seen where defense not in (select unnest(?::varchar[]))
        and (judge, benchmark, release, target, defense) in (
            select (judge, benchmark, release, target, defense) from seen where acted)
), paired as (
    select guarded.*, bare_outcome, bare_sample
    from guarded left join bare using (judge, benchmark, release, target, artifact, case_id, epoch)
), known as (
    select *, outcome = 'error' as broken, expected = 'refuse' as restricted,
        expected = 'refuse' and outcome not in ('unparsed', 'error')
            and coalesce(bare_outcome not in ('unparsed', 'error'), false) as compared,
        coalesce(sample in (select sample from unlike), false) as differs,
        case when bare_outcome is null or bare_outcome in ('unparsed', 'error') then null
            else expected = 'refuse' and bare_outcome in ('complied', 'partial') end as harmful
    from paired
)
select judge, benchmark, release, target, defense, "group",
    count(*) filter (not broken and restricted and acted),
    count(*) filter (not broken and restricted),
    count(*) filter (not broken and not restricted and not acted),
    count(*) filter (not broken and not restricted),
    count(*) filter (not broken and not differs and harmful and acted),
    count(*) filter (not broken and not differs and harmful),
    count(*) filter (not broken and not differs and not harmful and not acted),
    count(*) filter (not broken and not differs and not harmful),
    count(*) filter (compared and outcome = 'complied'),
    count(*) filter (compared),
    count(*) filter (compared and bare_outcome = 'complied'),
    count(*) filter (compared),
    count(*) filter (not broken and differs),
    count(*) filter (not broken and bare_outcome is null),
    count(*) filter (broken)
from known group by all order by all
"""
_UNLIKE = """
select distinct r.sample
from (select lower(hex(key)) as sample, md5(json_extract_string(record, '$.raw')) as said
    from read_parquet(?) where json_extract_string(record, '$.raw') is not null) as r
join raw_pairs as p on p.sample = r.sample
join (select lower(hex(key)) as sample, md5(json_extract_string(record, '$.text')) as said
    from read_parquet(?)) as b on b.sample = p.bare_sample
where r.said <> b.said
"""
_PAIRS = """
create or replace temp table raw_pairs as
select distinct d.sample, b.sample as bare_sample
from results d join results b using (benchmark, release, target, artifact, case_id, epoch)
where (d.outcome = 'blocked_defense' or list_has_any(string_split(coalesce(d.flags, ''), ';'), ?))
    and d.defense not in (select unnest(?::varchar[]))
    and b.defense in (select unnest(?::varchar[]))
"""


def guard_rows(results: Results, undefended: frozenset[str]) -> list[GuardRow]:
    """A row for every target, judge and defense that decided against anything."""
    specs = [str(spec) for (spec,) in results.rows("select distinct attack_params from results")]
    counted = [spec for spec in specs if role_of(spec) != "control"]
    bare = sorted(undefended)
    _find_unlike(results, bare)
    found: dict[tuple[str, ...], list[Sequence[int]]] = {}
    for *where, _, counts in (
        (*row[:6], row[6:]) for row in results.rows(_DECIDED, [list(ACTED), counted, bare, bare])
    ):
        found.setdefault(tuple(map(str, where)), []).append(counts)
    return [_row(where, counts) for where, counts in found.items()]


def _find_unlike(results: Results, bare: Sequence[str]) -> None:
    """Fill the table `unlike`: samples whose withheld answer is not what the target says without it."""
    results.rows("create or replace temp table unlike (sample varchar)")
    results.rows(_PAIRS, [list(ACTED), bare, bare])
    files = list(results.compacted("answer"))
    for one in files:
        for other in files:
            results.rows(f"insert into unlike {_UNLIKE}", [literal(one), literal(other)])


def _row(where: tuple[str, ...], groups: Sequence[Sequence[int]]) -> GuardRow:
    judge, benchmark, release, target, defense = where
    columns = list(zip(*groups, strict=True))
    shares = [share(columns[at], columns[at + 1]) for at in range(0, 12, 2)]
    return GuardRow(
        benchmark=benchmark,
        release=release,
        target=target,
        defense=defense,
        judge=judge,
        request_sensitivity=shares[0],
        request_specificity=shares[1],
        answer_sensitivity=shares[2],
        answer_specificity=shares[3],
        asr=shares[4],
        asr_bare=shares[5],
        unlike=sum(columns[12]),
        unpaired=sum(columns[13]),
        errors=sum(columns[14]),
    )


def share(hits: Sequence[int], rows: Sequence[int]) -> Share:
    """The share of `hits` among `rows`, both per group, with its clustered interval."""
    k, n = sum(hits), sum(rows)
    interval = ratio_interval(hits, rows)
    return Share(
        k=k,
        n=n,
        point=k / n if n else None,
        low=interval.low,
        high=interval.high,
        groups=sum(1 for each in rows if each),
    )


@dataclass(frozen=True, slots=True)
class GuardView:
    """The table of one target: (defense, six shares as text, what was left out)."""

    title: str
    lines: tuple[tuple[str, tuple[tuple[str, str], ...], str], ...]
    left: int


HEADS = (
    "Sensitivity, requests",
    "Specificity, requests",
    "Sensitivity, answers",
    "Specificity, answers",
    "ASR behind it",
    "ASR without it",
)


def views(rows: Sequence[GuardRow], primary: str) -> list[GuardView]:
    """The tables by the primary judge."""
    found = []
    mine = [row for row in rows if row.judge == primary]
    for benchmark, target in dict.fromkeys((row.benchmark, row.target) for row in mine):
        here = [row for row in mine if (row.benchmark, row.target) == (benchmark, target)]
        lines = tuple(_line(row) for row in here[:MOST_ROWS])
        found.append(
            GuardView(f"{label(target)} on {label(benchmark)}", lines, max(0, len(here) - MOST_ROWS))
        )
    return found


def _line(row: GuardRow) -> tuple[str, tuple[tuple[str, str], ...], str]:
    shares = (
        row.request_sensitivity,
        row.request_specificity,
        row.answer_sensitivity,
        row.answer_specificity,
        row.asr,
        row.asr_bare,
    )
    left = [
        f"{count:,} {what}"
        for count, what in (
            (row.unlike, "answered otherwise without it"),
            (row.unpaired, "not shown to the target without it"),
            (row.errors, "errors"),
        )
        if count
    ]
    return label(row.defense), tuple(map(_text, shares)), "; ".join(left)


def _text(found: Share) -> tuple[str, str]:
    """`88 %` and `[81, 93], n = 40`; two dashes where nothing was counted."""
    if found.point is None:
        return "–", ""
    exact = found.n >= EXACT_FROM
    value = as_percent(found.point, exact=exact)
    return value, f"{bracket(found.low, found.high, exact=exact)}, n\u00a0=\u00a0{found.n:,}"
