"""junit.xml, as CI systems read it: one testsuite per experiment, one testcase per finding.

A breached objective is a `failure`. What could not be told is an `error` of type `inconclusive`: most CI
systems know no third state, a skip would turn the job green, and not knowing must not. The testcase `run`
stands for the run itself, so that the file has a failure or an error exactly when the exit code is not 0.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET  # writes only; nothing from outside is parsed
from collections.abc import Iterable
from datetime import UTC, datetime

from chaos.report import numbers, reading
from chaos.report.plain import one_line, printable
from chaos.verdict import Verdict
from slo.finding import Finding
from slo.outcome import Outcome


def render(verdicts: Iterable[Verdict]) -> str:
    """The verdicts as one JUnit document; valid XML 1.0 whatever text they hold."""
    root = ET.Element("testsuites", name="brownout")
    suites = [_suite(root, verdict) for verdict in verdicts]
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in suites)))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(root: ET.Element, verdict: Verdict) -> ET.Element:
    took = max(0.0, verdict.ended_at - verdict.started_at)
    suite = ET.SubElement(
        root, "testsuite", name=one_line(verdict.experiment), time=f"{took:.3f}", timestamp=_time(verdict)
    )
    properties = ET.SubElement(suite, "properties")
    facts = {
        "outcome": verdict.outcome.value,
        "exit_code": str(verdict.exit_code),
        "ending": verdict.ending,
        "run": verdict.run,
        "target": verdict.target,
        "seed": str(verdict.seed),
        "repeat": verdict.repeat,
        "proxy": verdict.proxy,
    }
    for name, value in facts.items():
        ET.SubElement(properties, "property", name=name, value=one_line(value))
    findings = [*reading.objectives(verdict), *reading.effects(verdict)]
    for finding in findings:
        _finding(suite, verdict, finding)
    _run(suite, verdict, explained=any(not f.outcome.passes for f in findings))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("errors", str(len(suite.findall("testcase/error"))))
    suite.set("skipped", "0")
    return suite


def _time(verdict: Verdict) -> str:
    try:
        return datetime.fromtimestamp(verdict.started_at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "1970-01-01T00:00:00"


def _finding(suite: ET.Element, verdict: Verdict, finding: Finding) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=one_line(f"brownout.{verdict.experiment}"),
        name=one_line(f"{finding.objective} [{finding.phase}]"),
        time=f"{max(0.0, finding.window.end - finding.window.start) if finding.window else 0.0:.3f}",
    )
    if finding.outcome is Outcome.FAIL:
        _not_passed(case, "failure", finding.kind, finding.reason, _numbers(finding))
    elif finding.outcome is Outcome.INCONCLUSIVE:
        _not_passed(case, "error", "inconclusive", finding.reason, _numbers(finding))
    else:
        ET.SubElement(case, "system-out").text = printable(_numbers(finding))


def _not_passed(case: ET.Element, tag: str, kind: str, message: str, details: str) -> None:
    element = ET.SubElement(case, tag, type=one_line(kind), message=one_line(message))
    element.text = printable(details)


def _numbers(finding: Finding) -> str:
    lines = [
        finding.reason,
        f"value: {reading.value_against_target(finding)}",
        f"95 % interval: {numbers.interval(finding)}",
        f"samples: {finding.samples}" + (f", bad: {finding.bad}" if finding.bad is not None else ""),
    ]
    if finding.runbook:
        lines.append(f"runbook: {finding.runbook}")
    lines += [", ".join(f"{key}={reading.cell(value)}" for key, value in row.items()) for row in finding.rows]
    return "\n".join(lines)


def _run(suite: ET.Element, verdict: Verdict, *, explained: bool) -> None:
    """The run's own testcase: not passed when it left something, did not complete, or failed unexplained."""
    case = ET.SubElement(
        suite, "testcase", classname=one_line(f"brownout.{verdict.experiment}"), name="run", time="0.000"
    )
    details = "\n".join([*verdict.reasons, *verdict.left_behind])
    if verdict.left_behind:
        message = "heal incomplete: something injected may still be in place"
        _not_passed(case, "error", "heal-incomplete", message, details)
    elif verdict.exit_code != 0 and (verdict.ending != "completed" or not explained):
        kind = "inconclusive" if verdict.outcome is Outcome.INCONCLUSIVE else verdict.ending
        message = f"{reading.ending(verdict)}: {reading.headline(verdict)}"
        _not_passed(case, "error", kind, message, details)
    else:
        ET.SubElement(case, "system-out").text = printable(f"{reading.ending(verdict)}\n{details}".rstrip())
