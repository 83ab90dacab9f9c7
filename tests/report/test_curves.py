"""Curves are read from telemetry bin by bin, and know where they know nothing."""

from __future__ import annotations

import pytest

from chaos.report import timeline
from chaos.report.curves import MOST_BINS, NO_CURVES, Curves, bin_width_s, curves
from chaos.report.reading import Report
from chaos.verdict import PhaseSpan
from slo.series import HistogramPoint, NumberPoint, Samples, StreamKey

BOUNDS = (0.1, 0.2, 0.4)
PHASES = (PhaseSpan(phase="baseline", start=100, end=102), PhaseSpan(phase="fault", start=102, end=104))


def _histogram(samples: Samples, t: float, counts: tuple[int, ...], **attributes: str) -> None:
    key = StreamKey("m", "s", tuple(sorted(attributes.items())))
    samples.add(key, HistogramPoint(100, t, sum(counts), 0.0, BOUNDS, tuple(map(float, counts))))


def test_curves_of_each_bin() -> None:
    """Load, errors, percentiles and users are those of the second; instances and outcomes add up."""
    samples = Samples()
    _histogram(samples, 101, (10, 0, 0, 0))
    _histogram(samples, 102, (30, 0, 0, 0))
    _histogram(samples, 103, (30, 0, 15, 0))
    _histogram(samples, 103, (0, 0, 5, 0), **{"error.type": "timeout"})
    for instance, users in (("a", 3.0), ("b", 4.0)):
        key = StreamKey("brownout.users", "", (("service.instance.id", instance),))
        samples.add(key, NumberPoint(0, 100.5, users, "gauge"))
    seen = curves(samples, PHASES, ("m",))
    assert seen.times == (100, 101, 102, 103) and seen.width_s == 1
    assert seen.load == (10, 20, 20, None)
    assert seen.error_rate == (0, 0, 0.25, None)
    assert seen.p50[0] == pytest.approx(0.05) and 0.2 < (seen.p50[2] or 0) <= 0.4
    assert seen.users == (7, None, None, None)


def test_no_data_is_a_gap() -> None:
    """A second in which nothing was reported is unknown, not zero; without phases there is nothing at all."""
    seen = curves(Samples(), PHASES, ("m",))
    assert {*seen.load, *seen.p99, *seen.error_rate} == {None}
    assert not seen.known
    assert curves(Samples(), (), ("m",)) == NO_CURVES


@pytest.mark.parametrize("duration", [0.5, 1, 16, 239, 241, 3600, 864_000])
def test_long_runs_get_wider_bins(duration: float) -> None:
    """However long the run, there are at most `MOST_BINS` bins."""
    assert bin_width_s(duration) >= 1
    assert duration / bin_width_s(duration) <= MOST_BINS


def test_tracks_match_times() -> None:
    """A track of another length than the times is refused."""
    with pytest.raises(ValueError, match="load: expected 1 values"):
        Curves(
            width_s=1, times=(1.0,), error_rate=(None,), p50=(None,), p95=(None,), p99=(None,), users=(None,)
        )


def test_gap_is_drawn_as_a_gap(report: Report) -> None:
    """No line bridges a bin without data."""
    drawn = timeline.render(report, timeline.WIDE)
    gaps = None in report.curves.load
    assert drawn.count('class="curve load"') == (2 if gaps else 1 if report.curves.known else 0)


def test_drawing_is_told_in_words(report: Report) -> None:
    """The drawing has a title and a description that names each phase and fault."""
    words = timeline.describe(report)
    if report.curves.known:
        assert all(phase.phase in words for phase in report.verdict.phases)
        assert all(fault.name in words for fault in report.verdict.faults)
    assert "<desc" in timeline.render(report, timeline.NARROW)
