"""The metric data model, and readings of it over a window.

Invariant: a reading counts each observation once, in the window that it belongs to, and says None where
nothing was reported: no data is never zero. Streams of several instances add up; streams that carry the
attribute `brownout.phase` are read by that tag over all time (an operation belongs to the phase of its
intended start, however late it ends), all others by time, from point to point.

The data model is OpenTelemetry's: https://opentelemetry.io/docs/specs/otel/metrics/data-model/ (temporality,
resets and start times: sections "Temporality" and "Resets and Gaps").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from slo.finding import Window
from slo.histogram import Histogram, OffBoundary, boundary_index, merged
from slo.objective import Filter, Selector
from slo.stream import Kind, Stream

PHASE = "brownout.phase"
Aggregation = Literal["max", "min", "last", "increase"]


@dataclass(frozen=True, slots=True)
class StreamKey:
    """A stream's identity: its metric, unit, and attributes, its resource's among them, sorted by name."""

    metric: str
    unit: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NumberPoint:
    """A number that covers (start, t], Unix seconds; `start` 0 is unknown."""

    start: float
    t: float
    value: float
    kind: Kind


@dataclass(frozen=True, slots=True)
class HistogramPoint:
    """Counts by bucket that cover (start, t], Unix seconds; `counts` has one more than `bounds`."""

    start: float
    t: float
    count: float
    sum: float
    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    cumulative: bool = True


Point = NumberPoint | HistogramPoint


@dataclass(frozen=True, slots=True)
class Tally:
    """How many observations were seen, in how many streams that reported."""

    count: float
    streams: int


class _Series:
    """A stream with its key; `bounds` are a histogram's, None for numbers."""

    __slots__ = ("attributes", "bounds", "key", "source", "stream")

    def __init__(self, key: StreamKey, stream: Stream, bounds: tuple[float, ...] | None) -> None:
        self.key = key
        self.stream = stream
        self.bounds = bounds
        self.attributes = dict(key.attributes)
        self.source = _source(self.attributes)

    def matches(self, filters: dict[str, Filter]) -> bool:
        for name, wanted in filters.items():
            value = self.attributes.get(name)
            if wanted is None:
                if value is not None:
                    return False
            elif value not in ([wanted] if isinstance(wanted, str) else wanted):
                return False
        return True


def _source(attributes: dict[str, str]) -> tuple[str, str]:
    """Who reports: points of one source come together, so one that is missing from a report is zero."""
    return attributes.get("service.name", ""), attributes.get("service.instance.id", "")


