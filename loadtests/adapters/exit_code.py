"""A program without a log: one test, right when it ended with an expected exit code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtests.adapters.sample import UNFINISHED, Ending, Sample

ITEM = "exit-code"


def read(logs: Sequence[Path], ending: Ending) -> Iterator[Sample]:
    """One sample: 1.0 or 0.0, or unfinished where the program was ended."""
    del logs
    if ending.cut:
        yield Sample(ITEM, "test", start=ending.start, error_type=UNFINISHED)
    else:
        yield Sample(ITEM, "test", start=ending.start, reward=1.0 if ending.exit_expected else 0.0)
