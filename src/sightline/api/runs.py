"""Studies and runs of the front door: the command line's own functions, and tables of what a run found."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sightline.api.entries import entries, labelled, plain_value
from sightline.console import terminal_progress
from sightline.contracts import Attack, Benchmark, Defense, Judge
from sightline.errors import StoppedError, UsageError
from sightline.study import config
from sightline.study.progress import Silent
from sightline.study.run import Run, open_run
from sightline.study.stages import Count
from sightline.waiting import STOPPED, wait

if TYPE_CHECKING:
    import pyarrow as pa

    from sightline.api.samples import Samples
    from sightline.data_check.quality import Quality
    from sightline.gating.result import GateResult
    from sightline.report.jury_weights import JuryWeights

    Entry = str | Mapping[str, Any]
    Path_ = str | os.PathLike[str]


class Study:
    """A study in Python: the same sections and settings as a study file, with methods as objects.

    Args:
        name: of the study; the run folder is `runs/NAME`.
        targets: target strings, such as `["testbed/linear"]`.
        benchmarks: objects (`sl.benchmarks.TestbedRequests()`), their text form, or mappings of a study
            file's entry, such as `{"name": sl.benchmarks.MMSafetyBench(), "root": "FOLDER", "limit": 50}`.
        responses: files with responses that exist already, in place of targets, benchmarks, attacks and
            defenses: `"answers.csv"`, or a mapping of a study file's entry; see `score`.
        judges: objects, text forms or mappings; the first one's outcomes are the headline.
        attacks: the same, `"none"` for the request as it is; tables call an object by its method's name, or
            by its settings where several have one name, and by `label` where a mapping has one.
            What is crafted on gradients names its model: `{"name": sl.attacks.GCG(), "surrogate":
            "testbed/linear", "budget": {"backwards": 100}, "seeds": 2}`; `then` chains attacks: `{"name":
            sl.attacks.Encoding(), "then": sl.attacks.FigStep()}`.
        defenses: the same, `"none"` for the bare target; a list stands for several around each other,
            outermost first.
        settings: the file's other keys: `roles` (models that attacks ask, by role), `seed`, `decoding`,
            `epochs`, `limit`, `concurrency`, `retries`, `timeout`.

    Raises:
        UsageError: for whatever `sightline run` would complain of.
    """

    def __init__(
        self,
        name: str,
        *,
        judges: Sequence[Judge | Entry],
        targets: Sequence[str] = (),
        benchmarks: Sequence[Benchmark | Entry] = (),
        attacks: Sequence[Attack | Entry] = (),
        defenses: Sequence[Defense | Entry | Sequence[Defense | Entry]] = (),
        responses: Path_ | Sequence[str] | Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        plain: dict[str, Any] = {
            "study": name,
            "targets": list(targets),
            "benchmarks": labelled(benchmarks),
            "attacks": labelled(attacks),
            "defenses": labelled(defenses),
            "responses": plain_value(responses),
        }
        plain = {key: value for key, value in plain.items() if value}
        plain |= {"judges": entries(judges), **settings}
        self.text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        self.checked = config.parse(self.text, name=name, folder=Path.cwd())

    def run(self, *, out: Path_ | None = None, **how: Any) -> RunResult:
        """Run the study, or go on where an interrupted run stopped; see `run`."""
        return run(self, out=out, **how)

    def __repr__(self) -> str:
        return f"<Study {self.checked.name}>\n{self.text}"


def run(
    study: Study | Path_,
    *,
    out: Path_ | None = None,
    limit: int | None = None,
    extend: bool = False,
    retry_errors: bool = False,
    rehash: bool = False,
    ray: str | None = None,
    quick: bool = False,
    quiet: bool = False,
) -> RunResult:
    """Run a study: craft, answer, judge, tabulate. Run it again to resume, as on the command line.

    Args:
        study: a `Study`, or the path of a study file.
        out: run folder; by default `runs/NAME` in the current folder.
        limit: at most so many cases per benchmark.
        extend: go on in the folder of a run whose study has changed.
        retry_errors: repeat the rows that ended in an error.
        rehash: read pictures and weights again, whatever their times say.
        ray: craft over a Ray cluster: `local`, `local:N`, `auto` or HOST:PORT.
        quick: run the quick form that the study's block `quick:` makes of it.
        quiet: whether to show no progress.

    Returns:
        The finished run, as `load` gives it; `counts` says what was done.

    Raises:
        UsageError: for whatever has to be mended, naming file, line and cure.
        StoppedError: on Ctrl-C; what is done is kept.
    """
    with nullcontext(Silent()) if quiet else terminal_progress() as progress:
        session = open_run(
            study.checked if isinstance(study, Study) else Path(study),
            out=None if out is None else Path(out),
            limit=limit,
            progress=progress,
            extend=extend,
            retry_errors=retry_errors,
            rehash=rehash,
            ray=ray,
            quick=quick,
        )
        session.prepare()
        return RunResult(session.folder, counts=finish(session))


def finish(session: Run) -> dict[str, Count]:
    """Do all stages of a prepared run; nothing if it is complete.

    Crafting stays in the calling thread, where Ctrl-C reaches it.

    Raises:
        StoppedError: on Ctrl-C.
    """
    if session.complete():
        return {}
    try:
        counts = {"craft": session.craft(), "answer": wait(session.answer()), "judge": wait(session.judge())}
    except KeyboardInterrupt:
        raise StoppedError(STOPPED) from None
    session.tabulate()
    return counts


def load(folder: Path_) -> RunResult:
    """A finished run in its folder, made here or by `sightline run`.

    Raises:
        UsageError: if there is no finished run.
    """
    return RunResult(Path(folder))


class RunResult:
    """A finished run: its tables, and how it compares with another one.

    Attributes:
        folder: of the run.
        counts: rows of each stage made by the call that finished it; empty if it was complete before.
    """

    def __init__(self, folder: Path, *, counts: Mapping[str, Count] | None = None) -> None:
        self.folder = folder.expanduser()
        self.counts: Mapping[str, Count] = counts or {}
        if not (self.folder / "results.parquet").is_file():
            raise UsageError(
                f"{self.folder}: no finished run there (no results.parquet); name a run folder, such as "
                "runs/quickstart, or finish it with sl.run(...) or `sightline run`"
            )

    def __repr__(self) -> str:
        return f"<Run {self.folder}>"

    def samples(self) -> Samples:
        """Every answered sample: prompt, reply, verdicts, picture files, outcomes; see `Samples`."""
        from sightline.api.samples import samples_of

        return samples_of(self.folder)

    def cells(self) -> pa.Table:
        """Rates of every cell and judge as an Arrow table, with 95 % intervals clustered by group.

        One row for each benchmark, target, attack, defense, judge and measure: `k` of `n` scored samples,
        `rate`, `low`, `high`; `lower_bound` and `upper_bound` if all `unscored` samples were safe, or none.
        """
        from sightline.api.tables import cells_of

        return cells_of(self.folder)

    def trust(self) -> pa.Table:
        """How far the rates can be trusted, as an Arrow table: every ASR and over-refusal rate three ways.

        `rate` is raw; `corrected` by people's labels of the run, by a judge card in `RUN/cards` or by the
        testbed's ground truth (`corrected_by`; `note` says what limits or refuses it); `lower_bound` and
        `upper_bound` hold whatever unscored samples are and, where it is known how the judge errs, wherever
        its sensitivity and specificity lie in their intervals. `calibrated_by` is `uncalibrated` for a judge
        of whose errors nothing is known; `labels_needed` would bring the corrected rate to 5 points on either
        side, null where the cell is too small for that.
        """
        from sightline.api.tables import trust_table

        return trust_table(self.folder)

    def defenses(self) -> pa.Table:
        """What each defense leaves of the attacks and what it costs: a row per target, defense and judge.

        `asr_text`, `asr_drawn` and `asr_pixels` are those of the attack of that kind that reaches most (named
        in `..._attack`) without having known the defense; `asr_adaptive` is that of one which was made in
        asking the defended target, null where no attack knew the defense: then nothing shows that it is
        effective. `over_refusal` is of benign twins asked plainly, `over_refusal_drawn` of drawn ones. Each
        rate has `_low`, `_high` and `_n`. Calls and times are of `answers`, without crafting:
        means, and of `latency` the median.
        """
        from sightline.api.defense_tables import defenses_table

        return defenses_table(self.folder)

    def guards(self) -> pa.Table:
        """What defenses that withhold or replace answers decided, against what was right to decide.

        `request_sensitivity` and `request_specificity` go by what is asked, `answer_...` by what the target
        answers without the defense, as the judge read it; `asr` and `asr_bare` are with and without the
        defense on the same samples. Intervals are clustered by group.
        """
        from sightline.api.defense_tables import guards_table

        return guards_table(self.folder)

    def judges(self) -> pa.Table:
        """All pairs of judges that score the case, on the answers to restricted requests that both read.

        A row with an empty `benchmark` holds raw agreement, kappa and AC1; one with a benchmark compares how
        the two rank its cells: Kendall's tau-b, and the share of pairs that they order differently (`flips`).
        """
        from sightline.api.tables import judges_table

        return judges_table(self.folder)

    def labels(self) -> pa.Table:
        """What people finally said of samples of this run (`sightline annotate`), as an Arrow table.

        `sample` is that of `samples()`; `prob` the chance with which the row was drawn; `decided` is false
        where people did not agree and nobody decided.

        Raises:
            UsageError: if no round of annotation was closed.
        """
        from sightline.api.tables import labels_table

        return labels_table(self.folder)

    def languages(self, most: int | None = None) -> pa.Table:
        """The language of the reply of every answered sample, as an Arrow table.

        `language` is an ISO 639 code, `und` where it cannot be told (short, empty or mixed replies); `sure`
        is 0 to 1. Replies are tagged when this is called, each distinct one once. Needs extra `languages`.

        Args:
            most: tag so many samples alone, drawn by their keys.

        Raises:
            UsageError: if the extra is not installed.
        """
        from sightline.api.spoken import languages_table

        return languages_table(self.folder, most)

    def languages_judged(self, most: int | None = None) -> pa.Table:
        """Rates of every judge by the language of the replies, as an Arrow table; see `languages`.

        ASR, over-refusal and, of judges of the attacker's goal, targeted ASR, over all cells together, with
        95 % intervals clustered by group. A refusal list that does not know a language takes its refusals for
        compliance.
        """
        from sightline.api.spoken import judged_table

        return judged_table(self.folder, most)

    def jury_weights(self, truth: str = "") -> JuryWeights:
        """Sensitivity and specificity of this run's judges, estimated from their votes alone (Dawid-Skene).

        An estimate, never a truth: judges that err together look too good. `.text()` shows it, `.jury()` is
        the weighted jury as a study writes it.

        Args:
            truth: id of a judge of the run that is taken for the truth, to count errors against.

        Raises:
            UsageError: for fewer than three judges with votes, or an unknown judge.
        """
        from sightline.report.jury_weights import jury_weights

        return jury_weights(self.folder, truth)

    def compare(self, other: RunResult | Path_) -> pa.Table:
        """Paired differences of this run's rates from those of `other`, on the samples that both have.

        Cells are matched by benchmark, attack, defense, target and judge; where each run has a single one of
        them, and not the same, these are compared with each other. `difference` is this run minus the other,
        with its 95 % interval and the p-value of a clustered sign-flip test, adjusted (Holm) within one
        measure on one target; `q` is the same by Benjamini and Hochberg, for exploration: of what has q <=
        .10, a tenth may be chance. Cells whose benchmark, attack or judge is not the same in both runs are
        left out, with a warning.

        Raises:
            UsageError: if no cell of the two runs can be matched.
        """
        from sightline.api.tables import compared

        return compared(self.folder, other.folder if isinstance(other, RunResult) else Path(other))

    def quality(self, *others: RunResult | Path_, **how: Any) -> tuple[Quality, ...]:
        """Whether the benchmarks of this run (and of others with it) are good themselves, one value for each.

        How many groups rank the systems, item-rest correlations, near-duplicates, leaks through text; item
        parameters from 30 systems on. Systems are cells: target, attack, defense.

        Args:
            others: further runs of the same benchmarks.
            how: `measure` ("asr", "over_refusal", "utility", "accuracy", "abstention"), `benchmarks`,
                `attacks`.

        Raises:
            UsageError: if no benchmark has two systems with cases of the measure.
        """
        from sightline.data_check.quality import quality

        folders = [each.folder if isinstance(each, RunResult) else Path(each) for each in others]
        return quality([self.folder, *folders], **how)

    def gate(self, **limits: Any) -> GateResult:
        """Whether this run keeps its limits, each with 95 % confidence and in every cell.

        Args:
            limits: such as `max_asr=0.05, max_over_refusal=0.1, min_utility=0.9, by="hazard"`; see
                `sightline.gating.limits.Limits`. They go before those that stand in the study's `gate:`.

        Raises:
            UsageError: without any limit, or for one that is none.
        """
        from sightline.api.gates import gate

        return gate(self.folder, **limits)

    def report(self) -> Path:
        """Write report.html and return its path. The page holds harmful texts behind covers."""
        from sightline.report import write

        return Path(write(self.folder))
