"""An arrival rate over time, made of straight pieces, and when the n-th arrival is due. Pure.

The n-th arrival of a rate r(t) is due when the integral of r from 0 has reached n; with n counting up evenly
arrivals are as regular as the rate allows, and with n summed from exponential draws they are a Poisson
process of that rate (time rescaling: Cinlar, Introduction to Stochastic Processes, 1975, section 4.7).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf, sqrt


@dataclass(frozen=True, slots=True)
class Piece:
    """`length_s` seconds in which the rate goes from `first` to `last` (per second) in a straight line."""

    length_s: float
    first: float
    last: float

    @property
    def area(self) -> float:
        """How many arrivals it holds."""
        return self.length_s * (self.first + self.last) / 2


class Intensity:
    """Pieces one after another. After them the last rate holds for ever, or they begin again (`repeat`)."""

    def __init__(self, pieces: Sequence[Piece], *, repeat: bool = False) -> None:
        """Raises ValueError: no pieces, or none with an arrival in it, or a rate or a length below 0."""
        if any(p.length_s < 0 or p.first < 0 or p.last < 0 for p in pieces):
            raise ValueError("pieces: expected lengths and rates from 0")
        self.pieces = tuple(pieces)
        self.after = self.pieces[-1].last if self.pieces else 0.0
        self.length_s = sum(piece.length_s for piece in self.pieces)
        self.repeat = repeat
        self._areas = list(accumulate((piece.area for piece in self.pieces), initial=0.0))
        self._times = list(accumulate((piece.length_s for piece in self.pieces), initial=0.0))
        if not self._areas[-1] and (repeat or not self.after):
            raise ValueError("pieces: expected a rate above 0 somewhere")

    @classmethod
    def constant(cls, rate: float) -> Intensity:
        """One rate for ever."""
        return cls([Piece(0.0, rate, rate)])

    @property
    def peak(self) -> float:
        """The highest rate, per second."""
        return max(max(piece.first, piece.last) for piece in self.pieces)

    def rate(self, t: float) -> float:
        """The rate at `t` seconds, per second."""
        if self.repeat:
            t %= self.length_s
        if t >= self.length_s:
            return self.after
        index = bisect_left(self._times, t, lo=1) - 1
        piece = self.pieces[index]
        if not piece.length_s:
            return piece.last
        share = (t - self._times[index]) / piece.length_s
        return piece.first + (piece.last - piece.first) * share

    def expected(self, t: float) -> float:
        """How many arrivals are expected by `t` seconds."""
        periods = 0.0
        if self.repeat:
            whole, t = divmod(t, self.length_s)
            periods = whole * self._areas[-1]
        if t >= self.length_s:
            return periods + self._areas[-1] + (t - self.length_s) * self.after
        index = bisect_left(self._times, t, lo=1) - 1
        piece = self.pieces[index]
        into = t - self._times[index]
        slope = (piece.last - piece.first) / piece.length_s if piece.length_s else 0.0
        return periods + self._areas[index] + into * (piece.first + slope * into / 2)

    def due(self, n: float) -> float:
        """When `n` arrivals have been expected, in seconds from the beginning; infinite if never."""
        periods = 0.0
        total = self._areas[-1]
        if self.repeat:
            whole = n // total
            n = min(max(n - whole * total, 0.0), total)
            periods = whole * self.length_s
        if n > total:
            return periods + self.length_s + (n - total) / self.after if self.after else inf
        if n <= 0:
            return periods + self._begin
        index = bisect_left(self._areas, n, lo=1) - 1
        piece, left = self.pieces[index], n - self._areas[index]
        slope = (piece.last - piece.first) / piece.length_s
        # the positive root of slope/2 t^2 + first t = left, in the form that loses no digits
        into = 2 * left / (piece.first + sqrt(max(piece.first**2 + 2 * slope * left, 0.0)))
        return periods + self._times[index] + min(into, piece.length_s)

    @property
    def _begin(self) -> float:
        """When the first arrival is expected to begin: the end of what has no arrivals."""
        for time, piece in zip(self._times, self.pieces, strict=False):
            if piece.area:
                return time
        return self.length_s
