"""Faults of processes in whole numbers, and the effect that each must have to count as having acted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, assert_never

from chaos.documents.faults import (
    DiskFullFault,
    FileLimitFault,
    KillFault,
    MemoryLimitFault,
    NoSuchHostFault,
    PauseFault,
    ProcessFault,
    RestartFault,
    SlowFault,
)
from chaos.faults.toxics import BLACK_HOLE_RISE_S, fails, slower
from slo.effect import Effect

UNITS: Final[dict[str, str]] = {
    "grace": "ms",
    "stopped": "%",
    "period": "ms",
    "headroom_bytes": "B",
    "headroom_files": "",
    "leave": "B",
}


def process_attributes(fault: ProcessFault) -> dict[str, int]:
    """The numbers of a fault, in the units of `UNITS`."""
    match fault:
        case RestartFault():
            return {"grace": round(fault.grace * 1e3)}
        case SlowFault():
            return {
                "stopped": min(99, max(1, round(fault.stopped * 100))),
                "period": round(fault.period * 1e3),
            }
        case MemoryLimitFault():
            return {"headroom_bytes": round(fault.headroom)}
        case FileLimitFault():
            return {"headroom_files": fault.headroom}
        case DiskFullFault():
            return {"leave": round(fault.leave)}
        case KillFault() | PauseFault() | NoSuchHostFault():
            return {}
        case _:
            assert_never(fault)


def process_effects(fault: ProcessFault, primary_metrics: Sequence[str]) -> tuple[Effect, ...]:
    """What must be seen of `fault` where the experiment does not say; any one of them is evidence.

    What answers nothing makes tries fail, or keeps clients waiting. A process that is stopped for a share s
    of each period P adds up to s * P to a reply, and s^2 * P / 2 on average (a request comes at any moment of
    the period): the 90th percentile must rise by a quarter of s * P.
    """
    match fault:
        case SlowFault():
            return slower(primary_metrics, 0.2, fault.stopped * fault.period / 4)
        case PauseFault():
            return (fails(1.0), *slower(primary_metrics, 1.0, BLACK_HOLE_RISE_S))
        case _:
            return (fails(1.0),)
