"""One stream's points, as running totals that survive counter resets.

Invariant: `totals` never falls for counters and histograms, whatever the points do (cumulative or delta,
restarts, repeats), so that an increase over any stretch of time is one subtraction of two rows that bisection
finds. A row is kept only when it differs from the last one: exporters repeat unchanged streams for ever.

Points may be added while another thread reads: a point becomes visible by its time, which is appended last.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Literal

Kind = Literal["cumulative", "delta", "updown", "gauge"]
"""Counters by their temporality (histograms too), sums that may fall, and gauges, which do not add up."""


class Stream:
    """Points of one stream; a row is `width` numbers (a number, or bucket counts and then their sum)."""

    def __init__(self, kind: Kind, width: int) -> None:
        self.kind = kind
        self.width = width
        self.times = array("d")
        self.start = 0.0
        """When the first point began to count, in Unix seconds; 0 when it does not say."""
        self._rows = array("l")
        self._totals = array("d")
        self._last: tuple[float, ...] = ()
        self._last_start = 0.0
        self._offset: tuple[float, ...] | None = None

    def add(self, start: float, t: float, row: Sequence[float]) -> None:
        """Add a point that covers (start, t], Unix seconds; `start` 0 means unknown.

        A repeat (an exporter that tries again) counts once. A late cumulative point is left out, since the
        points after it contain it; a late delta is put in its place.
        """
        values = tuple(row)
        if self.times and t <= self.times[-1]:
            if self.kind == "delta":
                self._insert(start, t, values)
            return
        if not self.times:
            self.start = start
        if self.kind == "cumulative":
            values = self._continued(start, values)
        elif self.kind == "delta" and len(self._rows):
            values = tuple(value + before for value, before in zip(values, self.row(-1), strict=True))
        self._append(t, values)

    def _continued(self, start: float, values: tuple[float, ...]) -> tuple[float, ...]:
        """`values` plus all that was counted before the last reset (start moved on, or the count fell)."""
        if self._last:
            moved = bool(start) and bool(self._last_start) and start > self._last_start
            counted = slice(None) if self.width == 1 else slice(0, -1)
            if moved or sum(values[counted]) < sum(self._last[counted]):
                self._offset = self.row(-1)
        self._last, self._last_start = values, start or self._last_start
        if self._offset is None:
            return values
        return tuple(value + offset for value, offset in zip(values, self._offset, strict=True))

    def _append(self, t: float, values: tuple[float, ...]) -> None:
        if not len(self._rows) or self.row(-1) != values:
            self._totals.extend(values)
        self._rows.append(len(self._totals) // self.width - 1)
        self.times.append(t)

    def _insert(self, start: float, t: float, values: tuple[float, ...]) -> None:
        """Put a late delta in its place; one of the same time is a repeat and is left out."""
        at = bisect_left(self.times, t)
        if self.times[at] == t:
            return
        deltas = [self.increase(i - 1, i) for i in range(len(self.times))]
        deltas.insert(at, values)
        times = [*self.times[:at], t, *self.times[at:]]
        rebuilt = Stream("delta", self.width)
        for time, delta in zip(times, deltas, strict=True):
            rebuilt.add(start, time, delta)
        self.start = min(self.start, start)
        self._totals, self._rows, self.times = rebuilt._totals, rebuilt._rows, rebuilt.times

    def row(self, index: int) -> tuple[float, ...]:
        """The running totals at the point of that index."""
        at = self._rows[index] * self.width
        return tuple(self._totals[at : at + self.width])

    def increase(self, base: int, end: int) -> tuple[float, ...]:
        """What was counted after the point `base` (-1: since the beginning), up to the point `end`."""
        if base < 0:
            return self.row(end)
        if self._rows[base] == self._rows[end]:
            return (0.0,) * self.width
        return tuple(after - before for after, before in zip(self.row(end), self.row(base), strict=True))

    def span(self, start: float, end: float, *, zero_before: bool) -> tuple[int, int] | None:
        """The points (base, end) whose difference is the increase over (start, end]; None without any there.

        The base is the last point at or before `start`. Before the first point a counter is known to be zero
        only if it began to count within the stretch, or if `zero_before` says so; otherwise what it had
        counted until the first point belongs to an unknown time, and is left out.
        """
        last = bisect_right(self.times, end) - 1
        if last < 0 or self.times[last] <= start:
            return None
        base = bisect_right(self.times, start) - 1
        began_within = self.start > 0 and self.start >= start
        if base < 0 and self.kind != "delta" and not zero_before and not began_within:
            base = 0
        return base, last

    def within(self, start: float, end: float) -> range:
        """The indexes of the points in [start, end]."""
        return range(bisect_left(self.times, start), bisect_right(self.times, end))
