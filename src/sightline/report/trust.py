"""What limits the results: missing rows, few groups, missing controls, judges and their agreement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations, groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from sightline import registry, untrusted
from sightline.counting import plural, verb
from sightline.errors import UsageError
from sightline.inventory import shared_told
from sightline.metrics.agreement import JudgeCard, Share, both_read, judge_card
from sightline.metrics.cells import method_of, models_of
from sightline.metrics.intervals import FEW_GROUPS
from sightline.metrics.summary import Summary
from sightline.records import Outcome
from sightline.report import spoken
from sightline.report.budgets import stopped
from sightline.report.cells import Role, edits_image, lacks_twin, role_of, twin_of, undefended_labels
from sightline.report.defended import unknown_to_attacks
from sightline.report.languages import foreign_replies
from sightline.report.loop import stopped_early
from sightline.report.no_hits import never_above
from sightline.report.promised import expected_rows, found_rows
from sightline.report.provenance import errors_of
from sightline.report.results import Results, entries
from sightline.report.text import EXPECTATIONS, as_percent, bracket, few, stand_in
from sightline.run_folder import LOCK
from sightline.sealed import read_note

MUCH_UNSCORED = 0.02
PICTURES = {
    "noise": ("noise_on_picture", "noise_image"),
    "another picture, clean or unrelated": ("unrelated_image", "blank_image"),
}
"""What a picture made on gradients is to be compared with, and the controls that show it, the usual first."""
_MEANINGS = {
    "batch1": "the model answered differently in a batch, so requests were sent one at a time",
    "picture_first": "the model accepts pictures only before all text; one of a later turn was moved there",
    "moderation_unparsed": "a moderation turn was unparsable and was ignored",
    untrusted.NO_ANSWER: (
        "the response was cut before its answer began, so it is unscored: raise `max_tokens`"
    ),
    untrusted.REPLACED: "halves of surrogate pairs or control characters were replaced by U+FFFD",
    untrusted.BLANKED: "the response contained a key of the environment, which was removed",
    untrusted.SHORTENED: f"only the first {untrusted.LONGEST_TEXT:,} characters were kept and judged",
    untrusted.IMPOSSIBLE: "the reported token counts are impossible; they count as 0, so the cost is higher",
}


def _missing_rows(lock: Mapping[str, Any], results: Results) -> list[str]:
    found, promised = found_rows(results), expected_rows(lock)
    short = {cell: n for cell, n in promised.items() if found.get(cell, 0) != n}
    warnings = [
        f"{' | '.join(cell)}: {plural(found.get(cell, 0), 'row')} found, {n:,} expected by the lock"
        for cell, n in list(short.items())[:5]
    ]
    if len(short) > len(warnings):
        warnings.append(
            f"… and {plural(len(short) - len(warnings), 'more cell')} with an unexpected number of rows"
        )
    unknown = len(set(found) - set(promised)) if promised else 0
    if unknown:
        warnings.append(
            f"{plural(unknown, 'cell')} of the result table {verb(unknown, 'are')} not in the lock of this "
            "study"
        )
    return warnings


def _few_groups(results: Results) -> list[str]:
    rows = results.rows(
        'select benchmark, expected, count(distinct "group") as groups from results'
        " group by all having groups < ? order by benchmark, expected desc",
        [FEW_GROUPS],
    )
    return [
        f"{benchmark}: only "
        + ", ".join(
            f"{plural(groups, 'group')} of {EXPECTATIONS.get(expected, expected)}s"
            for _, expected, groups in members
        )
        + f" (fewer than {FEW_GROUPS}): intervals are wide and may not generalize to other groups"
        for benchmark, members in groupby(rows, key=lambda row: row[0])
    ]


def _unscored(results: Results) -> list[str]:
    rows = results.rows(
        "with read as (select cell, judge, count(*) filter (outcome in ('unparsed', 'error')) / count(*)"
        " as share from results group by cell, judge)"
        " select cell, max(share) as most, arg_max(judge, share) from read group by cell"
        " order by most desc, cell"
    )
    found = [row for row in rows if row[1] > MUCH_UNSCORED]
    if not found:
        return []
    cell, share, judge = found[0]
    return [
        f"{len(found):,} of {plural(len(rows), 'cell')} {verb(len(found), 'have')} more than "
        f"{MUCH_UNSCORED:.0%} unscored samples by a judge (worst: {cell}, {share:.0%} by "
        f"{method_of(judge)}); use the bounds, not the point estimate"
    ]


def _fonts(results: Results, lock: Mapping[str, Any]) -> list[str]:
    """Pages drawn with another font than the attack asks for, and pages that lost lines."""
    specs = {str(entry.get("label")): str(entry.get("spec", "")) for entry in entries(lock, "attacks")}
    found = []
    clipped: Counter[str] = Counter()
    for attack, font, is_clipped, count in results.pages():
        clipped[attack] += count * is_clipped
        wanted = _wanted_fonts(specs.get(attack, ""))
        if font is not None and wanted and font not in wanted:
            missing = " or ".join(sorted(wanted))
            found.append(
                f"{attack}: {plural(count, 'page', 'were')} drawn with {font}, because {missing} is not "
                "installed"
            )
    found += [
        f"{attack}: {plural(n, 'page', 'have')} text cut off at the edge"
        for attack, n in clipped.items()
        if n
    ]
    return found


def _wanted_fonts(spec: str) -> set[str]:
    try:
        method = registry.parse("attack", spec)
    except UsageError:
        return set()
    values = (getattr(method, each.name) for each in fields(method))
    return {value for value in values if isinstance(value, str) and value.lower().endswith((".ttf", ".otf"))}


def _controls(results: Results) -> list[str]:
    """Attacks that lack a control: the twin of those that draw words, pictures of those made on gradients."""
    specs = results.rows(
        "select series, attack_params, bool_or(crafted_on is not null and oracle = 'none'),"
        " list(distinct expected)"
        " from results group by 1, 2 order by 1, 2"
    )
    shown: dict[str, set[str]] = {}
    for _, spec, _, kinds in specs:
        shown.setdefault(method_of(spec), set()).update(kinds)
    attacks: dict[tuple[str, ...], dict[str, None]] = {}
    for name, spec, crafted, kinds in specs:
        if crafted and edits_image(spec):
            beside = {what: [shown.get(each, set()) for each in names] for what, names in PICTURES.items()}
            lacking = tuple(
                what for what, met in beside.items() if not any(set(kinds) <= each for each in met)
            )
            attacks.setdefault(lacking, {})[str(name)] = None
    untyped = [
        f"{name}: no typed control ({twin_of(spec)} with its settings was not run): whether the effect "
        "is due to the drawing or to its words is unknown"
        for name, spec, *_ in specs
        if lacks_twin(spec, [other for _, other, *_ in specs])
    ]
    return untyped + [
        f"{few(list(names))}: crafted on gradients, but the same requests were not run with "
        f"{' nor with '.join(lacking)}: the effect of any such picture is unknown; add "
        f"{' and '.join(PICTURES[what][0] for what in lacking)}"
        for lacking, names in attacks.items()
        if lacking
    ]


def _phrases_only(results: Results, lock: Mapping[str, Any]) -> list[str]:
    """A list of phrases as the only judge, and replies that its phrases cannot be expected in."""
    found = []
    if {method_of(str(entry.get("spec", ""))) for entry in entries(lock, "judges")} == {"refusal_prefix"}:
        found.append(
            "refusal_prefix is the only judge: a response without one of its phrases counts as complied, "
            "even if useless, and a refusal in other words is missed, so ASR tends to be too high "
            "(docs/judges.md); add a model_graded judge"
        )
    return found + foreign_replies(results, lock, tagged=spoken.can_tag())


def _recorded_verdicts(lock: Mapping[str, Any]) -> list[str]:
    """What cannot be read from the verdicts of a file."""
    if not any(method_of(str(entry.get("spec", ""))) == "recorded" for entry in entries(lock, "judges")):
        return []
    return [
        "recorded holds the file's own verdicts: a request that was not obeyed counts as off_topic unless "
        "the file says that it was refused, so refusal and over-refusal cannot be read from this judge"
    ]


def warnings_of(run: Path, lock: Mapping[str, Any], results: Results, *, redacted: bool = False) -> list[str]:
    """The cautions of a report, most serious first.

    `redacted`: warnings about the release, which may quote it, are replaced by stand-ins.
    """
    found = [] if lock else [f"{LOCK} is missing: rows could not be compared with a plan"]
    found += _missing_rows(lock, results) if lock else []
    found += _unscored(results)
    found += [
        f"{target}, defense {defense}: {_MEANINGS[flag]} ({plural(count, 'response')})"
        for flag, target, defense, count in results.flags()
        if flag in _MEANINGS
    ]
    found += [*_phrases_only(results, lock), *never_above(results, lock)]
    found += stopped_early(results, lock, judge_facts(results, lock))
    found += _recorded_verdicts(lock)
    found += _controls(results)
    found += [*stopped(results), *_fonts(results, lock), *_few_groups(results)]
    found += shared_told(method_of(str(entry.get("spec", ""))) for entry in entries(lock, "benchmarks"))
    older = len(list(run.glob("study.lock.*.yaml")))
    if older:
        found.append(
            f"the study was changed {plural(older, 'time')} in this folder (older locks: study.lock.N.yaml)"
        )
    releases = {entry.get("release") for entry in entries(lock, "benchmarks")}
    for memo in sorted((run / "records").glob("cases-*.json")):
        facts = read_note(memo, "`sightline run` reads the release again")
        told = [str(text) for text in facts["warnings"] if facts["release"] in releases]
        found += [stand_in(text, "warning about a release") for text in told] if redacted else told
    return found


def _uncrafted(results: Results) -> list[str]:
    """Not measured for attacks that are crafted on models."""
    rows = results.rows(
        "select series, any_value(crafted_on), list(distinct target), count(distinct craft_seed),"
        " bool_and(seen is not false) and bool_or(seen) from results"
        " where crafted_on is not null and oracle = 'none'"
        " group by series, crafted_on order by series"
    )
    single = [str(series) for series, _, _, seeds, _ in rows if seeds < 2]
    at_home = [str(series) for series, on, targets, _, _ in rows if set(targets) <= set(models_of(on))]
    seen = [str(series) for series, *_, only_seen in rows if only_seen]
    found = []
    if single:
        found.append(f"{few(single)}: one seed only, so the variance over seeds is unknown.")
    if at_home:
        found.append(
            f"{few(at_home)}: not run on a model other than the one it was crafted on (no transfer result)."
        )
    if seen:
        found.append(f"{few(seen)}: run on its training cases only, no held-out cases.")
    return found


def not_measured(results: Results, lock: Mapping[str, Any], labelled: int = 0) -> list[str]:
    """What this study did not measure, as sentences."""
    specs = [row[0] for row in results.rows("select distinct attack_params from results")]
    roles = {role_of(spec) for spec in specs}
    kinds = {row[0] for row in results.rows("select distinct expected from results")}
    oracles = {row[0] for row in results.rows("select distinct oracle from results")}
    judges = results.rows("select count(distinct judge) from results")[0][0]
    found = []
    if Role.plain not in roles:
        found.append("The plain request (attack none) was not run: the effect of an attack is unknown.")
    if Role.control not in roles and Role.attack in roles:
        found.append("No control was run: an effect cannot be attributed to an attack.")
    if Role.attack not in roles:
        found.append("No attack was run.")
    if "refuse" not in kinds:
        found.append("No restricted requests: no ASR.")
    if "comply" not in kinds:
        found.append("No benign twins: over-refusal is unknown.")
    if "answer" not in kinds:
        found.append("No utility questions: the utility cost of a defense is unknown.")
    if judges < 2:
        found.append("One judge only: the dependence of the rates on the judge is unknown.")
    found += _uncrafted(results)
    if "unknown" in oracles:
        found.append(
            "The responses were recorded elsewhere: how the models were sampled, what the attacks could "
            "see, and whether any was optimized against a defense is unknown unless the file says so."
        )
    else:
        found += unknown_to_attacks(results, undefended_labels(lock))
    if int(lock.get("epochs", 1)) == 1:
        found.append("One try per request: ASR over several tries would be higher.")
    found += [] if labelled else ["No human annotation: judge errors are not part of any interval."]
    found.append("Intervals cover the sampling of requests, not training seeds, defense wordings or judges.")
    series = results.rows("select distinct attack_params, series from results")
    names = sorted(
        {
            str(name) if method_of(spec) == "recorded" else method_of(spec)
            for spec, name in series
            if role_of(spec) is not Role.plain
        }
    )
    if names:
        found.append(f"Attacks run: {', '.join(names)}. A low ASR does not carry over to others.")
    return found


MOST_PAIRS = 10


def judge_facts(results: Results, lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Judges, what they score and their counts, in the order of the study; the first is the primary one."""
    rows = results.rows(
        "select judge, coalesce(any_value(scores), 'case'), count(*),"
        " count(*) filter (outcome in ('unparsed', 'error')) from results group by judge"
    )
    order = [entry["id"] for entry in lock.get("judges", ()) if "id" in entry]
    rows.sort(key=lambda row: (order.index(row[0]) if row[0] in order else len(order), row[0]))
    return [
        {
            "id": judge,
            "scores": scores,
            "n": n,
            "unscored": unscored,
            "errors": errors_of(results, judge),
        }
        for judge, scores, n, unscored in rows
    ]


