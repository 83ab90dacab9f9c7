"""Numbers as a reader of a reason expects them: percentages, amounts with their unit, counted nouns."""

from __future__ import annotations

from slo.quantities import format_duration


def percent(share: float) -> str:
    """`0.953` as `95.3 %`; four significant digits, so that 99.97 % does not become 100 %."""
    return f"{100 * share:.4g} %"


def amount(value: float, unit: str) -> str:
    """A value in its unit: seconds as a duration (`250ms`), dimensionless as a number, else `3 unit`."""
    if unit == "s":
        return ("-" if value < 0 else "") + format_duration(abs(value))
    bare = unit.strip("{}")
    return f"{value:.6g}" + (f" {bare}" if bare and bare != "1" else "")


def counted(n: float, noun: str, plural: str | None = None) -> str:
    """`1 observation`, `12 observations`."""
    return f"{n:.10g} " + (noun if n == 1 else plural or noun + "s")
