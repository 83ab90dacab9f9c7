"""The report files of a run folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from chaos.report import reading
from chaos.report.files import write_reports
from chaos.report.reading import Report
from slo.objective import Invariant, Objective, Phase, Quantile, Ratio, Recovery, Requirement, Selector

FILES = ["junit.xml", "report.html", "report.md"]


def test_three_files(report: Report, tmp_path: Path) -> None:
    """A run folder gets its three reports, and nothing else; written again, they are the same."""
    here = replace(report, folder=tmp_path)
    write_reports(here)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_reports(here)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert sorted(before) == FILES


def test_failed_write_keeps_the_last_report(report: Report, tmp_path: Path) -> None:
    """Where a report cannot be put, that is an OSError, and no half-written file is left."""
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError):
        write_reports(replace(report, folder=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_lines_of_objectives() -> None:
    """Durations that objectives set become lines of the plot; targets of ratios and quantiles are known."""
    source = Selector(metric="m")
    goodness = Objective(
        name="goodness",
        unit="s",
        indicator=Ratio(good=Selector(metric="m", at_most=0.4), total=source, target=0.95),
    )
    tail = Objective(name="tail", indicator=Quantile(source=source, quantile=0.99, at_most=1.5))
    sums = Objective(name="sums", unit="By", indicator=Quantile(source=source, quantile=0.5, at_most=9))
    judged = (
        goodness,
        tail,
        sums,
        Invariant(name="pairing", check="reply-pairing"),
        Recovery(name="back", objective=tail, within_s=3, window_s=1, windows=2),
    )
    phases: tuple[Phase, ...] = ("fault",)
    required = [Requirement(objective=o, phases=phases, min_samples=1, runbook="r") for o in judged]
    lines = reading.thresholds(required)
    assert [(t.label, t.seconds) for t in lines] == [
        ("goodness: 95 % ≤ 400 ms", 0.4),
        ("tail: p99 ≤ 1.5 s", 1.5),
    ]
    assert reading.targets(required) == {"goodness": 0.95, "tail": 1.5, "sums": 9}