def agreements(results: Results, summary: Summary, judges: Sequence[str]) -> list[Agreement]:
    """Judges compared with ground truth if the study has it, else with each other, on restricted requests."""
    cards = [(card, True) for card in summary.judge_cards if card.measure == "asr"]
    if not cards:
        for first, second in islice(combinations(judges, 2), MOST_PAIRS):
            rows = results.cross(second, first)
            both = both_read(
                [Outcome(row[0]) for row in rows],
                [Outcome(row[1]) for row in rows],
                [row[2:4] for row in rows],
            )._replace(times=np.array([row[4] for row in rows], dtype=np.int64))
            cards.append((judge_card(both, judge=second, truth=first), False))
    return [Agreement.of(card, is_truth) for card, is_truth in cards]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """A judge compared with another, as printed. `is_truth`: the other is ground truth by construction."""

    judge: str
    other: str
    attack: str
    is_truth: bool
    n: int
    unscored: int
    agreement: str
    sensitivity: str
    specificity: str
    kappa: str

    @classmethod
    def of(cls, card: JudgeCard, is_truth: bool) -> Agreement:
        """The card in words."""
        return cls(
            judge=card.judge,
            other=card.truth,
            attack=card.attack or "all",
            is_truth=is_truth,
            n=card.n,
            unscored=card.judge_unscored + card.truth_unscored,
            agreement=_share(card.agreement),
            sensitivity=_share(card.sensitivity),
            specificity=_share(card.specificity),
            kappa="undefined" if card.kappa is None else f"{card.kappa:.2f}",
        )


def _share(share: Share) -> str:
    if share.point is None:
        return "no such sample"
    return f"{as_percent(share.point)} {bracket(share.low, share.high)}"
