"""Plain scalars by YAML 1.2's core schema (yaml.org/spec/1.2.2, section 10.3.2).

`on`, `off`, `yes` and `no` are strings, octal is `0o17`, and there are no dates and no base-60 numbers: what
looks like text is text.
"""

from __future__ import annotations

import math
import re

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"^[-+]?[0-9]+$")
_OCTAL = re.compile(r"^0o[0-7]+$")
_HEX = re.compile(r"^0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
_INFINITE = re.compile(r"^([-+]?)\.(inf|Inf|INF)$")
_NAN = {".nan", ".NaN", ".NAN"}

MOST_DIGITS = 18
_MOST_FLOAT_TEXT = 64


class TooLong(ValueError):
    """A number with more digits than any quantity needs."""


def core_value(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means.

    Raises:
        TooLong: an integer of over 18 digits, or a float of over 64 characters.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.match(text):
        return _integer(text, 10, len(text.lstrip("+-0")))
    if _OCTAL.match(text):
        return _integer(text[2:], 8, len(text[2:].lstrip("0")))
    if _HEX.match(text):
        return _integer(text[2:], 16, len(text[2:].lstrip("0")))
    if _FLOAT.match(text):
        if len(text) > _MOST_FLOAT_TEXT:
            raise TooLong(f"a number of {len(text)} characters")
        return float(text)
    if infinite := _INFINITE.match(text):
        return -math.inf if infinite[1] == "-" else math.inf
    return math.nan if text in _NAN else text


def _integer(text: str, base: int, digits: int) -> int:
    if digits > MOST_DIGITS or len(text) > 4 * _MOST_FLOAT_TEXT:
        raise TooLong(f"an integer of {max(digits, 1)} digits")
    return int(text, base)


def is_plain_text(text: str) -> bool:
    """True when `text` may stand unquoted and still be read as that string, by 1.2's rules."""
    try:
        return core_value(text) == text
    except TooLong:
        return False
