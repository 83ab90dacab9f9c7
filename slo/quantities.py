"""Quantities with units, as people write them in YAML; parsed once, at the border, into SI floats.

`250ms` becomes 0.25 (seconds), `20/s` 20.0 (per second), `30%` 0.3 (a fraction), `64kB/s` 64000.0 (bytes
per second), `10MB` 10000000 (bytes). A bare number is refused where a unit is needed: a unit that the
reader has to guess is the oldest bug of this field.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

_NUMBER = r"(?:\d{1,15}(?:\.\d{1,9})?)"
_DURATION = re.compile(rf"^(?:{_NUMBER}(?:us|ms|s|m|h|d))+$")
_DURATION_PART = re.compile(rf"({_NUMBER})(us|ms|s|m|h|d)")
_RATE = re.compile(rf"^({_NUMBER})/(s|m|h)$")
_SHARE = re.compile(rf"^({_NUMBER})%$")
_BYTES = re.compile(rf"^({_NUMBER})(B|kB|MB|GB|KiB|MiB|GiB)(/s)?$")

_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _refuse(kind: str, example: str, value: Any, hint: str = "") -> PydanticCustomError:
    shown = str(value)
    shown = shown if len(shown) <= 60 else shown[:57] + "..."
    message = "expected {kind} such as {example}, got {shown}"
    return PydanticCustomError(
        "quantity", message, {"kind": kind, "example": example, "shown": shown, "hint": hint}
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def parse_duration(value: Any) -> float:
    """Seconds from `250ms`, `1.5s`, `2m30s`, `1h`; a float that this function made passes through as it is.

    Raises:
        PydanticCustomError: (a ValueError) when the text is no duration or carries no unit.
    """
    if isinstance(value, Seconds):
        return value
    if value == 0 and _is_number(value):
        return Seconds(0.0)
    if isinstance(value, str) and _DURATION.match(value):
        return Seconds(sum(float(n) * _SECONDS[unit] for n, unit in _DURATION_PART.findall(value)))
    hint = ""
    if _is_number(value) and value > 0:
        hint = f"did you mean {value:g}ms?" if value >= 10 else f"did you mean {value:g}s?"
    raise _refuse("a duration", "250ms", value, hint)


class Seconds(float):
    """A float that is known to be seconds, so that a parsed duration may be parsed again."""


class PerSecond(float):
    """A float that is known to be a rate per second."""


class Fraction(float):
    """A float that is known to be a fraction, 0 to 1."""


class ByteCount(float):
    """A float that is known to be bytes (or bytes per second)."""


def parse_rate(value: Any) -> float:
    """Events per second from `20/s`, `90/m`, `100/h`. Raises PydanticCustomError otherwise."""
    if isinstance(value, PerSecond):
        return value
    if isinstance(value, str) and (m := _RATE.match(value)):
        return PerSecond(float(m[1]) / _SECONDS[m[2]])
    hint = f"did you mean {value:g}/s?" if _is_number(value) and value > 0 else ""
    raise _refuse("a rate", "20/s", value, hint)


def parse_share(value: Any) -> float:
    """A fraction from `30%` or from a bare number between 0 and 1. Raises PydanticCustomError otherwise."""
    if isinstance(value, Fraction):
        return value
    if isinstance(value, str) and (m := _SHARE.match(value)) and float(m[1]) <= 100:
        return Fraction(float(m[1]) / 100)
    if _is_number(value) and math.isfinite(value) and 0 <= value <= 1:
        return Fraction(value)
    hint = f"did you mean {value:g}%?" if _is_number(value) and 1 < value <= 100 else ""
    raise _refuse("a share", "30% or 0.3", value, hint)


def _parse_bytes(value: Any, per_second: bool) -> float:
    if isinstance(value, ByteCount):
        return value
    if isinstance(value, str) and (m := _BYTES.match(value)) and bool(m[3]) is per_second:
        return ByteCount(float(m[1]) * _SIZES[m[2]])
    example = "64kB/s" if per_second else "10MB"
    hint = ""
    if _is_number(value) and value > 0:
        hint = f"did you mean {value:g}{'kB/s' if per_second else 'B'}?"
    raise _refuse("a byte rate" if per_second else "a size", example, value, hint)


def parse_byte_rate(value: Any) -> float:
    """Bytes per second from `64kB/s`. Raises PydanticCustomError otherwise."""
    return _parse_bytes(value, per_second=True)


def parse_size(value: Any) -> float:
    """Bytes from `10MB`, `64KiB`. Raises PydanticCustomError otherwise."""
    return _parse_bytes(value, per_second=False)


def _exact(unit: str) -> PlainSerializer:
    """Writes a parsed quantity back as text that parses to the same value."""

    def write(value: float) -> str:
        return f"{value:.9f}".rstrip("0").rstrip(".") + unit

    return PlainSerializer(write, return_type=str, when_used="json")


def _schema(pattern: str, description: str, examples: list[str]) -> WithJsonSchema:
    return WithJsonSchema(
        {"type": "string", "pattern": pattern, "description": description, "examples": examples}
    )


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    _exact("s"),
    _schema(_DURATION.pattern, "A duration with its unit; parsed to seconds.", ["250ms", "10s", "2m30s"]),
]
Rate = Annotated[
    float,
    BeforeValidator(parse_rate),
    _exact("/s"),
    _schema(_RATE.pattern, "A rate with its unit.", ["20/s", "90/m"]),
]
Share = Annotated[
    float,
    BeforeValidator(parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": _SHARE.pattern},
                {"type": "number", "minimum": 0, "maximum": 1},
            ],
            "description": "A share: a percentage, or a number from 0 to 1.",
            "examples": ["30%", 0.3],
        }
    ),
]
ByteRate = Annotated[
    float,
    BeforeValidator(parse_byte_rate),
    _exact("B/s"),
    _schema(_BYTES.pattern, "Bytes per second, with the unit.", ["64kB/s"]),
]
Size = Annotated[
    float,
    BeforeValidator(parse_size),
    _exact("B"),
    _schema(_BYTES.pattern, "A number of bytes, with the unit.", ["10MB"]),
]


def format_duration(seconds: float) -> str:
    """The shortest reading of `seconds`: `250ms`, `1.5s`, `2m30s`."""
    if seconds != 0 and abs(seconds) < 0.001:
        return f"{seconds * 1e6:.3g}us"
    if abs(seconds) < 1:
        return f"{seconds * 1e3:.4g}ms" if seconds else "0s"
    if abs(seconds) < 60:
        return f"{seconds:.4g}s"
    minutes, rest = divmod(seconds, 60)
    if minutes < 60:
        return f"{int(minutes)}m" + (f"{rest:.3g}s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return f"{int(hours)}h" + (f"{int(minutes)}m" if minutes else "") + (f"{rest:.3g}s" if rest else "")
