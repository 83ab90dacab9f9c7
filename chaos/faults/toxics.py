"""From a fault as people write it to a toxic as the proxy takes it: units, and what it does by default.

Toxiproxy counts in integers: milliseconds, microseconds for `slicer.delay`, thousands of bytes per second for
`bandwidth.rate` (its README, section "Toxics"). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from chaos.documents.models import (
    BandwidthFault,
    DownFault,
    Fault,
    LatencyFault,
    LimitDataFault,
    ResetPeerFault,
    SlicerFault,
    SlowCloseFault,
    TimeoutFault,
)
from loadtests import metrics
from slo.effect import Effect, QuantileEffect, ShareEffect

SMALLEST_RISE_S = 0.002
BAD_ATTEMPTS = 0.01
LARGEST = 2**40
"""Large enough for any wait or size, and far from where Toxiproxy's own arithmetic overflows."""


class FaultOutOfRange(ValueError):
    """A toxic that would crash a stock Toxiproxy 2.12 as a whole, or hang it; it is never sent."""


def toxic_attributes(fault: Fault) -> dict[str, int]:
    """The toxic's attributes in Toxiproxy's units; empty for `down`, which is no toxic.

    Raises:
        FaultOutOfRange: no proxy takes such attributes.
    """
    attributes = _attributes(fault)
    check_attributes(fault.type, attributes)
    return attributes


def _attributes(fault: Fault) -> dict[str, int]:
    match fault:
        case LatencyFault():
            return {"latency": _ms(fault.latency), "jitter": _ms(fault.jitter)}
        case BandwidthFault():
            return {"rate": round(fault.rate / 1000)}
        case SlowCloseFault():
            return {"delay": _ms(fault.delay)}
        case TimeoutFault() | ResetPeerFault():
            return {"timeout": _ms(fault.timeout)}
        case SlicerFault():
            return {
                "average_size": round(fault.average_size),
                "size_variation": round(fault.size_variation),
                "delay": round(fault.delay * 1_000_000),
            }
        case LimitDataFault():
            return {"bytes": round(fault.bytes)}
        case DownFault():
            return {}


def default_effects(fault: Fault, primary_metrics: Sequence[str]) -> tuple[Effect, ...]:
    """What shows that a fault of this type acted, when its author does not say: any one of these.

    A delay on every connection raises the median of what users do by its mean; half of that is asked for, so
    that histogram buckets cannot hide it. A delay that strikes a share of connections shows in the upper
    quantiles. What breaks connections makes attempts fail.
    """
    failing: Effect = ShareEffect(metric=metrics.ATTEMPTS, rises=BAD_ATTEMPTS)
    match fault:
        case LatencyFault():
            return _slower(fault.latency, fault.toxicity, primary_metrics)
        case SlicerFault():
            return _slower(fault.delay, fault.toxicity, primary_metrics)
        case BandwidthFault() | SlowCloseFault():
            return (*_slower(SMALLEST_RISE_S * 2, fault.toxicity, primary_metrics), failing)
        case TimeoutFault() | ResetPeerFault() | LimitDataFault() | DownFault():
            return (failing,)


def _slower(by_s: float, toxicity: float, primary_metrics: Sequence[str]) -> tuple[Effect, ...]:
    quantile: Literal["p50", "p90", "p99"] = "p50" if toxicity > 0.6 else "p90" if toxicity > 0.2 else "p99"
    rises = max(SMALLEST_RISE_S, by_s / 2)
    return tuple(
        QuantileEffect.model_validate({"metric": metric, "quantile": quantile, "rises": f"{rises:.6f}s"})
        for metric in primary_metrics
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def check_attributes(kind: str, attributes: Mapping[str, int]) -> None:
    """Raise FaultOutOfRange for attributes, in Toxiproxy's units, that no proxy must be sent."""
    for name, value in attributes.items():
        if not 0 <= value <= LARGEST:
            raise FaultOutOfRange(f"{kind}.{name}: expected 0 to {LARGEST}, got {value}")
    if kind == "slicer":
        size, variation = attributes.get("average_size", 0), attributes.get("size_variation", 0)
        if size < 1:
            raise FaultOutOfRange(f"slicer.average_size: expected at least 1, got {size}")
        if variation >= size:
            raise FaultOutOfRange(
                f"slicer.size_variation: expected less than average_size ({size}), got {variation}"
            )
