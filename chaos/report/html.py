"""report.html: one page that needs nothing but itself.

Nothing in it comes from elsewhere and nothing in it runs: styles are inline, there is no script, and a
Content-Security-Policy forbids both. All values are escaped by the template engine; they come from users'
YAML and from the replies of services under test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from chaos.report import interval, numbers, prose, reading, style, timeline
from chaos.report.plain import one_line, printable
from chaos.report.reading import Report
from chaos.report.runbook import RunbookExcerpt

EXIT_MEANINGS: Final[dict[int, str]] = {
    0: "passed",
    1: "an objective was breached",
    3: "inconclusive",
    4: "stopped",
    5: "heal incomplete",
    70: "a defect of Brownout",
    130: "interrupted",
    143: "terminated",
}
_SAFE: Final = "/-._~"


@cache
def environment() -> Environment:
    """The template engine: everything is escaped, nothing may be missing."""
    made = Environment(
        loader=PackageLoader("chaos.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    functions: dict[str, Callable[..., object]] = {
        "act_section": act_section,
        "bin_numbers": timeline.bin_numbers,
        "by_phase": timeline.by_phase,
        "cell": reading.cell,
        "columns": reading.columns,
        "counts": reading.counts,
        "disturbance": reading.disturbance,
        "fault_state": reading.fault_state,
        "fault_window": reading.fault_window,
        "headline": reading.headline,
        "interval": numbers.interval,
        "interval_svg": interval.render,
        "mark": style.mark,
        "measured": numbers.measured,
        "prose": prose.to_html,
        "reach": reading.reach,
        "runbook_link": runbook_link,
        "seen": reading.seen,
    }
    made.globals.update(functions)
    made.filters.update(count=numbers.count, seconds=numbers.seconds, one_line=one_line)
    return made


def _finalize(value: Any) -> Any:
    """What an expression yields, made fit to show; markup that we made ourselves is left alone."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def runbook_link(report: Report, runbook: RunbookExcerpt) -> str:
    """The address of the runbook's file, relative to the report's folder, percent-encoded."""
    relative = os.path.relpath(os.path.abspath(runbook.path), os.path.abspath(report.folder))
    return quote(relative.replace(os.sep, "/").encode("utf-8", "surrogateescape"), safe=_SAFE)


def act_section(runbook: RunbookExcerpt) -> str:
    """The whole Act section where the runbook has one, else the excerpt's lines."""
    whole = next((s.text for s in runbook.sections if s.heading.lower() == "act"), "")
    return whole or "\n".join(runbook.act)


def when(moment: float) -> str:
    """`2026-11-21 07:16:51 UTC`; a number that is no time is shown as it is."""
    try:
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{moment:g}"


def render(report: Report) -> str:
    """The page."""
    verdict = report.verdict
    called = reading.runbooks_to_follow(verdict)
    used = dict.fromkeys(f.runbook for f in reading.objectives(verdict) if f.runbook)
    page = environment().get_template("report.html.j2")
    return page.render(
        report=report,
        verdict=verdict,
        m=style.mark(verdict.outcome),
        ending=reading.ending(verdict),
        exit_meaning=EXIT_MEANINGS.get(verdict.exit_code, "unknown"),
        findings=reading.objectives(verdict),
        with_rows=[f for f in reading.objectives(verdict) if f.rows],
        called=called,
        anchors={name: number for number, name in enumerate(called)},
        others=[name for name in used if name not in called],
        load=reading.load_sentence(verdict),
        started=when(verdict.started_at),
        took=numbers.seconds(max(0.0, verdict.ended_at - verdict.started_at)),
        wide=timeline.render(report, timeline.WIDE) if report.curves.known else None,
        narrow=timeline.render(report, timeline.NARROW) if report.curves.known else None,
        light=Markup(style.css_variables(dark=False)),  # noqa: S704 - our own constants
        dark=Markup(style.css_variables(dark=True)),  # noqa: S704 - our own constants
    )
