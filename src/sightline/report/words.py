"""How numbers and conditions are worded, in one place, so that table, headline and figure agree."""

from __future__ import annotations

from collections.abc import Iterable

ORACLES = {
    "none": "attacks made without the answers of a target",
    "undefended": "attacks made by asking the undefended target",
    "defended": "attacks made by asking the defended target",
}
ACCESS = {"white": "white box", "grey": "grey box", "black": "black box"}
QUANTITIES = {
    "forwards": "forward passes",
    "backwards": "backward passes",
    "flops": "FLOPs",
    "calls": "calls",
    "seconds": "seconds",
}
_PREFIXES = ("", "k", "M", "G", "T", "P", "E", "Z")
MEASURE_NAMES = {"asr": "ASR", "asr_soft": "soft ASR", "steered": "steered replies"}
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