class Samples:
    """All points that were reported. One thread may add while others read."""

    def __init__(self) -> None:
        self._series: dict[tuple[StreamKey, tuple[float, ...] | None, Kind], _Series] = {}
        self._by_metric: dict[str, list[_Series]] = {}
        self._heard: dict[tuple[str, str], float] = {}

    def add(self, key: StreamKey, point: Point) -> None:
        """Add a point. Histograms whose boundaries change go on as a stream of their own."""
        kind: Kind
        if isinstance(point, HistogramPoint):
            bounds: tuple[float, ...] | None = point.bounds
            kind = "cumulative" if point.cumulative else "delta"
            row: tuple[float, ...] = (*point.counts, point.sum)
        else:
            bounds, kind, row = None, point.kind, (point.value,)
        series = self._series.get((key, bounds, kind))
        if series is None:
            series = _Series(key, Stream(kind, len(row)), bounds)
            self._series[key, bounds, kind] = series
            self._by_metric.setdefault(key.metric, []).append(series)
        heard = self._heard.get(series.source)
        if heard is None or point.t < heard:
            self._heard[series.source] = point.t
        series.stream.add(point.start, point.t, row)

    def streams(self, selector: Selector) -> list[StreamKey]:
        """The keys of the streams that the selector's metric and filters match."""
        return [series.key for series in self._matching(selector)]

    def metrics(self) -> dict[str, str]:
        """All metrics that were reported, by name, with their units."""
        return {metric: series[0].key.unit for metric, series in list(self._by_metric.items())}

    def tally(self, selector: Selector, window: Window) -> Tally | None:
        """How many observations: histogram counts (up to the boundary `at_most`), or increases of sums.

        None when no stream matches, or none has a point in the window.

        Raises:
            OffBoundary: `at_most` is no bucket boundary of a stream that has points in the window.
        """
        counts: list[float] = []
        for series, base, end in self._spans(selector, window):
            if series.bounds is None and series.stream.kind == "gauge":
                continue
            row = series.stream.increase(base, end)
            if series.bounds is None:
                counts.append(row[0])
                continue
            upto = len(series.bounds) + 1
            if selector.at_most is not None:
                index = boundary_index(series.bounds, selector.at_most)
                if index is None:
                    raise OffBoundary(selector.metric, selector.at_most, series.bounds)
                upto = index + 1
            counts.append(sum(row[:upto]))
        return Tally(math.fsum(counts), len(counts)) if counts else None

    def distribution(self, selector: Selector, window: Window) -> Histogram | None:
        """The histogram of the matching streams together, on the boundaries that all of them have.

        None when no histogram matches, or none has a point in the window.
        """
        parts = []
        for series, base, end in self._spans(selector, window):
            if series.bounds is not None:
                row = series.stream.increase(base, end)
                parts.append(Histogram(series.bounds, row[:-1], sum(row[:-1]), row[-1]))
        return merged(parts)

    def number(self, selector: Selector, aggregation: Aggregation, window: Window) -> float | None:
        """One number of sums or gauges (`increase` also of histograms: their count); None without data.

        Sums of several instances are added before they are aggregated. Gauges do not add up: `max` and `min`
        are over all of them, `last` is the newest point's, their `increase` the largest of any.
        """
        values = self.numbers(selector, aggregation, window)
        if not values:
            return None
        if aggregation == "last":
            return values[-1]
        return min(values) if aggregation == "min" else max(values)

    def numbers(self, selector: Selector, aggregation: Aggregation, window: Window) -> list[float]:
        """The aggregate of each gauge, ordered by the time of its last point; of sums one, their total's."""
        gauges: list[tuple[float, float]] = []
        totals: list[tuple[_Series, range]] = []
        if aggregation == "increase":
            tally = self.tally(selector, window)
            if tally is not None:
                return [tally.count]
        for series in self._matching(selector):
            points = self._points(series, window)
            if series.bounds is not None or points is None or not len(points):
                continue
            if series.stream.kind != "gauge":
                totals.append((series, points))
                continue
            values = [series.stream.row(index)[0] for index in points]
            gauges.append((series.stream.times[points[-1]], _aggregate(values, aggregation)))
        if totals and aggregation != "increase":
            return [_aggregate(list(_running_totals(totals)), aggregation)]
        return [value for _, value in sorted(gauges)]

    def gauges(self, selector: Selector, window: Window) -> list[list[float]]:
        """The readings of each gauge that has any in the window, in the order of their times."""
        found = []
        for series in self._matching(selector):
            points = self._points(series, window)
            if series.bounds is None and series.stream.kind == "gauge" and points:
                found.append([series.stream.row(index)[0] for index in points])
        return found

    def points(self, selector: Selector, window: Window) -> int:
        """How many points the matching streams have in the window."""
        spans = (self._points(series, window) for series in self._matching(selector))
        return sum(len(span) for span in spans if span is not None)

    def unit(self, metric: str) -> str:
        """The metric's unit, or an empty text when it was never reported."""
        series = self._by_metric.get(metric)
        return series[0].key.unit if series else ""

    def missing(self, selector: Selector) -> str:
        """Why a reading of `selector` has no data, in words for a reader who expected some."""
        series = list(self._by_metric.get(selector.metric, ()))
        if not series:
            known = ", ".join(sorted(self._by_metric)[:8])
            return f"{selector.metric} was never reported" + (
                f" (reported were: {known})" if known else ": no metric was"
            )
        if self.streams(selector):
            return f"{selector.metric} had no points in this window"
        seen = []
        for name in selector.filters:
            values = sorted({s.attributes.get(name, "absent") for s in series})[:6]
            seen.append(f"{name} is {' or '.join(values)}")
        return f"no stream of {selector.metric} matches its filters (there, {', '.join(seen)})"

    def _matching(self, selector: Selector) -> Iterator[_Series]:
        for series in list(self._by_metric.get(selector.metric, ())):
            if series.matches(selector.filters):
                yield series

    def _spans(self, selector: Selector, window: Window) -> Iterator[tuple[_Series, int, int]]:
        for series in self._matching(selector):
            tag = series.attributes.get(PHASE)
            if window.phase is not None and tag is not None:
                if tag == window.phase and len(series.stream.times):
                    yield series, -1, len(series.stream.times) - 1
                continue
            heard = self._heard[series.source] <= window.start
            span = series.stream.span(window.start, window.end, zero_before=heard)
            if span is not None:
                yield series, *span

    def _points(self, series: _Series, window: Window) -> range | None:
        tag = series.attributes.get(PHASE)
        if window.phase is not None and tag is not None:
            return range(len(series.stream.times)) if tag == window.phase else None
        return series.stream.within(window.start, window.end)


def _aggregate(values: list[float], aggregation: Aggregation) -> float:
    if aggregation == "increase":
        return values[-1] - values[0]
    if aggregation == "last":
        return values[-1]
    return max(values) if aggregation == "max" else min(values)


def _running_totals(parts: list[tuple[_Series, range]]) -> Iterator[float]:
    """The total over all streams, whenever one of them reports, from when each has reported once."""
    events = sorted(
        (series.stream.times[index], number, series.stream.row(index)[0])
        for number, (series, points) in enumerate(parts)
        for index in points
    )
    latest: dict[int, float] = {}
    for position, (time, number, value) in enumerate(events):
        latest[number] = value
        together = position + 1 < len(events) and events[position + 1][0] == time
        if len(latest) == len(parts) and not together:
            yield math.fsum(latest.values())
