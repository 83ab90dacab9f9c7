"""Faults of proxies at layer 4 as toxics: Toxiproxy's units, and the effect that each must have to count.

Durations are seconds in a fault and integers in Toxiproxy: milliseconds, but microseconds for `slicer.delay`;
`bandwidth.rate` is in kB/s. What is above 0 never rounds to 0, which would mean something else. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from chaos.documents.faults import (
    BandwidthFault,
    DownFault,
    LatencyFault,
    Layer4Fault,
    LimitDataFault,
    ResetPeerFault,
    SlicerFault,
    SlowCloseFault,
    TimeoutFault,
)
from chaos.proxy.toxics.attributes import problem
from loadtests.metrics import ATTEMPTS, ERROR_TYPE
from slo.effect import Effect, QuantileEffect, ShareEffect

Stream = Literal["downstream", "upstream"]
Quantile = Literal["p50", "p90", "p95", "p99"]

_TYPICAL_MESSAGE_BYTES: Final = 256
"""About the smallest reply that any of the shipped protocols sends (an OpenEnv observation)."""
_RISE_MIN_S: Final = 0.001
_RISE_MAX_S: Final = 1.0
_SHARE: Final = 0.01
BLACK_HOLE_RISE_S: Final = 0.1


class FaultOutOfRange(ValueError):
    """A fault with values that Toxiproxy cannot have, or that crash it."""


def stream_of(stream: Literal["downstream", "upstream", "down", "up"]) -> Stream:
    """`down` means downstream (replies, towards the client), `up` upstream (requests)."""
    return "upstream" if stream in ("up", "upstream") else "downstream"


def _whole(value: float) -> int:
    return max(1, round(value)) if value > 0 else 0


def _ms(seconds: float) -> int:
    return _whole(seconds * 1e3)


def toxic_attributes(fault: Layer4Fault) -> dict[str, int]:
    """The attributes of the fault's toxic, in Toxiproxy's units; none for `down`.

    Raises:
        FaultOutOfRange: the values are ones that Toxiproxy cannot have.
    """
    attributes = _attributes(fault)
    complaint = None if isinstance(fault, DownFault) else problem(fault.type, attributes)
    if complaint:
        raise FaultOutOfRange(f"fault {fault.name} ({fault.type}): {complaint}")
    return attributes


def _attributes(fault: Layer4Fault) -> dict[str, int]:
    match fault:
        case LatencyFault():
            return {"latency": _ms(fault.latency), "jitter": _ms(fault.jitter)}
        case BandwidthFault():
            return {"rate": _whole(fault.rate / 1000)}
        case SlowCloseFault():
            return {"delay": _ms(fault.delay)}
        case TimeoutFault() | ResetPeerFault():
            return {"timeout": _ms(fault.timeout)}
        case SlicerFault():
            return {
                "average_size": _whole(fault.average_size),
                "size_variation": _whole(fault.size_variation),
                "delay": _whole(fault.delay * 1e6),
            }
        case LimitDataFault():
            return {"bytes": _whole(fault.bytes)}
        case DownFault():
            return {}


def toxic_effects(fault: Layer4Fault, primary_metrics: Sequence[str]) -> tuple[Effect, ...]:
    """What must be seen of `fault` where the experiment does not say; any one of them is evidence.

    `primary_metrics` are the duration histograms (seconds) of the load at its place. What slows must raise a
    quantile that lies well inside the struck share, by half of the delay that it adds on average; what cuts
    must raise the share of failed tries, by 1 % (or half of the toxicity, where that is less). The halves
    leave room for noise; they are not a claim about the size of the effect.
    """
    match fault:
        case LatencyFault():
            return slower(primary_metrics, fault.toxicity, _mean_delay(fault.latency, fault.jitter) / 2)
        case BandwidthFault() if fault.rate > 0:
            rises = min(_RISE_MAX_S, _TYPICAL_MESSAGE_BYTES / fault.rate)
            return slower(primary_metrics, fault.toxicity, rises / 2)
        case SlicerFault():
            gaps = max(1.0, _TYPICAL_MESSAGE_BYTES / fault.average_size - 1)
            return slower(primary_metrics, fault.toxicity, min(_RISE_MAX_S, gaps * fault.delay / 2))
        case SlowCloseFault():
            return slower(primary_metrics, fault.toxicity, fault.delay / 2)
        case BandwidthFault():
            return (fails(fault.toxicity), *slower(primary_metrics, fault.toxicity, BLACK_HOLE_RISE_S))
        case TimeoutFault() if fault.timeout == 0:
            return (fails(fault.toxicity), *slower(primary_metrics, fault.toxicity, BLACK_HOLE_RISE_S))
        case TimeoutFault() | ResetPeerFault() | LimitDataFault():
            return (fails(fault.toxicity),)
        case DownFault():
            return (fails(1.0),)


def _mean_delay(latency: float, jitter: float) -> float:
    """The mean of max(0, uniform(latency - jitter, latency + jitter)), in seconds."""
    return latency if jitter <= latency else (latency + jitter) ** 2 / (4 * jitter)


def _inside(toxicity: float) -> Quantile:
    """A quantile that is at most half of the struck share away from the top (the median: all are struck)."""
    levels: tuple[tuple[Quantile, float], ...] = (("p50", 1.0), ("p90", 0.2), ("p95", 0.1))
    return next((quantile for quantile, least in levels if toxicity >= least), "p99")


def slower(metrics: Sequence[str], toxicity: float, rises: float) -> tuple[Effect, ...]:
    """A quantile of `metrics` inside the struck share rises by `rises` seconds (1 ms at the least)."""
    quantile = _inside(toxicity)
    return tuple(
        QuantileEffect.model_validate(
            {"metric": metric, "quantile": quantile, "rises": f"{max(rises, _RISE_MIN_S):.6f}s"}
        )
        for metric in metrics
    )


def fails(toxicity: float) -> Effect:
    """The share of failed tries rises by 1 %, or by half of `toxicity` where that is less."""
    share = max(min(_SHARE, toxicity / 2), 1e-6)
    return ShareEffect.model_validate({"metric": ATTEMPTS, "attribute": ERROR_TYPE, "rises": share})
