"""From a run folder to its verdict on disk and on screen."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from chaos import __version__
from chaos.documents.library import Library
from chaos.documents.project import find_project
from chaos.evidence import Evidence, gather
from chaos.judge import judge
from chaos.report import reading
from chaos.report.curves import curves
from chaos.report.files import write_reports
from chaos.report.runbook import RunbookExcerpt
from chaos.report.runbook import read as read_runbook
from chaos.report.screen import Screen
from chaos.report.terminal import verdict_text
from chaos.verdict import Verdict
from loadtests import metrics
from loadtests.columns import write_parquet

REPORT = "report.html"


def conclude(folder: Path) -> Verdict:
    """Judge a run folder and write `verdict.json`, `report.html`, `report.md` and `junit.xml` into it.

    Raises:
        BadInput: the folder is no run's.
        OSError: it cannot be written.
    """
    evidence = gather(folder)
    verdict = judge(evidence)
    if evidence.history.num_rows:
        write_parquet(folder / "history", [(span.phase, span.start) for span in verdict.phases])
    temporary = folder / "verdict.json.new"
    temporary.write_text(verdict.model_dump_json(indent=2) + "\n")
    temporary.replace(folder / "verdict.json")
    write_reports(_report(evidence, verdict, folder))
    return verdict


def show_verdict(verdict: Verdict, folder: Path, *, as_json: bool, no_color: bool) -> None:
    """Print a verdict for people, or as JSON."""
    if as_json:
        sys.stdout.write(verdict.model_dump_json(indent=2) + "\n")
        return
    page = folder / REPORT
    text = verdict_text(
        verdict,
        runbooks_of(verdict),
        report=page if page.exists() else None,
        screen=Screen.of(sys.stdout, color=not no_color),
    )
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def runbooks_of(verdict: Verdict) -> dict[str, RunbookExcerpt]:
    """The runbooks of the findings that did not pass, by name."""
    library = Library(find_project())
    names = dict.fromkeys(f.runbook for f in verdict.findings if f.runbook and not f.outcome.passes)
    paths = {name: library.find_runbook(name) for name in names}
    return {name: read_runbook(path) for name, path in paths.items() if path is not None}


def _report(evidence: Evidence, verdict: Verdict, folder: Path) -> reading.Report:
    primaries = tuple({metrics.PRIMARY[w.profile.user] for w in evidence.plan.workloads})
    return reading.Report(
        verdict=verdict,
        folder=folder,
        curves=curves(evidence.samples, verdict.phases, primaries),
        runbooks=runbooks_of(verdict),
        thresholds=reading.thresholds(evidence.plan.requirements),
        targets=reading.targets(evidence.plan.requirements),
        environment={
            "brownout": __version__,
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
        },
    )
