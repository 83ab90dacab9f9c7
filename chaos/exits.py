"""Exit codes: derived from outcomes and endings, in one place.

| exit | meaning |
|---|---|
| 0 | pass or warn; for a suite: each experiment ended as its suite expects |
| 1 | fail: an objective was breached (also when the guard stopped the run because of it) |
| 2 | bad input: usage, invalid YAML, unknown reference |
| 3 | inconclusive |
| 4 | stopped: by a stop condition that is no objective, or by a person |
| 5 | heal incomplete: something injected may still be in place |
| 70 | a defect of Brownout |
| 130, 143 | interrupted (SIGINT, SIGTERM), after healing |
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from slo.outcome import Outcome


class Exit(IntEnum):
    """The process exit codes of every `brownout` command."""

    OK = 0
    FAIL = 1
    BAD_INPUT = 2
    INCONCLUSIVE = 3
    STOPPED = 4
    HEAL_INCOMPLETE = 5
    DEFECT = 70
    INTERRUPTED = 130
    TERMINATED = 143


_WEIGHTIEST_FIRST = (
    Exit.DEFECT,
    Exit.HEAL_INCOMPLETE,
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.STOPPED,
    Exit.FAIL,
    Exit.INCONCLUSIVE,
    Exit.OK,
)


def exit_for(outcome: Outcome) -> Exit:
    """The exit code of a run that ended by itself."""
    if outcome.passes:
        return Exit.OK
    return Exit.FAIL if outcome is Outcome.FAIL else Exit.INCONCLUSIVE


def combined(exits: Iterable[Exit]) -> Exit:
    """Over several experiments: the first that applies of 70, 5, 130/143, 4, 1, 3, 0; of none, 3."""
    return min(exits, key=_WEIGHTIEST_FIRST.index, default=Exit.INCONCLUSIVE)
