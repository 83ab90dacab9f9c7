"""junit.xml as CI systems read it."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from chaos.report import junit
from chaos.report.reading import Report
from chaos.verdict import Verdict
from slo.outcome import Outcome


def _read(*verdicts: Verdict) -> ET.Element:
    return ET.fromstring(junit.render(verdicts))  # noqa: S314 - our own


def _suite(verdict: Verdict) -> ET.Element:
    return _read(verdict)[0]


def test_red_exactly_when_the_exit_code_is(report: Report) -> None:
    """A job that reads only junit.xml comes to the same end as one that reads the exit code."""
    suite = _suite(report.verdict)
    red = int(suite.get("failures", "0")) + int(suite.get("errors", "0"))
    assert bool(red) == bool(report.verdict.exit_code)


def test_breach_is_a_failure_and_not_knowing_an_error(report: Report) -> None:
    """A failed finding is a failure, an inconclusive one an error of type inconclusive, with its reason."""
    cases = {case.get("name"): case for case in _suite(report.verdict).findall("testcase")}
    for finding in report.verdict.findings:
        case = cases[f"{finding.objective} [{finding.phase}]"]
        failure, error = case.find("failure"), case.find("error")
        assert (failure is not None) == (finding.outcome is Outcome.FAIL)
        assert (error is not None) == (finding.outcome is Outcome.INCONCLUSIVE)
        if error is not None:
            assert error.get("type") == "inconclusive"
        for element in (failure, error):
            assert element is None or element.get("message") == finding.reason


def test_one_suite_an_experiment(report: Report) -> None:
    """Several verdicts make several testsuites, and the totals are theirs."""
    root = _read(report.verdict, report.verdict)
    assert len(root) == 2
    for key in ("tests", "failures", "errors"):
        assert int(root.get(key, "-1")) == sum(int(suite.get(key, "-1")) for suite in root)


def test_no_verdict_is_a_document_too() -> None:
    """Without any experiment the file is still valid."""
    assert _read().get("tests") == "0"
