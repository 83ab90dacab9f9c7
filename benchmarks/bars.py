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


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise, what was found, and whether it is kept."""

    promise: str
    found: str
    met: bool

    def __str__(self) -> str:
        return f"{'met   ' if self.met else 'MISSED'}  {self.promise}: {self.found}"


def efficiency_bar(what: str, found: Ratio) -> Bar:
    """At least as many requests for each CPU-second."""
    aim = "reached" if found.median >= EFFICIENCY_AIM else "not reached"
    return Bar(
        f"{what}: requests per CPU-second at least {EFFICIENCY_LEAST} x Toxiproxy",
        f"{found} (aim {EFFICIENCY_AIM} {aim})",
        found.median >= EFFICIENCY_LEAST,
    )


def tail_bar(what: str, found: Ratio) -> Bar:
    """A shorter tail at the same concurrency."""
    return Bar(f"{what}: p99 at most {TAIL_MOST} x Toxiproxy", str(found), found.median <= TAIL_MOST)


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
