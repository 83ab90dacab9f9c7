"""What the embedded proxy promises beside Toxiproxy, and whether a run has shown it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.precision import Errors
from benchmarks.rounds import Ratio

EFFICIENCY_LEAST: Final = 1.0
EFFICIENCY_AIM: Final = 1.15
TAIL_MOST: Final = 0.7
ERROR_MOST_MS: Final = 1.5
READ_EFFICIENCY_LEAST: Final = 0.9
READ_EFFICIENCY_AIM: Final = 1.0
READ_TAIL_MOST: Final = 0.8
"""Where connections are read as HTTP, which Toxiproxy does not do."""
ADDED_MOST_MS: Final = 1.0
FRAMES_LEAST: Final = 15_000


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise, what was found, and whether it is kept."""

    promise: str
    found: str
    met: bool

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'}  {self.promise}: {self.found}"


def efficiency_bar(
    what: str, found: Ratio, least: float = EFFICIENCY_LEAST, aim: float = EFFICIENCY_AIM
) -> Bar:
    """Enough requests for each CPU-second."""
    reached = "reached" if found.median >= aim else "not reached"
    return Bar(
        f"{what}: requests per CPU-second at least {least} x Toxiproxy",
        f"{found} (aim {aim} {reached})",
        found.median >= least,
    )


def tail_bar(what: str, found: Ratio, most: float = TAIL_MOST) -> Bar:
    """A shorter tail at the same concurrency."""
    return Bar(f"{what}: p99 at most {most} x Toxiproxy", str(found), found.median <= most)


def added_bar(what: str, added_ms: float, *, keeps_up: bool) -> Bar:
    """Events that are hardly later than without a proxy."""
    return Bar(
        f"{what}: an event is at most {ADDED_MOST_MS} ms later at p99",
        f"{added_ms:.2f} ms{'' if keeps_up else ', and it does not keep up'}",
        keeps_up and added_ms <= ADDED_MOST_MS,
    )


def frames_bar(what: str, frames: float) -> Bar:
    """Enough frames for each CPU-second."""
    return Bar(
        f"{what}: at least {FRAMES_LEAST:,} frames per CPU-second", f"{frames:,.0f}", frames >= FRAMES_LEAST
    )


def error_bar(errors: Errors) -> Bar:
    """Delays that are as long as asked for."""
    p99 = errors.size(99)
    return Bar(
        f"a latency toxic is applied within {ERROR_MOST_MS} ms at p99", f"{p99:.2f} ms", p99 <= ERROR_MOST_MS
    )


def report(bars: Sequence[Bar]) -> int:
    """Print them; the exit code."""
    print("\nBars")
    for bar in bars:
        print(f"  {bar}")
    return 0 if all(bar.met for bar in bars) else 1
