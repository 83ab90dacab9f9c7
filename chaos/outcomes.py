"""From a run folder to its verdict on disk and on screen."""

from __future__ import annotations

import sys
from pathlib import Path

from chaos.documents.library import Library
from chaos.documents.project import find_project
from chaos.evidence import Evidence, gather
from chaos.judge import judge
from chaos.report.curves import curves
from chaos.report.files import write_reports
from chaos.report.runbook import RunbookExcerpt, read_runbook
from chaos.report.terminal import print_verdict
from chaos.verdict import Verdict
from loadtests import metrics


def conclude(folder: Path) -> Verdict:
    """Judge a run folder and write `verdict.json`, `report.html`, `report.md` and `junit.xml` into it.

    Raises:
        NoRun: (a ValueError) the folder is no run's.
        OSError: it cannot be written.
    """
    evidence = gather(folder)
    verdict = judge(evidence)
    temporary = folder / "verdict.json.new"
    temporary.write_text(verdict.model_dump_json(indent=2) + "\n")
    temporary.replace(folder / "verdict.json")
    write_reports(folder, verdict, _curves(evidence, verdict), runbooks_of(verdict))
    return verdict


def show_verdict(verdict: Verdict, folder: Path, *, as_json: bool, no_color: bool) -> None:
    """Print a verdict for people, or as JSON."""
    if as_json:
        sys.stdout.write(verdict.model_dump_json(indent=2) + "\n")
        return
    print_verdict(verdict, folder, runbooks_of(verdict), no_color=no_color)


def runbooks_of(verdict: Verdict) -> tuple[RunbookExcerpt, ...]:
    """The runbooks of the findings that did not pass, each once, in their order."""
    library = Library(find_project())
    names = dict.fromkeys(f.runbook for f in verdict.findings if f.runbook and not f.outcome.passes)
    paths = [library.find_runbook(name) for name in names]
    return tuple(read_runbook(path) for path in paths if path is not None)


def _curves(evidence: Evidence, verdict: Verdict):  # type: ignore[no-untyped-def]
    primaries = tuple({metrics.PRIMARY[w.profile.user] for w in evidence.plan.workloads})
    return curves(evidence.samples, verdict.phases, primaries)
