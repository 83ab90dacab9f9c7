"""Numbers as reports show them: few digits, their unit, and never rounded across a threshold's edge.

A share is shown as 100 % or 0 % only when it is exactly that: 0.99996 reads 99.996 %, since a report that
rounds a breach up to 100 % contradicts its own verdict.
"""

from __future__ import annotations

from slo.finding import Finding

UNKNOWN = "–"
_SHARES = ("1", "ratio", "fraction", "share")
_SECONDS = ("s", "second", "seconds")


def percent(share: float, *, decimals: int = 1) -> str:
    """`share` (0 to 1) in per cent: at least `decimals` places, more near the ends: `99.996 %`."""
    if share in (0.0, 1.0):
        return f"{share * 100:.0f} %"
    for places in range(decimals, 5):
        text = f"{share * 100:.{places}f}"
        if float(text) not in (0.0, 100.0):
            return f"{text} %"
    return "<0.0001 %" if share < 0.5 else ">99.9999 %"


def seconds(value: float) -> str:
    """A duration with three digits or so: `251 ms`, `1.24 s`, `2 min 30 s`."""
    size = abs(value)
    if size and size < 0.001:
        return f"{value * 1e6:.3g} µs"
    if size < 0.9995:
        return f"{value * 1e3:.3g} ms" if size < 0.0995 else f"{value * 1e3:.0f} ms"
    if size < 59.95:
        return f"{value:.3g} s" if size < 9.995 or float(value).is_integer() else f"{value:.1f} s"
    minutes, rest = divmod(round(size), 60)
    sign = "-" if value < 0 else ""
    if minutes < 60:
        return f"{sign}{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return f"{sign}{hours} h" + (f" {minutes} min" if minutes else "")


def count(value: float) -> str:
    """A count, thousands apart: `12,480`."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def plural(number: int, noun: str, nouns: str | None = None) -> str:
    """`1 sample`, `312 samples`."""
    return f"{count(number)} {noun if number == 1 else nouns or noun + 's'}"


def measured(finding: Finding, value: float | None) -> str:
    """`value` in the finding's unit; a dash where it is not known."""
    if value is None:
        return UNKNOWN
    unit = finding.unit.strip()
    if finding.kind == "recovery" or unit in _SECONDS:
        return seconds(value)
    if finding.kind == "invariant":
        return count(value)
    if finding.kind == "ratio" or unit in _SHARES:
        return percent(value)
    if unit == "%":
        return f"{value:.4g} %"
    shown = count(value) if float(value).is_integer() else f"{value:.4g}"
    return f"{shown} {unit}" if unit and not unit.startswith("{") else shown


def interval(finding: Finding) -> str:
    """The finding's 95 % interval: `97.1 % to 99.8 %`; a dash where there is none."""
    if finding.interval is None:
        return UNKNOWN
    low, high = finding.interval
    return f"{measured(finding, low)} to {measured(finding, high)}"
