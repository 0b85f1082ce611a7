"""What a gate found: every rate beside its limit, and the whole in words."""

from __future__ import annotations

from dataclasses import dataclass

from sightline.gating.limits import Limits
from sightline.gating.unread import system_of
from sightline.metrics.cells import method_of
from sightline.metrics.rates import Rate
from sightline.report.text import as_percent, bracket

NAMES = {
    "asr": "attack success",
    "attacker_goal": "attacker's goal reached",
    "over_refusal": "over-refusal",
    "utility": "utility",
}
LIMITS = ("max_asr", "max_over_refusal", "min_utility")


def as_limit(share: float) -> str:
    """`3.6 %`: a limit as it was given."""
    return f"{100 * share:.10g}\u00a0%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rate beside its limit.

    Attributes:
        target, defense: the system.
        measure: `asr`, `attacker_goal`, `over_refusal` or `utility`.
        where: benchmark and attack, and the hazard or category.
        limit: the highest rate that is allowed, for `utility` the lowest.
        rate: None if nothing was measured.
        low, high: what is compared with the limit; see `Limits.rates`.
        passed: whether the limit is kept with confidence.
        reason: why not; '' if passed.
    """

    target: str
    defense: str
    measure: str
    where: str
    limit: float
    rate: Rate | None
    low: float
    high: float
    passed: bool
    reason: str

    @property
    def system(self) -> str:
        """Target and defense."""
        return system_of(self.target, self.defense)

    def text(self) -> str:
        """`FAILED asr, figstep on testbed_requests: 12 % [8, 17] of 240; limit 5 %: ...`."""
        sign = "at least" if self.measure == "utility" else "at most"
        found = "nothing measured"
        if self.rate is not None and self.rate.point is not None:
            ends = bracket(self.low, self.high, exact=True)
            found = f"{as_percent(self.rate.point)} {ends}, n = {self.rate.n}"
        line = f"{NAMES[self.measure]}, {self.where}: {found}; {sign} {as_limit(self.limit)}"
        return f"passed  {line}" if self.passed else f"FAILED  {line}\n        {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """The checks of a run.

    Attributes:
        name: of the study.
        limits: that were to be kept.
        judge: id of the one that decided.
        judge_known: what is known of its errors; '' if it is uncalibrated.
        from_study: names of the limits that stand in the run's lock.
        checks: systems in the order of the study, attacks with the highest rates first.
    """

    name: str
    limits: Limits
    judge: str
    judge_known: str
    from_study: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether every limit is kept."""
        return all(check.passed for check in self.checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that are not."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def verdict(self) -> str:
        """One sentence."""
        kept = len(self.checks) - len(self.failed)
        word = "passed" if self.passed else "FAILED"
        return f"gate {word}: {kept} of {len(self.checks)} limits kept with 95 % confidence"

    @property
    def about_limits(self) -> str:
        """The limits, and which of them are the study's as the run holds it."""
        own = {name: getattr(self.limits, name) for name in LIMITS}
        told = [
            f"{name} {as_limit(value)}" + (" (study)" if name in self.from_study else "")
            for name, value in own.items()
            if value is not None
        ]
        again = "; the study's are those of its last `sightline run`" if self.from_study else ""
        return f"limits: {', '.join(told)}{again}"

    @property
    def about_judge(self) -> str:
        """Who decided, and what is known of its errors."""
        known = self.judge_known or "uncalibrated: nothing is known of its errors, so neither of this gate's"
        return f"decided by {method_of(self.judge)} ({known})"

    def text(self, *, everything: bool = False) -> str:
        """The verdict and what failed; with `everything`, also what passed."""
        lines = [self.verdict, self.about_limits, self.about_judge]
        for system in dict.fromkeys(check.system for check in self.checks):
            mine = [check for check in self.checks if check.system == system]
            passed = sum(check.passed for check in mine)
            lines += ["", f"{system}: {passed} of {len(mine)} kept"]
            lines += [f"  {check.text()}" for check in mine if everything or not check.passed]
        return "\n".join(lines)
