"""Whether a series of readings is flat: the slope by Theil and Sen, which a few outliers do not move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

_POINTS_MOST: Final = 600


def per_minute(times_s: Sequence[float], values: Sequence[float]) -> float:
    """The median slope over all pairs of readings, each the median of its neighbours where there are many.

    Source: P. K. Sen, Estimates of the regression coefficient based on Kendall's tau, 1968.

    Raises:
        ValueError: fewer than ten readings, which would say nothing.
    """
    if len(times_s) != len(values) or len(times_s) < 10:
        raise ValueError(f"readings: expected at least 10, got {len(values)}")
    parts = min(len(times_s), _POINTS_MOST)
    x = np.array([np.median(part) for part in np.array_split(np.asarray(times_s, dtype=float), parts)])
    y = np.array([np.median(part) for part in np.array_split(np.asarray(values, dtype=float), parts)])
    first, second = np.triu_indices(parts, 1)
    return float(np.median((y[second] - y[first]) / (x[second] - x[first]))) * 60
