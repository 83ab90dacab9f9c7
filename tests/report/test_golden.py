"""Reports of hand-made runs, compared with files that a person has looked at.

BROWNOUT_REGENERATE=1 writes the files anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.report import html, junit, markdown
from chaos.report.reading import Report
from chaos.report.screen import Screen
from chaos.report.terminal import verdict_text

GOLDEN = Path(__file__).parents[1] / "golden" / "reports"


def _terminal(report: Report, width: int) -> str:
    page = report.folder / "report.html"
    return verdict_text(report.verdict, report.runbooks, report=page, screen=Screen(width=width))


RENDERERS: dict[str, Callable[[Report], str]] = {
    "html": html.render,
    "md": markdown.render,
    "xml": lambda report: junit.render([report.verdict]),
    "100.txt": lambda report: _terminal(report, 100),
    "60.txt": lambda report: _terminal(report, 60),
}


@pytest.mark.parametrize("ending", RENDERERS)
def test_golden(report: Report, ending: str, request: pytest.FixtureRequest) -> None:
    """A report changes only when somebody means it to."""
    case = request.node.callspec.params["report"]
    path = GOLDEN / f"{case}.{ending}"
    text = RENDERERS[ending](report)
    if os.environ.get("BROWNOUT_REGENERATE"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), (
        f"{path.name} differs: BROWNOUT_REGENERATE=1 writes it anew"
    )
