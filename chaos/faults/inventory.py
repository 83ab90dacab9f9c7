"""What a proxy server has: its proxies, their toxics, and the leases that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds what is injected, and after how many milliseconds without a renewal it goes."""

    holder: str
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class ToxicInfo:
    """A toxic as the server has it, in Toxiproxy's units: whole numbers, but at layer 7 whatever JSON has.

    `since_ms` (Unix) says when one that was asked for by `at_ms` took effect; None before that.
    """

    name: str
    type: str
    stream: str
    toxicity: float
    attributes: Mapping[str, JsonValue] = field(default_factory=dict)
    since_ms: float | None = None

    @classmethod
    def of(cls, value: Any) -> ToxicInfo:
        """From the API's JSON. Raises KeyError, TypeError or AttributeError when it is no toxic."""
        attributes = {str(key): given for key, given in value["attributes"].items()}
        return cls(
            value["name"],
            value["type"],
            value["stream"],
            float(value["toxicity"]),
            attributes,
            _since(value),
        )


@dataclass(frozen=True, slots=True)
class ProxyInfo:
    """A proxy as the server has it; `listen` and `upstream` are host:port.

    `disabling` says that it will be disabled at a time; `since_ms` (Unix) when that has come true.
    """

    name: str
    listen: str
    upstream: str
    enabled: bool
    toxics: tuple[ToxicInfo, ...] = ()
    disabling: bool = False
    since_ms: float | None = None

    @classmethod
    def of(cls, value: Any) -> ProxyInfo:
        """From the API's JSON. Raises KeyError, TypeError or AttributeError when it is no proxy."""
        toxics = tuple(ToxicInfo.of(toxic) for toxic in value["toxics"])
        enabled = bool(value["enabled"])
        return cls(
            value["name"],
            value["listen"],
            value["upstream"],
            enabled,
            toxics,
            disabling=enabled and "at_ms" in value,
            since_ms=_since(value),
        )


def _since(value: Any) -> float | None:
    return None if value.get("since_ms") is None else float(value["since_ms"])
