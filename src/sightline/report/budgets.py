"""Cautions on attacks that their budget stopped before they were through."""

from __future__ import annotations

from collections import Counter

from sightline.budget import STOPPED
from sightline.counting import plural, verb
from sightline.report.results import Results, literal


def stopped(results: Results) -> list[str]:
    """Attacks with artifacts that a budget stopped: how many, and how many before the target was asked.

    Such an artifact is scored as an attempt. Of an attack with several levels of a budget, whose point is
    to be stopped, only levels at which the target was not asked are told.
    """
    found = _stopped(results)
    levels = Counter(series for series, *_ in found)
    told = []
    for series, attack, artifacts, ended, unasked in found:
        if not ended or (levels[series] > 1 and not unasked):
            continue
        early = f", {unasked:,} of them before the target was asked" if unasked else ""
        counts = "it counts as an attempt" if ended == 1 else "they count as attempts"
        told.append(
            f"{attack}: {ended:,} of {plural(artifacts, 'artifact')} {verb(ended, 'were')} stopped by "
            f"{'its' if ended == 1 else 'their'} budget{early}; {counts}: raise the budget, or read the rate "
            "as that of an attack cut short"
        )
    return told


def _stopped(results: Results) -> list[tuple[str, str, int, int, int]]:
    """(series, attack, artifacts, those noted as stopped, those of them that did not ask the target).

    Of attacks that ask no target none is of the last kind; open shards are not read.
    """
    counts: dict[tuple[str, str], list[int]] = {}
    paths = [literal(path) for path in results.compacted("craft")]
    none_ended = "select count(*) = 0 from read_parquet(?) where contains(record, ?)"
    if all(results.rows(none_ended, [path, STOPPED])[0][0] for path in paths):
        return []
    for path in paths:
        for series, attack, *numbers in results.rows(
            "with made as (select distinct series, attack, oracle, artifact from raw), noted as"
            " (select key, coalesce(json_extract_string(record, '$.note'), '') as note,"
            " coalesce(json_extract(record, '$.cost.calls_target')::bigint, 0) as asked"
            " from read_parquet(?)), found as (select series, attack, starts_with(note, ?) as ended,"
            " asked = 0 and oracle != 'none' as unasked"
            " from noted join made on made.artifact = noted.key)"
            " select series, attack, count(*), count(*) filter (ended),"
            " count(*) filter (ended and unasked) from found group by all order by all",
            [path, STOPPED],
        ):
            counts[series, attack] = [
                n + m for n, m in zip(counts.get((series, attack), [0, 0, 0]), numbers, strict=True)
            ]
    return [(*names, *numbers) for names, numbers in counts.items()]  # type: ignore[misc]
