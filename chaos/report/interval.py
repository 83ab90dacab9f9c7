"""An interval against its target, drawn in one line: on which side it lies, seen at a glance."""

from __future__ import annotations

from markupsafe import Markup

from chaos.report import numbers
from chaos.report.axis import Axis
from chaos.report.plain import one_line
from chaos.report.timeline import tag
from slo.finding import Finding

WIDTH = 132
HEIGHT = 18


def render(finding: Finding, target: float | None) -> Markup:
    """The interval as a bar, the value as a dot, the target as a tick; empty where one of them is unknown."""
    if (
        finding.kind not in ("ratio", "quantile")
        or finding.interval is None
        or finding.value is None
        or target is None
    ):
        return Markup()
    low, high = finding.interval
    span = max(max(high, target) - min(low, target), 1e-6)
    begin, end = max(0.0, min(low, target) - span * 0.15), max(high, target) + span * 0.15
    if finding.kind == "ratio":
        end = min(1.0, end)
    x, middle = Axis(begin, end, 4.0, WIDTH - 4.0), HEIGHT / 2
    words = f"{numbers.measured(finding, finding.value)}, 95 % interval {numbers.interval(finding)}, target "
    parts = [
        tag("title", one_line(words + numbers.measured(finding, target))),
        tag("line", x1=4.0, x2=WIDTH - 4.0, y1=middle, y2=middle, class_="rail"),
        tag("line", x1=x(low), x2=x(high), y1=middle, y2=middle, class_="span"),
        tag("line", x1=x(target), x2=x(target), y1=1.0, y2=HEIGHT - 1.0, class_="goal"),
        tag("circle", cx=x(finding.value), cy=middle, r=3.5, class_="dot"),
    ]
    box = f"0 0 {WIDTH} {HEIGHT}"
    return tag(
        "svg", Markup().join(parts), class_=f"interval {finding.outcome.value}", viewBox=box, role="img"
    )
