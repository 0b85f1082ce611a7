"""How numbers and conditions are worded, in one place, so that table, headline and figure agree."""

from __future__ import annotations

ORACLES = {
    "none": "attacks made without asking a model",
    "undefended": "attacks made by asking the undefended target",
    "defended": "attacks made by asking the defended target",
}
MEASURE_NAMES = {"asr": "ASR", "asr_soft": "soft ASR"}
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


def as_percent(share: float, *, exact: bool = False) -> str:
    """`88 %`, unbreakable; one decimal where rounding would claim none or all, and if `exact`.

    Tables ask for `exact` from n = 1,000.
    """
    value = 100 * share
    if not exact and not 0 < value < 0.5 and not 99.5 <= value < 100:
        return f"{value:.0f}\u00a0%"
    if 0 < value < 0.05:
        return "<0.1\u00a0%"
    if 99.95 <= value < 100:
        return ">99.9\u00a0%"
    return f"{value:.1f}\u00a0%"


def percent(k: float, n: int) -> str:
    """`k` of `n` in percent."""
    return as_percent(k / n, exact=n >= 1000)


def bracket(low: float, high: float, *, exact: bool = False) -> str:
    """`[81, 93]`: an interval in percent."""
    places = 1 if exact else 0
    return f"[{100 * low:.{places}f}, {100 * high:.{places}f}]"


def points(difference: float, *, exact: bool = False) -> str:
    """A difference of two shares in percentage points, with its sign (a true minus)."""
    text = f"{100 * difference:+.{1 if exact else 0}f}"
    return text.replace("-", "−")
