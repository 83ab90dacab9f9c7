"""Verdicts in a terminal, and in what is none."""

from __future__ import annotations

import io
import re

import pytest

from chaos.report.reading import Report
from chaos.report.screen import PLAIN_WIDTH, Screen
from chaos.report.terminal import MemberResult, suite_text, verdict_text
from slo.outcome import Outcome

MEMBERS = [
    MemberResult("env-slow-steps", Outcome.FAIL, Outcome.FAIL, True),
    MemberResult("eval-connection-resets", Outcome.INCONCLUSIVE, Outcome.PASS, False, "resets were not seen"),
    MemberResult("eval-fault-without-effect", None, Outcome.INCONCLUSIVE, False, "interrupted"),
]


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 200])
def test_lines_fit(report: Report, width: int) -> None:
    """No line is wider than the terminal (of at least eight columns), and nothing fails in a tiny one."""
    for text in (
        verdict_text(report.verdict, report.runbooks, screen=Screen(width=width)),
        suite_text(MEMBERS, screen=Screen(width=width)),
    ):
        assert max(map(len, text.split("\n"))) <= max(8, width)


def test_narrow_tells_the_same(report: Report) -> None:
    """At 60 columns each objective, phase, outcome and reason is still there."""
    text = "".join(verdict_text(report.verdict, report.runbooks, screen=Screen(width=60)).split())
    for finding in report.verdict.findings:
        for word in (finding.objective, finding.phase, finding.outcome.value):
            assert word.lower() in text.lower()
    assert all("".join(reason.split()) in text for reason in report.verdict.reasons)


def test_plain_without_a_terminal(report: Report) -> None:
    """Text for a pipe has no escape sequence; for a terminal it has colours unless they are switched off."""
    plain = verdict_text(report.verdict, report.runbooks, screen=Screen())
    colored = verdict_text(report.verdict, report.runbooks, screen=Screen(tty=True, color=True))
    uncolored = verdict_text(report.verdict, report.runbooks, screen=Screen(tty=True, color=False))
    assert "\x1b" not in plain
    assert re.search(r"\x1b\[[0-9;]*3[0-7]m", colored)
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", uncolored)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "no-such-encoding"])
def test_any_encoding(report: Report, encoding: str) -> None:
    """Printing never fails for want of a character, and outcomes keep their symbols and words."""
    screen = Screen(encoding=encoding)
    text = verdict_text(report.verdict, report.runbooks, screen=screen) + suite_text(MEMBERS, screen=screen)
    text.encode("ascii" if encoding == "no-such-encoding" else encoding)
    assert "x FAIL" in text


def test_runbook_and_report_are_named(report: Report) -> None:
    """Each runbook that is called for is given by path with its act; the report's path comes last."""
    page = report.folder / "report.html"
    text = verdict_text(report.verdict, report.runbooks, report=page, screen=Screen(width=120))
    assert text.rstrip().endswith(str(page))
    for finding in report.verdict.findings:
        if finding.outcome is Outcome.FAIL and finding.runbook:
            assert str(report.runbooks[finding.runbook].path) in text
            assert "Make the client open a new connection" in text


def test_unknown_runbook_is_said(report: Report) -> None:
    """A runbook that was not found is named all the same."""
    text = verdict_text(report.verdict, {}, screen=Screen())
    called = [f for f in report.verdict.findings if not f.outcome.passes and f.runbook]
    assert ("not found" in text) == bool(called)


def test_suite_says_what_was_not_as_expected() -> None:
    """The summary counts what did not end as expected, with its note; a suite as expected says so."""
    text = suite_text(MEMBERS)
    assert "2 of 3 experiments did not end as expected." in text
    assert "NO: resets were not seen" in text and "not run" in text
    assert "As expected." in suite_text(MEMBERS[:1])
    assert "No experiment was run." in suite_text([])


def test_screen_of_a_pipe_and_of_no_color() -> None:
    """A stream that is no terminal gets plain text; NO_COLOR and TERM=dumb are honoured; a closed one too."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert Screen.of(io.StringIO()) == Screen(width=PLAIN_WIDTH)
    assert Screen.of(Terminal(), environ={"TERM": "xterm"}).color
    assert not Screen.of(Terminal(), environ={"NO_COLOR": "1"}).color
    assert not Screen.of(Terminal(), color=False, environ={}).color
    assert not Screen.of(Terminal(), environ={"TERM": "dumb"}).tty
    closed = Terminal()
    closed.close()
    Screen.of(io.StringIO())
