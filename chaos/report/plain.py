"""Text from outside, made fit to show: it can move no cursor, reorder no line and break no XML.

Names and reasons come from users' YAML and from services' replies. Control characters, lone surrogates,
non-characters and the marks that reorder bidirectional text are shown as escapes (`\\x1b`), in every report.
"""

from __future__ import annotations

import re
from typing import Final

_BREAKS: Final = re.compile(r"[ \t]*(?:\r\n|[\r\n\x0b\x0c\x85\u2028\u2029])[ \t]*")
_UNSHOWN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff0-\ufff8\ufffe\uffff"
    "\ud800-\udfff]"
)
_NON_CHARACTER: Final = re.compile(
    "[" + "".join(chr(p << 16 | low) for p in range(1, 17) for low in (0xFFFE, 0xFFFF)) + "]"
)


def _escape(match: re.Match[str]) -> str:
    point = ord(match[0])
    if point < 0x100:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def printable(text: str) -> str:
    """`text` with what cannot be shown written as escapes; line breaks (as `\\n`) and tabs stay."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _NON_CHARACTER.sub(_escape, _UNSHOWN.sub(_escape, text))


def one_line(text: str, limit: int = 2000) -> str:
    """`printable`, on one line, and cut to `limit` characters with an ellipsis."""
    flat = printable(_BREAKS.sub(" ", text)).replace("\t", " ").strip()
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
