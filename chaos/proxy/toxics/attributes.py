"""The attributes of each toxic type and the values that they may take; those of layer 7: see its catalogue.

Pure, and shared with the client, which checks before it sends: stock Toxiproxy crashes as a whole on some of
what is refused here (bandwidth rate -1, slicer without a size or with a variation above it, huge jitter).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from chaos.proxy.layer7 import catalogue

_MILLISECONDS_MAX: Final = 2**31 - 1  # 24 days; far below what a timer can hold
_BYTES_MAX: Final = 2**53


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute: its name and unit, its smallest and largest value. The default is 0, as in Toxiproxy."""

    name: str
    unit: str
    most: int
    least: int = 0


ATTRIBUTES: Final[dict[str, tuple[Attribute, ...]]] = {
    "latency": (Attribute("latency", "ms", _MILLISECONDS_MAX), Attribute("jitter", "ms", _MILLISECONDS_MAX)),
    "bandwidth": (Attribute("rate", "kB/s", _BYTES_MAX // 1000),),
    "slow_close": (Attribute("delay", "ms", _MILLISECONDS_MAX),),
    "timeout": (Attribute("timeout", "ms", _MILLISECONDS_MAX),),
    "reset_peer": (Attribute("timeout", "ms", _MILLISECONDS_MAX),),
    "slicer": (
        Attribute("average_size", "bytes", _BYTES_MAX, least=1),
        Attribute("size_variation", "bytes", _BYTES_MAX),
        Attribute("delay", "us", _MILLISECONDS_MAX * 1000),
    ),
    "limit_data": (Attribute("bytes", "bytes", _BYTES_MAX),),
    "noop": (),
}


def known(toxic_type: str) -> bool:
    """Whether there is such a type."""
    return toxic_type in ATTRIBUTES or toxic_type in catalogue.LAYER7


def names(toxic_type: str) -> tuple[str, ...]:
    """The names of a known type's attributes."""
    return tuple(defaults(toxic_type))


def defaults(toxic_type: str) -> dict[str, Any]:
    """All attributes of a known type; 0 at layer 4."""
    if toxic_type in catalogue.LAYER7:
        return catalogue.defaults(toxic_type)
    return {attribute.name: 0 for attribute in ATTRIBUTES[toxic_type]}


def problem(toxic_type: str, attributes: Mapping[str, Any]) -> str | None:
    """What is wrong with `attributes` (all of them, of a known type) in one sentence, or None."""
    if toxic_type in catalogue.LAYER7:
        return catalogue.problem(toxic_type, attributes)
    for attribute in ATTRIBUTES[toxic_type]:
        value = attributes.get(attribute.name, 0)
        if not attribute.least <= value <= attribute.most:
            return (
                f"attributes.{attribute.name}: expected {attribute.least} to {attribute.most} "
                f"{attribute.unit}, got {value}"
            )
    variation, average = attributes.get("size_variation", 0), attributes.get("average_size", 0)
    if toxic_type == "slicer" and variation >= average:
        return f"attributes.size_variation: expected less than average_size ({average}), got {variation}"
    return None
