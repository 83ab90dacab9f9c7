"""capacity.html: one page that needs nothing but itself; see `chaos.report.html`, whose rules are its own."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from chaos.capacity.conclusion import between
from chaos.capacity.result import Capacity, Point
from chaos.capacity.search import Standing
from chaos.report import capacity_plot, numbers, style
from chaos.report.capacity_text import (
    WORDS,
    arm_title,
    duration,
    in_order,
    look,
    outcome_of,
    share,
    spread,
)
from chaos.report.html import environment, when
from slo.outcome import Outcome

EXIT_MEANINGS = {
    0: "found",
    1: "held at no rate that was tried",
    3: "found less precisely than was asked, or not",
    4: "stopped",
    5: "heal incomplete",
    130: "interrupted",
    143: "terminated",
}
_KINDS: dict[Standing, Outcome] = {
    "holds": Outcome.PASS,
    "breached": Outcome.FAIL,
    "unknown": Outcome.INCONCLUSIVE,
    "generator": Outcome.INCONCLUSIVE,
}


def render(result: Capacity) -> str:
    """The page."""
    names: dict[str, Any] = {
        "result": result,
        "outcome": outcome_of(result),
        "between": between,
        "arm_title": arm_title,
        "in_order": in_order,
        "look": look,
        "kind": lambda standing: _KINDS[standing].value,
        "words": WORDS,
        "duration": duration,
        "spread": spread,
        "share": share,
        "percent": numbers.percent,
        "link": _link,
        "started": when(result.started_at),
        "took": numbers.seconds(max(0.0, result.ended_at - result.started_at)),
        "exit_meaning": EXIT_MEANINGS.get(result.exit_code, "unknown"),
        "wide": capacity_plot.render(result, capacity_plot.WIDE),
        "narrow": capacity_plot.render(result, capacity_plot.NARROW),
        "light": Markup(style.css_variables(dark=False)),  # noqa: S704 - our own constants
        "dark": Markup(style.css_variables(dark=True)),  # noqa: S704 - our own constants
    }
    return environment().get_template("capacity.html.j2").render(**names)


def _link(point: Point) -> str:
    """The report of a point's run, relative to the page. Its folder's name ends the run's."""
    return quote(f"points/{point.folder}/report.html")
